"""Presentation states: against dcmtk's dcmp2pgm, which is an independent renderer, and by what must come out."""

from __future__ import annotations

import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, PpmImagePlugin
from pydicom.dataset import Dataset

from gateway.errors import BadRequest, NotRenderable
from gateway.render import View, Viewport
from gateway.render.presentation import State, present
from tests.gateway.dicom.opened import opened
from tests.gateway.render.pictures import array_of
from tests.gateway.render.states import COLOR, PSEUDO_COLOR, RED, area, boxed, graphic, layer, state, voi
from tests.parts.datasets import (
    change,
    color,
    ct_slice,
    instance,
    mr_slice,
    multi_frame,
    part10_bytes,
    pixels,
    sequence_item,
)

Shades = NDArray[np.uint8]
CT = ct_slice("pr", rows=96, columns=128)
MR = mr_slice("pr", rows=64, columns=50)
HU: dict[str, Any] = {"RescaleSlope": "1", "RescaleIntercept": "-1024", "RescaleType": "HU"}
WINDOWED: dict[str, Any] = {**HU, "SoftcopyVOILUTSequence": [voi(0, 1500)]}


def flat(value: int = 250, rows: int = 96, columns: int = 128, photometric: str = "MONOCHROME2") -> Dataset:
    ds = instance("1.2.840.10008.5.1.4.1.1.7", "OT", "pr", 3, ConversionType="SYN")
    return pixels(ds, np.full((rows, columns), value, np.uint8), photometric)


def ramp(photometric: str = "MONOCHROME2") -> Dataset:
    ds = instance("1.2.840.10008.5.1.4.1.1.7", "OT", "pr", 4, ConversionType="SYN")
    return pixels(ds, np.tile(np.arange(256, dtype=np.uint8), (8, 1)), photometric)


def lut(first: int, entries: list[int], bits: int = 16, **values: Any) -> Dataset:
    return sequence_item(
        LUTDescriptor=[len(entries), first, bits], LUTData=np.array(entries, "<u2").tobytes(), **values
    )


def shown(image: Dataset, ds: Dataset, viewport: Viewport | None = None, **how: Any) -> NDArray[Any]:
    """The picture in RGB."""
    one = opened(image)
    found = State(opened(ds).header, lambda offset, length: b"")
    picture = present(found, one.header, one.frame(1), 1, View(viewport=viewport), "image/png", **how)
    with Image.open(BytesIO(picture.data)) as decoded:
        assert decoded.size == (picture.width, picture.height)
        return np.asarray(decoded.convert("RGB"))


def grey(image: Dataset, ds: Dataset, viewport: Viewport | None = None) -> NDArray[Any]:
    found = shown(image, ds, viewport)
    assert np.array_equal(found[..., 0], found[..., 1]) and np.array_equal(found[..., 0], found[..., 2])
    return found[..., 0]


SQUARES = [min(65535, value * value // 256) for value in range(4096)]
CASES: dict[str, tuple[Dataset, dict[str, Any]]] = {
    "a window": (CT, WINDOWED),
    "a window of one": (CT, {**HU, "SoftcopyVOILUTSequence": [voi(40, 1)]}),
    "rescaled, no VOI": (CT, HU),
    "nothing at all, signed": (CT, {}),
    "nothing at all, 12 bits": (MR, {}),
    "nothing at all, 8 bits": (ramp(), {}),
    "a VOI LUT": (MR, {"SoftcopyVOILUTSequence": [
        sequence_item(VOILUTSequence=[lut(100, [int(65535 * (n / 1999) ** 0.5) for n in range(2000)])])
    ]}),
    "a Modality LUT": (MR, {"ModalityLUTSequence": [lut(0, SQUARES, ModalityLUTType="US")]}),
    "inverse": (CT, {**WINDOWED, "PresentationLUTShape": "INVERSE"}),
    "a Presentation LUT": (CT, {**WINDOWED, "PresentationLUTShape": None, "PresentationLUTSequence": [
        lut(0, [int(65535 * (n / 1023) ** 2) for n in range(1024)])
    ]}),
    "a Presentation LUT of 8 bits": (ramp(), {"PresentationLUTShape": None, "PresentationLUTSequence": [
        lut(0, list(range(255, -1, -1)), 8)
    ]}),
    "turned by 90": (CT, {**WINDOWED, "ImageRotation": 90, "ImageHorizontalFlip": "N"}),
    "turned by 90, then mirrored": (CT, {**WINDOWED, "ImageRotation": 90, "ImageHorizontalFlip": "Y"}),
    "turned by 180, then mirrored": (CT, {**WINDOWED, "ImageRotation": 180, "ImageHorizontalFlip": "Y"}),
    "turned by 270": (CT, {**WINDOWED, "ImageRotation": 270, "ImageHorizontalFlip": "N"}),
    "MONOCHROME1": (ramp("MONOCHROME1"), {}),
    "MONOCHROME1, inverse": (ramp("MONOCHROME1"), {"PresentationLUTShape": "INVERSE"}),
}  # fmt: skip


@pytest.mark.skipif(shutil.which("dcmp2pgm") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize("case", CASES)
def test_greys_are_those_of_dcmtk(case: str, tmp_path: Path) -> None:
    """IMG-20: Modality LUT, VOI LUT, Presentation LUT, rotate then flip; at most 1 grey level apart."""
    image, values = CASES[case]
    ds = change(state(image, study="pr"), values)
    paths = [tmp_path / name for name in ("image.dcm", "state.dcm", "out.pgm")]
    paths[0].write_bytes(part10_bytes(image))
    paths[1].write_bytes(part10_bytes(ds))
    subprocess.run(["dcmp2pgm", "-q", "-p", *map(str, (paths[1], paths[0], paths[2]))], check=True, timeout=60)
    with PpmImagePlugin.PpmImageFile(paths[2]) as found:
        theirs = np.asarray(found).astype(int)
    ours = grey(image, ds).astype(int)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1
    assert ours.max() > ours.min()


def test_what_the_image_says_of_its_display_does_not_count() -> None:
    """PS3.4 N.2.1.1: a state without VOI shows the whole range, whatever window the image has."""
    narrow = change(ramp(), {"WindowCenter": "10", "WindowWidth": "2"})
    assert grey(narrow, state(narrow))[0].tolist() == list(range(256))


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        (
            {
                "ShutterShape": "RECTANGULAR",
                "ShutterLeftVerticalEdge": 30,
                "ShutterRightVerticalEdge": 100,
                "ShutterUpperHorizontalEdge": 20,
                "ShutterLowerHorizontalEdge": 80,
            },
            lambda x, y: (x >= 30) & (x <= 100) & (y >= 20) & (y <= 80),
        ),
        (
            {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [50, 64], "RadiusOfCircularShutter": 40},
            lambda x, y: np.hypot(x - 64, y - 50) <= 40,
        ),
        (
            {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [10, 10, 10, 110, 90, 110, 90, 10]},
            lambda x, y: (x >= 10) & (x <= 110) & (y >= 10) & (y <= 90),
        ),
    ],
)
def test_shutters_cover_what_lies_outside(values: dict[str, Any], seen: Any) -> None:
    """IMG-20, PS3.3 C.7.6.11: edges count from 1 and are seen; the rest has the presentation value of the shutter."""
    found = grey(flat(), state(flat(), ShutterPresentationValue=0x8000, **values))
    y, x = np.mgrid[1:97, 1:129]
    assert np.array_equal(found == 250, seen(x, y))
    assert set(np.unique(found)) == {128, 250}


def test_two_shutters_cover_together_and_may_have_a_colour() -> None:
    """PS3.3 C.7.6.11."""
    values: dict[str, Any] = {
        "ShutterLeftVerticalEdge": 40,
        "ShutterRightVerticalEdge": 128,
        "ShutterUpperHorizontalEdge": 1,
    }
    values |= {"ShutterLowerHorizontalEdge": 96, "RadiusOfCircularShutter": 30}
    ds = state(
        flat(),
        ShutterShape=["RECTANGULAR", "CIRCULAR"],
        CenterOfCircularShutter=[48, 50],
        ShutterPresentationColorCIELabValue=RED,
        **values,
    )
    found = shown(flat(), ds)
    y, x = np.mgrid[1:97, 1:129]
    assert np.array_equal(found[..., 1] == 250, (x >= 40) & (np.hypot(x - 50, y - 48) <= 30))
    red, green, blue = found[0, 0].tolist()
    assert red > 250 and green < 6 and blue < 6


def test_the_displayed_area_is_cut_out_and_may_reach_beyond() -> None:
    """IMG-20, PS3.3 C.10.4: corners count from 1; beyond the image it is black."""
    whole = grey(CT, state(CT, **WINDOWED))
    found = grey(CT, state(CT, **WINDOWED, DisplayedAreaSelectionSequence=[area(CT, (11, 21), (60, 80))]))
    assert np.array_equal(found, whole[20:80, 10:60])
    beyond = state(flat(), DisplayedAreaSelectionSequence=[area(flat(), (-9, 1), (128, 106))])
    found = grey(flat(), beyond)
    assert found.shape == (106, 138)
    assert (found[:96, 10:] == 250).all() and found[96:].max() == 0 and found[:, :10].max() == 0
    # after the transformation the top left corner is another one
    turned = area(CT, (1, 96), (128, 1))
    ds = state(CT, **WINDOWED, ImageRotation=90, ImageHorizontalFlip="N", DisplayedAreaSelectionSequence=[turned])
    assert np.array_equal(grey(CT, ds), np.rot90(whole, -1))


def test_size_modes_and_aspect() -> None:
    """RP-08: SCALE TO FIT and TRUE SIZE scale to the viewport; MAGNIFY scales by itself, then is cropped."""
    image = flat(rows=50, columns=100)

    def size(viewport: Viewport | None = None, **values: Any) -> tuple[int, ...]:
        return shown(image, state(image, DisplayedAreaSelectionSequence=[area(image, **values)]), viewport).shape[:2]

    assert size() == (50, 100)
    assert size(Viewport(400, 400)) == (200, 400)
    assert size(Viewport(400, 400), PresentationSizeMode="TRUE SIZE", PresentationPixelSpacing=[1, 1]) == (200, 400)
    magnified: dict[str, Any] = {"PresentationSizeMode": "MAGNIFY", "PresentationPixelMagnificationRatio": 3.0}
    assert size(**magnified) == (150, 300)
    assert size(Viewport(120, 400), **magnified) == (150, 120)
    assert size(PresentationPixelAspectRatio=["2", "1"]) == (100, 100)
    assert size(PresentationPixelSpacing=[1.0, 2.0], PresentationPixelAspectRatio=None) == (50, 200)
    with pytest.raises(BadRequest, match="pixels"):
        image = flat(rows=100, columns=100)
        size(PresentationSizeMode="MAGNIFY", PresentationPixelMagnificationRatio=64.0)


def annotated(*graphics: Dataset, texts: tuple[Dataset, ...] = (), name: str = "A", **values: Any) -> Dataset:
    annotation = sequence_item(GraphicLayer=name)
    if graphics:
        annotation.GraphicObjectSequence = list(graphics)
    if texts:
        annotation.TextObjectSequence = list(texts)
    values.setdefault("GraphicLayerSequence", [layer("A", GraphicLayerRecommendedDisplayCIELabValue=RED)])
    return state(flat(0), GraphicAnnotationSequence=[annotation], **values)


def drawn(ds: Dataset, viewport: Viewport | None = None) -> NDArray[np.bool_]:
    """Where something is drawn over black."""
    return np.asarray(shown(flat(0), ds, viewport).max(axis=2) > 100)


@pytest.mark.parametrize(
    ("kind", "data", "on", "off"),
    [
        ("POINT", [30, 40], [(30, 40)], [(40, 40)]),
        ("POLYLINE", [10, 10, 110, 10, 110, 80], [(10, 10), (60, 10), (110, 60)], [(60, 40)]),
        ("INTERPOLATED", [10, 50, 60, 20, 110, 50], [(10, 50), (60, 20), (110, 50)], [(60, 50)]),
        ("CIRCLE", [64, 48, 94, 48], [(94, 48), (34, 48), (64, 18), (64, 78)], [(64, 48)]),
        ("ELLIPSE", [14, 48, 114, 48, 64, 28, 64, 68], [(14, 48), (114, 48), (64, 28), (64, 68)], [(64, 48)]),
    ],
)
def test_graphics_of_every_type_are_drawn_where_they_are_said_to_be(
    kind: str, data: list[float], on: list[tuple[int, int]], off: list[tuple[int, int]]
) -> None:
    """IMG-20, PS3.3 C.10.5: units PIXEL and DISPLAY, filled or not, turned and mirrored with the image."""

    def hit(found: NDArray[np.bool_], x: float, y: float) -> bool:
        return bool(found[max(0, int(y) - 2) : int(y) + 2, max(0, int(x) - 2) : int(x) + 2].any())

    found = drawn(annotated(graphic(kind, data)))
    assert all(hit(found, *place) for place in on) and not any(hit(found, *place) for place in off)
    parts = [value / (128, 96)[place % 2] for place, value in enumerate(data)]
    by_parts = drawn(annotated(graphic(kind, parts, "DISPLAY")))
    if kind != "CIRCLE":  # a circle in fractions of an area that is no square is none in pixels
        assert all(hit(by_parts, *place) for place in on)
    turned = drawn(annotated(graphic(kind, data), ImageRotation=90, ImageHorizontalFlip="N"))
    assert turned.shape == (128, 96)
    assert all(hit(turned, 96 - y, x) for x, y in on)
    mirrored = drawn(annotated(graphic(kind, data), ImageRotation=0, ImageHorizontalFlip="Y"))
    assert all(hit(mirrored, 128 - x, y) for x, y in on)
    if kind in ("CIRCLE", "ELLIPSE"):
        assert hit(drawn(annotated(graphic(kind, data, GraphicFilled="Y"))), *off[0])


def test_text_stands_in_its_box_or_beside_its_anchor() -> None:
    """IMG-20, PS3.3 C.10.5.1: justified within the box; the anchor is joined to it where it is to be seen."""
    big = Viewport(512, 384)
    left, right = (
        drawn(annotated(texts=(boxed("XX", (10, 10, 100, 20), justified=one),)), big) for one in ("LEFT", "RIGHT")
    )
    rows, columns = np.nonzero(left)
    assert rows.min() >= 38 and rows.max() <= 90 and 38 <= columns.min() <= 48 and columns.max() < 200
    assert np.nonzero(right)[1].max() >= 390
    anchored = boxed("XX", (10, 10, 100, 20), AnchorPointAnnotationUnits="PIXEL", AnchorPoint=[64.0, 80.0])
    anchored.AnchorPointVisibility = "Y"
    joined = drawn(annotated(texts=(anchored,)), big)
    assert joined[300:330, 240:272].any() and joined[150:200].any()
    beside = sequence_item(
        UnformattedTextValue="XX",
        AnchorPointAnnotationUnits="DISPLAY",
        AnchorPoint=[0.5, 0.5],
        AnchorPointVisibility="N",
    )
    rows, columns = np.nonzero(drawn(annotated(texts=(beside,)), big))
    assert abs(rows.mean() - 192) < 20 and 250 < columns.min() < 280


def test_layers_are_drawn_in_their_order_in_their_colour() -> None:
    """PS3.3 C.10.7: the higher order over the lower, whichever stands first."""
    bar = graphic("POLYLINE", [20, 20, 100, 20, 100, 60, 20, 60, 20, 20], GraphicFilled="Y")
    for order, expected in ((1, (128, 128, 128)), (3, None)):
        ds = state(
            flat(0),
            GraphicLayerSequence=[
                layer("GREY", 2, GraphicLayerRecommendedDisplayGrayscaleValue=0x8000),
                layer("RED", order, GraphicLayerRecommendedDisplayCIELabValue=RED),
            ],
            GraphicAnnotationSequence=[
                sequence_item(GraphicLayer="RED", GraphicObjectSequence=[bar]),
                sequence_item(GraphicLayer="GREY", GraphicObjectSequence=[bar]),
            ],
        )
        colour = shown(flat(0), ds)[40, 60].tolist()
        assert tuple(colour) == expected if expected else colour[0] > 250 and max(colour[1:]) < 6


def test_items_count_for_the_images_that_they_name() -> None:
    """PS3.3 C.11.8, C.10.4, C.10.5: VOI, area and annotations of other images are left alone."""
    other = ct_slice("pr", number=2, rows=96, columns=128)
    ds = state(CT, other, **HU, SoftcopyVOILUTSequence=[voi(0, 1500, CT), voi(4000, 10, other)])
    mine = area(CT)
    mine.ReferencedImageSequence = ds.ReferencedSeriesSequence[0].ReferencedImageSequence[:1]
    theirs = area(CT, (1, 1), (10, 10))
    theirs.ReferencedImageSequence = ds.ReferencedSeriesSequence[0].ReferencedImageSequence[1:]
    ds.DisplayedAreaSelectionSequence = [theirs, mine]
    assert grey(CT, ds).shape == (96, 128)
    assert np.array_equal(grey(CT, ds), grey(CT, state(CT, **WINDOWED)))
    assert grey(other, ds).shape == (10, 10)
    assert grey(other, ds).max() == 0


def test_a_region_is_a_part_of_the_displayed_area() -> None:
    """URI-08, URI-10."""
    whole = shown(CT, state(CT, **WINDOWED))
    assert np.array_equal(shown(CT, state(CT, **WINDOWED), region=(0.25, 0.5, 0.75, 1.0)), whole[48:, 32:96])
    assert shown(CT, state(CT, **WINDOWED), Viewport(256, 1000), region=(0.25, 0.5, 0.75, 1.0)).shape == (192, 256, 3)
    with pytest.raises(BadRequest, match="region"):
        shown(CT, state(CT), Viewport(5000, 5000), region=(0.0, 0.0, 1e-7, 1e-7))


def test_pseudo_colour_maps_what_comes_out_of_the_voi() -> None:
    """PS3.4 N.2.2: the palette of the state, from black to white through red."""
    ds = state(ramp(), sop_class=PSEUDO_COLOR)
    reds, others = [min(255, 2 * n) for n in range(256)], [max(0, 2 * n - 255) for n in range(256)]
    for name, entries in (("Red", reds), ("Green", others), ("Blue", others)):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", np.array(entries, "<u2").astype("<u2").tobytes())
        ds[f"{name}PaletteColorLookupTableData"].value = (np.array(entries, "<u2") * 257).tobytes()
    found = shown(ramp(), ds)
    assert found[0].tolist() == [[red, other, other] for red, other in zip(reds, others, strict=True)]
    del ds.RedPaletteColorLookupTableData
    with pytest.raises(NotRenderable, match="palette"):
        shown(ramp(), ds)


def test_colour_states_show_colours_and_greys_do_not_go_with_colour() -> None:
    """PS3.4 N.2.3: shutter, area and annotations as for greys; the ICC profile of the state leads to sRGB."""
    image = color("pr")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ds = state(image, sop_class=COLOR, ICCProfile=profile, ImageRotation=180, ImageHorizontalFlip="N")
    plain = np.frombuffer(image.PixelData, np.uint8).reshape(48, 64, 3)
    assert np.abs(shown(image, ds).astype(int) - plain[::-1, ::-1]).max() <= 2
    with pytest.raises(NotRenderable, match="colour"):
        shown(image, state(image))
    with pytest.raises(NotRenderable, match="colour"):
        shown(CT, state(CT, sop_class=COLOR))


def overlay(ds: Dataset, group: int, bits: NDArray[Any], **values: Any) -> Dataset:
    """Add an overlay plane (PS3.3 C.9.2), at the top left of the image."""
    for element, vr, value in (
        (0x0010, "US", bits.shape[0]),
        (0x0011, "US", bits.shape[1]),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
    ):
        ds.add_new((group, element), vr, value)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    ds.add_new((group, 0x3000), "OW", packed + b"\0" * (len(packed) % 2))
    return change(ds, values)


def corner(rows: int = 96, columns: int = 128) -> NDArray[Any]:
    bits = np.zeros((rows, columns), np.uint8)
    bits[:20, :30] = 1
    return bits


@pytest.mark.parametrize("where", ["image", "state"])
def test_overlays_are_drawn_where_they_are_activated(where: str) -> None:
    """IMG-20, PS3.3 C.11.7: of the image or of the state, in the colour of their layer, turned with the image."""
    image = flat(0)
    ds = state(image, ImageRotation=180, ImageHorizontalFlip="N")
    overlay(image if where == "image" else ds, 0x6002, corner())
    assert shown(image, ds).max() == 0  # not activated
    ds.add_new((0x6002, 0x1001), "CS", "A")
    ds.GraphicLayerSequence = [layer("A", GraphicLayerRecommendedDisplayCIELabValue=RED)]
    red = shown(image, ds)[..., 0]
    assert np.array_equal(red > 250, np.rot90(corner(), 2) == 1)


def test_a_bitmap_shutter_covers_its_bits() -> None:
    """PS3.3 C.7.6.15: together with the other shapes."""
    ds = state(
        flat(),
        ShutterShape=["BITMAP", "RECTANGULAR"],
        ShutterOverlayGroup=0x6000,
        ShutterPresentationValue=0,
        ShutterLeftVerticalEdge=1,
        ShutterRightVerticalEdge=100,
        ShutterUpperHorizontalEdge=1,
        ShutterLowerHorizontalEdge=96,
    )
    overlay(ds, 0x6000, corner())
    expected = corner() == 1
    expected[:, 100:] = True
    assert np.array_equal(grey(flat(), ds) == 0, expected)


def test_a_mask_is_taken_away_after_the_modality_lut() -> None:
    """IMG-20: the average of the mask frames, before the window; only for the frames that it applies to."""
    run = multi_frame("pr", frames=4, rows=8, columns=8)
    frames = np.stack([np.full((8, 8), value, np.uint16) for value in (100, 300, 260, 700)])
    frames[2:, :4] += 50  # what is new, in its upper half
    pixels(run, frames, bits_stored=12)
    ds = state(
        run,
        SoftcopyVOILUTSequence=[voi(0, 511, VOILUTFunction="LINEAR_EXACT")],
        RescaleSlope="2",
        RescaleIntercept="-7",
        RescaleType="US",
        RecommendedViewingMode="SUB",
        MaskSubtractionSequence=[
            sequence_item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1, 2], ApplicableFrameRange=[3, 3])
        ],
    )
    one = opened(run)
    found = State(opened(ds).header, lambda offset, length: b"")

    def greys(frame: int) -> list[int]:
        picture = present(found, one.header, one.frame(frame), frame, View(), "image/png", fetch=one.frame)
        found_greys: list[int] = array_of(picture)[::4, 0, 0].tolist()
        return found_greys

    # 2 * (310 - 200) and 2 * (260 - 200) in a window of 511 around 0
    assert greys(3) == [round((220 / 511 + 0.5) * 255), round((120 / 511 + 0.5) * 255)]
    assert greys(4) == [255, 255]
    ds.MaskSubtractionSequence[0].MaskFrameNumbers = [9]
    found = State(opened(ds).header, lambda offset, length: b"")
    with pytest.raises(NotRenderable, match="frame 9"):
        greys(3)


@pytest.mark.parametrize(
    "values",
    [
        {"ShutterShape": "BITMAP", "ShutterOverlayGroup": 0x0010},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1]},
        {"ShutterShape": "CIRCULAR", "RadiusOfCircularShutter": 2147483647},
        {"ShutterShape": "RECTANGULAR"},
        {"ImageRotation": 45},
        {"DisplayedAreaSelectionSequence": []},
        {"DisplayedAreaSelectionSequence": [area(CT, (-(2**31), 1), (2**31 - 1, 5))]},
        {"DisplayedAreaSelectionSequence": [area(CT, PresentationPixelAspectRatio=["0", "-1"])]},
        {"DisplayedAreaSelectionSequence": [area(CT, PresentationSizeMode="MAGNIFY")]},
        {"SoftcopyVOILUTSequence": [voi(0, 0)]},
        {"RescaleSlope": "0", "RescaleIntercept": "1e99"},
        {"PresentationLUTSequence": [lut(0, [1], 17)]},
        {"GraphicAnnotationSequence": [sequence_item(GraphicLayer="A", GraphicObjectSequence=[
            graphic("CIRCLE", [1]), graphic("ELLIPSE", [1, 2]), graphic("NEW", [1, 2, 3, 4]), graphic("POINT", []),
            graphic("POLYLINE", [-1e30, 1e30, 1e30, -1e30]), graphic("CIRCLE", [0, 0, 1e30, 1e30]),
        ], TextObjectSequence=[sequence_item(UnformattedTextValue="nowhere"), boxed("x" * 1000, (5, 5, 5, 5))])]},
    ],
)  # fmt: skip
def test_a_state_that_makes_no_sense_still_gives_a_picture(values: dict[str, Any]) -> None:
    """S-35 in spirit: what cannot be used is left out."""
    assert shown(CT, state(CT, **values)).size
