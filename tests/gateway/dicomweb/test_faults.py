"""Faults as the web wing tells them: a full disk, a store that is down, damaged bytes; and hostile files by STOW."""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from storage.errors import IndexUnavailable, ObjectStoreFull, ObjectStoreUnavailable
from storage.objects.memory import MemoryStore
from tests.gateway.dicomweb.service import Service, parts_of, serve
from tests.parts.datasets import ct_slice, part10_bytes, series_of

SLICE = ct_slice()
FILE = part10_bytes(SLICE)
PATH = f"/studies/{SLICE.StudyInstanceUID}/series/{SLICE.SeriesInstanceUID}/instances/{SLICE.SOPInstanceUID}"
DATASET = FILE.index(b"\x08\x00\x05\x00CS")


class Failing(MemoryStore):
    """An object store that fails from now on."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def put(self, *arguments: object, **more: object) -> None:
        raise self.error

    def read(self, *arguments: object, **more: object) -> bytes:
        raise self.error

    @contextmanager
    def stream(self, *arguments: object, **more: object) -> Iterator[Iterator[bytes]]:
        self.check()
        yield iter([])

    def check(self) -> None:
        raise self.error


def reasons(answer: httpx.Response) -> list[int]:
    failed = answer.json().get("00081198", {}).get("Value", []) + answer.json().get("0008119A", {}).get("Value", [])
    return [item["00081197"]["Value"][0] for item in failed]


def test_a_full_disk_is_507_and_leaves_nothing(tmp_path: Path) -> None:
    """F-10."""
    with serve(tmp_path, spool_reserve=2**60) as service:
        answer = service.store(*series_of(2))
        assert answer.status_code == 507
        assert answer.headers["content-type"] == "application/dicom+json"
        assert reasons(answer) == [0xA700, 0xA700]
        assert service.spooled() == []
        assert service.get("/studies").status_code == 204


def test_a_full_object_store_is_507(service: Service) -> None:
    """F-10."""
    service.archive.objects = Failing(ObjectStoreFull("full"))
    answer = service.store(SLICE)
    assert (answer.status_code, reasons(answer)) == (507, [0xA700])
    assert service.spooled() == []


def test_an_object_store_that_is_down_is_503(service: Service) -> None:
    """F-21, SC-503: a retry is invited, other requests are answered."""
    service.store(SLICE)
    service.archive.objects = Failing(ObjectStoreUnavailable("http://s3.internal:9000 refused AKIASECRET"))
    answer = service.store(ct_slice("new"))
    assert (answer.status_code, reasons(answer)) == (503, [0xA700])
    assert int(answer.headers["retry-after"]) > 0
    assert service.spooled() == []
    for resource in ("", "/metadata", "/frames/1", "/bulkdata/7FE00010", "/rendered", "/thumbnail"):
        got = service.get(PATH + resource)
        assert got.status_code == 503, resource
        assert int(got.headers["retry-after"]) > 0
        assert "AKIA" not in got.text and "internal" not in got.text
    assert service.get("/studies").status_code == 200
    assert service.client.get(f"{service.origin}/healthz").status_code == 200


def test_one_failure_of_ours_among_others_does_not_hide_theirs(service: Service) -> None:
    service.archive.objects = Failing(ObjectStoreUnavailable("down"))
    answer = service.store(SLICE, b"no DICOM")
    assert (answer.status_code, sorted(reasons(answer))) == (409, [0xA700, 0xC000])


def test_damaged_bytes_are_never_served_as_good(service: Service) -> None:
    """F-16, F-17: 500 before the first byte where the object is small; never the damaged bytes."""
    service.store(SLICE)
    (stored,) = (path for path in (service.folder / "objects").rglob("*.dcm"))
    data = bytearray(stored.read_bytes())
    data[-1] ^= 0xFF
    stored.chmod(0o600)
    stored.write_bytes(data)
    answer = service.get(PATH, "application/dicom; transfer-syntax=*")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:gantry:problem:damaged"
    stored.unlink()
    for resource in ("", "/metadata", "/frames/1", "/rendered"):
        assert service.get(PATH + resource).json()["type"] == "urn:gantry:problem:damaged"


def test_a_search_while_the_index_is_down_is_503(service: Service) -> None:
    """F-40."""

    class Down:
        def search(self, query: object) -> object:
            raise IndexUnavailable("postgresql://user:secret@host")

        def close(self) -> None:
            return None

    live = service.archive.index
    service.archive.index = Down()  # type: ignore[assignment]
    answer = service.get("/studies")
    service.archive.index = live
    assert answer.status_code == 503
    assert "secret" not in answer.text
    assert service.get("/studies").status_code == 204


def nested(depth: int) -> bytes:
    """Sequences in sequences, of undefined length, never closed."""
    return (b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * depth


def long_form(vr: bytes, length: int) -> bytes:
    return b"\x09\x00\x02\x10" + vr + b"\0\0" + struct.pack("<I", length)


HOSTILE = {
    "nested 199": FILE[:DATASET] + nested(199),
    "nested 100000": FILE[:DATASET] + nested(100_000),
    "undefined length without end": FILE + b"\xfc\xff\xfc\xffUN\0\0\xff\xff\xff\xff" + b"\xab" * 2_000_000,
    "undefined length in the middle": FILE[:DATASET] + long_form(b"UN", 0xFFFFFFFF) + FILE[DATASET:],
    "length beyond the end": FILE[:DATASET] + long_form(b"OB", 0xFFFFFFFE) + FILE[DATASET:],
    "odd length beyond the end": FILE[:DATASET] + long_form(b"OB", 0x7FFFFFFF) + FILE[DATASET:],
    "item delimiter out of place": FILE[:DATASET] + b"\xfe\xff\x0d\xe0\0\0\0\0" + FILE[DATASET:],
    "cut in the pixels": FILE[:-1],
    "cut in the header": FILE[: DATASET + 30],
    "cut in the meta": FILE[:200],
    "no pixels for their length": FILE[: FILE.index(b"\xe0\x7f\x10\x00") + 12],
    "program": b"\x7fELF" + b"\0" * 3000,
    "page": b"<html><script>alert(1)</script>" * 100,
    "zeros": bytes(100_000),
    "DICM and nothing else": bytes(128) + b"DICM",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_fails_by_itself_and_quickly(shared: Service, name: str) -> None:
    """S-20, S-22, S-23, S-24: C000 for the part, the others are stored, no traceback."""
    good = ct_slice(list(HOSTILE).index(name))
    begun = time.monotonic()
    answer = shared.store(HOSTILE[name], good)
    assert time.monotonic() - begun < 3
    assert answer.status_code == 202
    assert reasons(answer) == [0xC000]
    named = [item["00081155"]["Value"][0] for item in answer.json()["00081199"]["Value"]]
    assert named == [good.SOPInstanceUID]
    assert shared.spooled() == []


@pytest.mark.parametrize(
    "evil",
    ["../../x", "/etc/passwd", "a\\b", "1.2\0.3", "01.2", "1..2", ".1", "1.", "\u0661.2", "1.2\\1.3", "", "1.2 3"],
)
@pytest.mark.parametrize("attribute", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_malformed_uid_is_refused(shared: Service, attribute: str, evil: str) -> None:
    """S-21."""
    own = SLICE[attribute].value.encode()
    data = FILE.replace(own + b"\0" * (len(own) % 2), evil.encode().ljust(len(own) + len(own) % 2, b"\0"))
    assert data != FILE
    answer = shared.store(data)
    assert (answer.status_code, reasons(answer)) == (409, [0xC000])
    assert evil not in answer.text or evil in ("", "1.", ".1")


@pytest.mark.parametrize("checked_by", ["checksum", "digest"])
def test_a_flipped_bit_is_never_served_as_good(tmp_path: Path, checked_by: str) -> None:
    """F-16: by the checksum; by the digest for what was stored before there were checksums."""
    with serve(tmp_path) as service:
        service.store(SLICE)
        (located,) = service.archive.locate(SLICE.StudyInstanceUID)
        assert located.checksum is not None
        if checked_by == "digest":
            with sqlite3.connect(tmp_path / "index.db") as index:
                index.execute("UPDATE instance SET checksum = NULL")
            index.close()
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        assert service.get(PATH, accept).status_code == 200
        file = service.folder / "objects" / located.key
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.chmod(0o600)
        file.write_bytes(data)
        assert service.get(PATH, accept).status_code == 500


@pytest.mark.parametrize("harm", ["flipped", "shorter", "longer", "gone"])
def test_a_study_is_cut_before_what_is_damaged_in_it(service: Service, harm: str) -> None:
    """F-16, F-17, F-18: nothing of the damaged instance leaves, and no client takes what came for the whole."""
    slices = series_of(6, "cut")
    for ds in slices:
        ds.Rows, ds.Columns = 512, 512
        ds.PixelData = os.urandom(512 * 512 * 2)
    assert service.store(*slices).status_code == 200
    found = service.archive.locate(slices[0].StudyInstanceUID)
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    whole = service.get(f"/studies/{found[0].study_uid}", accept)
    assert [data for _, data in parts_of(whole)] == [service.archive.read(one) for one in found]
    file = service.folder / "objects" / found[4].key
    data = bytearray(file.read_bytes())
    start = whole.content.index(bytes(data[:-1]))
    data[-1] ^= harm == "flipped"
    file.chmod(0o600)
    file.write_bytes(data + b"x" if harm == "longer" else data[:-1] if harm == "shorter" else data)
    if harm == "gone":
        file.unlink()
    got = bytearray()
    with (
        pytest.raises(httpx.RemoteProtocolError),
        service.client.stream("GET", f"/studies/{found[0].study_uid}", headers={"Accept": accept}) as answer,
    ):
        assert answer.headers["content-length"] == str(len(whole.content))
        for piece in answer.iter_raw():
            got += piece
    assert whole.content.startswith(bytes(got))
    assert len(got) <= start
    told = [(one.instance, one.reason) for one in service.archive.damaged()]
    assert told == [(found[4], "missing" if harm == "gone" else "digest")]
