"""Bodies that never lived: CT, MR, ultrasound and radiograph objects worked out from ellipses.

They look enough like the real thing for a person to judge a page by, and are free of any patient and any licence.
The same call gives the same data set.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, UltrasoundMultiFrameImageStorage

from tests.parts.datasets import change, ct_slice, instance, mr_slice, pixels

Plane = NDArray[np.float32]


def _grid(size: int) -> tuple[Plane, Plane]:
    """x to the patient's left, y to the back, both from -1 to 1."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    return x, y


def _inside(x: Plane, y: Plane, cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> Plane:
    """1 inside the ellipse, 0 outside, with an edge about two pixels soft."""
    if rx <= 0.005 or ry <= 0.005:
        return np.zeros_like(x)
    cos, sin = np.cos(turn), np.sin(turn)
    u, v = (x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin
    distance = (1 - np.sqrt((u / rx) ** 2 + (v / ry) ** 2)) * min(rx, ry)
    edge: Plane = np.clip(distance * x.shape[0] / 4 + 0.5, 0, 1).astype(np.float32)
    return edge


@lru_cache(maxsize=64)
def _cloud(size: int, scale: float, seed: int) -> Plane:
    """Smooth noise of unit spread; `scale` is the size of its grains as a part of the picture."""
    noise = np.random.default_rng(seed).standard_normal((size, size))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size) * size, np.fft.fftfreq(size) * size))
    smooth = np.fft.ifft2(np.fft.fft2(noise) * np.exp(-((frequency * scale) ** 2))).real
    cloud: Plane = (smooth / smooth.std()).astype(np.float32)
    return cloud


def _paint(plane: Plane, mask: Plane, value: float | Plane) -> None:
    plane += mask * (value - plane)


def torso(z: float, size: int) -> Plane:
    """An axial slice of a chest and upper belly in Hounsfield units; z from 0 (collar bone) to 1 (kidneys)."""
    x, y = _grid(size)
    hu: Plane = np.full((size, size), -1000, dtype=np.float32)
    _paint(
        hu, _inside(x, y, 0, 2.1, 1.7, 1.5) * (1 - _inside(x, y, 0, 2.13, 1.7, 1.5)) * (np.abs(x) < 0.6), -250
    )  # the table
    wide, deep = 0.78 + 0.05 * np.sin(3 * z), 0.55 + 0.04 * z
    texture = _cloud(size, 0.02, 7)
    _paint(hu, _inside(x, y, 0, 0, wide, deep), -95 + 8 * texture)
    _paint(hu, _inside(x, y, 0, 0.01, wide - 0.07, deep - 0.06), 45 + 6 * texture)

    chest = max(0.0, 1 - ((z - 0.33) / 0.36) ** 2) ** 0.5
    vessels = np.clip(_cloud(size, 0.012, int(z * 40)) - 1.55, 0, 1) * 700
    for side in (-1, 1):
        lung = _inside(x, y, side * 0.37, -0.02, 0.27 * chest, 0.38 * chest, side * 0.12)
        _paint(hu, lung, -860 + 25 * _cloud(size, 0.03, 11) + vessels)

    belly = np.clip((z - 0.52) * 6, 0, 1)
    liver = _inside(x, y, -0.3, -0.08, 0.36 * belly, 0.34 * belly, 0.3)
    _paint(hu, liver, 112 + 7 * texture + 45 * np.clip(_cloud(size, 0.02, 5) - 1.9, 0, 1))
    _paint(hu, _inside(x, y, 0.52, 0.12, 0.13 * belly, 0.2 * belly, -0.4), 125 + 6 * texture)
    _paint(hu, _inside(x, y, 0.28, -0.22, 0.2 * belly, 0.15 * belly, 0.2), 25)
    _paint(hu, _inside(x, y, 0.3, -0.29, 0.14 * belly, 0.06 * belly), -960)
    kidney = max(0.0, 1 - ((z - 0.92) / 0.2) ** 2) ** 0.5
    for side in (-1, 1):
        _paint(hu, _inside(x, y, side * 0.34, 0.26, 0.12 * kidney, 0.15 * kidney, side * 0.5), 190 + 10 * texture)
        _paint(hu, _inside(x, y, side * 0.3, 0.26, 0.045 * kidney, 0.07 * kidney, side * 0.5), 20)

    heart = max(0.0, 1 - ((z - 0.42) / 0.17) ** 2) ** 0.5
    _paint(hu, _inside(x, y, 0.08, -0.16, 0.27 * heart, 0.22 * heart, 0.5), 95 + 5 * texture)
    _paint(hu, _inside(x, y, 0.15, -0.13, 0.13 * heart, 0.1 * heart, 0.6), 290)
    _paint(hu, _inside(x, y, -0.08, -0.17, 0.09 * heart, 0.12 * heart, 0.3), 260)
    _paint(hu, _inside(x, y, 0.1, 0.2, 0.06, 0.06), 300)
    if z < 0.34:
        _paint(hu, _inside(x, y, -0.06, -0.14, 0.07, 0.07), 285)
        _paint(hu, _inside(x, y, 0.0, 0.03, 0.045, 0.05), -980)
    if z > 0.5:
        _paint(hu, _inside(x, y, -0.07, 0.16, 0.06, 0.045), 180)

    disc = np.sin(z * 44) > 0.72
    _paint(hu, _inside(x, y, 0, 0.33, 0.13, 0.1), 95 if disc else 420)
    if not disc:
        _paint(hu, _inside(x, y, 0, 0.33, 0.105, 0.078), 210 + 45 * _cloud(size, 0.008, 3))
    _paint(hu, _inside(x, y, 0, 0.455, 0.07, 0.05), 380)
    _paint(hu, _inside(x, y, 0, 0.45, 0.045, 0.035), 25)
    _paint(hu, _inside(x, y, 0, 0.51, 0.022, 0.055), 520)
    if z < 0.55:
        _paint(hu, _inside(x, y, 0, -deep + 0.11, 0.09, 0.028), 380)
    for rib in range(9):
        angle = 0.3 + 0.62 * ((rib * 0.618 + z * 2.3) % 4.2)
        for side in (-1, 1):
            cx, cy = side * (wide - 0.1) * np.sin(angle), (deep - 0.085) * np.cos(angle)
            turn = side * -np.arctan2((deep - 0.085) * np.sin(angle), (wide - 0.1) * np.cos(angle))
            _paint(hu, _inside(x, y, cx, cy, 0.075, 0.026, turn), 620)
            _paint(hu, _inside(x, y, cx, cy, 0.05, 0.012, turn), 260)
    return hu + 9 * _cloud(size, 0.004, int(z * 1e6))


def head(z: float, size: int) -> Plane:
    """An axial slice of a head as T1-weighted signal, 0 to about 1000; z from 0 (base) to 1 (crown)."""
    x, y = _grid(size)
    round_ = max(0.02, 1 - ((z - 0.35) / 0.72) ** 2) ** 0.5
    rx, ry = 0.62 * round_, 0.78 * round_
    signal: Plane = np.zeros((size, size), dtype=np.float32)
    _paint(signal, _inside(x, y, 0, 0, rx + 0.08, ry + 0.08), 720)
    _paint(signal, _inside(x, y, 0, 0, rx + 0.035, ry + 0.035), 60)
    _paint(signal, _inside(x, y, 0, 0, rx, ry), 150)
    folds = np.abs(_cloud(size, 0.045, 20 + int(z * 12))) - 0.6
    rim = np.sqrt((x / max(rx, 0.01)) ** 2 + (y / max(ry, 0.01)) ** 2)
    cortex = np.clip(1.12 - rim + 0.2 * folds * np.clip(rim * 1.6 - 0.3, 0, 1), 0, 1)
    brain = _inside(x, y, 0, 0, rx * 0.96, ry * 0.96)
    white = 1 / (1 + np.exp(-(cortex - 0.38) * 26))
    _paint(signal, brain * (cortex > 0.17), 430 + 260 * white + 12 * _cloud(size, 0.008, 2))
    _paint(signal, _inside(x, y, 0, -0.42 * round_, 0.012, 0.36 * round_) * brain, 130)
    _paint(signal, _inside(x, y, 0, 0.5 * round_, 0.012, 0.28 * round_) * brain, 130)
    middle = max(0.0, 1 - ((z - 0.45) / 0.2) ** 2) ** 0.5
    for side in (-1, 1):
        _paint(signal, _inside(x, y, side * 0.1, -0.12, 0.055 * middle, 0.23 * middle, side * -0.22), 110)
        _paint(signal, _inside(x, y, side * 0.13, 0.22, 0.05 * middle, 0.15 * middle, side * 0.35), 110)
        _paint(signal, _inside(x, y, side * 0.24, 0.02, 0.08 * middle, 0.15 * middle, side * 0.25), 470)
    noisy: Plane = np.clip(signal + 14 * np.abs(_cloud(size, 0.003, int(z * 1e6))), 0, 4095)
    return noisy


def sector(phase: float, size: int) -> NDArray[np.uint8]:
    """One ultrasound frame of a beating chamber in a sector, 0 to 255; `phase` from 0 to 1 is one beat."""
    x, y = _grid(size)
    y = ((y + 1) / 2).astype(np.float32)
    depth, angle = np.hypot(x / 1.3, y - 0.02), np.arctan2(x / 1.3, y - 0.02)
    beat = 1 + 0.13 * np.sin(2 * np.pi * phase)
    echo: Plane = (95 - 55 * depth).astype(np.float32)
    _paint(echo, _inside(x, y, -0.05, 0.45, 0.4 * beat, 0.27 * beat, 0.25), 165)
    _paint(echo, _inside(x, y, -0.05, 0.45, 0.31 * beat, 0.19 * beat, 0.25), 18)
    _paint(echo, _inside(x, y, 0.12, 0.36 + 0.03 * beat, 0.13, 0.012, 0.9 * np.sin(2 * np.pi * phase)), 210)
    _paint(echo, _inside(x, y, -0.2, 0.38 + 0.03 * beat, 0.12, 0.012, -0.9 * np.sin(2 * np.pi * phase)), 210)
    _paint(echo, _inside(x, y, 0.02, 0.87, 0.6, 0.02, 0.05), 225)
    speckle = np.abs(_cloud(size, 0.005, 1) + 0.4 * _cloud(size, 0.005, 100 + int(phase * 1000)))
    fan = (
        np.clip((0.62 - np.abs(angle)) * 90, 0, 1) * np.clip((0.97 - depth) * 90, 0, 1) * np.clip(depth * 60 - 2, 0, 1)
    )
    seen: NDArray[np.uint8] = np.clip(echo * (0.35 + 0.75 * speckle) * fan, 0, 255).astype(np.uint8)
    return seen


def ct_torso(study: object, *, series: int = 1, slices: int = 40, size: int = 256, **values: object) -> list[Dataset]:
    """A CT series of the torso in Hounsfield units, 5 mm apart, with a soft tissue and a lung window."""
    made = []
    for index in range(slices):
        ds = ct_slice(study, series, index + 1, rows=2, columns=2)
        ds.SliceThickness = "5"
        ds.ImagePositionPatient = [-200, -200, -5 * index]
        ds.PixelSpacing = [round(400 / size, 6)] * 2
        ds.WindowCenter, ds.WindowWidth = [40, -600], [400, 1500]
        ds.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
        stored = np.round(torso(index / max(slices - 1, 1), size)) + 1024
        made.append(change(pixels(ds, stored.astype(np.int16)), values))
    return made


def mr_head(study: object, *, series: int = 1, slices: int = 24, size: int = 256, **values: object) -> list[Dataset]:
    """An MR series of the head, 12 bits stored."""
    made = []
    for index in range(slices):
        ds = mr_slice(study, series, index + 1, rows=2, columns=2)
        ds.PixelSpacing = [round(240 / size, 6)] * 2
        ds.WindowCenter, ds.WindowWidth = 400, 800
        signal = head(0.05 + 0.9 * index / max(slices - 1, 1), size)
        made.append(change(pixels(ds, signal.astype(np.uint16), bits_stored=12), values))
    return made


def us_heart(study: object, *, series: int = 1, frames: int = 24, size: int = 256, **values: object) -> Dataset:
    """One multi-frame ultrasound object, 8 bits, one beat at 25 frames a second."""
    ds = instance(UltrasoundMultiFrameImageStorage, "US", study, series)
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.FrameTime = "40"
    ds.FrameIncrementPointer = 0x00181063
    pixels(ds, np.stack([sector(index / frames, size) for index in range(frames)]))
    return change(ds, values)


def dx_chest(study: object, *, series: int = 1, size: int = 1024, **values: object) -> Dataset:
    """A chest radiograph, 12 bits: what is left of the rays after the torso, seen from the front."""
    ds = instance(DigitalXRayImageStorageForPresentation, "DX", study, series)
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.BodyPartExamined = "CHEST"
    rows = [np.clip(torso(z, 128) + 1000, 0, None).sum(axis=0) for z in np.linspace(0, 1, 64)]
    small = np.stack(rows)
    small = (small - small.min()) / (np.percentile(small, 99.5) - small.min())
    at = np.linspace(0, 1, size)
    wide = np.stack([np.interp(at, np.linspace(0, 1, 128), row) for row in small])
    tall = np.stack([np.interp(at, np.linspace(0, 1, 64), wide[:, column]) for column in range(size)], axis=1)
    grey = np.clip(tall + 0.004 * _cloud(size, 0.002, 4), 0, 1.1) * 3600
    pixels(ds, grey.astype(np.uint16), bits_stored=12)
    ds.WindowCenter, ds.WindowWidth = 1900, 3800
    return change(ds, values)


def letter(*lines: str, script: str = "") -> bytes:
    """A PDF document of one A4 page with these lines of text, of letters without parentheses (ISO 32000-1 7.5).

    `script` is JavaScript that it wants to run when it is opened.
    """
    opens = f" /OpenAction << /S /JavaScript /JS ({script}) >>" if script else ""
    text = "BT /F1 13 Tf 18 TL 72 760 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    page = (
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
    )
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R{opens} >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        page,
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        font,
    ]
    document, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(document))
        document += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(document)}\n%%EOF\n"
    return (f"{document}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}").encode("ascii")
