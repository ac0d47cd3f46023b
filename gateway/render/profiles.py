"""Colour profiles of pictures (PS3.18 8.3.5.1.5, PS3.3 C.11.15): the image's own, or one of three well-known spaces.

The well-known profiles are made here, as ICC version 2 has them (ICC.1:2001-04): a matrix and tone curves, without a
date, so that the same picture has the same bytes. An image's own profile is given out as it is, or read in a process of
its own when colours are converted; one that is absurd or longer than `MAX_BYTES` is taken for none (S-36).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from PIL import Image, ImageCms

from gateway import isolated
from gateway.dicom.codestream import jpeg_profile
from gateway.dicom.header import Header
from gateway.dicom.view import View as Values
from gateway.errors import BadRequest, NotRenderable
from gateway.isolated import Facts
from gateway.render.parameters import group

MAX_BYTES = 4 << 20
"""Longest profile that is looked at, in bytes."""

PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb")
"""What may be asked for."""

EMBEDDING = frozenset({"image/jpeg", "image/png", "image/webp", "image/jp2", "image/jph"})
"""Media types that can hold a profile here."""

_ICC_PROFILE, _OPTICAL_PATHS, _PATH_ID = 0x00282000, 0x00480105, 0x00480106
_PATH_OF_FRAME = 0x00480207
"""Optical Path Identification Sequence, a functional group."""
_ORGANIZATION, _FRAME_OFFSET, _FOCAL_PLANES = 0x00209311, 0x00209228, 0x00480303
_TOTAL_COLUMNS, _TOTAL_ROWS, _COLUMNS, _ROWS = 0x00480006, 0x00480007, 0x00280011, 0x00280010
_MAX_PATHS = 16

_WHITE = (0.96420288, 1.0, 0.82490540)
"""D50, the illuminant of the profile connection space."""

# Red, green and blue in XYZ, adapted to D50 by the Bradford matrix.
_PRIMARIES = {
    "srgb": ((0.4360657, 0.2224884, 0.0139160), (0.3851471, 0.7168732, 0.0970764), (0.1430664, 0.0606079, 0.7140961)),
    "adobergb": (
        (0.6097412, 0.3111115, 0.0194702),
        (0.2052765, 0.6256714, 0.0608673),
        (0.1491852, 0.0632172, 0.7445679),
    ),
    "rommrgb": ((0.7976685, 0.2880402, 0.0), (0.1351929, 0.7118835, 0.0), (0.0313416, 0.0000763, 0.8249054)),
}
_NAMES = {"srgb": "sRGB IEC61966-2.1", "adobergb": "Compatible with Adobe RGB (1998)", "rommrgb": "ROMM RGB"}
_GAMMAS = {"adobergb": 2.19921875, "rommrgb": 1.8}


def load_profiles(header: Header, read: Callable[[int, int], bytes]) -> None:
    """Load profiles that were too long to be kept; `read` gives bytes of the file, by offset and length."""
    for place in (header, *header.sequence(_OPTICAL_PATHS)[:_MAX_PATHS]):
        element = place.find(_ICC_PROFILE)
        if element is not None and element.value is None and element.length <= MAX_BYTES:
            element.value = read(element.offset, element.length)


def check_profile(wanted: str, media_type: str) -> None:
    """Raises BadRequest where a profile is wanted in a format that holds none (RP-06)."""
    if wanted != "no" and media_type not in EMBEDDING:
        raise BadRequest("iccprofile", f"{media_type} carries no colour profile here; JPEG, PNG, WebP, JP2 and JPH do")


def source_of(header: Header, frame: int, data: bytes = b"") -> bytes | None:
    """The ICC profile of a frame's colours (IMG-19); None where it has none.

    That of its optical path, else of the image, else of the frame's JPEG codestream, if `data` is one.
    """
    path = _path_of(header, frame)
    places: list[Values] = [*([path] if path is not None else []), header]
    for place in places:
        element = place.find(_ICC_PROFILE)
        if element is not None and element.value:
            return _checked(element.value)
    inside = jpeg_profile(data)
    return None if inside is None else _checked(inside)


def _path_of(header: Header, frame: int) -> Values | None:
    """The optical path of a frame: the one that it names, else in TILED_FULL the one whose turn it is, else the first.

    Frames of TILED_FULL go through all tiles of a plane, then through the focal planes, then through the optical paths
    (PS3.3 C.7.6.17.3).
    """
    paths = header.sequence(_OPTICAL_PATHS)
    named = group(header, frame, _PATH_OF_FRAME)
    wanted = named.text(_PATH_ID) if named is not None else None
    place = 0
    if wanted is not None:
        place = next((at for at, path in enumerate(paths) if path.text(_PATH_ID) == wanted), len(paths))
    elif len(paths) > 1 and header.text(_ORGANIZATION) == "TILED_FULL":
        across, down = (
            -(-(header.number(whole) or 1) // max(header.number(part) or 1, 1))
            for whole, part in ((_TOTAL_COLUMNS, _COLUMNS), (_TOTAL_ROWS, _ROWS))
        )
        each = max(across * down * (header.number(_FOCAL_PLANES) or 1), 1)
        place = (frame - 1 + (header.number(_FRAME_OFFSET) or 0)) // each
    return paths[place] if place < len(paths) else None


def _checked(data: bytes) -> bytes | None:
    """A profile of RGB, cut to the length that it says it has; None for anything else."""
    length = int.from_bytes(data[:4], "big")
    if not 132 <= length <= min(len(data), MAX_BYTES) or data[36:40] != b"acsp" or data[16:20] != b"RGB ":
        return None
    return data[:length]


def with_profile(image: Image.Image, own: bytes | None, wanted: str) -> tuple[Image.Image, bytes]:
    """The picture in the wanted space, grey as RGB, and that space's profile; `own` is that of the picture's colours.

    `wanted` is one of `PROFILES` but `no`. Colours without a profile are sRGB's, and so are greys.

    Raises:
        NotRenderable: the colours cannot be converted with the image's own profile.
        Unavailable: no process is free to do it.
    """
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    image, profile = _in_space(image.convert("RGB"), own, wanted)
    if alpha is not None:
        image.putalpha(alpha)
    return image, profile


def _in_space(image: Image.Image, own: bytes | None, wanted: str) -> tuple[Image.Image, bytes]:
    if wanted == "yes":
        return image, own or well_known("srgb")
    target = well_known(wanted)
    if own is None and wanted == "srgb":
        return image, target
    source = own or well_known("srgb")
    facts = {"source": len(source), "target": len(target), "size": list(image.size)}
    pixels = image.tobytes()
    _, converted = isolated.call(convert_here, source + target + pixels, facts, len(pixels))
    if len(converted) != len(pixels):
        raise NotRenderable("the colours cannot be converted")
    return Image.frombytes("RGB", image.size, converted), target


def convert_here(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    """The work of a child: RGB from one profile to another, perceptually, as the first one has it."""
    source, target = int(facts["source"]), int(facts["target"])
    width, height = (int(side) for side in facts["size"])
    image = Image.frombytes("RGB", (width, height), data[source + target :])
    try:
        found = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(data[:source])),
            ImageCms.ImageCmsProfile(io.BytesIO(data[source : source + target])),
            outputMode="RGB",
        )
    except ImageCms.PyCMSError as error:
        raise NotRenderable("the image's colour profile cannot be used") from error
    assert found is not None
    return {}, found.tobytes()


# ---------------------------------------------------------------- profiles made here


@cache
def well_known(name: str) -> bytes:
    """The profile of `srgb`, `adobergb` or `rommrgb`."""
    text = _NAMES[name].encode("ascii")
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + b"\0" * 78,
        b"cprt": b"text\0\0\0\0No copyright, use freely\0",
        b"wtpt": _xyz(_WHITE),
        **{tag: _xyz(of) for tag, of in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _PRIMARIES[name], strict=True)},
        b"rTRC": _curve(name),
    }
    same = {b"gTRC": b"rTRC", b"bTRC": b"rTRC"}
    count = len(tags) + len(same)
    at = 128 + 4 + 12 * count
    places: dict[bytes, tuple[int, int]] = {}
    body = b""
    for tag, data in tags.items():
        places[tag] = (at + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    places |= {tag: places[other] for tag, other in same.items()}
    table = struct.pack(">I", count) + b"".join(tag + struct.pack(">II", *place) for tag, place in places.items())
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"\0" * 4, 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + _xyz(_WHITE)[8:]
    return head + b"\0" * (128 - len(head)) + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(name: str) -> bytes:
    """One gamma, or for sRGB the curve of IEC 61966-2-1 at 1,024 points."""
    if name in _GAMMAS:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(_GAMMAS[name] * 256))
    steps = [step / 1023 for step in range(1024)]
    light = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in steps]
    return b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *(round(value * 65535) for value in light))
