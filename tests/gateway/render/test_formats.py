"""JPH and JPEG XL: pictures that programs read back, in the boxes that their types ask for."""

from __future__ import annotations

import ast
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

import gateway
from gateway.errors import NotRenderable
from gateway.render import View, draw
from tests.gateway.dicom.opened import opened
from tests.gateway.render.pictures import rendered
from tests.parts.datasets import color, ct_slice, encapsulated

IMAGES = {"grey": ct_slice("grey"), "colour": color("colour")}


def file_of(name: str, media_type: str, quality: int = 100) -> bytes:
    one = opened(IMAGES[name])
    return draw(one.header, one.frame(), 1, View(quality=quality), media_type).data


@pytest.mark.parametrize("name", IMAGES)
def test_jph_has_the_boxes_of_a_file_and_loses_nothing(name: str) -> None:
    """RT-01, RT-05: 8 bits; read back by OpenJPEG, once by Pillow and once straight, and by OpenJPH."""
    data, expected = file_of(name, "image/jph"), rendered(IMAGES[name])
    assert data[:12] == b"\0\0\0\x0cjP  \r\n\x87\n" and data[16:24] == b"ftypjph "
    with Image.open(BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), expected)
    assert np.array_equal(imagecodecs.jpeg2k_decode(data), expected)
    codestream = data[data.index(b"jp2c") + 4 :]
    assert np.array_equal(imagecodecs.htj2k_decode(codestream, planar=False), expected)


@pytest.mark.parametrize("name", IMAGES)
def test_jpeg_xl_of_quality_100_loses_nothing_and_of_less_a_little(name: str) -> None:
    """RT-01, RP-02."""
    expected = np.asarray(rendered(IMAGES[name]), int)
    assert np.array_equal(imagecodecs.jpegxl_decode(file_of(name, "image/jxl")), expected)
    sizes: list[int] = []
    for quality, most in ((95, 40), (60, 80), (5, 200)):
        data = file_of(name, "image/jxl", quality)
        sizes.append(len(data))
        assert np.abs(np.asarray(imagecodecs.jpegxl_decode(data), int) - expected).max() <= most
    assert sizes == sorted(sizes, reverse=True)


def test_the_same_picture_has_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    """A strong tag promises it, also of two gateways."""
    script = (
        "import hashlib, sys\n"
        "from tests.gateway.render.test_formats import file_of\n"
        "for kind in ('jpeg', 'png', 'gif', 'webp', 'jp2', 'jph', 'jxl'):\n"
        "    print(hashlib.sha256(file_of('colour', f'image/{kind}', 90)).hexdigest())\n"
    )
    root = Path(__file__).parents[3]
    runs = [
        subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, check=True, timeout=120).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] and len(runs[0].split()) == 7


REACHED = """
from io import BytesIO
from PIL import Image
import gateway.render
from gateway.render.encode import FORMATS
for name in ("JPEG", "PNG", "WEBP", "GIF"):
    Image.new("RGB", (8, 8)).save(BytesIO(), name)
for data in (b"8BPS\\0\\1" + bytes(40), b"%!PS-Adobe-3.0 EPSF-3.0", b"SIMPLE  =                    T"):
    try:
        Image.open(BytesIO(data))
    except Image.UnidentifiedImageError:
        pass
print(*sorted({*Image.OPEN, *Image.SAVE}))
"""


def test_pillow_knows_the_formats_that_are_used_and_no_others() -> None:
    """S-84: neither PSD, EPS, FITS nor what else it could read or write is registered, even after it looked for one."""
    done = subprocess.run([sys.executable, "-c", REACHED], capture_output=True, text=True, timeout=60, check=True)
    assert set(done.stdout.split()) == {"GIF", "JPEG", "JPEG2000", "PNG", "WEBP"}


def test_whatever_opens_a_picture_says_which_formats_it_may_have() -> None:
    """S-84"""
    calls = [
        node
        for path in Path(gateway.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open"
    ]
    assert calls
    assert all("formats" in {keyword.arg for keyword in call.keywords} for call in calls)


@pytest.mark.parametrize("data", [b"8BPS\0\1" + bytes(60), b"%!PS-Adobe-3.0 EPSF-3.0\n", b"SIMPLE  =" + bytes(80)])
def test_another_format_in_place_of_pixels_has_no_picture(data: bytes) -> None:
    """S-84: what the transfer syntax promises is what is looked for."""
    for syntax in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"):
        one = opened(encapsulated(ct_slice(), [data]), syntax)
        with pytest.raises(NotRenderable):
            draw(one.header, one.frame(), 1, View(), "image/jpeg")
