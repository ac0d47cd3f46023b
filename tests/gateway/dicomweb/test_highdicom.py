"""Presentation states, segmentations and reports that another library writes: highdicom's own objects, rendered."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from PIL import ImageCms
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from tests.gateway.dicomweb.service import Service
from tests.gateway.dicomweb.test_rendered import picture, url

ALGORITHM = hd.AlgorithmIdentificationSequence("threshold", codes.DCM.ArtificialIntelligence, "1")
RED = hd.color.CIELabColor.from_rgb(255, 0, 0)


def source() -> Dataset:
    ds = dcmread(str(get_testdata_file("CT_small.dcm")))
    ds.remove_private_tags()
    return ds


CT = source()


def common(series: int) -> dict[str, Any]:
    return {
        "series_instance_uid": f"1.2.3.4.{series}",
        "series_number": series,
        "sop_instance_uid": f"1.2.3.4.{series}.1",
        "instance_number": 1,
        "manufacturer": "Test",
        "manufacturer_model_name": "Test",
        "software_versions": "1",
        "device_serial_number": "1",
    }


def presentation(kind: type[Any], series: int, **more: Any) -> Dataset:
    layer = hd.pr.GraphicLayer("LESIONS", 1, display_color=RED)
    annotation = hd.pr.GraphicAnnotation(
        [CT],
        layer,
        graphic_objects=[
            hd.pr.GraphicObject(hd.pr.GraphicTypeValues.CIRCLE, np.array([[64.0, 64.0], [84.0, 64.0]]), units="PIXEL"),
            hd.pr.GraphicObject(
                hd.pr.GraphicTypeValues.POLYLINE, np.array([[0.1, 0.1], [0.3, 0.1], [0.3, 0.3]]), units="DISPLAY"
            ),
        ],
        text_objects=[hd.pr.TextObject("lesion", units="PIXEL", anchor_point=(20.0, 110.0))],
    )
    ds: Dataset = kind(
        referenced_images=[CT],
        **common(series),
        content_label="LESIONS",
        graphic_layers=[layer],
        graphic_annotations=[annotation],
        concept_name=codes.DCM.PresentationState,
        **more,
    )
    return ds


def segmentation(kind: str, series: int) -> Dataset:
    mask = np.zeros((1, *CT.pixel_array.shape), np.uint8)
    mask[0, 30:60, 20:50] = 1
    mask[0, 80:100, 70:110] = 2
    segments = [
        hd.seg.SegmentDescription(
            number,
            f"segment {number}",
            codes.SCT.Tissue,
            codes.SCT.Tissue,
            "AUTOMATIC",
            ALGORITHM,
            display_color=colour,
        )
        for number, colour in ((1, RED), (2, hd.color.CIELabColor.from_rgb(0, 0, 255)))
    ]
    planes = mask if kind != "FRACTIONAL" else np.stack([mask == 1, (mask == 2) * 0.5], axis=-1).astype(np.float32)
    return hd.seg.Segmentation([CT], planes, kind, segments, **common(series))


def built() -> dict[str, Dataset]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the source is from 2004, and has its lapses
        window = hd.pr.SoftcopyVOILUTTransformation(window_center=40.0, window_width=400.0, referenced_images=None)
        rescale = hd.ModalityLUTTransformation(rescale_intercept=-1024.0, rescale_slope=1.0, rescale_type="HU")
        ramp = np.arange(256, dtype=np.uint16) * 257
        palette = hd.PaletteColorLUTTransformation(
            red_lut=hd.PaletteColorLUT(0, ramp, "red"),
            green_lut=hd.PaletteColorLUT(0, ramp // 2, "green"),
            blue_lut=hd.PaletteColorLUT(0, 65535 - ramp, "blue"),
        )
        found = {
            "grey": presentation(
                hd.pr.GrayscaleSoftcopyPresentationState,
                81,
                modality_lut_transformation=rescale,
                voi_lut_transformations=[window],
            ),
            "pseudo": presentation(
                hd.pr.PseudoColorSoftcopyPresentationState,
                82,
                modality_lut_transformation=rescale,
                palette_color_lut_transformation=palette,
            ),
            **{
                kind: segmentation(kind, number)
                for number, kind in ((83, "BINARY"), (84, "FRACTIONAL"), (85, "LABELMAP"))
            },
        }
        # its constructor takes none for pseudo-colour
        found["pseudo"].SoftcopyVOILUTSequence = [window]
        # and its profile of sRGB is one that means to change colours
        found["pseudo"].ICCProfile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        return found


BUILT = built()


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    answer = shared.store(CT, *BUILT.values())
    assert answer.status_code in (200, 202), answer.text
    yield shared


def rgb(service: Service, name: str, what: str = "/rendered") -> np.ndarray[Any, Any]:
    return np.asarray(picture(service.get(f"{url(BUILT[name])}{what}", "image/png")).convert("RGB")).astype(int)


def test_a_grayscale_state(filled: Service) -> None:
    """IMG-20, RP-08: greys of the window that it names, and its circle in red."""
    found = rgb(filled, "grey")
    plain = np.asarray(picture(filled.get(f"{url(CT)}/rendered?window=40,400,linear", "image/png"))).astype(int)
    drawn = np.abs(found - plain[..., None]).max(axis=2) > 1
    assert 200 < drawn.sum() < 2500
    red = found[..., 0] - found[..., 1] > 60
    assert red[62:66, 82:86].any() and red[42:46, 62:66].any()
    assert red[11:14, 13:39].sum() > 20  # the line in fractions of the area


def test_a_pseudo_colour_state(filled: Service) -> None:
    """PS3.4 N.2.2."""
    found = rgb(filled, "pseudo")
    plain = np.asarray(picture(filled.get(f"{url(CT)}/rendered?window=40,400,linear", "image/png"))).astype(int)
    expected = np.stack([plain, plain // 2, 255 - plain], axis=-1)
    assert (np.abs(found - expected).max(axis=2) <= 3).mean() > 0.8


@pytest.mark.parametrize("name", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_in_their_own_colours(filled: Service, name: str) -> None:
    ds = BUILT[name]
    found = [
        np.asarray(picture(filled.get(f"{url(ds)}/frames/{frame}/rendered", "image/png")).convert("RGBA"))
        for frame in range(1, int(ds.NumberOfFrames) + 1)
    ]
    red = next(one for one in found if one[40, 30, 3])
    blue = next(one for one in found if one[90, 80, 3])
    assert red[40, 30, 0] > 200 and max(red[40, 30, 1:3]) < 60
    assert blue[90, 80, 2] > 200 and max(blue[90, 80, :2]) < 100  # its CIELab is that of D65
    assert blue[90, 80, 3] == (128 if name == "FRACTIONAL" else 255)
    assert red[10, 10, 3] == 0 and len(found) == (1 if name == "LABELMAP" else 2)
