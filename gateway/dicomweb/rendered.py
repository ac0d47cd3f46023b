"""Rendered and thumbnail resources (PS3.18 10.4.1.1.3, 10.4.3.3.4) at study, series, instance and frame level.

Where one picture is asked of many (NEG-12 would answer 406, viewers expect a picture), the one in the middle stands for
all of them: the middle frame of the instance with frames nearest to the middle. `multipart/related` gets every frame,
and of what is no image each instance in a type that is acceptable for it (NEG-07).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from starlette.requests import Request

from gateway import render, retrieve
from gateway.dicomweb import multipart, offers
from gateway.dicomweb.media_types import MediaRange, Offer, choose, negotiate, not_acceptable
from gateway.dicomweb.render_parameters import ANNOTATION_UNSUPPORTED, annotations_of, check_state, size_of, view_of
from gateway.dicomweb.renderings import (
    DRAWN_TYPES,
    PICTURE_TYPES,
    Unit,
    body_of,
    content_type,
    own_headers,
    picture_of,
    stated,
    types_of,
    units_of,
)
from gateway.dicomweb.resources import Target, frame_numbers, instance_url, parameters, target, tries
from gateway.dicomweb.safety import safe_headers
from gateway.errors import NotFound, NotRenderable
from gateway.http.bodies import Flowing, Known, settle
from gateway.http.identity import caller_of
from gateway.http.ranges import IMMUTABLE, REVALIDATE, Representation, etag_of, not_modified
from gateway.render import Picture, View, others
from gateway.render.animation import ANIMATED
from gateway.render.icon import icon
from gateway.render.kinds import Kind, kind_of
from gateway.render.representative import representative
from gateway.settings import Settings
from storage.archive import Archive
from storage.records import Located

DESCRIBED = "Gantry-Rendering"
"""Header that says what a picture shows: `renderer="2", frame=1, window="40,400,linear", source=image`."""

ICON = "there is no picture of it; this is a neutral icon"
MISSING = "{} images that the presentation state refers to are not here"
LEFT_OUT = "{} of {} renderings are in no acceptable media type and are left out"

Chosen = Sequence[tuple[Unit, str]]
"""What is rendered, and the media type of each."""


class Render:
    """Rendered transactions; blocking methods that Starlette runs in its worker threads."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings

    def rendered(self, request: Request) -> Representation:
        """The four with `/rendered` (WADO-04)."""
        asked = parameters(request)
        view = view_of(asked, self.settings)
        where, found = self._find(request)
        accepted, stored = tries(request, asked), found[0].transfer_syntax_uid
        units, missing = self._units(request, found)
        if not units:
            raise NotRenderable("nothing here has a picture")
        if any(unit.state is not None for unit in units):
            check_state(asked)
        headers = {"Content-Location": where.url}
        _, unsupported = annotations_of(asked)
        if unsupported:
            _warn(headers, where.root, ANNOTATION_UNSUPPORTED.format(",".join(unsupported)))
        if missing:
            _warn(headers, where.root, MISSING.format(missing))
        if where.sop_uid is not None and len(units) == 1 and units[0].frame is None:
            offer = negotiate(accepted, _offers(units[0].types, units[0].types), stored)
            if view.annotation and (offer.media_type == others.SVG or units[0].types != DRAWN_TYPES):
                # text has the patient in its head; documents, videos and drawings in SVG are as they are
                _warn(headers, where.root, ANNOTATION_UNSUPPORTED.format(",".join(view.annotation)))
            if not offer.multipart:
                return self.whole(request, units[0], view, offer.media_type, headers)
        else:
            # One picture for all where there are pictures; text and drawings of several instances as multipart only.
            frames = [unit for unit in units if unit.frame is not None]
            every = tuple(dict.fromkeys(name for unit in units for name in unit.types))
            offered = _offers(PICTURE_TYPES if frames else (), every if len(units) > 1 or not frames else ())
            offer = negotiate(accepted, offered, stored)
            if not offer.multipart and len(frames) > 1 and "frames" not in request.path_params:
                if where.sop_uid is not None and offer.media_type in ANIMATED and frames[0].state is None:
                    return self.animation(request, found[0], view, offer.media_type, headers)
                frames = [middle(found, frames)]
            if not offer.multipart:
                return self.one(request, frames[0], offer, headers, where, view)
        return self._several(request, where, units, view, accepted, headers)

    def thumbnail(self, request: Request) -> Representation:
        """The four with `/thumbnail` (WADO-07); `viewport` gives its size. A neutral icon where there is no picture."""
        asked = parameters(request)
        size = size_of(asked)
        where, found = self._find(request)
        offer = negotiate(tries(request, asked), offers.rendered(several=False), found[0].transfer_syntax_uid)
        if "frames" in request.path_params:
            unit = _named(request, found[0])[0]
        else:
            drawn = next((one for one in found if kind_of(one) is Kind.WAVEFORM), None)
            try:
                unit = Unit(*representative(found), PICTURE_TYPES)
            except NotRenderable:
                if drawn is None:
                    return self._icon(where, offer, size)
                unit = Unit(drawn, None, DRAWN_TYPES)
        try:
            return self.one(request, unit, offer, {}, where, size)
        except NotRenderable:
            return self._icon(where, offer, size)

    def one(
        self,
        request: Request,
        unit: Unit,
        offer: Offer,
        headers: dict[str, str],
        where: Target,
        how: View | tuple[int, int],
    ) -> Representation:
        """The picture of one frame in a View, or a thumbnail of a size: of a frame, or of the drawing of a waveform."""
        located, frame = unit.located, unit.frame
        etag = etag_of("picture", render.VERSION, unit.identity, repr(how), offer.media_type)
        # The images of a state may come after it.
        settled = where.sop_uid is not None and unit.state is None
        headers["Cache-Control"] = IMMUTABLE if settled else REVALIDATE
        if not_modified(request.headers, f'"{etag}"'):
            return Representation(Known([]), offer.media_type, etag, headers)
        if request.method == "HEAD":
            return Representation(Flowing(iter(())), offer.media_type, etag, headers)
        if isinstance(how, View):
            picture = picture_of(self.archive, unit, how, offer.media_type)
        elif frame is None:
            picture = others.waveform_thumbnail(self.archive, located, how, offer.media_type)
        else:
            picture = render.thumbnail(self.archive, located, frame, how, offer.media_type)
        headers[DESCRIBED] = described(picture, frame or 1)
        return Representation(Known([picture.data]), picture.media_type, etag, headers)

    def animation(
        self, request: Request, located: Located, view: View, media_type: str, headers: dict[str, str]
    ) -> Representation:
        """All frames of an instance as one moving picture (RT-02)."""
        etag = etag_of("animation", render.VERSION, located.digest, repr(view), media_type)
        headers["Cache-Control"] = IMMUTABLE
        if not_modified(request.headers, f'"{etag}"'):
            return Representation(Known([]), media_type, etag, headers)
        if request.method == "HEAD":
            return Representation(Flowing(iter(())), media_type, etag, headers)
        data = others.animation(self.archive, located, view, media_type).data
        return Representation(Known([data]), media_type, etag, headers)

    def whole(
        self, request: Request, unit: Unit, view: View, media_type: str, headers: Mapping[str, str]
    ) -> Representation:
        """An instance that is no image: a stored document or video as it is, a report or waveform as it is made."""
        kind = kind_of(unit.located)
        if kind in (Kind.VIDEO, Kind.DOCUMENT):
            return self.as_is(unit, media_type, headers)
        sent = {"Cache-Control": IMMUTABLE, **headers, **own_headers(media_type)}
        how = repr(view) if kind is Kind.WAVEFORM else ""
        etag = etag_of("whole", render.VERSION, unit.located.digest, how, media_type)
        if not_modified(request.headers, f'"{etag}"'):
            return Representation(Known([]), content_type(media_type), etag, sent)
        body = body_of(self.archive, unit, view, media_type)
        assert isinstance(body, bytes)
        return Representation(Known([body]), content_type(media_type), etag, sent)

    def as_is(self, unit: Unit, media_type: str, more: Mapping[str, str]) -> Representation:
        """A document or video as it was stored; ranges let a player seek."""
        blob = body_of(self.archive, unit, View(), media_type)
        assert not isinstance(blob, bytes)
        headers = {"Cache-Control": IMMUTABLE, **more, **safe_headers(media_type, unit.located.sop_uid)}
        return Representation(Known([blob]), media_type, etag_of("rendered", blob.etag), headers)

    def _several(
        self,
        request: Request,
        where: Target,
        units: Sequence[Unit],
        view: View,
        accepted: Sequence[Sequence[MediaRange]],
        headers: dict[str, str],
    ) -> Representation:
        """One part for each rendering, in order (RP-09), each in a type that is acceptable for it, made while sent."""
        chosen = _choose_each(units, accepted)
        if not chosen:
            raise not_acceptable([Offer(name, True) for unit in units for name in unit.types])
        if len(chosen) < len(units):
            _warn(headers, where.root, LEFT_OUT.format(len(units) - len(chosen), len(units)))
        names = [f"{unit.identity} {media_type}" for unit, media_type in chosen]
        identity = ("pictures", render.VERSION, where.url, repr(view), *names)
        etag, boundary = etag_of(*identity), multipart.boundary_of(*identity)
        media_type = multipart.content_type(chosen[0][1], boundary)
        headers["Cache-Control"] = REVALIDATE
        body: Known | Flowing
        if not_modified(request.headers, f'"{etag}"'):
            body = Known([])
        elif request.method == "HEAD":
            body = Flowing(iter(()))
        else:
            body = settle(multipart.flow(self._parts(where.root, chosen, view), boundary))
        return Representation(body, media_type, etag, headers)

    def _parts(self, root: str, chosen: Chosen, view: View) -> Iterator[multipart.Part]:
        for unit, media_type in chosen:
            located = unit.located
            url = instance_url(root, located.study_uid, located.series_uid, located.sop_uid)
            location = url if unit.frame is None else f"{url}/frames/{unit.frame}"
            yield multipart.Part(content_type(media_type), location, body_of(self.archive, unit, view, media_type))

    def _units(self, request: Request, found: Sequence[Located]) -> tuple[list[Unit], int]:
        """What there is to be rendered, and how many images of presentation states are not here.

        States count where there is nothing else: in a study their images stand for themselves. Raises NotFound for a
        frame that is none.
        """
        if "frames" in request.path_params:
            return _named(request, found[0]), 0
        units = [unit for located in found for unit in units_of(self.archive, located)]
        if units:
            return units, 0
        missing, last = 0, NotRenderable("nothing here has a picture")
        for located in found:
            if kind_of(located) is Kind.STATE:
                try:
                    more, absent = stated(self.archive, caller_of(request.scope), located)
                except NotRenderable as error:
                    last = error
                    continue
                units, missing = units + more, missing + absent
        if not units:
            raise last
        return units, missing

    def _icon(self, where: Target, offer: Offer, size: tuple[int, int]) -> Representation:
        """It may be replaced by a picture one day, so it is not immutable."""
        headers = {"Cache-Control": REVALIDATE, "Warning": f"299 {where.root}: {ICON}"}
        picture = icon(size, offer.media_type)
        etag = etag_of("icon", render.VERSION, repr(size), offer.media_type)
        return Representation(Known([picture.data]), picture.media_type, etag, headers)

    def whole_unit(self, located: Located) -> Unit | None:
        """The instance as a whole, where that is how it is rendered: no image, but something else to be shown."""
        kind = kind_of(located)
        types = () if kind is Kind.FRAMES else types_of(self.archive, located, kind)
        return Unit(located, None, types) if types else None

    def _find(self, request: Request) -> tuple[Target, tuple[Located, ...]]:
        where = target(request, self.settings.public_url)
        return where, retrieve.find(self.archive, caller_of(request.scope), *where.uids)


def described(picture: Picture, frame: int) -> str:
    """The renderer's version, the frame (1-based), the window and where that is from; the last two not for colour."""
    window, _, source = picture.window.partition("; ")
    shown = f', window="{window}", {source}' if window else ""
    return f'renderer="{render.VERSION}", frame={frame}{shown}'


def middle(found: Sequence[Located], frames: Sequence[Unit]) -> Unit:
    """The one of many frames that stands for all."""
    if frames[0].state is not None:
        return frames[len(frames) // 2]
    return Unit(*representative(found), PICTURE_TYPES)


def _warn(headers: dict[str, str], root: str, text: str) -> None:
    headers["Warning"] = ", ".join(filter(None, (headers.get("Warning"), f"299 {root}: {text}")))


def _named(request: Request, located: Located) -> list[Unit]:
    """The frames in the path. Raises NotFound for a number that is none."""
    numbers = frame_numbers(request.path_params["frames"])
    if located.frames is None:
        raise NotFound("the instance has no frames")
    table = retrieve.frame_table(located)
    for number in numbers:
        table.span(number)
    return [Unit(located, number, PICTURE_TYPES) for number in numbers]


def _offers(single: Sequence[str], several: Sequence[str]) -> list[Offer]:
    return [*(Offer(name) for name in single), *(Offer(name, multipart=True) for name in several)]


def _choose_each(units: Sequence[Unit], accepted: Sequence[Sequence[MediaRange]]) -> list[tuple[Unit, str]]:
    """The media type of each rendering; those that none is acceptable for are left out."""
    known: dict[tuple[str, ...], str | None] = {}
    chosen = []
    for unit in units:
        if unit.types not in known:
            offer = choose(accepted, _offers((), unit.types))
            known[unit.types] = offer.media_type if offer is not None else None
        media_type = known[unit.types]
        if media_type is not None:
            chosen.append((unit, media_type))
    return chosen
