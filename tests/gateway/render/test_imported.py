"""GIF and PNG that come in to be stored."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from gateway.dicom.model.bulk_parts import BulkPart
from gateway.errors import NotUnderstood, TooLarge
from gateway.render.imported import decode

RNG = np.random.default_rng(7)


def png(pixels: np.ndarray) -> BulkPart:
    return BulkPart(bytes(imagecodecs.png_encode(pixels)), "image/png")


def gif(*frames: Image.Image) -> BulkPart:
    out = BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return BulkPart(out.getvalue(), "image/gif")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_samples_of_a_png_stay_as_they_are_but_for_alpha(bits: int, channels: int) -> None:
    """STOW-06."""
    pixels = RNG.integers(0, 2**bits, (5, 7, channels)).astype(np.uint8 if bits == 8 else np.uint16)
    picture = decode(png(pixels if channels > 1 else pixels[..., 0]))
    samples = 1 if channels < 3 else 3
    described = picture.described
    assert (described.rows, described.columns, described.samples, described.bits) == (5, 7, samples, bits)
    assert described.photometric_interpretation == ("MONOCHROME2" if samples == 1 else "RGB")
    assert b"".join(picture.frames()) == np.ascontiguousarray(pixels[..., :samples]).astype(f"<u{bits // 8}").tobytes()


def test_palettes_become_colours(tmp_path: Path) -> None:
    """STOW-06."""
    image = Image.fromarray(RNG.integers(0, 255, (4, 6, 3), dtype=np.uint8)).quantize(16)
    file = tmp_path / "palette.png"
    image.save(file)
    picture = decode(BulkPart(file, "image/png"))
    assert picture.described.samples == 3
    assert b"".join(picture.frames()) == image.convert("RGB").tobytes()


def test_grey_gifs_are_grey_and_animations_colour() -> None:
    """STOW-06."""
    grey = Image.fromarray(RNG.integers(0, 255, (4, 6), dtype=np.uint8))
    picture = decode(gif(grey))
    assert (picture.count, picture.described.samples) == (1, 1)
    assert b"".join(picture.frames()) == grey.tobytes()
    moving = decode(gif(*(Image.new("RGB", (6, 4), name) for name in ("red", "lime"))))
    assert (moving.count, moving.described.samples) == (2, 3)
    assert [frame[:3] for frame in moving.frames()] == [b"\xff\0\0", b"\0\xff\0"]


@pytest.mark.parametrize("media_type", ["image/png", "image/gif"])
@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"BM" * 50])
def test_what_is_no_picture(media_type: str, data: bytes) -> None:
    with pytest.raises(NotUnderstood):
        decode(BulkPart(data, media_type))


@pytest.mark.parametrize("cut", [40, 60, -20])
def test_a_damaged_picture_fails_when_it_is_read(cut: int) -> None:
    whole = bytes(imagecodecs.png_encode(RNG.integers(0, 255, (50, 50), dtype=np.uint8)))
    with pytest.raises(NotUnderstood):
        list(decode(BulkPart(whole[:cut], "image/png")).frames())


def test_sizes_are_checked_before_anything_is_decoded() -> None:
    """S-31: a header that promises 10 gigapixels costs nothing."""
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (100_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + b"\0" * 8
    with pytest.raises(TooLarge):
        decode(BulkPart(head, "image/png"))
    wide = b"GIF89a" + (65535).to_bytes(2, "little") * 2 + b"\xf0\0\0" + b"\0" * 6
    wide += b"," + b"\0" * 4 + (65535).to_bytes(2, "little") * 2 + b"\0\x02\0;"
    with pytest.raises((TooLarge, NotUnderstood)):
        decode(BulkPart(wide, "image/gif"))
