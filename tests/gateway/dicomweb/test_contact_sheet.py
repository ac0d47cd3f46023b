"""A contact sheet of what is no plain image, in ./artifacts, for people to look at."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from tests.gateway.dicomweb.service import Service
from tests.gateway.dicomweb.test_rendered import url
from tests.gateway.render.states import RED, boxed, graphic, layer, state, voi
from tests.gateway.render.test_compound import compound
from tests.parts.datasets import report, sequence_item
from tests.parts.fix_browser import artifact

CELL, CAPTION, ACROSS = 300, 18, 4
GROUND = (40, 60, 90)


SAMPLES = ("CT_small.dcm", "waveform_ecg.dcm", "rtdose.dcm", "liver.dcm")


def path_of(name: str) -> Path:
    return Path(str(get_testdata_file(name)))


def states(ct: Dataset) -> dict[str, Dataset]:
    """One image as several states show it."""
    graphics = [
        graphic("POINT", [30, 30]),
        graphic("POLYLINE", [40, 8, 90, 8, 65, 20, 40, 8], GraphicFilled="Y"),
        graphic("INTERPOLATED", [20, 100, 45, 115, 70, 100, 95, 115]),
        graphic("CIRCLE", [64, 60, 84, 60]),
        graphic("ELLIPSE", [15, 60, 45, 80, 25, 75, 35, 65]),
    ]
    ticks = [sequence_item(TickPosition=part, TickLabel=f"{part:g}") for part in (0.0, 0.5, 1.0)]
    compounds = [
        compound("RECTANGLE", [10, 10, 50, 40], RotationAngle=20.0, RotationPoint=[30.0, 25.0]),
        compound("ELLIPSE", [60, 10, 120, 40]),
        compound("ARROW", [20, 100, 55, 70]),
        compound("CUTLINE", [20, 55, 110, 62], RotationPoint=[64.0, 58.0], GapLength=0.1),
        compound("CROSSHAIR", [100, 85], DiameterOfVisibility=0.2, GapLength=0.05),
        compound("RULER", [10, 118, 118, 118], MajorTicksSequence=ticks, ShowTickLabel="Y", TickLabelAlignment="TOP"),
    ]
    for number, item in enumerate(compounds, 1):
        item.CompoundGraphicInstanceID = number
    texts = [
        boxed("Läsion", [90, 30, 125, 42], AnchorPointAnnotationUnits="PIXEL", AnchorPoint=[84.0, 60.0]),
        boxed("山田", [0.02, 0.9, 0.4, 0.98], "DISPLAY"),
    ]
    texts[0].AnchorPointVisibility = "Y"
    annotated = {
        "GraphicLayerSequence": [layer("A", GraphicLayerRecommendedDisplayCIELabValue=RED)],
        "GraphicAnnotationSequence": [
            sequence_item(GraphicLayer="A", GraphicObjectSequence=graphics, TextObjectSequence=texts)
        ],
        "SoftcopyVOILUTSequence": [voi(40, 400)],
        "RescaleSlope": "1",
        "RescaleIntercept": "-1024",
    }
    shutter = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [64, 64], "RadiusOfCircularShutter": 55}
    found = {
        "annotated": annotated,
        "turned, mirrored": {**annotated, "ImageRotation": 90, "ImageHorizontalFlip": "Y"},
        "shutter": {**annotated, **shutter, "ShutterPresentationValue": 0x6000},
        "inverse": {**annotated, "PresentationLUTShape": "INVERSE"},
        "compound graphics": {
            **annotated,
            "GraphicAnnotationSequence": [sequence_item(GraphicLayer="A", CompoundGraphicSequence=compounds)],
        },
    }
    made = {}
    for number, (name, values) in enumerate(found.items()):
        ds = state(ct, series=90 + number, **values)  # type: ignore[arg-type]
        ds.StudyInstanceUID, ds.PatientID, ds.PatientName = ct.StudyInstanceUID, ct.PatientID, ct.PatientName
        made[name] = ds
    return made


def test_a_contact_sheet_of_kinds_is_made(service: Service) -> None:
    ct, ecg, dose, liver = (dcmread(path_of(name), stop_before_pixels=True) for name in SAMPLES)
    text, shown = report("sheet"), states(ct)
    files = [path_of(name).read_bytes() for name in SAMPLES]
    assert service.store(*files, text, *shown.values()).status_code in (200, 202)
    size = f"viewport={CELL},{CELL}"
    asked = {
        "waveform": f"{url(ecg)}/rendered?{size}",
        "dose": f"{url(dose)}/frames/8/rendered?{size}",
        "segment": f"{url(liver)}/frames/2/rendered?{size}",
        "icon": f"{url(text)}/thumbnail?{size}",
        **{name: f"{url(ds)}/rendered?{size}" for name, ds in shown.items()},
        "annotation": f"{url(ct)}/rendered?{size}&annotation=patient,technique",
        "thumbnail": f"{url(ct)}/thumbnail?annotation=patient",
    }
    sheet = Image.new("RGB", (ACROSS * (CELL + 4), -(-len(asked) // ACROSS) * (CELL + CAPTION + 4)), GROUND)
    pen = ImageDraw.Draw(sheet)
    for place, (name, path) in enumerate(asked.items()):
        down, across = divmod(place, ACROSS)
        answer = service.get(path, "image/png")
        assert answer.status_code == 200, (name, answer.text)
        with Image.open(BytesIO(answer.content)) as opened:
            found = opened.convert("RGBA")
        sheet.paste(found, (across * (CELL + 4), down * (CELL + CAPTION + 4)), found)
        pen.text((across * (CELL + 4) + 4, down * (CELL + CAPTION + 4) + CELL + 2), name, (255, 255, 255))
    artifact("contact-sheets").mkdir(exist_ok=True)
    sheet.save(artifact("contact-sheets") / "kinds.png")
