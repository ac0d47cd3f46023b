"""Independent renderers: dcmtk, GDCM's decoders, pydicom's decoders and pipeline. Nothing here is the gateway's.

dcmtk renders by itself, given the window that our picture says it has. GDCM gives decoded pixels only, which take
pydicom's pipeline from there on; so do those of pydicom's own decoders.
"""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing
from pydicom.pixels.utils import pixel_array

from tests.parts.debian import find

Grey = NDArray[np.uint8]

SECONDS = 60


class Refused(Exception):
    """The renderer makes no picture of it: why, in its words or ours."""


# ---------------------------------------------------------------- dcmtk


def dcmtk(file: Path, syntax_uid: str, window: str) -> Grey:
    """The picture of dcmj2pnm or dcml2pnm, overlays included."""
    tool = find("dcml2pnm" if syntax_uid.endswith((".4.80", ".4.81")) else "dcmj2pnm")
    assert tool is not None, "dcmtk is not installed"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "dcmtk.png"
        done = subprocess.run(
            [tool, "-q", *_options(window), "--write-png", str(file), str(target)],
            check=False,
            capture_output=True,
            timeout=SECONDS,
        )
        if done.returncode or not target.exists():
            raise Refused("dcmtk makes no picture")
        with Image.open(target) as image:
            return np.asarray(image)


def _options(window: str) -> list[str]:
    """dcmj2pnm's options for the window that a picture says it has."""
    if not window:
        return []
    if window.startswith("lut"):
        return ["+Wl", "1"]
    center, width, function = window.partition(";")[0].split(",")
    assert function in ("linear", "sigmoid")
    return ["+Ww", center, width, "+Wfs" if function == "sigmoid" else "+Wfl"]


# ---------------------------------------------------------------- GDCM and pydicom


def gdcm(data: bytes, window: str) -> Grey:
    """What GDCM decodes, through pydicom's pipeline."""
    tool = find("gdcmconv")
    assert tool is not None, "libgdcm-tools are not installed"
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.dcm", Path(folder) / "raw.dcm"
        source.write_bytes(data)
        done = subprocess.run(
            [tool, "--raw", str(source), str(target)], check=False, capture_output=True, timeout=SECONDS
        )
        if done.returncode or not target.exists():
            raise Refused("GDCM decodes nothing")
        return pydicom(target.read_bytes(), window)


def pydicom(data: bytes, window: str, frame: int = 1) -> Grey:
    """What pydicom's decoders give, through its pipeline: rescale, window or LUT, palette, overlays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = dcmread(BytesIO(data), force=True)
        try:
            return _piped(ds, pixel_array(ds, index=frame - 1), window, frame)
        except (AttributeError, ValueError, RuntimeError, NotImplementedError, KeyError, TypeError) as error:
            raise Refused(f"pydicom: {type(error).__name__}") from error


def _piped(ds: Dataset, pixels: NDArray[Any], window: str, frame: int) -> Grey:
    photometric = str(ds.PhotometricInterpretation)
    if ds.SamplesPerPixel == 3:
        top = (1 << ds.BitsStored) - 1
        shown = np.floor(pixels * (255.0 / top) + 0.5).astype(np.uint8) if top != 255 else pixels
    elif photometric == "PALETTE COLOR":
        colours = apply_color_lut(pixels, ds)
        shown = (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours
    else:
        shown = _grey(ds, pixels, window, frame)
        if ds.get("PixelPresentation") in ("COLOR", "MIXED") and "RedPaletteColorLookupTableDescriptor" in ds:
            first = ds.RedPaletteColorLookupTableDescriptor[1]
            palette = Dataset({tag: element for tag, element in ds.items() if tag.group == 0x0028})
            palette.PhotometricInterpretation = "PALETTE COLOR"
            colours = (apply_color_lut(pixels, palette) >> 8).astype(np.uint8)
            shown = np.where((pixels >= first)[..., None], colours, shown[..., None])
    return _with_overlays(ds, np.array(shown))


def _grey(ds: Dataset, pixels: NDArray[Any], window: str, frame: int) -> Grey:
    flat = _flat(ds, frame)
    values = apply_modality_lut(pixels, flat)
    if window.startswith("lut"):
        voi = flat.VOILUTSequence[0]
        shown = apply_voi(values, flat).astype(np.float64) * (255.0 / ((1 << int(voi.LUTDescriptor[2])) - 1))
    else:
        center, width, function = window.partition(";")[0].split(",")
        flat.WindowCenter, flat.WindowWidth = float(center), float(width)
        flat.VOILUTFunction = function.upper().replace("-", "_")
        if "BitsStored" not in flat:
            flat.BitsStored, flat.PixelRepresentation = 16, 0
        # Its output has the range of stored values; what it makes of the ends of the world is black and white.
        ends = np.array([-1e15, 1e15])
        found = apply_windowing(np.concatenate([np.asarray(values, np.float64).reshape(-1), ends]), flat)
        black, white = found[-2:]
        shown = ((found[:-2] - black) * (255.0 / (white - black))).reshape(pixels.shape)
    shown = np.floor(shown + 0.5)
    if ds.PhotometricInterpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE":
        shown = 255 - shown
    if "PixelPaddingValue" in ds and "PixelData" in ds:
        shown[pixels == ds.PixelPaddingValue] = 0
    return shown.astype(np.uint8)


def _flat(ds: Dataset, frame: int) -> Dataset:
    """A data set with the frame's functional groups at its top level."""
    flat = deepcopy(Dataset({tag: element for tag, element in ds.items() if tag.group == 0x0028}))
    for groups, place in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame - 1)):
        for item in list(ds.get(groups) or [])[place : place + 1]:
            for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for one in item.get(macro) or []:
                    flat.update(one)
    return flat


def _with_overlays(ds: Dataset, shown: NDArray[Any]) -> Grey:
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x3000) not in ds or ds.get((group, 0x0040)) is None or ds[group, 0x0040].value != "G":
            continue
        plane = ds.overlay_array(group)
        plane = plane[0] if plane.ndim == 3 else plane
        if plane.shape == shown.shape[:2] and list(ds[group, 0x0050].value) == [1, 1]:
            shown[plane == 1] = 255
    return shown
