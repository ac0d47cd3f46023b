"""Whole-slide images that were never cut: pyramids of JPEG tiles, of any size, worked out from some pictures of tissue.

What is at a place is the same at every level: white glass, two pieces of tissue in pink and brown, and a green square
that marks a place (`MARK`). Levels of more than `DRAWN` pixels are put together from few distinct tiles, so a slide of
100,000 by 80,000 pixels takes seconds and some tens of megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from tests.parts.datasets import change, encapsulated, instance, pixels, sequence_item, uid

Colours = NDArray[np.uint8]
Place = NDArray[np.float64]

JPEG = "1.2.840.10008.1.2.4.50"
SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
MARK = (0.625, 0.375)
"""Where the middle of the green square is, in parts of width and height; its sides are `MARK_SIDE` of the width."""
MARK_SIDE = 0.01
DRAWN = 8_000_000
GLASS, PINK, BROWN, GREEN = (244, 243, 247), (226, 150, 190), (196, 158, 112), (20, 160, 60)


def kind(x: Place, y: Place) -> NDArray[np.uint8]:
    """What is at places given in parts of width and height: 0 glass, 1 pink tissue, 2 brown tissue, 3 the mark."""
    wave = 0.02 * np.sin(23 * x) + 0.015 * np.cos(31 * y) + 0.008 * np.sin(71 * x + 53 * y)
    pink = ((x - 0.3) / 0.19) ** 2 + ((y - 0.5) / 0.34) ** 2 < 1 + 5 * wave
    hole = ((x - 0.33) / 0.05) ** 2 + ((y - 0.42) / 0.09) ** 2 < 1 + 6 * wave
    brown = ((x - 0.7) / 0.16) ** 2 + ((y - 0.52) / 0.28) ** 2 < 1 - 5 * wave
    found = np.zeros(np.broadcast(x, y).shape, np.uint8)
    found[pink & ~hole], found[brown] = 1, 2
    found[(abs(x - MARK[0]) < MARK_SIDE / 2) & (abs(y - MARK[1]) < 0.625 * MARK_SIDE)] = 3
    return found


def tissue(sort: int, side: int) -> Colours:
    """A square of one kind, `side` pixels, that goes on at its edges: cells with dark nuclei among fibres."""
    ground = np.array((GLASS, PINK, BROWN, GREEN)[sort], np.float64)
    picture = np.broadcast_to(ground, (side, side, 3)).copy()
    if sort in (1, 2):
        random = np.random.default_rng(sort)
        y, x = np.mgrid[0:side, 0:side] / side
        fibres = np.sin(2 * np.pi * (3 * x + 2 * y) + 2 * np.sin(2 * np.pi * (x - y))) * 12
        picture += fibres[..., None]
        nucleus = np.array((92, 50, 130) if sort == 1 else (70, 84, 140), np.float64)
        for cx, cy, size in zip(random.random(70), random.random(70), random.random(70), strict=True):
            across, down = (x - cx + 0.5) % 1 - 0.5, (y - cy + 0.5) % 1 - 0.5
            edge = np.clip((0.016 + 0.012 * size - np.hypot(across, down * (1 + size))) * side / 2, 0, 1)
            picture += edge[..., None] * (nucleus - picture)
    return np.clip(picture, 0, 255).astype(np.uint8)


def jpeg(picture: Colours) -> bytes:
    """The picture in JPEG Baseline, YBR_FULL_422."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=70, subsampling="4:2:2")
    data = buffer.getvalue()
    return data + b"\0" * (len(data) % 2)


def tiles(columns: int, rows: int, tile: int, reduced: int) -> Iterator[bytes]:
    """The tiles of a level from left to right and top to bottom, padded at the edges. It is `reduced` times smaller."""
    side = max(4, tile // reduced)
    squares = [tissue(sort, side) for sort in range(4)]
    across, down = -(-columns // tile), -(-rows // tile)
    if columns * rows > DRAWN:
        wide = [jpeg(np.tile(square, (tile // side, tile // side, 1))) for square in squares]
        x = (np.arange(across) + 0.5) * tile / columns
        for row in range(down):
            for sort in kind(x, np.full(across, (row + 0.5) * tile / rows)):
                yield wide[sort]
        return
    y, x = np.mgrid[0 : down * tile, 0 : across * tile]
    sorts = kind((x + 0.5) / columns, (y + 0.5) / rows)
    whole = np.zeros((*sorts.shape, 3), np.uint8)
    for sort, square in enumerate(squares):
        repeated = np.tile(square, (down * tile // side + 1, across * tile // side + 1, 1))
        chosen = sorts == sort
        whole[chosen] = repeated[: down * tile, : across * tile][chosen]
    for row in range(down):
        for column in range(across):
            yield jpeg(whole[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile])


def slide(
    study: object,
    columns: int,
    rows: int,
    *,
    tile: int = 512,
    factor: int = 4,
    spacing: float = 0.00025,
    sparse: Callable[[int, int], bool] | None = None,
    **values: object,
) -> Iterator[Dataset]:
    """The levels of a slide from the largest to the smallest, TILED_FULL, then its label and overview.

    `spacing` is that of the largest level, in millimetres. With `sparse` the levels are TILED_SPARSE, and hold the
    tiles at those (column, row), from 0, for which it is true.
    """
    reduced, number = 1, 1
    while True:
        size = (max(1, columns // reduced), max(1, rows // reduced))
        ds = _level(study, number, size, tile, spacing * columns / size[0], reduced)
        frames = list(tiles(*size, tile, reduced))
        if sparse is None:
            ds.DimensionOrganizationType = "TILED_FULL"
        else:
            ds.DimensionOrganizationType = "TILED_SPARSE"
            across = -(-size[0] // tile)
            held = [at for at in range(len(frames)) if sparse(at % across, at // across)]
            # In no order that could be taken for the one of TILED_FULL.
            held.reverse()
            ds.PerFrameFunctionalGroupsSequence = [_position(at % across, at // across, tile) for at in held]
            frames = [frames[at] for at in held]
        yield change(encapsulated(ds, frames, photometric="YBR_FULL_422"), values)
        if max(size) <= tile:
            break
        reduced, number = reduced * factor, number + 1
    for flavour, colour in (("LABEL", (250, 246, 220)), ("OVERVIEW", GLASS)):
        number += 1
        picture = np.full((240, 320, 3), colour, np.uint8)
        if flavour == "OVERVIEW":
            y, x = np.mgrid[0:240, 0:320]
            picture = np.array((GLASS, PINK, BROWN, GREEN), np.uint8)[kind(x / 320, y / 240)]
        ds = _level(study, number, (320, 240), 0, 0.05, 1)
        ds.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
        ds.SpecimenLabelInImage = "YES" if flavour == "LABEL" else "NO"
        yield change(encapsulated(ds, [jpeg(picture)], photometric="YBR_FULL_422"), values)


def layered(
    study: object,
    number: int,
    colours: Sequence[Sequence[tuple[int, int, int]]],
    *,
    sparse: bool = False,
    side: int = 512,
    tile: int = 256,
    profiles: Sequence[bytes | None] = (),
    **values: object,
) -> Dataset:
    """One level of even colours: `colours` of each optical path, and in it of each focal plane.

    Frames are in the order of TILED_FULL (PS3.3 C.7.6.17.3), or with `sparse` in the opposite one. `profiles` are those
    of the optical paths.
    """
    ds = _level(study, number, (side, side), tile, 0.0005, 1)
    tiles_of_plane = (side // tile) ** 2
    depths = len(colours[0])
    ds.NumberOfOpticalPaths, ds.TotalPixelMatrixFocalPlanes = len(colours), depths
    ds.OpticalPathSequence = [
        sequence_item(OpticalPathIdentifier=chr(65 + at), OpticalPathDescription=f"Stain {chr(65 + at)}")
        for at in range(len(colours))
    ]
    for item, profile in zip(ds.OpticalPathSequence, profiles, strict=False):
        if profile is not None:
            item.ICCProfile = profile
    frames, groups = [], []
    for path, planes in enumerate(colours):
        for depth, colour in enumerate(planes):
            data = jpeg(np.full((tile, tile, 3), colour, np.uint8))
            for at in range(tiles_of_plane):
                frames.append(data)
                item = _position(at % (side // tile), at // (side // tile), tile)
                item.PlanePositionSlideSequence[0].ZOffsetInSlideCoordinateSystem = str(0.002 * depth)
                item.OpticalPathIdentificationSequence = [sequence_item(OpticalPathIdentifier=chr(65 + path))]
                groups.append(item)
    ds.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    if sparse:
        frames.reverse()
        groups.reverse()
        ds.PerFrameFunctionalGroupsSequence = groups
    return change(encapsulated(ds, frames, photometric="YBR_FULL_422"), values)


def fluorescence(study: object, number: int, name: str, levels: Sequence[int]) -> Dataset:
    """One channel in an instance of its own: 16-bit greys without a window, one level for each of four tiles."""
    ds = _level(study, number, (512, 512), 256, 0.0005, 1)
    ds.DimensionOrganizationType = "TILED_FULL"
    ds.OpticalPathSequence = [sequence_item(OpticalPathIdentifier=name, OpticalPathDescription=name)]
    frames = np.stack([np.full((256, 256), level, np.uint16) for level in levels])
    frames[:, 0, 0] = 0  # so that the range of each tile is another
    return pixels(ds, frames)


def concatenation(study: object, first: int, parts: int = 2) -> Iterator[Dataset]:
    """One level of 4 by 2 tiles in several instances: each tile with a colour of its own (PS3.3 C.7.6.16.2.2.4)."""
    colours = [(40 + 25 * at, 200 - 20 * at, 90) for at in range(8)]
    each = len(colours) // parts
    for part in range(parts):
        ds = _level(study, first + part, (1024, 512), 256, 0.0005, 1)
        ds.DimensionOrganizationType = "TILED_FULL"
        ds.ConcatenationUID = uid("concatenation", study)
        ds.SOPInstanceUIDOfConcatenationSource = uid("source", study)
        ds.InConcatenationNumber, ds.InConcatenationTotalNumber = part + 1, parts
        ds.ConcatenationFrameOffsetNumber = part * each
        own = colours[part * each : (part + 1) * each]
        yield encapsulated(
            ds, [jpeg(np.full((256, 256, 3), colour, np.uint8)) for colour in own], photometric="YBR_FULL_422"
        )


def _level(study: object, number: int, size: tuple[int, int], tile: int, spacing: float, reduced: int) -> Dataset:
    ds = instance(SLIDE, "SM", study, 1, number)
    ds.ImageType = [
        "ORIGINAL" if reduced == 1 else "DERIVED",
        "PRIMARY",
        "VOLUME",
        "NONE" if reduced == 1 else "RESAMPLED",
    ]
    ds.FrameOfReferenceUID = uid("frame", study)
    ds.ContainerIdentifier = "S-1"
    ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = size
    ds.Columns, ds.Rows = (tile, tile) if tile else size
    ds.SamplesPerPixel, ds.PlanarConfiguration = 3, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.NumberOfFrames = 1
    ds.NumberOfOpticalPaths = ds.TotalPixelMatrixFocalPlanes = 1
    ds.OpticalPathSequence = [sequence_item(OpticalPathIdentifier="1", ObjectiveLensPower=40)]
    measures = sequence_item(PixelSpacing=[f"{spacing:.10g}"[:16]] * 2, SliceThickness="0.001")
    ds.SharedFunctionalGroupsSequence = [sequence_item(PixelMeasuresSequence=[measures])]
    return ds


def _position(column: int, row: int, tile: int) -> Dataset:
    place = sequence_item(
        ColumnPositionInTotalImagePixelMatrix=column * tile + 1,
        RowPositionInTotalImagePixelMatrix=row * tile + 1,
        XOffsetInSlideCoordinateSystem="0",
        YOffsetInSlideCoordinateSystem="0",
        ZOffsetInSlideCoordinateSystem="0",
    )
    return sequence_item(PlanePositionSlideSequence=[place])
