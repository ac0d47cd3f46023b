"""Stored presentation states and the stored images that they refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from gateway import retrieve
from gateway.caller import Caller
from gateway.dicom.header import Header
from gateway.errors import NotFound, NotRenderable
from gateway.render.kept import keep
from gateway.render.kinds import BLENDING_STATE, Kind, kind_of
from gateway.render.parameters import group
from gateway.render.presentation.picture import Over, Region, present
from gateway.render.presentation.planes import Plane, nearest, plane_of
from gateway.render.presentation.state import State
from gateway.render.source import header_of, reader
from gateway.render.view import Picture, View
from storage.archive import Archive
from storage.records import Located

_POSITION, _ORIENTATION, _VOLUME_POSITION = 0x00200032, 0x00200037, 0x00209301
_PLANE_POSITION, _PLANE_ORIENTATION, _VOLUME_PLANE = 0x00209113, 0x00209116, 0x0020930E
_CONTENT, _DIMENSIONS = 0x00209111, 0x00209157


@dataclass(frozen=True, slots=True)
class Members:
    """The frames (image and 1-based number) that a state is for, in order, and how many images of it are not here."""

    frames: tuple[tuple[Located, int], ...]
    missing: int


@lru_cache(maxsize=8)
def state_of(archive: Archive, located: Located) -> State:
    """What a stored state says."""
    header = retrieve.header(archive, located)
    return State(header, reader(archive, located, header))


def members(archive: Archive, caller: Caller, located: Located) -> Members:
    """The frames of a stored state, in the order of PS3.18 10.4.1.1.3 (RP-08). Raises NotRenderable for none."""
    found: list[tuple[Located, int]] = []
    missing = 0
    for reference in state_of(archive, located).references:
        try:
            (image,) = retrieve.find(archive, caller, located.study_uid, reference.series_uid, reference.sop_uid)
        except NotFound:
            missing += 1
            continue
        if kind_of(image) is Kind.FRAMES:
            count = retrieve.frame_table(image).count
            numbers = [number for number in reference.frames if number <= count] or range(1, count + 1)
            found += [(image, number) for number in numbers]
    if not found:
        raise NotRenderable("none of the images that the presentation state refers to is here")
    return Members(tuple(in_order(archive, found)), missing)


def through(
    archive: Archive,
    state: Located,
    image: Located,
    frame: int,
    view: View,
    media_type: str,
    region: Region | None = None,
) -> Picture:
    """Frame `frame` (1-based) of an image as a state shows it; see `present`. Kept as any other picture is."""

    found = state_of(archive, state)
    above = _over(archive, state, image, frame) if state.sop_class_uid == BLENDING_STATE else None

    def make() -> Picture:
        header = header_of(archive, image)
        data = retrieve.stored_frame(archive, image, frame)
        fetch = partial(retrieve.stored_frame, archive, image)
        over = None
        if above is not None:
            over = Over(header_of(archive, above[0]), above[1], retrieve.stored_frame(archive, *above))
        return present(found, header, data, frame, view, media_type, region, fetch, over)

    laid = f" over {above[0].digest} {above[1]}" if above is not None else ""
    what = f"state {state.digest} frame {frame} {view!r} {region!r}{laid}"
    return keep(archive, image, what, media_type, make)


def laid_over(archive: Archive, state: Located, image: Located, frame: int) -> str:
    """What a stored state lays over a frame, as a word that is the same for the same; empty where that is nothing.

    Raises NotRenderable as `through` does.
    """
    above = _over(archive, state, image, frame) if state.sop_class_uid == BLENDING_STATE else None
    return f"{above[0].digest} {above[1]}" if above is not None else ""


@lru_cache(maxsize=4096)
def _planes(archive: Archive, image: Located) -> tuple[Plane | None, ...]:
    """The planes of a stored image's frames."""
    header = header_of(archive, image)
    return tuple(plane_of(header, number) for number in range(1, retrieve.frame_table(image).count + 1))


def _over(archive: Archive, state: Located, image: Located, frame: int) -> tuple[Located, int] | None:
    """The frame (image and 1-based number) that a stored blending state lays over one; None where nothing lies there.

    It is looked for in the study of the state, which the caller may see, and each time anew: it may come later. Raises
    NotRenderable where there is none at all, or it cannot be told how they lie.
    """
    wanted = {reference.sop_uid: reference for reference in state_of(archive, state).superimposed}
    found: list[tuple[Located, int, Plane]] = []
    for series_uid in dict.fromkeys(reference.series_uid for reference in wanted.values()):
        with retrieve.reading():
            located = archive.locate(state.study_uid, series_uid)
        for one in located:
            if one.sop_uid not in wanted or kind_of(one) is not Kind.FRAMES:
                continue
            frames = wanted[one.sop_uid].frames
            planes = enumerate(_planes(archive, one), 1)
            found += [(one, number, plane) for number, plane in planes if plane and (not frames or number in frames)]
    if not found:
        raise NotRenderable("none of the images that the presentation state lays over others is here")
    own = _planes(archive, image)
    under = own[frame - 1] if frame <= len(own) else None
    if under is None or all(plane.space != under.space for *_, plane in found):
        raise NotRenderable("the images to be blended are in different spaces, and registrations are not applied")
    place = nearest(under, [plane for *_, plane in found])
    return found[place][:2] if place is not None else None


def in_order(archive: Archive, frames: Sequence[tuple[Located, int]]) -> list[tuple[Located, int]]:
    """By Dimension Index Values, else by Image Position (Patient), else by Image Position (Volume), else as they are.

    A key counts where every frame has it. Positions are ordered along the normal of the planes.
    """
    if len(frames) < 2:
        return list(frames)
    headers: dict[str, Header] = {}
    for image, _ in frames:
        if image.sop_uid not in headers:
            headers[image.sop_uid] = retrieve.header(archive, image)
    for key in (_dimensions, _along_normal, _in_volume):
        keys = [key(headers[image.sop_uid], frame) for image, frame in frames]
        if all(keys):
            order = sorted(range(len(frames)), key=lambda place: keys[place])
            return [frames[place] for place in order]
    return list(frames)


def _dimensions(header: Header, frame: int) -> tuple[float, ...]:
    macro = group(header, frame, _CONTENT)
    return tuple(float(number) for number in macro.numbers(_DIMENSIONS)) if macro is not None else ()


def _along_normal(header: Header, frame: int) -> tuple[float, ...]:
    position_macro, orientation_macro = group(header, frame, _PLANE_POSITION), group(header, frame, _PLANE_ORIENTATION)
    position = (position_macro or header).floats(_POSITION)
    orientation = (orientation_macro or header).floats(_ORIENTATION)
    if len(position) != 3 or len(orientation) != 6:
        return ()
    x, y = orientation[:3], orientation[3:]
    normal = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]]
    return (sum(along * place for along, place in zip(normal, position, strict=True)),)


def _in_volume(header: Header, frame: int) -> tuple[float, ...]:
    macro = group(header, frame, _VOLUME_PLANE)
    return tuple((macro or header).floats(_VOLUME_POSITION)[::-1])
