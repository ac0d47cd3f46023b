"""Presentation states through the doors: rendered resources and WADO-URI."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from tests.gateway.dicomweb.service import Service, parts_of
from tests.gateway.dicomweb.test_rendered import picture, url
from tests.gateway.render.states import BLENDING, RED, XA_XRF, area, referenced, state, voi
from tests.gateway.render.test_compound import compound
from tests.parts.datasets import change, ct_slice, enhanced_mr, multi_frame, pixels, report, sequence_item

HU: dict[str, Any] = {"RescaleSlope": "1", "RescaleIntercept": "-1024", "RescaleType": "HU"}
# The last in the patient first, so that the order of positions is not that of the references.
SLICES = [ct_slice("pr", number=number, rows=64, columns=96) for number in (3, 1, 2)]
ALONE = ct_slice("alone", rows=64, columns=96)
VOLUME = enhanced_mr("volume", frames=4)
# Position in the stack runs against the order of the frames.
for number, groups in enumerate(VOLUME.PerFrameFunctionalGroupsSequence):
    groups.FrameContentSequence[0].DimensionIndexValues = [1, 4 - number]


def of(*images: Dataset, study: str, **values: Any) -> Dataset:
    return state(*images, study=study, SoftcopyVOILUTSequence=[voi(0, 1500)], **HU, **values)


NOWHERE = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
SEVERAL = of(*SLICES, study="pr", ImageRotation=90, ImageHorizontalFlip="N")
ONE = of(ALONE, study="alone", DisplayedAreaSelectionSequence=[area(ALONE, (1, 1), (48, 32))])
SOME = of(ALONE, ct_slice("alone", number=2), study="alone", series=91)
NONE = of(ct_slice("alone", number=7), study="alone", series=92)
FRAMES = state(VOLUME, study="volume", SoftcopyVOILUTSequence=[voi(1000, 2000)])
FRAMES.ReferencedSeriesSequence[0].ReferencedImageSequence = [referenced(VOLUME, 1, 2, 4)]
REPORT = report("alone")
RUN = pixels(
    multi_frame("run", frames=4, rows=64, columns=64),
    np.stack([np.full((64, 64), level, np.uint16) for level in (100, 150, 220, 300)]),
    bits_stored=12,
)
# Frame 1 is the mask of those from 2 on; frame 3 has a shutter and an arrow that the others have not.
THIRD = {"ReferencedImageSequence": [referenced(RUN, 3)]}
ANGIOGRAM = state(
    RUN,
    sop_class=XA_XRF,
    study="run",
    SoftcopyVOILUTSequence=[voi(0, 511, VOILUTFunction="LINEAR_EXACT")],
    RecommendedViewingMode="SUB",
    MaskSubtractionSequence=[sequence_item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1], ApplicableFrameRange=[2, 4])],
    FrameDisplayShutterSequence=[
        sequence_item(
            ShutterShape="RECTANGULAR",
            ShutterLeftVerticalEdge=17,
            ShutterRightVerticalEdge=48,
            ShutterUpperHorizontalEdge=17,
            ShutterLowerHorizontalEdge=48,
            ShutterPresentationValue=0,
            **THIRD,
        )
    ],
    GraphicAnnotationSequence=[
        sequence_item(
            GraphicLayer="ARROWS",
            CompoundGraphicSequence=[compound("ARROW", [20, 40, 44, 40])],
            **THIRD,
        )
    ],
    GraphicLayerSequence=[
        sequence_item(GraphicLayer="ARROWS", GraphicLayerOrder=1, GraphicLayerRecommendedDisplayCIELabValue=RED)
    ],
)


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    answer = shared.store(*SLICES, ALONE, VOLUME, SEVERAL, ONE, SOME, NONE, FRAMES, REPORT, RUN, ANGIOGRAM)
    assert answer.status_code == 200, answer.text
    yield shared


def test_a_state_of_one_image_is_one_picture(filled: Service) -> None:
    """RP-08, IMG-20: the image through the state; its window and source are said."""
    answer = filled.get(f"{url(ONE)}/rendered", "image/png")
    assert picture(answer).size == (48, 32)
    assert 'window="0,1500,linear", source=presentation-state' in answer.headers["gantry-rendering"]
    plain = np.asarray(picture(filled.get(f"{url(ALONE)}/rendered?window=0,1500,linear", "image/png"))).astype(int)
    found = np.asarray(picture(answer).convert("L")).astype(int)
    assert np.abs(found - plain[:32, :48]).max() <= 1
    assert picture(filled.get(f"{url(ONE)}/rendered?viewport=96,96")).size == (96, 64)
    again = filled.get(f"{url(ONE)}/rendered", "image/png", If_None_Match=answer.headers["etag"])
    assert again.status_code == 304


def test_a_state_of_many_images_is_all_of_them_in_the_order_of_their_place(filled: Service) -> None:
    """RP-08: by Image Position (Patient), not as they are referred to; one picture stands for all (RP-09)."""
    parts = parts_of(filled.get(f"{url(SEVERAL)}/rendered", 'multipart/related; type="image/png"'))
    places = [f"{filled.url}{url(SLICES[at])}/frames/1" for at in (1, 2, 0)]
    assert [headers["content-location"] for headers, _ in parts] == places
    pictures = [Image.open(BytesIO(body)) for _, body in parts]
    assert {one.size for one in pictures} == {(64, 96)}
    single = filled.get(f"{url(SEVERAL)}/rendered", "image/png")
    assert single.content == parts[1][1]
    plain = picture(filled.get(f"{url(SLICES[2])}/rendered?window=0,1500,linear", "image/png"))
    turned = np.rot90(np.asarray(plain).astype(int), -1)
    assert np.abs(np.asarray(pictures[1].convert("L")).astype(int) - turned).max() <= 1


def test_frames_are_in_the_order_of_their_dimensions(filled: Service) -> None:
    """RP-08: Dimension Index Values first, and only the frames that are referred to."""
    parts = parts_of(filled.get(f"{url(FRAMES)}/rendered", 'multipart/related; type="image/jpeg"'))
    assert [headers["content-location"].rpartition("/")[2] for headers, _ in parts] == ["4", "2", "1"]


def test_an_angiogram_is_subtracted_and_shuttered_frame_by_frame(filled: Service) -> None:
    """RP-08, IMG-20, PS3.3 C.11.19, C.11.20: an XA/XRF state: mask, shutter and compound graphics of some frames."""
    parts = parts_of(filled.get(f"{url(ANGIOGRAM)}/rendered", 'multipart/related; type="image/png"'))
    assert [headers["content-location"].rpartition("/")[2] for headers, _ in parts] == ["1", "2", "3", "4"]
    shown = [np.asarray(Image.open(BytesIO(data)).convert("RGB")) for _, data in parts]

    def grey(left: int) -> list[int]:
        return [int((left / 511 + 0.5) * 255 + 0.5)] * 3

    # The mask itself is shown as it is; of the others it is taken away.
    assert [one[20, 20].tolist() for one in shown] == [grey(100), grey(50), grey(120), grey(200)]
    assert [one[5, 5].tolist() for one in shown] == [grey(100), grey(50), [0, 0, 0], grey(200)]
    assert [bool((one[39:42, 25:40] == [255, 0, 0]).all(axis=2).any()) for one in shown] == [False, False, True, False]


@pytest.mark.parametrize("number", range(6, 13))
def test_states_of_volumes_say_that_they_are_not_rendered(filled: Service, number: int) -> None:
    """RP-08, IMG-22: 406 that says why and what there is instead; an icon as thumbnail."""
    ds = state(ALONE, sop_class=f"1.2.840.10008.5.1.4.1.1.11.{number}", study="volumes", series=number)
    assert filled.store(ds).status_code == 200
    answer = filled.get(f"{url(ds)}/rendered")
    assert answer.status_code == 406
    assert answer.headers["content-type"] == "application/problem+json"
    assert "are not rendered; the images that it refers to are" in answer.json()["detail"]
    assert picture(filled.get(f"{url(ds)}/thumbnail")).size == (128, 128)


def test_images_without_places_are_in_the_order_of_the_references(filled: Service) -> None:
    """RP-08: after Dimension Index Values and both positions, the order of the references; Image Position (Volume)."""
    plain = [change(ct_slice("plain", number=number, rows=8, columns=8), NOWHERE) for number in (1, 2, 3)]
    ds = of(plain[2], plain[0], plain[1], study="plain", series=90)
    assert filled.store(*plain, ds).status_code == 200
    parts = parts_of(filled.get(f"{url(ds)}/rendered", 'multipart/related; type="image/png"'))
    places = [headers["content-location"] for headers, _ in parts]
    assert places == [f"{filled.url}{url(plain[at])}/frames/1" for at in (2, 0, 1)]
    volume = multi_frame("us-volume", frames=4, rows=8, columns=8)
    volume.PerFrameFunctionalGroupsSequence = [
        sequence_item(PlanePositionVolumeSequence=[sequence_item(ImagePositionVolume=[0.0, 0.0, depth])])
        for depth in (3.0, 1.0, 4.0, 2.0)
    ]
    shown = state(volume, study="us-volume", SoftcopyVOILUTSequence=[voi(1000, 2000)])
    assert filled.store(volume, shown).status_code == 200
    parts = parts_of(filled.get(f"{url(shown)}/rendered", 'multipart/related; type="image/png"'))
    assert [headers["content-location"].rpartition("/")[2] for headers, _ in parts] == ["2", "4", "1", "3"]


def test_a_state_has_the_profile_that_is_asked_for(filled: Service) -> None:
    """RP-06."""
    assert b"iCCP" in filled.get(f"{url(ONE)}/rendered?iccprofile=adobergb", "image/png").content
    refused = filled.get(f"{url(ONE)}/rendered?iccprofile=adobergb", "image/gif")
    assert (refused.status_code, refused.json()["parameter"]) == (400, "iccprofile")


def test_images_that_are_not_here_are_counted_or_make_it_406(filled: Service) -> None:
    """RP-08."""
    some = filled.get(f"{url(SOME)}/rendered", "image/png")
    assert some.headers["warning"].endswith("1 images that the presentation state refers to are not here")
    none = filled.get(f"{url(NONE)}/rendered")
    assert none.status_code == 406
    assert filled.get(f"{url(NONE)}/thumbnail").status_code == 200


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("window=0,100,linear", "window"), ("viewport=50,50,0,0,10,10", "viewport"), ("viewport=9999,9999", "viewport")],
)
def test_what_a_state_decides_itself_cannot_be_asked_for(filled: Service, query: str, parameter: str) -> None:
    """RP-04, RP-05."""
    answer = filled.get(f"{url(ONE)}/rendered?{query}")
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)


def ask(service: Service, image: Dataset, shown_by: Dataset, **more: str) -> httpx.Response:
    query = {
        "requestType": "WADO",
        "studyUID": image.StudyInstanceUID,
        "seriesUID": image.SeriesInstanceUID,
        "objectUID": image.SOPInstanceUID,
        "presentationSeriesUID": shown_by.SeriesInstanceUID,
        "presentationUID": shown_by.SOPInstanceUID,
        **more,
    }
    return service.client.get(f"{service.origin}/wado", params=query)


def test_wado_uri_shows_an_image_through_a_state(filled: Service) -> None:
    """URI-10: with region, rows and columns; nothing that the state decides."""
    answer = ask(filled, SLICES[0], SEVERAL, contentType="image/png")
    parts = parts_of(filled.get(f"{url(SEVERAL)}/rendered", 'multipart/related; type="image/png"'))
    assert answer.content == parts[2][1]
    assert picture(ask(filled, SLICES[0], SEVERAL, rows="48")).size == (32, 48)
    assert picture(ask(filled, SLICES[0], SEVERAL, region="0,0,0.5,1")).size == (32, 96)
    assert picture(ask(filled, SLICES[0], SEVERAL, region="0,0,0.5,1", columns="64")).size == (64, 192)
    for more, parameter in (
        ({"windowCenter": "1", "windowWidth": "2"}, "windowCenter"),
        ({"presentationUID": "1.2.3"}, "presentationUID"),
        ({"region": "1,0,0,1"}, "region"),
    ):
        refused = ask(filled, SLICES[0], SEVERAL, **more)
        assert (refused.status_code, refused.json()["parameter"]) == (400, parameter)
    for image, shown_by in ((ALONE, REPORT), (ALONE, NONE), (ALONE, SEVERAL)):
        assert ask(filled, image, shown_by).json()["parameter"] == "presentationUID"


def test_a_study_shows_its_images_once(filled: Service) -> None:
    """A state in a study does not show them again; a series of states shows what they are for."""
    parts = parts_of(filled.get(f"{url(SLICES[0], 1)}/rendered", 'multipart/related; type="image/jpeg"'))
    assert len(parts) == 3
    states = parts_of(filled.get(f"{url(SEVERAL, 2)}/rendered", 'multipart/related; type="image/jpeg"'))
    assert len(states) == 3


def blending(opacity: float = 0.5, **values: Any) -> tuple[list[Dataset], list[Dataset], Dataset]:
    """Two slices, two of another series at half the size over the middle of them, and a state that blends them."""
    under = [ct_slice("blend", number=number, rows=64, columns=64, SliceThickness="1") for number in (1, 2)]
    over = [ct_slice("blend", 2, number, rows=16, columns=16, SliceThickness="1") for number in (1, 2)]
    for ds in over:
        # 16 pixels of 1.4 mm, from the 17th pixel of 0.7 mm on
        ds.PixelSpacing = [1.4, 1.4]
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x + 16.5 * 0.7, y + 16.5 * 0.7, z]
        ds.PixelData = np.full((16, 16), 2000 * int(ds.InstanceNumber), np.int16).tobytes()
    ds = state(
        *under, sop_class=BLENDING, study="blend", series=94, BlendingSequence=[], RelativeOpacity=opacity, **values
    )
    for position, images, window in (("UNDERLYING", under, voi(0, 1500)), ("SUPERIMPOSED", over, voi(1000, 2000))):
        ds.BlendingSequence.append(
            sequence_item(
                BlendingPosition=position,
                StudyInstanceUID=ds.StudyInstanceUID,
                ReferencedSeriesSequence=[
                    sequence_item(
                        SeriesInstanceUID=images[0].SeriesInstanceUID,
                        ReferencedImageSequence=[referenced(image) for image in images],
                    )
                ],
                SoftcopyVOILUTSequence=[window],
                **HU,
            )
        )
    del ds.ReferencedSeriesSequence
    for name, last in (("Red", 65535), ("Green", 0), ("Blue", 0)):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [2, 0, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", np.array([0, last], "<u2").tobytes())
    return under, over, ds


def test_blending_lays_one_image_over_another_where_it_lies(service: Service) -> None:
    """RP-08, PS3.4 N.2.4: frames of the underlying input; the other in colour, by its place in the patient."""
    under, over, ds = blending(0.25)
    assert service.store(*under, ds).status_code == 200
    assert service.get(f"{url(ds)}/rendered").status_code == 406  # what is to lie over them is not here
    assert service.store(over[0]).status_code == 200
    before = service.get(f"{url(ds)}/rendered", "image/png").headers["etag"]
    assert service.store(over[1]).status_code == 200
    assert service.get(f"{url(ds)}/rendered", "image/png", If_None_Match=before).status_code == 200
    parts = parts_of(service.get(f"{url(ds)}/rendered", 'multipart/related; type="image/png"'))
    assert [headers["content-location"] for headers, _ in parts] == [
        f"{service.url}{url(image)}/frames/1" for image in under
    ]
    for image, (_, body) in zip(under, parts, strict=True):
        with Image.open(BytesIO(body)) as decoded:
            found = np.asarray(decoded.convert("RGB")).astype(int)
        plain = np.asarray(picture(service.get(f"{url(image)}/rendered?window=0,1500,linear", "image/png"))).astype(int)
        expected = np.stack([plain] * 3, axis=-1)
        red = 255 if plain.max() and int(image.InstanceNumber) == 2 else 0
        inside = expected[16:48, 16:48] * 0.75 + np.array([red, 0, 0]) * 0.25
        assert np.abs(found[18:46, 18:46] - inside[2:-2, 2:-2]).max() <= 2
        assert np.abs(found[:16] - expected[:16]).max() <= 1 and np.abs(found[:, 48:] - expected[:, 48:]).max() <= 1


def test_images_in_different_spaces_are_not_blended(service: Service) -> None:
    """PS3.4 N.2.4: a registration would be needed, and is not applied: 406, not a guess."""
    under, over, ds = blending()
    for image in over:
        image.FrameOfReferenceUID = "1.2.3"
    assert service.store(*under, *over, ds).status_code == 200
    answer = service.get(f"{url(ds)}/rendered")
    assert answer.status_code == 406 and "spaces" in answer.json()["detail"]
