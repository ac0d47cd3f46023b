"""WADO-RS metadata of studies, series and instances in JSON and XML (PS3.18 10.4.3.3.2), and what is wrong in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson
from starlette.requests import Request

from gateway import bundles, retrieve
from gateway.blob import Blob
from gateway.bundles import FORM
from gateway.dicom.metadata import Cache
from gateway.dicom.native_model import to_xml
from gateway.dicomweb import multipart, offers
from gateway.dicomweb.media_types import Offer, negotiate
from gateway.dicomweb.resources import Target, instance_url, parameters, target, tries
from gateway.http.bodies import Flowing, Known, settle
from gateway.http.compress import gzipped, wants_gzip
from gateway.http.identity import caller_of
from gateway.http.ranges import REVALIDATE, Representation, etag_of, not_modified
from gateway.settings import Settings
from gateway.validate import validate
from storage.archive import Archive
from storage.records import Located

_VALIDATION = (Offer("application/json"),)


class Metadata:
    """Blocking methods that Starlette runs in its worker threads."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings

    def retrieve(self, request: Request) -> Representation:
        """The three with `/metadata` (WADO-02): one JSON array, or one XML document an instance (MT-02)."""
        where, found = self._find(request)
        offer = negotiate(tries(request, parameters(request)), offers.METADATA)
        if offer.multipart:
            return self._xml(request, where, found)
        packed = wants_gzip(request.headers)
        etag = etag_of("metadata", FORM, where.root, *(one.digest for one in found)) + "-gzip" * packed
        headers = {"Cache-Control": REVALIDATE, **({"Content-Encoding": "gzip"} if packed else {})}
        body: Known | Flowing
        if not_modified(request.headers, f'"{etag}"'):
            body = Known([])
        elif request.method == "HEAD":
            body = Flowing(iter(()))
        else:
            made = bundles.array(self.archive, found, where.root, etag, gzipped if packed else iter)
            body = Known([made]) if isinstance(made, Blob) else settle(made)
        return Representation(body, offer.media_type, etag, headers, vary="Accept, Accept-Encoding")

    def _xml(self, request: Request, where: Target, found: Sequence[Located]) -> Representation:
        identity = ("metadata.xml", FORM, where.root, *(one.digest for one in found))
        etag, boundary = etag_of(*identity), multipart.boundary_of(*identity)
        body: Known | Flowing
        if not_modified(request.headers, f'"{etag}"'):
            body = Known([])
        elif request.method == "HEAD":
            body = Flowing(iter(()))
        else:
            body = settle(multipart.flow(self._documents(where.root, found), boundary))
        media_type = multipart.content_type(offers.XML, boundary)
        # the same resource has an answer in JSON that may be compressed
        return Representation(body, media_type, etag, {"Cache-Control": REVALIDATE}, vary="Accept, Accept-Encoding")

    def _documents(self, root: str, found: Sequence[Located]) -> Iterator[multipart.Part]:
        cache: Cache = {}
        for located in found:
            url = instance_url(root, located.study_uid, located.series_uid, located.sop_uid)
            document = to_xml(retrieve.header(self.archive, located), f"{url}/bulkdata/".__add__, cache=cache)
            yield multipart.Part(offers.XML, f"{url}/metadata", document)

    def validation(self, request: Request) -> Representation:
        """`/validation` of an instance: what breaks the rules of its VR (PS3.5 6.2). An extension."""
        where, (located,) = self._find(request)
        negotiate(tries(request, parameters(request)), _VALIDATION)
        faults = [
            {"path": fault.path, "vr": fault.vr, "rule": fault.rule}
            for fault in validate(retrieve.header(self.archive, located))
        ]
        body = orjson.dumps({"sop_uid": located.sop_uid, "valid": not faults, "faults": faults})
        headers = {"Cache-Control": REVALIDATE, "Content-Location": f"{where.url}/validation"}
        return Representation(Known([body]), "application/json", etag_of(body.decode()), headers)

    def _find(self, request: Request) -> tuple[Target, tuple[Located, ...]]:
        where = target(request, self.settings.public_url)
        return where, retrieve.find(self.archive, caller_of(request.scope), *where.uids)
