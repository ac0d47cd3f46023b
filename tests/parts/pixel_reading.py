"""Pixels as others read them: pydicom, with dcmtk, zlib and libjxl for the transfer syntaxes that it leaves out."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
import zlib
from collections.abc import Sequence
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian

from gateway.dicom.uids import SYNTAXES
from tests.parts.debian import find

Pixels = NDArray[np.int64] | NDArray[np.float64]

_ROOT = "1.2.840.10008.1.2."
BY_DCMTK = frozenset({_ROOT + "4.51", _ROOT + "4.57", _ROOT + "4.70"})
BY_LIBJXL = frozenset({_ROOT + "4.110"})
DEFLATED_FRAMES = _ROOT + "8.1"
UNCOMPRESSED_FRAMES = _ROOT + "1.98"
TAKEN_APART = BY_LIBJXL | {DEFLATED_FRAMES, UNCOMPRESSED_FRAMES}


def read(data: bytes) -> Dataset:
    """A Part 10 file in memory. Many of the files at hand are there because they are odd."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(BytesIO(data))


def pixels_of(ds: Dataset) -> Pixels:
    """All frames of a data set with File Meta Information: (frame, row, column, sample), YBR as RGB.

    Raises what pydicom raises for pixels that it cannot decode.
    """
    syntax = str(ds.file_meta.TransferSyntaxUID)
    if syntax in BY_DCMTK:
        ds = _by_dcmtk(ds)
    elif syntax in TAKEN_APART:
        ds = _taken_apart(ds, syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pixel_array(ds)
    frames, samples = int(ds.get("NumberOfFrames") or 1), int(ds.SamplesPerPixel)
    shaped = found.reshape(frames, ds.Rows, ds.Columns, samples)
    return shaped.astype(np.float64) if shaped.dtype.kind == "f" else shaped.astype(np.int64)


def with_frames(ds: Dataset, frames: Sequence[bytes], count: int) -> Dataset:
    """The data set with these frames as its Pixel Data: bare codestreams, or native ones in any number of pieces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = deepcopy(ds)
    if "NumberOfFrames" in made or count > 1:
        made.NumberOfFrames = count
    keyword = next(one for one in ("FloatPixelData", "DoubleFloatPixelData", "PixelData") if one in made)
    if SYNTAXES[str(made.file_meta.TransferSyntaxUID)].encapsulated:
        made.PixelData = encapsulate([one + b"\0" * (len(one) % 2) for one in frames], has_bot=False)
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
    else:
        data = b"".join(frames)
        setattr(made, keyword, data + b"\0" * (len(data) % 2))
    return made


def _file_of(ds: Dataset) -> BytesIO:
    out = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(out, enforce_file_format=True)
    out.seek(0)
    return out


def _by_dcmtk(ds: Dataset) -> Dataset:
    program = find("dcmdjpeg")
    assert program is not None, "dcmtk is not installed"
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.dcm"), Path(folder, "out.dcm")
        source.write_bytes(_file_of(ds).getvalue())
        subprocess.run([program, "+cn", str(source), str(target)], check=True, capture_output=True, timeout=60)
        return read(target.read_bytes())


def _taken_apart(ds: Dataset, syntax: str) -> Dataset:
    """With native pixels, made of its fragments here (PS3.5 A.4.11, A.4.13, 10.18)."""
    ds = deepcopy(ds)
    frames = list(generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames") or 1)))
    if syntax == DEFLATED_FRAMES:
        frames = [zlib.decompressobj(-zlib.MAX_WBITS).decompress(one) for one in frames]
    elif syntax in BY_LIBJXL:
        frames = [imagecodecs.jpegxl_decode(one).tobytes() for one in frames]
        if "PlanarConfiguration" in ds:
            ds.PlanarConfiguration = 0
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    bits = int(ds.Rows) * int(ds.Columns) * int(ds.SamplesPerPixel) * int(ds.BitsAllocated)
    if ds.BitsAllocated == 1:  # frames are padded to bytes there, and packed without gaps in native pixels
        single = [np.unpackbits(np.frombuffer(one, np.uint8), bitorder="little")[:bits] for one in frames]
        data = np.packbits(np.concatenate(single), bitorder="little").tobytes()
    else:
        data = b"".join(one[: bits // 8] for one in frames)
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    ds["PixelData"].is_undefined_length = False
    return ds
