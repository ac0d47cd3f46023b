"""Renderings of instances as a whole: moving pictures, drawings of waveforms, reports as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from gateway import retrieve
from gateway.dicom.description import PixelDescription
from gateway.dicom.header import Header
from gateway.dicom.pixels import decode_frame
from gateway.errors import BadRequest
from gateway.render.animation import animate, durations_of
from gateway.render.annotation import annotate
from gateway.render.dose import MAX_GRID_BYTES, Maxima, scaled, window_to
from gateway.render.kept import keep
from gateway.render.kinds import RT_DOSE
from gateway.render.picture import compose
from gateway.render.report import WRITERS, describe_document, read_report
from gateway.render.source import header_of, reader
from gateway.render.view import Picture, View, Viewport
from gateway.render.waveform import SVG, draw_waveform
from storage.archive import Archive
from storage.records import Located

_MAXIMA = Maxima()


def animation(archive: Archive, located: Located, view: View, media_type: str) -> Picture:
    """All frames of an instance as one moving picture, of a type in `ANIMATED`. Raises as `render` does."""
    make = partial(_animation, archive, located, view, media_type)
    return keep(archive, located, f"moving {view!r}", media_type, make)


def _animation(archive: Archive, located: Located, view: View, media_type: str) -> Picture:
    if view.profile != "no":
        raise BadRequest("iccprofile", "moving pictures carry no colour profile here; single frames do")
    header = header_of(archive, located)
    view = in_scale(archive, located, header, view)
    table = retrieve.frame_table(located)
    size: list[tuple[int, int]] = []

    def frames() -> Iterator[Image.Image]:
        for number in range(1, table.count + 1):
            data = retrieve.stored_frame(archive, located, number, table)
            shown = compose(header, data, number, view)
            image = shown.image
            annotate(image, header, number, view, shown.window, media_type)
            size[:] = [image.size]
            yield image

    data = animate(frames(), durations_of(header, table.count), media_type, view.quality)
    return Picture(data, media_type, *size[0])


def waveform(archive: Archive, located: Located, view: View, media_type: str) -> Picture:
    """The drawing of a waveform: one of `FORMATS`, or SVG. Raises NotRenderable, BadRequest."""

    def make() -> Picture:
        header = retrieve.header(archive, located)
        return draw_waveform(header, reader(archive, located, header), view, media_type)

    return keep(archive, located, f"waveform {view!r}", media_type, make)


def waveform_thumbnail(archive: Archive, located: Located, size: tuple[int, int], media_type: str) -> Picture:
    """The same, small enough for `size`."""
    return waveform(archive, located, View(viewport=Viewport(*size)), media_type)


def report(archive: Archive, located: Located, media_type: str) -> bytes:
    """An SR document or Key Object Selection as text in UTF-8, of a type in `WRITERS`."""
    header = retrieve.header(archive, located)
    return WRITERS[media_type](read_report(header, reader(archive, located, header))).encode("utf-8", "replace")


def description(archive: Archive, located: Located, media_type: str) -> bytes:
    """What an encapsulated document is, as text of a type in `WRITERS`: its content is not looked at."""
    return WRITERS[media_type](describe_document(retrieve.header(archive, located))).encode("utf-8", "replace")


def in_scale(archive: Archive, located: Located, header: Header, view: View) -> View:
    """The view; for RT Dose without a window one from 0 to the highest dose of all frames, so that they compare."""
    if located.sop_class_uid != RT_DOSE or view.window is not None:
        return view
    description = PixelDescription.from_header(header)
    table = retrieve.frame_table(located)
    if table.count * description.rows * description.columns * description.bits_allocated // 8 > MAX_GRID_BYTES:
        return view

    def frames() -> Iterator[NDArray[Any]]:
        for number in range(1, table.count + 1):
            data = retrieve.stored_frame(archive, located, number, table)
            yield decode_frame(data, description, header.meta.transfer_syntax_uid).pixels

    window = window_to(scaled(header, _MAXIMA.of(located.digest, frames())))
    return replace(view, window=(window.center, window.width, "linear-exact"))


__all__ = ["SVG", "WRITERS", "animation", "description", "in_scale", "report", "waveform", "waveform_thumbnail"]
