"""Presentation states built in code, for images built in code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

from tests.parts.datasets import instance, sequence_item

GREY = "1.2.840.10008.5.1.4.1.1.11.1"
COLOR = "1.2.840.10008.5.1.4.1.1.11.2"
PSEUDO_COLOR = "1.2.840.10008.5.1.4.1.1.11.3"
BLENDING = "1.2.840.10008.5.1.4.1.1.11.4"
XA_XRF = "1.2.840.10008.5.1.4.1.1.11.5"
RED = [35579, 53664, 50858]
"""CIELab of sRGB 255, 0, 0 in D50, as Recommended Display CIELab Value has it."""


def referenced(ds: Dataset, *frames: int) -> Dataset:
    item = sequence_item(ReferencedSOPClassUID=ds.SOPClassUID, ReferencedSOPInstanceUID=ds.SOPInstanceUID)
    if frames:
        item.ReferencedFrameNumber = list(frames)
    return item


def state(*images: Dataset, sop_class: str = GREY, study: object = "study", series: int = 90, **values: Any) -> Dataset:
    """A state for images of one study: identity unless `values` say otherwise, the whole of each image displayed."""
    ds = instance(sop_class, "PR", study, series)
    ds.ContentLabel = "STATE"
    ds.PresentationCreationDate, ds.PresentationCreationTime = "20260304", "101112"
    by_series: dict[str, list[Dataset]] = {}
    for image in images:
        by_series.setdefault(image.SeriesInstanceUID, []).append(referenced(image))
    ds.ReferencedSeriesSequence = [
        sequence_item(SeriesInstanceUID=uid, ReferencedImageSequence=items) for uid, items in by_series.items()
    ]
    ds.DisplayedAreaSelectionSequence = [area(images[0])] if images else []
    if sop_class in (GREY, XA_XRF):
        ds.PresentationLUTShape = "IDENTITY"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def area(
    image: Dataset, top_left: Sequence[int] | None = None, bottom_right: Sequence[int] | None = None, **values: Any
) -> Dataset:
    """An item of Displayed Area Selection Sequence, of the whole image unless corners (column, row) are given."""
    values.setdefault("PresentationSizeMode", "SCALE TO FIT")
    values.setdefault("PresentationPixelAspectRatio", ["1", "1"])
    return sequence_item(
        DisplayedAreaTopLeftHandCorner=list(top_left or (1, 1)),
        DisplayedAreaBottomRightHandCorner=list(bottom_right or (image.Columns, image.Rows)),
        **values,
    )


def voi(center: float, width: float, *images: Dataset, **values: Any) -> Dataset:
    """An item of Softcopy VOI LUT Sequence."""
    item = sequence_item(WindowCenter=str(center), WindowWidth=str(width), **values)
    if images:
        item.ReferencedImageSequence = [referenced(image) for image in images]
    return item


def graphic(kind: str, data: Sequence[float], units: str = "PIXEL", **values: Any) -> Dataset:
    """An item of Graphic Object Sequence."""
    return sequence_item(
        GraphicAnnotationUnits=units,
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(data) // 2,
        GraphicData=[float(one) for one in data],
        GraphicType=kind,
        **values,
    )


def boxed(text: str, box: Sequence[float], units: str = "PIXEL", justified: str = "LEFT", **values: Any) -> Dataset:
    """An item of Text Object Sequence with a bounding box: left, top, right, bottom."""
    return sequence_item(
        UnformattedTextValue=text,
        BoundingBoxAnnotationUnits=units,
        BoundingBoxTopLeftHandCorner=[float(one) for one in box[:2]],
        BoundingBoxBottomRightHandCorner=[float(one) for one in box[2:]],
        BoundingBoxTextHorizontalJustification=justified,
        **values,
    )


def layer(name: str, order: int = 1, **values: Any) -> Dataset:
    """An item of Graphic Layer Sequence."""
    return sequence_item(GraphicLayer=name, GraphicLayerOrder=order, **values)
