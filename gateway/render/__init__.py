"""Pictures of stored frames (PS3.18 10.4, the Rendered and Thumbnail resources).

One frame is fetched with one ranged read, decoded, and taken through the pipeline of PS3.4 N.2: Modality LUT, VOI,
Presentation LUT shape; then region, viewport and encoding (PS3.18 8.3.5). Blocking; holds one decoded frame in memory.
"""

from __future__ import annotations

from gateway.dicom.decoding import decode_here
from gateway.render import plugins
from gateway.render.encode import FORMATS
from gateway.render.kept import VERSION, keep
from gateway.render.others import in_scale
from gateway.render.picture import draw, draw_thumbnail
from gateway.render.profiles import PROFILES, convert_here
from gateway.render.reduced import reduce_here
from gateway.render.source import header_and_frame
from gateway.render.view import MAX_PIXELS, Picture, View, Viewport
from storage.archive import Archive
from storage.records import Located

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "PROFILES",
    "VERSION",
    "WORKS",
    "Picture",
    "View",
    "Viewport",
    "draw",
    "draw_thumbnail",
    "render",
    "thumbnail",
]

plugins.register()

WORKS = (decode_here, reduce_here, convert_here)
"""What decoder processes should have loaded before the first picture is asked for."""


def render(archive: Archive, located: Located, frame: int, view: View, media_type: str = "image/jpeg") -> Picture:
    """The picture of frame `frame` (1-based) of a stored instance, made now or kept since it was made before.

    Raises:
        NotFound: there is no such frame.
        NotRenderable: the instance has no picture (a report, a waveform, a video), or its pixels cannot be decoded.
        BadRequest: the viewport lies outside the image, or asks for more than `MAX_PIXELS` pixels.
        NotAcceptable: `media_type` is none of `FORMATS`.
        Unavailable: too much is being made at this moment.
    """

    def make() -> Picture:
        header, data = header_and_frame(archive, located, frame, profiles=view.profile != "no")
        return draw(header, data, frame, in_scale(archive, located, header, view), media_type)

    return keep(archive, located, f"frame {frame} {view!r}", media_type, make)


def thumbnail(
    archive: Archive, located: Located, frame: int, size: tuple[int, int] = (128, 128), media_type: str = "image/jpeg"
) -> Picture:
    """A picture of frame `frame` (1-based) that fits in `size` (width and height in pixels), in its own aspect.

    Raises as `render` does.
    """

    def make() -> Picture:
        header, data = header_and_frame(archive, located, frame)
        return draw_thumbnail(header, data, frame, size, media_type)

    return keep(archive, located, f"thumbnail {frame} {size!r}", media_type, make)
