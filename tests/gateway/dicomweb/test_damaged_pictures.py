"""Damaged codestreams of every codec behind the web door: a picture or 406 each, and the service goes on."""

from __future__ import annotations

import random

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless

from gateway.dicom import codecs
from tests.gateway.dicom.test_codecs import LOSSLESS
from tests.gateway.dicomweb.service import Service
from tests.parts.datasets import ct_slice, encapsulated, multi_frame, part10_bytes

FRAMES = 12
IMAGE = (np.add.outer(np.arange(64), np.arange(64)) * 30).astype(np.uint16)


def in_syntax(ds: Dataset, syntax_uid: str) -> bytes:
    """The file, in a transfer syntax that pydicom need not know: its UID is put in place of JPEG 2000's."""
    data, value = part10_bytes(ds, JPEG2000Lossless), syntax_uid.encode() + b"\0" * (len(syntax_uid) % 2)
    at = data.index(JPEG2000Lossless.encode())
    more = len(value) - len(JPEG2000Lossless)
    length = int.from_bytes(data[140:144], "little") + more
    head = data[:140] + length.to_bytes(4, "little") + data[144 : at - 2] + len(value).to_bytes(2, "little")
    return head + value + data[at + len(JPEG2000Lossless) :]


@pytest.mark.parametrize("name", [name for name in LOSSLESS if name != "jpeg-xl-container"])
def test_damaged_frames_get_406_or_a_picture_and_nothing_else(shared: Service, name: str) -> None:
    """S-31, S-32, S-44, IMG-23: through rendered, thumbnail, and frames that are decoded."""
    syntax_uid, encode = LOSSLESS[name]
    whole, chance = encode(IMAGE, 12), random.Random(name)
    frames = [whole]
    for _ in range(FRAMES - 1):
        copy = bytearray(whole[: chance.choice([len(whole), len(whole), len(whole) // 2, 70])])
        for _ in range(4):
            copy[chance.randrange(len(copy))] = chance.randrange(256)
        frames.append(bytes(copy) + b"\0" * (len(copy) % 2))
    ds = encapsulated(multi_frame(f"d {name[:9]}", frames=FRAMES, rows=64, columns=64), frames)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    good = ct_slice(f"g {name[:9]}")
    assert shared.store(in_syntax(ds, syntax_uid), good).status_code == 200
    where = f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    statuses = []
    for number in range(1, FRAMES + 1):
        for resource, accept in (
            ("rendered", "image/png"),
            ("thumbnail", "image/jpeg"),
            ("", 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'),
        ):
            answer = shared.get(f"{where}/frames/{number}/{resource}".rstrip("/"), accept)
            statuses.append(answer.status_code)
            assert answer.status_code in (200, 406), (number, resource, answer.text[:200])
    assert statuses[:3] == [200, 200, 200], "the first frame is whole"
    assert 406 in statuses or syntax_uid in (codecs.RLE, codecs.DEFLATED_FRAMES)
    other = f"/studies/{good.StudyInstanceUID}/series/{good.SeriesInstanceUID}/instances/{good.SOPInstanceUID}"
    assert shared.get(f"{other}/rendered").status_code == 200
