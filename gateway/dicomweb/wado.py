"""WADO-RS: instances, metadata, frames and bulk data (PS3.18 10.4).

Every body is byte-stable: boundary and entity tag follow from the stored digests and the chosen representation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from starlette.requests import Request

from gateway import retrieve
from gateway.dicom.metadata import Cache
from gateway.dicom.uids import SYNTAXES
from gateway.dicomweb import multipart, offers
from gateway.dicomweb.media_types import MediaRange, Offer, choose, negotiate
from gateway.dicomweb.resources import Target, frame_numbers, instance_url, parameters, target, tries
from gateway.dicomweb.safety import safe_headers, safe_type
from gateway.errors import NotAcceptable
from gateway.http.bodies import Flowing, Known, settle
from gateway.http.compress import gzipped, wants_gzip
from gateway.http.failures import Failure
from gateway.http.identity import caller_of
from gateway.http.ranges import IMMUTABLE, REVALIDATE, Representation, etag_of, not_modified
from gateway.settings import Settings
from storage.archive import Archive
from storage.records import Located

PIXEL_DATA = "7FE00010"
METADATA_FORM = "1"
"""Raised when the same stored bytes give other metadata than before, so that no cache holds on to the old."""

Tries = Sequence[Sequence[MediaRange]]


class Retrieve:
    """Retrieve transactions; blocking methods that Starlette runs in its worker threads."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings
        self.explicit = settings.retrieve_default == "explicit"

    # ------------------------------------------------------------ instances

    def instances(self, request: Request) -> Representation:
        """`/studies/{study}[/series/{series}[/instances/{instance}]]` (WADO-01)."""
        where, found = self._find(request)
        accepted = tries(request, parameters(request))
        single = where.sop_uid is not None
        chosen: dict[str, Offer] = {}
        for located in found:
            stored = located.transfer_syntax_uid
            if stored not in chosen:
                offered = offers.instances(stored, explicit=self.explicit, single=single)
                chosen[stored] = negotiate(accepted, offered, stored)
        identity = [f"{one.digest} {chosen[one.transfer_syntax_uid]}" for one in found]
        headers = {"Cache-Control": IMMUTABLE if single else REVALIDATE, "Content-Location": where.url}
        if single and not chosen[found[0].transfer_syntax_uid].multipart:
            return self._single(request, found[0], chosen[found[0].transfer_syntax_uid], accepted, headers)
        etag = etag_of("instances", where.root, *identity)
        boundary = multipart.boundary_of("instances", where.root, *identity)
        if not_modified(request.headers, f'"{etag}"'):
            body: Known | Flowing = Known([])
        elif all(self._as_stored(one, chosen[one.transfer_syntax_uid]) for one in found):
            body = multipart.write(list(self._parts(where.root, found, chosen, accepted)), boundary)
        elif request.method == "HEAD":
            body = Flowing(iter(()))
        else:
            body = settle(multipart.flow(self._parts(where.root, found, chosen, accepted), boundary))
        return Representation(body, multipart.content_type("application/dicom", boundary), etag, headers)

    def _single(
        self, request: Request, located: Located, offer: Offer, accepted: Tries, headers: dict[str, str]
    ) -> Representation:
        etag = etag_of("instance", located.digest, str(offer))
        headers["Content-Disposition"] = f'attachment; filename="{located.sop_uid}.dcm"'
        if not_modified(request.headers, f'"{etag}"'):
            return Representation(Known([]), offer.content_type, etag, headers)
        if request.method == "HEAD" and not self._as_stored(located, offer):
            return Representation(Flowing(iter(())), offer.content_type, etag, headers)
        blob, syntax_uid = self._part10(located, offer, accepted)
        return Representation(Known([blob]), f"{offer.media_type}; transfer-syntax={syntax_uid}", etag, headers)

    def _parts(
        self, root: str, found: Sequence[Located], chosen: dict[str, Offer], accepted: Tries
    ) -> Iterator[multipart.Part]:
        for located in found:
            offer = chosen[located.transfer_syntax_uid]
            blob, syntax_uid = self._part10(located, offer, accepted)
            url = instance_url(root, located.study_uid, located.series_uid, located.sop_uid)
            yield multipart.Part(f"{offer.media_type}; transfer-syntax={syntax_uid}", url, blob)

    def _part10(self, located: Located, offer: Offer, accepted: Tries) -> tuple[retrieve.Blob, str]:
        """The file in the chosen syntax; as stored where that cannot be made and was not asked for by name (NEG-09)."""
        stored = located.transfer_syntax_uid
        if self._as_stored(located, offer) or offer.syntax is None:
            return retrieve.part10(self.archive, located), stored
        try:
            return retrieve.part10(self.archive, located, offer.syntax), offer.syntax
        except NotAcceptable:
            instead = Offer(offer.media_type, offer.multipart, stored, stored=True)
            if stored in offers.FORBIDDEN or choose(accepted, [instead]) is None:
                raise
            return retrieve.part10(self.archive, located), stored

    @staticmethod
    def _as_stored(located: Located, offer: Offer) -> bool:
        return offer.syntax == located.transfer_syntax_uid

    # ------------------------------------------------------------ metadata

    def metadata(self, request: Request) -> Representation:
        """The three with `/metadata` (WADO-02): one JSON array, made while it is sent."""
        where, found = self._find(request)
        offer = negotiate(tries(request, parameters(request)), offers.METADATA)
        packed = wants_gzip(request.headers)
        etag = etag_of("metadata", METADATA_FORM, where.root, *(one.digest for one in found)) + "-gzip" * packed
        headers = {"Cache-Control": REVALIDATE, **({"Content-Encoding": "gzip"} if packed else {})}
        body: Known | Flowing
        if not_modified(request.headers, f'"{etag}"'):
            body = Known([])
        elif request.method == "HEAD":
            body = Flowing(iter(()))
        else:
            chunks = self._array(where.root, found)
            body = settle(gzipped(chunks) if packed else chunks)
        return Representation(body, offer.media_type, etag, headers, vary="Accept, Accept-Encoding")

    def _array(self, root: str, found: Sequence[Located]) -> Iterator[bytes]:
        cache: Cache = {}
        for number, located in enumerate(found):
            yield (b"," if number else b"[") + retrieve.metadata(self.archive, located, root, cache)
        yield b"]"

    # ------------------------------------------------------------ frames

    def frames(self, request: Request) -> Representation:
        """`/frames/{list}` of an instance (WADO-03), in the order asked."""
        numbers = frame_numbers(request.path_params["frames"])
        where, (located,) = self._find(request)
        return self._frames(request, where, located, numbers)

    def _frames(self, request: Request, where: Target, located: Located, numbers: Sequence[int]) -> Representation:
        stored = located.transfer_syntax_uid
        _refuse_video(where, stored)
        table = retrieve.frame_table(located)
        for number in numbers:
            table.span(number)
        offered = offers.frames(stored, explicit=self.explicit, single=len(numbers) == 1)
        offer = negotiate(tries(request, parameters(request)), offered, stored)
        identity = ("frames", where.url, located.digest, ",".join(map(str, numbers)), str(offer))
        etag = etag_of(*identity)
        headers = {"Cache-Control": IMMUTABLE}
        boundary = multipart.boundary_of(*identity)
        media_type = multipart.content_type(offer.media_type, boundary) if offer.multipart else offer.content_type
        body: Known | Flowing
        if not_modified(request.headers, f'"{etag}"'):
            body = Known([])
        elif request.method == "HEAD" and not offer.stored:
            body = Flowing(iter(()))
        else:
            wanted = None if offer.stored else offer.syntax
            frames = retrieve.frames(self.archive, located, numbers, wanted)
            if offer.multipart:
                urls = f"{where.url}/frames/"
                parts = (multipart.Part(offer.content_type, f"{urls}{one.number}", one.data) for one in frames)
                body = settle(multipart.flow(parts, boundary))
            else:
                headers["Content-Location"] = f"{where.url}/frames/{numbers[0]}"
                body = Known([one.data for one in frames])
        return Representation(body, media_type, etag, headers)

    # ------------------------------------------------------------ bulk data

    def bulkdata(self, request: Request) -> Representation:
        """`/bulkdata/{path}` of an instance: what a BulkDataURI names (WADO-05).

        Compressed Pixel Data are its frames, one part each (TS-13); a video is one stream.
        """
        path = request.path_params["path"]
        where, (located,) = self._find(request)
        facts = SYNTAXES.get(located.transfer_syntax_uid)
        native = facts is None or (facts.little_endian and not facts.encapsulated)
        if path == PIXEL_DATA and located.frames is not None and not native and not (facts and facts.video):
            count = retrieve.frame_table(located).count
            return self._frames(request, where, located, range(1, count + 1))
        bulk = retrieve.bulk(self.archive, located, path)
        own = safe_type(bulk.media_type)
        offered = [Offer(own), Offer(own, multipart=True)]
        if own != "application/octet-stream":
            offered += [Offer("application/octet-stream"), Offer("application/octet-stream", multipart=True)]
        offer = negotiate(tries(request, parameters(request)), offered, located.transfer_syntax_uid)
        url = f"{where.url}/bulkdata/{path}"
        etag = etag_of("bulk", url, bulk.blob.etag, str(offer))
        headers = {"Cache-Control": IMMUTABLE, **safe_headers(own)}
        if not offer.multipart:
            headers["Content-Location"] = url
            return Representation(Known([bulk.blob]), offer.media_type, etag, headers)
        boundary = multipart.boundary_of("bulk", url, bulk.blob.etag, str(offer))
        part = multipart.Part(f"{offer.media_type}", url, bulk.blob)
        media_type = multipart.content_type(offer.media_type, boundary)
        return Representation(multipart.write([part], boundary), media_type, etag, headers)

    def _find(self, request: Request) -> tuple[Target, tuple[Located, ...]]:
        where = target(request, self.settings.public_url)
        return where, retrieve.find(self.archive, caller_of(request.scope), *where.uids)


def _refuse_video(where: Target, stored: str) -> None:
    """Frames of a video are no pictures of their own; the whole stream is the rendered resource."""
    facts = SYNTAXES.get(stored)
    if facts is not None and facts.video:
        kinds = offers.BULK_TYPES.get(stored, ())
        raise Failure(
            406,
            "not_acceptable",
            "A video has no frames that can be sent one by one; ask for its rendered resource.",
            headers={"Link": f'<{where.url}/rendered>; rel="alternate"'},
            members={"offered": list(kinds), "stored": stored},
        )
