"""Reports, waveforms, doses, segmentations and states that lie about themselves: a picture or a refusal, no more."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from gateway.errors import GatewayError
from gateway.render import View, draw
from gateway.render.presentation import State, present
from gateway.render.report import WRITERS, read_report
from gateway.render.waveform import SVG, draw_waveform
from tests.gateway.dicom.opened import Opened, opened
from tests.gateway.render.states import boxed, graphic, layer, state, voi
from tests.parts.datasets import ct_slice, instance, part10_bytes, report, segmentation, sequence_item

NUMBERS = ("0", "-1", "1", "2", "1e99", "-1e-99", "1e308", "65536", "", "1e5")
WHOLE = ("0", "-1", "1", "3", "65536", "2147483647")
INTEGERS = (0, 1, 2, 7, 255, 4095, 32768, 65535)


def mutated(ds: Dataset, chance: random.Random, times: int) -> Dataset:
    """Some values, at any depth, turned into other ones that their VR can hold."""
    ds = deepcopy(ds)
    places = [(holder, element.tag) for holder in walk(ds) for element in holder if element.tag.group > 8]
    for holder, tag in chance.sample(places, min(times, len(places))):
        if tag not in holder:
            continue
        element = holder[tag]
        if element.VR in ("US", "UL", "SS", "SL"):
            count = max(element.VM, 1) if chance.random() < 0.8 else chance.randint(0, 5)
            top = 32767 if element.VR == "SS" else 2**31 - 1 if element.VR in ("SL", "UL") else 65535
            element.value = [min(chance.choice((*INTEGERS, top)), top) for _ in range(count)]
        elif element.VR in ("FL", "FD"):
            element.value = [chance.choice((0.0, -1e30, 1e30, 0.5, 1e-30)) for _ in range(chance.randint(0, 8))]
        elif element.VR == "DS":
            element.value = [chance.choice(NUMBERS) for _ in range(max(element.VM, 1))]
        elif element.VR == "IS":
            element.value = [
                chance.choice(("0", "-1", "1", "3", "65536", "2147483647")) for _ in range(max(element.VM, 1))
            ]
        elif element.VR in ("OB", "OW") and isinstance(element.value, bytes):
            element.value = element.value[: chance.randrange(len(element.value) + 1) // 2 * 2]
        elif chance.random() < 0.5:
            del holder[tag]
    return ds


def walk(ds: Dataset) -> list[Dataset]:
    found = [ds]
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                found += walk(item)
    return found


def ecg() -> Dataset:
    ds = dcmread(str(get_testdata_file("waveform_ecg.dcm")))
    found = instance(ds.SOPClassUID, "ECG")
    group = ds.WaveformSequence[1]
    group.WaveformData = group.WaveformData[: 24 * 100]
    group.NumberOfWaveformSamples = 100
    found.WaveformSequence = [group]
    return found


def dose() -> Dataset:
    ds = ct_slice(rows=8, columns=8, DoseGridScaling="0.1")
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
    return ds


CT = ct_slice(rows=24, columns=32)
STATE = state(
    CT,
    SoftcopyVOILUTSequence=[voi(40, 400)],
    RescaleSlope="1",
    RescaleIntercept="-1024",
    ShutterShape=["CIRCULAR", "RECTANGULAR", "POLYGONAL"],
    CenterOfCircularShutter=[12, 16],
    RadiusOfCircularShutter=10,
    ShutterLeftVerticalEdge=2,
    ShutterRightVerticalEdge=30,
    ShutterUpperHorizontalEdge=2,
    ShutterLowerHorizontalEdge=20,
    VerticesOfThePolygonalShutter=[1, 1, 1, 30, 20, 30],
    ShutterPresentationValue=0,
    ImageRotation=90,
    ImageHorizontalFlip="Y",
    GraphicLayerSequence=[layer("A", 1, GraphicLayerRecommendedDisplayCIELabValue=[1, 2, 3])],
    GraphicAnnotationSequence=[
        sequence_item(
            GraphicLayer="A",
            GraphicObjectSequence=[
                graphic(kind, [1, 2, 3, 4, 5, 6, 7, 8])
                for kind in ("POINT", "POLYLINE", "INTERPOLATED", "CIRCLE", "ELLIPSE")
            ],
            TextObjectSequence=[boxed("text", [1, 1, 20, 8])],
        )
    ],
)


def read_of(one: Opened) -> Any:
    return lambda offset, length: one.data[offset : offset + length]


@pytest.mark.parametrize("kind", ["report", "waveform", "dose", "segments", "state"])
def test_values_that_lie_give_a_picture_or_a_refusal(kind: str) -> None:
    """S-35 in spirit: 50 data sets of each kind, with up to eight values changed; never another exception."""
    chance = random.Random(kind)
    source = {"report": report(), "waveform": ecg(), "dose": dose(), "segments": segmentation(), "state": STATE}[kind]
    image = opened(CT)
    pictures = 0
    for _ in range(50):
        try:
            one = Opened(part10_bytes(mutated(source, chance, chance.randint(1, 8))))
            if kind == "report":
                for write in WRITERS.values():
                    assert write(read_report(one.header, read_of(one)))
            elif kind == "waveform":
                for media_type in ("image/png", SVG):
                    assert draw_waveform(one.header, read_of(one), View(annotation=("technique",)), media_type).data
            elif kind == "state":
                found = State(one.header, read_of(one))
                assert present(found, image.header, image.frame(1), 1, View(), "image/png").data
            elif one.table is not None:
                assert draw(one.header, one.frame(1), 1, View(annotation=("technique",)), "image/png").data
            pictures += 1
        except GatewayError:
            continue
    assert pictures > 8


def test_what_is_longer_than_a_drawing_takes_is_told_in_it() -> None:
    """S-35 in spirit: 100 s of a waveform, and 48 channels."""
    ds = ecg()
    (group,) = ds.WaveformSequence
    group.SamplingFrequency = "1"
    ds.WaveformSequence = [group, *(deepcopy(group) for _ in range(3))]
    one = Opened(part10_bytes(ds))
    drawn = draw_waveform(one.header, read_of(one), View(), SVG).data
    assert b"first 10 s of 100 s" in drawn
    assert b"8 more channels are not drawn" in drawn


def test_a_text_without_end_is_cut() -> None:
    """4 MiB of one of 5."""
    long = sequence_item(
        ValueType="TEXT",
        RelationshipType="CONTAINS",
        ConceptNameCodeSequence=[sequence_item(CodeValue="1", CodingSchemeDesignator="99T", CodeMeaning="Finding")],
        TextValue="x" * (5 << 20),
    )
    one = Opened(part10_bytes(report(ContentSequence=[long])))
    (item,) = read_report(one.header, read_of(one)).root.items
    assert len(item.value) == 4 << 20
