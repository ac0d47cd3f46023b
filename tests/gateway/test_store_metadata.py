"""Metadata and bulk data through the use case that stores instances."""

from __future__ import annotations

from io import BytesIO

import imagecodecs
import numpy as np
import orjson
import pytest
from pydicom import dcmread

from gateway.dicom.model import Model
from gateway.dicom.model.bulk_parts import BulkPart
from gateway.dicom.model.json_reader import read_json
from gateway.dicom.model.writer import write
from gateway.dicom.model.xml_reader import read_xml
from gateway.dicom.native_model import json_to_xml
from gateway.errors import ClassMismatch, NotUnderstood
from gateway.retrieve import frames, metadata
from gateway.store import Stored, receive, store
from storage.archive import Archive
from tests.gateway.stored import CALLER, MAX
from tests.parts.datasets import ct_slice

PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def request() -> dict[str, object]:
    """A CT slice as a client would send it: no Image Pixel Description, pixels in another part."""
    ds = ct_slice(PatientName="Buc^Jérôme=佐^藤")
    ds.SpecificCharacterSet = "ISO_IR 192"
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"):
        del ds[keyword]
    model: dict[str, object] = ds.to_json_dict()
    model["7FE00010"] = {"vr": "OW", "BulkDataURI": "cid:pixels"}
    return model


def put(archive: Archive, model: Model, *parts: BulkPart) -> Stored:
    with receive(archive, max_bytes=MAX) as incoming:
        write(model, {"cid:pixels": parts}, incoming)
        return store(archive, incoming, CALLER)


def test_an_instance_sent_as_json_or_xml_is_stored_and_found(archive: Archive) -> None:
    """STOW-03 to STOW-06: the second time it is the same instance, byte for byte"""
    codestream = bytes(imagecodecs.jpegls_encode(PIXELS))
    part = BulkPart(codestream, "image/jls")
    (by_json,) = read_json(orjson.dumps([request()]))
    assert not isinstance(by_json, NotUnderstood)
    stored = put(archive, by_json, part)
    assert stored.outcome == "stored"
    assert put(archive, read_xml(json_to_xml(request())), part).outcome == "duplicate"

    (located,) = archive.locate(stored.study_uid, stored.series_uid, stored.sop_uid)
    ds = dcmread(BytesIO(archive.read(located)))
    assert ds.PatientName == "Buc^Jérôme=佐^藤"
    assert (ds.pixel_array == PIXELS).all()
    (frame,) = frames(archive, located, [1])
    assert frame.data[: len(codestream)] == codestream
    found = orjson.loads(metadata(archive, located, "http://h/dicomweb"))
    assert found["00280010"] == {"vr": "US", "Value": [64]}
    assert found["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.80"]}


def test_nothing_is_left_of_a_request_that_is_refused(archive: Archive) -> None:
    """S-63, STOW-14"""
    (model,) = read_json(orjson.dumps([request()]))
    assert not isinstance(model, NotUnderstood)
    with pytest.raises(ClassMismatch) as refused:
        put(archive, model)
    assert refused.value.sop_uid == ct_slice().SOPInstanceUID
    assert list(archive.spool.folder.iterdir()) == []
