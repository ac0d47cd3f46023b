"""Bulk data: the value that a BulkDataURI names, and all of an instance, series or study (PS3.18 10.4.3.3.5, .6).

Compressed Pixel Data are its frames, one part each (TS-13); a video is one stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from starlette.requests import Request

from gateway import retrieve
from gateway.dicom.encoders import VERSION
from gateway.dicom.header import Header
from gateway.dicom.uids import SYNTAXES
from gateway.dicomweb import multipart, offers
from gateway.dicomweb.frame_parts import made_parts, named, possible, stored_parts
from gateway.dicomweb.media_types import Offer, choose, negotiate, not_acceptable
from gateway.dicomweb.multipart import Part
from gateway.dicomweb.offers import Tries
from gateway.dicomweb.resources import Target, instance_url, parameters, target, tries
from gateway.dicomweb.safety import safe_headers, safe_type
from gateway.errors import NotFound
from gateway.http.bodies import Flowing, Known, settle
from gateway.http.identity import caller_of
from gateway.http.ranges import IMMUTABLE, REVALIDATE, Representation, etag_of, not_modified
from gateway.settings import Settings
from storage.archive import Archive
from storage.records import Located

PIXEL_DATA = "7FE00010"
PIXELS = frozenset({PIXEL_DATA, "7FE00008", "7FE00009"})
"""What `/pixeldata` gives, at the top level only (WADO-11)."""


class Bulkdata:
    """Blocking methods that Starlette runs in its worker threads."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings
        self.explicit = settings.retrieve_default == "explicit"

    def value(self, request: Request) -> Representation:
        """`/bulkdata/{path}` of an instance: what a BulkDataURI names (WADO-05)."""
        path = request.path_params["path"]
        where, (located,) = self._find(request)
        accepted = tries(request, parameters(request))
        named_more = in_frames(located) or offers.wants_more(accepted, located.transfer_syntax_uid)
        if path == PIXEL_DATA and addressable(located) and named_more:
            return self._pixel_value(request, where, located, accepted)
        bulk = retrieve.bulk(self.archive, located, path)
        offered = _value_offers(located, path, bulk.media_type, single=True)
        offer = negotiate(accepted, offered, located.transfer_syntax_uid)
        url = f"{where.url}/bulkdata/{path}"
        identity = ("bulk", url, bulk.blob.etag, str(offer))
        headers = {"Cache-Control": IMMUTABLE, **safe_headers(offered[0].media_type, located.sop_uid)}
        etag, modified = etag_of(*identity), retrieve.stored_at(located)
        if not offer.multipart:
            headers["Content-Location"] = url
            return Representation(Known([bulk.blob]), offer.content_type, etag, headers, modified=modified)
        boundary = multipart.boundary_of(*identity)
        body = multipart.write([Part(offer.content_type, url, bulk.blob)], boundary)
        media_type = multipart.content_type(offer.media_type, boundary)
        return Representation(body, media_type, etag, headers, modified=modified)

    def all(self, request: Request) -> Representation:
        """`/bulkdata` of a study, series or instance: every bulk value (WADO-06, WADO-12)."""
        where, found = self._find(request)
        return self.of(request, where, found, tries(request, parameters(request)))

    def pixels(self, request: Request) -> Representation:
        """`/pixeldata` of a study, series or instance (WADO-06, WADO-11)."""
        where, found = self._find(request)
        cached = IMMUTABLE if where.sop_uid is not None else REVALIDATE
        return self._answer(request, where, found, tries(request, parameters(request)), cached, only=PIXELS)

    def of(self, request: Request, where: Target, found: Sequence[Located], accepted: Tries) -> Representation:
        """The bulk data of these instances, which are what `where` names (MT-01)."""
        cached = IMMUTABLE if where.sop_uid is not None else REVALIDATE
        return self._answer(request, where, found, accepted, cached, only=None)

    def _answer(
        self,
        request: Request,
        where: Target,
        found: Sequence[Located],
        accepted: Tries,
        cached: str,
        only: frozenset[str] | None,
    ) -> Representation:
        """Parts in the order of instances and elements. Raises NotFound where there is no bulk data at all."""
        ranges = [repr(one) for ranges in accepted for one in ranges]
        identity = ("bulkdata", VERSION, where.url, repr(sorted(only or ())), *ranges, *(one.digest for one in found))
        etag, boundary = etag_of(*identity), multipart.boundary_of(*identity)
        headers = {"Cache-Control": cached, "Content-Location": where.url}
        parts = chain.from_iterable(self._parts(where.root, located, accepted, only) for located in found)
        first = next(parts, None)
        if first is None:
            self._refuse(found, only)
            raise NotFound("there is no bulk data here")
        root_type = first.content_type.split(";")[0]
        media_type = multipart.content_type(root_type, boundary)
        body: Known | Flowing
        if not_modified(request.headers, f'"{etag}"'):
            body = Known([])
        elif request.method == "HEAD":
            body = Flowing(iter(()))
        elif where.sop_uid is not None:
            body = _settled(chain([first], parts), boundary)
        else:
            body = settle(multipart.flow(chain([first], parts), boundary))
        modified = retrieve.stored_at(found[0]) if where.sop_uid is not None else None
        return Representation(body, media_type, etag, headers, modified=modified)

    def _parts(self, root: str, located: Located, accepted: Tries, only: frozenset[str] | None) -> Iterator[Part]:
        """The parts of one instance; values that the client accepts in no form are left out (NEG-07)."""
        header = retrieve.header(self.archive, located)
        url = instance_url(root, located.study_uid, located.series_uid, located.sop_uid)
        for path in paths(header, only):
            bulk = (
                None
                if path == PIXEL_DATA and in_frames(located)
                else retrieve.bulk(self.archive, located, path, header)
            )
            offered = [] if bulk is None else _value_offers(located, path, bulk.media_type, single=False)
            if path == PIXEL_DATA and addressable(located):
                offered += self._frame_offers(located, accepted, single=False)
            offer = choose(accepted, offered)
            if offer is None:
                continue
            if bulk is not None and (offer.syntax is None or path != PIXEL_DATA):
                yield Part(offer.content_type, f"{url}/bulkdata/{path}", bulk.blob)
            else:
                yield from self._frames(located, url, offer)

    def _frame_offers(self, located: Located, accepted: Tries, *, single: bool) -> list[Offer]:
        more = possible(self.archive, located, accepted)
        return offers.frames(located.transfer_syntax_uid, explicit=self.explicit, single=single, possible=more)

    def _frames(self, located: Located, url: str, offer: Offer) -> Iterator[Part]:
        numbers = range(1, retrieve.frame_table(located).count + 1)
        if offer.stored:
            yield from stored_parts(self.archive, located, url, numbers, offer)
        else:
            yield from made_parts(self.archive, located, url, numbers, offer)

    def _pixel_value(self, request: Request, where: Target, located: Located, accepted: Tries) -> Representation:
        """`/bulkdata/7FE00010` frame by frame; where there is one only, it may come without multipart."""
        if retrieve.frame_table(located).count == 1:
            offer = choose(accepted, self._frame_offers(located, accepted, single=True))
            if offer is not None and not offer.multipart:
                etag = etag_of("bulk", where.url, PIXEL_DATA, located.digest, named(offer))
                headers = {"Cache-Control": IMMUTABLE, "Content-Location": f"{where.url}/bulkdata/{PIXEL_DATA}"}
                (part,) = self._frames(located, where.url, offer)
                modified = retrieve.stored_at(located)
                return Representation(Known([part.body]), offer.content_type, etag, headers, modified=modified)
        return self._answer(request, where, [located], accepted, IMMUTABLE, only=frozenset({PIXEL_DATA}))

    def _refuse(self, found: Sequence[Located], only: frozenset[str] | None) -> None:
        """Raises NotAcceptable where there is bulk data, in forms that the client does not accept (SC-406)."""
        for located in found:
            header = retrieve.header(self.archive, located)
            for path in paths(header, only):
                stored = located.transfer_syntax_uid
                if path == PIXEL_DATA and addressable(located):
                    raise not_acceptable(offers.frames(stored, explicit=self.explicit, single=False), stored)
                media_type = retrieve.bulk(self.archive, located, path, header).media_type
                raise not_acceptable(_value_offers(located, path, media_type, single=False), stored)

    def _find(self, request: Request) -> tuple[Target, tuple[Located, ...]]:
        where = target(request, self.settings.public_url)
        return where, retrieve.find(self.archive, caller_of(request.scope), *where.uids)


def paths(header: Header, only: frozenset[str] | None) -> list[str]:
    """The paths of the bulk values, those of `only` alone where it is given."""
    if only is None:
        return retrieve.bulk_paths(header)
    return [] if header.pixel is None or (path := f"{header.pixel.tag:08X}") not in only else [path]


def addressable(located: Located) -> bool:
    """Whether it has frames that can be sent one by one: those of a video cannot."""
    facts = SYNTAXES.get(located.transfer_syntax_uid)
    return located.frames is not None and not (facts is not None and facts.video)


def in_frames(located: Located) -> bool:
    """Whether Pixel Data are sent frame by frame in any case: compressed and big-endian ones (TS-13, GEN-13)."""
    facts = SYNTAXES.get(located.transfer_syntax_uid)
    native = facts is None or (facts.little_endian and not facts.encapsulated)
    return addressable(located) and not native


def _value_offers(located: Located, path: str, media_type: str, *, single: bool) -> list[Offer]:
    """What one value can be had as: its own type first, and octet-stream; `single` without multipart, too."""
    own, stored = safe_type(media_type), located.transfer_syntax_uid
    facts = SYNTAXES.get(stored)
    icon = path.endswith(f"/{PIXEL_DATA}") and facts is not None and facts.encapsulated
    found: list[tuple[str, str | None]] = [(own, None)]
    if icon:
        found = [(name, stored) for name in offers.BULK_TYPES.get(stored, (offers.OCTETS,))]
    if found[0][0] != offers.OCTETS:
        found.append((offers.OCTETS, stored if icon else None))
    order = (False, True) if single else (True,)
    return [Offer(name, several, uid, stored=uid is not None) for several in order for name, uid in found]


def _settled(parts: Iterator[Part], boundary: str) -> Known | Flowing:
    """The parts of one instance: of known length as long as all of them are read when they are sent."""
    listed: list[Part] = []
    for part in parts:
        listed.append(part)
        if isinstance(part.body, bytes):  # made just now: not all of them at once
            return settle(multipart.flow(chain(listed, parts), boundary))
    return multipart.write(listed, boundary)
