"""Rendered and thumbnail resources (PS3.18 10.4.1.1.3, 10.4.3.3.4) at study, series, instance and frame level.

Where one picture is asked of many (NEG-12 would answer 406, viewers expect a picture), the one in the middle stands for
all of them: the middle frame of the instance with frames nearest to the middle. `multipart/related` gets every frame,
and of what is no image each instance in a type that is acceptable for it (NEG-07).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.requests import Request

from gateway import render, retrieve
from gateway.dicomweb import offers
from gateway.dicomweb.media_types import MediaRange, Offer, negotiate
from gateway.dicomweb.render_parameters import ANNOTATION_UNSUPPORTED, annotations_of, check_state, size_of, view_of
from gateway.dicomweb.rendered_parts import offers_of, several, warn
from gateway.dicomweb.renderings import (
    DRAWN_TYPES,
    PICTURE_TYPES,
    Unit,
    body_of,
    content_type,
    is_stored,
    own_headers,
    picture_of,
    stated,
    types_of,
    units_of,
)
from gateway.dicomweb.resources import Target, frame_numbers, parameters, target, tries
from gateway.dicomweb.safety import safe_headers
from gateway.errors import NotFound, NotRenderable
from gateway.http.bodies import Flowing, Known
from gateway.http.identity import caller_of
from gateway.http.ranges import IMMUTABLE, REVALIDATE, Representation, etag_of, not_modified
from gateway.render import Picture, View, others
from gateway.render.animation import ANIMATED
from gateway.render.icon import icon
from gateway.render.kinds import Kind, kind_of, why_nothing
from gateway.render.representative import representative
from gateway.settings import Settings
from storage.archive import Archive
from storage.records import Located

DESCRIBED = "Gantry-Rendering"
"""Header that says what a picture shows: `renderer="5", frame=1, window="40,400,linear", source=image`."""

ICON = "there is no picture of it; this is a neutral icon"
MISSING = "{} images that the presentation state refers to are not here"


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
        accepted = tries(request, asked)
        headers = {"Content-Location": where.url}
        _, unsupported = annotations_of(asked)
        if unsupported:
            warn(headers, where.root, ANNOTATION_UNSUPPORTED.format(",".join(unsupported)))
        if "frames" not in request.path_params and any(kind_of(one) is Kind.FRAMES for one in found):
            return self._pictures(request, where, found, view, accepted, headers)
        units, missing = self._units(request, found)
        if units[0].state is not None:
            check_state(asked)
        if missing:
            warn(headers, where.root, MISSING.format(missing))
        if where.sop_uid is not None and len(units) == 1 and units[0].frame is None:
            return self._whole_or_part(request, where, units[0], view, accepted, headers)
        every = tuple(dict.fromkeys(name for unit in units for name in unit.types))
        # Frames, or images of states; text and drawings of several instances come as multipart only.
        single = PICTURE_TYPES if units[0].frame is not None else ()
        parts = every if len(units) > 1 or not single else ()
        offer = negotiate(accepted, offers_of(single, parts), found[0].transfer_syntax_uid)
        if offer.multipart:
            return several(self.archive, request, where, units, view, accepted, headers)
        chosen = units[0] if units[0].state is None else units[len(units) // 2]
        return self.one(request, chosen, offer, headers, where, view)

    def _pictures(
        self,
        request: Request,
        where: Target,
        found: Sequence[Located],
        view: View,
        accepted: Sequence[Sequence[MediaRange]],
        headers: dict[str, str],
    ) -> Representation:
        """Where there are images: one picture for all, a moving one of an instance, or all there is as multipart."""
        more = len(found) > 1 or retrieve.frame_table(found[0]).count > 1
        every: dict[str, None] = dict.fromkeys(PICTURE_TYPES if more else ())
        for one in found:
            kind = kind_of(one)
            every |= dict.fromkeys(() if kind is Kind.FRAMES else types_of(self.archive, one, kind))
        offer = negotiate(accepted, offers_of(PICTURE_TYPES, tuple(every)), found[0].transfer_syntax_uid)
        if offer.multipart:
            return several(self.archive, request, where, self._units(request, found)[0], view, accepted, headers)
        if more and where.sop_uid is not None and offer.media_type in ANIMATED:
            return self.animation(request, found[0], view, offer.media_type, headers)
        return self.one(request, Unit(*representative(found), PICTURE_TYPES), offer, headers, where, view)

    def _whole_or_part(
        self,
        request: Request,
        where: Target,
        unit: Unit,
        view: View,
        accepted: Sequence[Sequence[MediaRange]],
        headers: dict[str, str],
    ) -> Representation:
        """An instance that is no image, by itself or as the one part of a multipart body."""
        offer = negotiate(accepted, offers_of(unit.types, unit.types), unit.located.transfer_syntax_uid)
        if view.annotation and (offer.media_type == others.SVG or unit.types != DRAWN_TYPES):
            # text has the patient in its head; documents, videos and drawings in SVG are as they are
            warn(headers, where.root, ANNOTATION_UNSUPPORTED.format(",".join(view.annotation)))
        if offer.multipart:
            return several(self.archive, request, where, [unit], view, accepted, headers)
        return self.whole(request, unit, view, offer.media_type, headers)

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
        if is_stored(unit, media_type):
            return self.as_is(unit, media_type, headers)
        sent = {"Cache-Control": IMMUTABLE, **headers, **own_headers(media_type)}
        how = repr(view) if kind_of(unit.located) is Kind.WAVEFORM else ""
        etag = etag_of("whole", render.VERSION, unit.located.digest, how, media_type)
        if not_modified(request.headers, f'"{etag}"'):
            return Representation(Known([]), content_type(unit, media_type), etag, sent)
        body = body_of(self.archive, unit, view, media_type)
        assert isinstance(body, bytes)
        return Representation(Known([body]), content_type(unit, media_type), etag, sent)

    def as_is(self, unit: Unit, media_type: str, more: Mapping[str, str]) -> Representation:
        """A document or video as it was stored; ranges let a player seek."""
        blob = body_of(self.archive, unit, View(), media_type)
        assert not isinstance(blob, bytes)
        headers = {"Cache-Control": IMMUTABLE, **more, **safe_headers(media_type, unit.located.sop_uid)}
        return Representation(Known([blob]), media_type, etag_of("rendered", blob.etag), headers)

    def _units(self, request: Request, found: Sequence[Located]) -> tuple[list[Unit], int]:
        """What there is to be rendered, at least one thing, and how many images of presentation states are not here.

        States count where there is nothing else: in a study their images stand for themselves. Raises NotFound for a
        frame that is none, NotRenderable for nothing.
        """
        if "frames" in request.path_params:
            return _named(request, found[0]), 0
        units = [unit for located in found for unit in units_of(self.archive, located)]
        if units:
            return units, 0
        missing, last = 0, NotRenderable(why_nothing(found[0]))
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


def _named(request: Request, located: Located) -> list[Unit]:
    """The frames in the path. Raises NotFound for a number that is none."""
    numbers = frame_numbers(request.path_params["frames"])
    if located.frames is None:
        raise NotFound("the instance has no frames")
    table = retrieve.frame_table(located)
    for number in numbers:
        table.span(number)
    return [Unit(located, number, PICTURE_TYPES) for number in numbers]
