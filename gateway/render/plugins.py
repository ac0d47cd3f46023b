"""Pillow's file formats that are used, and no others (S-84).

Pillow registers readers and writers of forty formats on the first need of one that is not among its commonest. What
is not registered cannot be reached by a file that claims to be one of them.
"""

from __future__ import annotations

from PIL import GifImagePlugin, Image, Jpeg2KImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

USED = (GifImagePlugin, Jpeg2KImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin)
"""Each registers itself when it is imported."""


def register() -> None:
    """Let Pillow take its formats for registered, so that it loads no others."""
    Image._initialized = 2
