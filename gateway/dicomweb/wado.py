"""WADO-RS: instances and frames (PS3.18 10.4).

Every body is byte-stable: boundary and entity tag follow from the stored digests and the chosen representation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from starlette.requests import Request

from gateway import retrieve
from gateway.dicom.uids import SYNTAXES
from gateway.dicomweb import multipart, offers, zipped
from gateway.dicomweb.bulkdata import Bulkdata
from gateway.dicomweb.frame_parts import made_parts, named, possible, stored_parts
from gateway.dicomweb.media_types import Offer, choose, negotiate
from gateway.dicomweb.offers import Tries
from gateway.dicomweb.resources import Target, frame_numbers, instance_url, parameters, target, tries
from gateway.errors import NotAcceptable
from gateway.http.bodies import Flowing, Known, settle
from gateway.http.failures import Failure
from gateway.http.identity import caller_of
from gateway.http.ranges import IMMUTABLE, REVALIDATE, Representation, etag_of, not_modified
from gateway.settings import Settings
from storage.archive import Archive
from storage.records import Located

Chosen = Mapping[str, Offer]
"""The offer of each instance, by SOP Instance UID."""


class Retrieve:
    """Retrieve transactions; blocking methods that Starlette runs in its worker threads."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings
        self.explicit = settings.retrieve_default == "explicit"

    # ------------------------------------------------------------ instances

    def instances(self, request: Request) -> Representation:
        """`/studies/{study}[/series/{series}[/instances/{instance}]]` (WADO-01): files, bulk data, or an archive."""
        where, found = self._find(request)
        accepted = tries(request, parameters(request))
        chosen = self._choose(found, accepted, single=where.sop_uid is not None)
        types = {offer.media_type for offer in chosen.values()}
        if types == {offers.ZIP}:
            return self._zip(request, where, found, chosen, accepted)
        if types != {offers.FILE}:
            return Bulkdata(self.archive, self.settings).of(request, where, found, accepted)
        if where.sop_uid is not None and not chosen[where.sop_uid].multipart:
            return self.single(request, found[0], chosen[where.sop_uid], accepted, where)
        return self._files(request, where, found, chosen, accepted)

    def _choose(self, found: Sequence[Located], accepted: Tries, *, single: bool) -> Chosen:
        """What each instance is sent as: chosen once for each way that instances can be had."""
        made: dict[tuple[str, tuple[str, ...]], Offer] = {}
        chosen: dict[str, Offer] = {}
        for located in found:
            stored, more = located.transfer_syntax_uid, possible(self.archive, located, accepted)
            if (stored, more) not in made:
                offered = offers.instances(stored, explicit=self.explicit, single=single, possible=more)
                offered += offers.frames(stored, explicit=self.explicit, single=False, possible=more)
                made[stored, more] = negotiate(accepted, offered + offers.archive(stored, more), stored)
            chosen[located.sop_uid] = made[stored, more]
        return chosen

    def _files(
        self, request: Request, where: Target, found: Sequence[Located], chosen: Chosen, accepted: Tries
    ) -> Representation:
        identity = ("instances", where.root, *(f"{one.digest} {named(chosen[one.sop_uid])}" for one in found))
        etag, boundary = etag_of(*identity), multipart.boundary_of(*identity)
        cached = IMMUTABLE if where.sop_uid is not None else REVALIDATE
        headers = {"Cache-Control": cached, "Content-Location": where.url}
        body: Known | Flowing
        if not_modified(request.headers, f'"{etag}"'):
            body = Known([])
        elif all(_as_stored(one, chosen[one.sop_uid]) for one in found):
            body = multipart.write(list(self._parts(where.root, found, chosen, accepted)), boundary)
        elif request.method == "HEAD":
            body = Flowing(iter(()))
        else:
            body = settle(multipart.flow(self._parts(where.root, found, chosen, accepted), boundary))
        media_type = multipart.content_type(offers.FILE, boundary)
        return Representation(body, media_type, etag, headers, modified=_modified(where, found[0]))

    def single(
        self, request: Request, located: Located, offer: Offer, accepted: Tries, where: Target
    ) -> Representation:
        """One file as a body of its own."""
        etag = etag_of("instance", located.digest, named(offer))
        headers = {
            "Cache-Control": IMMUTABLE,
            "Content-Location": where.url,
            "Content-Disposition": f'attachment; filename="{located.sop_uid}.dcm"',
        }
        modified, media_type = retrieve.stored_at(located), offer.content_type
        body: Known | Flowing
        if not_modified(request.headers, f'"{etag}"', modified):
            body = Known([])
        elif request.method == "HEAD" and not _as_stored(located, offer):
            body = Flowing(iter(()))
        else:
            blob, syntax_uid = self._part10(located, offer, accepted)
            body, media_type = Known([blob]), f"{offer.media_type}; transfer-syntax={syntax_uid}"
        return Representation(body, media_type, etag, headers, modified=modified)

    def _zip(
        self, request: Request, where: Target, found: Sequence[Located], chosen: Chosen, accepted: Tries
    ) -> Representation:
        """An archive of the files (MT-07)."""
        identity = [f"{one.digest} {named(chosen[one.sop_uid])}" for one in found]
        etag = etag_of("zip", zipped.FORM, *identity)
        name = where.sop_uid or where.series_uid or where.study_uid
        headers = {
            "Cache-Control": REVALIDATE,
            "Content-Location": where.url,
            "Content-Disposition": f'attachment; filename="{name}.zip"',
        }
        if request.method == "HEAD" or not_modified(request.headers, f'"{etag}"'):
            return Representation(Flowing(iter(())), offers.ZIP, etag, headers)
        blobs = (self._part10(one, chosen[one.sop_uid], accepted)[0] for one in found)
        return Representation(
            settle(zipped.flow(zip(zipped.names(found), blobs, strict=True))), offers.ZIP, etag, headers
        )

    def _parts(self, root: str, found: Sequence[Located], chosen: Chosen, accepted: Tries) -> Iterator[multipart.Part]:
        for located in found:
            offer = chosen[located.sop_uid]
            blob, syntax_uid = self._part10(located, offer, accepted)
            url = instance_url(root, located.study_uid, located.series_uid, located.sop_uid)
            yield multipart.Part(f"{offer.media_type}; transfer-syntax={syntax_uid}", url, blob)

    def _part10(self, located: Located, offer: Offer, accepted: Tries) -> tuple[retrieve.Blob, str]:
        """The file in the chosen syntax; as stored where that cannot be made and was not asked for by name (NEG-09)."""
        stored = located.transfer_syntax_uid
        if _as_stored(located, offer) or offer.syntax is None:
            return retrieve.part10(self.archive, located), stored
        try:
            return retrieve.part10(self.archive, located, offer.syntax), offer.syntax
        except NotAcceptable:
            instead = Offer(offer.media_type, offer.multipart, stored, stored=True)
            if stored in offers.FORBIDDEN or choose(accepted, [instead]) is None:
                raise
            return retrieve.part10(self.archive, located), stored

    # ------------------------------------------------------------ frames

    def frames(self, request: Request) -> Representation:
        """`/frames/{list}` of an instance (WADO-03), in the order asked."""
        numbers = frame_numbers(request.path_params["frames"])
        where, (located,) = self._find(request)
        stored = located.transfer_syntax_uid
        _refuse_video(where, stored)
        table = retrieve.frame_table(located)
        for number in numbers:
            table.span(number)
        accepted = tries(request, parameters(request))
        more = possible(self.archive, located, accepted)
        offered = offers.frames(stored, explicit=self.explicit, single=len(numbers) == 1, possible=more)
        offer = negotiate(accepted, offered, stored)
        identity = ("frames", where.url, located.digest, ",".join(map(str, numbers)), named(offer))
        etag, boundary = etag_of(*identity), multipart.boundary_of(*identity)
        headers = {"Cache-Control": IMMUTABLE}
        media_type = multipart.content_type(offer.media_type, boundary)
        if not offer.multipart:
            media_type, headers["Content-Location"] = offer.content_type, f"{where.url}/frames/{numbers[0]}"
        body: Known | Flowing
        modified = retrieve.stored_at(located)
        if not_modified(request.headers, f'"{etag}"', modified):
            body = Known([])
        elif offer.stored:
            parts = stored_parts(self.archive, located, where.url, numbers, offer)
            body = multipart.write(parts, boundary) if offer.multipart else Known([parts[0].body])
        elif request.method == "HEAD":
            body = Flowing(iter(()))
        else:
            made = made_parts(self.archive, located, where.url, numbers, offer)
            body = settle(multipart.flow(made, boundary)) if offer.multipart else Known([next(made).body])
        return Representation(body, media_type, etag, headers, modified=modified)

    def _find(self, request: Request) -> tuple[Target, tuple[Located, ...]]:
        where = target(request, self.settings.public_url)
        return where, retrieve.find(self.archive, caller_of(request.scope), *where.uids)


def _as_stored(located: Located, offer: Offer) -> bool:
    return offer.syntax == located.transfer_syntax_uid


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


def _modified(where: Target, located: Located) -> float | None:
    """Last-Modified of one instance. What holds several may lose one, and nothing in it becomes newer by that."""
    return retrieve.stored_at(located) if where.sop_uid is not None else None
