"""A softcopy presentation state: which images it is for, and what it says of each (PS3.3 A.33, C.11.11)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.dicom.header import Header
from gateway.dicom.view import View
from gateway.render.overlays import GROUPS, load_overlays
from gateway.render.parameters import load_tables
from gateway.render.profiles import load_profiles

MAX_REFERENCES = 10_000
"""Most images of one state."""

_SERIES, _IMAGES = 0x00081115, 0x00081140
_SERIES_UID, _SOP_UID, _FRAMES = 0x0020000E, 0x00081155, 0x00081160
_SOP_CLASS, _BLENDING, _POSITION = 0x00080016, 0x00700402, 0x00700405
_SOFTCOPY_VOI, _DISPLAYED_AREA, _ANNOTATION, _LAYERS = 0x00283110, 0x0070005A, 0x00700001, 0x00700060
_FRAME_SHUTTERS = 0x00189472
_PRESENTATION_LUT, _LUT_DATA = 0x20500010, 0x00283006
_ACTIVATION = 0x1001
"""Overlay Activation Layer, of group 60xx."""
_LONG = 2 << 16


@dataclass(frozen=True, slots=True)
class Reference:
    """An image that a state is for; no frames (1-based) means all of them."""

    series_uid: str
    sop_uid: str
    frames: tuple[int, ...]


class State:
    """What a presentation state says. `header` has all its tables loaded; `part` is what pixels are drawn by.

    `part` is the header itself, or for blending the item of the underlying images; `over` is that of the images that
    are blended over them.
    """

    def __init__(self, header: Header, read: Callable[[int, int], bytes]) -> None:
        load_tables(header, read)
        load_overlays(header, read)
        load_profiles(header, read)
        self.header = header
        self.sop_class = header.text(_SOP_CLASS) or ""
        blended = {item.text(_POSITION): item for item in header.sequence(_BLENDING)}
        self.part: View = blended.get("UNDERLYING", header)
        self.over: View | None = blended.get("SUPERIMPOSED")
        for part in (self.part, self.over or header):
            for voi in part.sequence(_SOFTCOPY_VOI):
                for table in voi.sequence(0x00283010):
                    _load(table, read)
        for table in (*header.sequence(_PRESENTATION_LUT), *self.part.sequence(0x00283000)):
            _load(table, read)

    @property
    def references(self) -> list[Reference]:
        """The images, in the order in which they stand (PS3.3 C.11.11); of blending, the underlying ones (RP-08)."""
        return self._references(self.part)

    @property
    def superimposed(self) -> list[Reference]:
        """The images that are blended over the others."""
        return self._references(self.over) if self.over is not None else []

    def _references(self, part: View) -> list[Reference]:
        found: list[Reference] = []
        for series in part.sequence(_SERIES):
            for image in series.sequence(_IMAGES):
                sop_uid = image.text(_SOP_UID)
                if sop_uid and len(found) < MAX_REFERENCES:
                    frames = tuple(number for number in image.numbers(_FRAMES) if number > 0)
                    found.append(Reference(series.text(_SERIES_UID) or "", sop_uid, frames))
        return found

    def voi(self, sop_uid: str, frame: int, part: View | None = None) -> View | None:
        """The item of Softcopy VOI LUT Sequence for a frame of an image, in a part of the state."""
        return next(iter(applying((part or self.part).sequence(_SOFTCOPY_VOI), sop_uid, frame)), None)

    def displayed_area(self, sop_uid: str, frame: int) -> View | None:
        """The item of Displayed Area Selection Sequence for a frame of an image."""
        return next(iter(applying(self.header.sequence(_DISPLAYED_AREA), sop_uid, frame)), None)

    def annotations(self, sop_uid: str, frame: int) -> list[View]:
        """The items of Graphic Annotation Sequence for a frame of an image."""
        return applying(self.header.sequence(_ANNOTATION), sop_uid, frame)

    def overlays(self) -> list[tuple[int, str]]:
        """Groups of the overlays that are activated, in the state itself or in the image, and the layer of each."""
        named = [(group, self.header.text(group << 16 | _ACTIVATION)) for group in GROUPS]
        return [(group, name) for group, name in named if name]

    def shutters(self, sop_uid: str, frame: int) -> list[View]:
        """What holds the shutters of a frame: the state; of XA/XRF states those that name it (PS3.3 C.11.20)."""
        own = self.header.sequence(_FRAME_SHUTTERS)
        return [self.header, *applying(own, sop_uid, frame)]

    def layers(self) -> Sequence[View]:
        """The items of Graphic Layer Sequence, the lowest first (PS3.3 C.10.7)."""
        return sorted(self.header.sequence(_LAYERS), key=lambda item: item.number(0x00700062) or 0)


def applying(items: Sequence[View], sop_uid: str, frame: int) -> list[View]:
    """The items that are for this frame: those that name it, and those that name no image at all."""
    return [item for item in items if _names(item, sop_uid, frame)]


def _names(item: View, sop_uid: str, frame: int) -> bool:
    images = item.sequence(_IMAGES)
    if not images:
        return True
    for image in images:
        frames = image.numbers(_FRAMES)
        if image.text(_SOP_UID) == sop_uid and (not frames or frame in frames):
            return True
    return False


def _load(item: View, read: Callable[[int, int], bytes]) -> None:
    element = item.find(_LUT_DATA)
    if element is not None and element.value is None and element.items is None:
        element.value = read(element.offset, min(element.length, _LONG))
