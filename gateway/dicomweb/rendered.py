"""Rendered and thumbnail resources (PS3.18 10.4.1.1.3, 10.4.3.3.4) at study, series, instance and frame level.

Where one picture is asked of many (NEG-12 would answer 406, viewers expect a picture), the one in the middle stands for
all of them: the middle frame of the instance with frames nearest to the middle. `multipart/related` gets every frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from starlette.requests import Request

from gateway import render, retrieve
from gateway.dicom.uids import SYNTAXES
from gateway.dicomweb import multipart, offers
from gateway.dicomweb.media_types import Offer, negotiate
from gateway.dicomweb.render_parameters import ANNOTATION_UNSUPPORTED, annotations_of, size_of, view_of
from gateway.dicomweb.resources import Target, frame_numbers, instance_url, parameters, target, tries
from gateway.dicomweb.safety import safe_headers, safe_type
from gateway.errors import NotFound, NotRenderable
from gateway.http.bodies import Flowing, Known, settle
from gateway.http.identity import caller_of
from gateway.http.ranges import IMMUTABLE, REVALIDATE, Representation, etag_of, not_modified
from gateway.render import Picture, View
from gateway.render.representative import representative
from gateway.settings import Settings
from storage.archive import Archive
from storage.records import Located

ENCAPSULATED_DOCUMENT = "00420011"
ENCAPSULATED_CLASSES = "1.2.840.10008.5.1.4.1.1.104."
DESCRIBED = "Gantry-Rendering"
"""Header that says what a picture shows: `renderer="2", frame=1, window="40,400,linear", source=image`."""

Frames = Sequence[tuple[Located, int]]


class Render:
    """Rendered transactions; blocking methods that Starlette runs in its worker threads."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings

    def rendered(self, request: Request) -> Representation:
        """The four with `/rendered` (WADO-04)."""
        asked = parameters(request)
        view = view_of(asked)
        where, found = self._find(request)
        if where.sop_uid is not None and (document := self.document(found[0])) is not None:
            negotiate(tries(request, asked), [Offer(document[1])], found[0].transfer_syntax_uid)
            return self.as_is(request, where, found[0], *document)
        frames = _frames(request, found)
        offered = offers.rendered(several=len(frames) > 1)
        offer = negotiate(tries(request, asked), offered, found[0].transfer_syntax_uid)
        headers = {"Content-Location": where.url}
        unsupported = annotations_of(asked)
        if unsupported:
            headers["Warning"] = f"299 {where.root}: {ANNOTATION_UNSUPPORTED.format(','.join(unsupported))}"
        if offer.multipart:
            return self._several(request, where, frames, view, offer, headers)
        if "frames" not in request.path_params:
            frames = [representative(found)]
        return self.one(request, frames[0], offer, headers, where, view)

    def thumbnail(self, request: Request) -> Representation:
        """The four with `/thumbnail` (WADO-07); `viewport` gives its size."""
        asked = parameters(request)
        size = size_of(asked)
        where, found = self._find(request)
        offer = negotiate(tries(request, asked), offers.rendered(several=False), found[0].transfer_syntax_uid)
        try:
            chosen = _frames(request, found)[0] if "frames" in request.path_params else representative(found)
            return self.one(request, chosen, offer, {}, where, size)
        except NotRenderable as error:
            raise NotFound(f"there is no thumbnail: {error}") from error

    def one(
        self,
        request: Request,
        chosen: tuple[Located, int],
        offer: Offer,
        headers: dict[str, str],
        where: Target,
        how: View | tuple[int, int],
    ) -> Representation:
        """The picture of one frame, in a View or as a thumbnail of a size."""
        located, frame = chosen
        etag = etag_of("picture", render.VERSION, located.digest, str(frame), repr(how), offer.media_type)
        headers["Cache-Control"] = IMMUTABLE if where.sop_uid is not None else REVALIDATE
        if not_modified(request.headers, f'"{etag}"'):
            return Representation(Known([]), offer.media_type, etag, headers)
        if request.method == "HEAD":
            return Representation(Flowing(iter(())), offer.media_type, etag, headers)
        if isinstance(how, View):
            picture = render.render(self.archive, located, frame, how, offer.media_type)
        else:
            picture = render.thumbnail(self.archive, located, frame, how, offer.media_type)
        headers[DESCRIBED] = described(picture, frame)
        return Representation(Known([picture.data]), picture.media_type, etag, headers)

    def _several(
        self, request: Request, where: Target, frames: Frames, view: View, offer: Offer, headers: dict[str, str]
    ) -> Representation:
        """One part for each frame, in order (RP-09), made while they are sent."""
        numbers = [f"{located.digest} {frame}" for located, frame in frames]
        identity = ("pictures", render.VERSION, where.url, repr(view), offer.media_type, *numbers)
        etag, boundary = etag_of(*identity), multipart.boundary_of(*identity)
        media_type = multipart.content_type(offer.media_type, boundary)
        headers["Cache-Control"] = REVALIDATE
        body: Known | Flowing
        if not_modified(request.headers, f'"{etag}"'):
            body = Known([])
        elif request.method == "HEAD":
            body = Flowing(iter(()))
        else:
            body = settle(multipart.flow(self._pictures(where.root, frames, view, offer), boundary))
        return Representation(body, media_type, etag, headers)

    def _pictures(self, root: str, frames: Frames, view: View, offer: Offer) -> Iterator[multipart.Part]:
        for located, frame in frames:
            picture = render.render(self.archive, located, frame, view, offer.media_type)
            url = instance_url(root, located.study_uid, located.series_uid, located.sop_uid)
            yield multipart.Part(picture.media_type, f"{url}/frames/{frame}", picture.data)

    def document(self, located: Located) -> tuple[str, str] | None:
        """Bulk data path and media type of what is its own rendering: an encapsulated document, a video."""
        if located.sop_class_uid.startswith(ENCAPSULATED_CLASSES):
            return ENCAPSULATED_DOCUMENT, safe_type(
                retrieve.bulk(self.archive, located, ENCAPSULATED_DOCUMENT).media_type
            )
        facts = SYNTAXES.get(located.transfer_syntax_uid)
        if facts is not None and facts.video and located.frames is not None:
            return "7FE00010", offers.BULK_TYPES[located.transfer_syntax_uid][0]
        return None

    def as_is(self, request: Request, where: Target, located: Located, path: str, media_type: str) -> Representation:
        """A document or video as it was stored; ranges let a player seek."""
        bulk = retrieve.bulk(self.archive, located, path)
        headers: Mapping[str, str] = {
            "Cache-Control": IMMUTABLE,
            "Content-Location": where.url,
            **safe_headers(media_type),
        }
        return Representation(Known([bulk.blob]), media_type, etag_of("rendered", bulk.blob.etag), headers)

    def _find(self, request: Request) -> tuple[Target, tuple[Located, ...]]:
        where = target(request, self.settings.public_url)
        return where, retrieve.find(self.archive, caller_of(request.scope), *where.uids)


def described(picture: Picture, frame: int) -> str:
    """The renderer's version, the frame (1-based), the window and where that is from; the last two not for colour."""
    window, _, source = picture.window.partition("; ")
    shown = f', window="{window}", {source}' if window else ""
    return f'renderer="{render.VERSION}", frame={frame}{shown}'


def _frames(request: Request, found: Sequence[Located]) -> Frames:
    """Every frame that is asked for. Raises NotFound for a number that is none, NotRenderable when there are none."""
    if "frames" in request.path_params:
        numbers = frame_numbers(request.path_params["frames"])
        if found[0].frames is None:
            raise NotRenderable("the instance has no frames")
        table = retrieve.frame_table(found[0])
        for number in numbers:
            table.span(number)
        return [(found[0], number) for number in numbers]
    every = [
        (located, number)
        for located in found
        if located.frames is not None
        for number in range(1, retrieve.frame_table(located).count + 1)
    ]
    if not every:
        raise NotRenderable("nothing here has a picture")
    return every
