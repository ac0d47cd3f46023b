"""What each stored instance can be rendered as, and the bytes of one rendering (PS3.18 8.7.4, Table 8.7.4-1)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import render, retrieve
from gateway.blob import Blob
from gateway.caller import Caller
from gateway.dicomweb.safety import safe_type
from gateway.render import Picture, View, others
from gateway.render.kinds import Kind, kind_of
from gateway.render.presentation import Region, laid_over, members, through
from gateway.render.video import video, video_types
from storage.archive import Archive
from storage.records import Located

ENCAPSULATED_DOCUMENT = "00420011"
TEXT_TYPES = tuple(others.WRITERS)
DRAWN_TYPES = ("image/png", others.SVG, *(name for name in render.FORMATS if name != "image/png"))
"""Of waveforms: sharp lines first."""
PICTURE_TYPES = tuple(render.FORMATS)

_SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing to be rendered: a frame (1-based) of an instance, or the instance as a whole.

    `state` is the presentation state that a frame is seen through, `region` the part of its displayed area that is
    wanted, and `above` names what the state lays over it.
    """

    located: Located
    frame: int | None
    types: tuple[str, ...]
    state: Located | None = None
    region: Region | None = None
    above: str = ""

    @property
    def identity(self) -> str:
        """The same for the same stored bytes."""
        through = f" {self.state.digest} {self.region!r} {self.above}" if self.state is not None else ""
        return f"{self.located.digest} {self.frame}{through}"


def units_of(archive: Archive, located: Located) -> list[Unit]:
    """What there is to be rendered of an instance, in order; nothing where it has no rendering (IMG-22).

    A presentation state has none of its own: it stands for images (`stated`).
    """
    kind = kind_of(located)
    if kind is Kind.FRAMES:
        numbers = range(1, retrieve.frame_table(located).count + 1)
        return [Unit(located, number, PICTURE_TYPES) for number in numbers]
    types = types_of(archive, located, kind)
    return [Unit(located, None, types)] if types else []


def stated(archive: Archive, caller: Caller, state: Located) -> tuple[list[Unit], int]:
    """The frames that a presentation state is for, in order (RP-08), and how many of its images are not here.

    Raises NotRenderable when none is.
    """
    found = members(archive, caller, state)
    units = [
        Unit(image, frame, PICTURE_TYPES, state, above=laid_over(archive, state, image, frame))
        for image, frame in found.frames
    ]
    return units, found.missing


def types_of(archive: Archive, located: Located, kind: Kind) -> tuple[str, ...]:
    """Media types of the instance as a whole, the default first."""
    if kind is Kind.VIDEO:
        return video_types(archive, located)
    if kind is Kind.DOCUMENT:
        own = safe_type(retrieve.bulk(archive, located, ENCAPSULATED_DOCUMENT).media_type)
        # A browser that goes to a PDF is to see it, though it would like HTML better.
        return (own,) if own == "application/pdf" else tuple(dict.fromkeys((own, *TEXT_TYPES)))
    if kind is Kind.REPORT:
        return TEXT_TYPES
    if kind is Kind.WAVEFORM:
        return DRAWN_TYPES
    return PICTURE_TYPES if kind is Kind.FRAMES else ()


def picture_of(archive: Archive, unit: Unit, view: View, media_type: str) -> Picture:
    """The picture of a frame. Raises NotRenderable, BadRequest as `render` does."""
    assert unit.frame is not None
    if unit.state is not None:
        return through(archive, unit.state, unit.located, unit.frame, view, media_type, unit.region)
    return render.render(archive, unit.located, unit.frame, view, media_type)


def body_of(archive: Archive, unit: Unit, view: View, media_type: str) -> bytes | Blob:
    """The bytes of a rendering. Raises NotRenderable, BadRequest as `render` does."""
    located, kind = unit.located, kind_of(unit.located)
    if unit.frame is not None:
        return picture_of(archive, unit, view, media_type).data
    if kind is Kind.VIDEO:
        return video(archive, located, media_type)
    if kind is Kind.DOCUMENT:
        if is_stored(unit, media_type):
            return retrieve.bulk(archive, located, ENCAPSULATED_DOCUMENT).blob
        return others.description(archive, located, media_type)
    if kind is Kind.REPORT:
        return others.report(archive, located, media_type)
    return others.waveform(archive, located, view, media_type).data


def is_stored(unit: Unit, media_type: str) -> bool:
    """Whether this rendering is what was stored, or is kept as if it were: a video, a document in its own type."""
    kind = kind_of(unit.located)
    return kind is Kind.VIDEO or (kind is Kind.DOCUMENT and media_type == unit.types[0])


def content_type(unit: Unit, media_type: str) -> str:
    """The media type as it is sent: text that is made here says that it is UTF-8 (GEN-15)."""
    return (
        f"{media_type}; charset=utf-8" if media_type in TEXT_TYPES and not is_stored(unit, media_type) else media_type
    )


def own_headers(media_type: str) -> dict[str, str]:
    """Headers that keep text and drawings made here from doing anything in a browser but being looked at (S-39)."""
    if media_type in TEXT_TYPES or media_type == others.SVG:
        return {"Content-Disposition": "inline", "Content-Security-Policy": _SANDBOX}
    return {}
