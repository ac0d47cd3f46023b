"""Integrity: flipped bits, missing and short objects are found, never served, and repaired by sending them again."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from gateway import commitment
from gateway.delete import delete
from gateway.describe import read_and_describe
from gateway.errors import Damaged
from gateway.integrity import SCRUB, Scrubber, begin_cycle, progress, verify
from gateway.rebuild import rebuild
from gateway.reconcile import reconcile
from gateway.retrieve import part10, stored_frame
from storage.archive import Archive
from storage.errors import ObjectDamaged
from storage.index.sqlite import driver
from storage.reader import open_reader
from storage.records import Located
from storage.versions import new_version
from tests.gateway.stored import CALLER, put, put_bytes
from tests.gateway.test_rebuild import rows
from tests.parts.datasets import ct_slice, part10_bytes, series_of
from tests.parts.torture import record, size

FLIPS = size(50, 1000)
DAYS = 1e9
"""A scrubber's cycle that does not end by itself."""


def file_of(archive: Archive, located: Located) -> Path:
    """Where the folder keeps an instance."""
    path = archive.spool.folder.parent / "objects" / located.key
    if path.exists():
        path.chmod(0o600)
    return path


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Turn one bit of a file around, in place."""
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


def found(archive: Archive, number: int = 1) -> Located:
    """A slice of the first series."""
    located = archive.find(ct_slice(number=number).SOPInstanceUID)
    assert located is not None
    return located


def read(archive: Archive, located: Located) -> bytes:
    """The whole instance, as a client gets it."""
    with part10(archive, located).open(0, None) as chunks:
        return b"".join(bytes(chunk) for chunk in chunks)


def reasons(archive: Archive) -> dict[str, str]:
    """What is known to be damaged, and why."""
    return {one.instance.sop_uid: one.reason for one in archive.damaged()}


def uids(ds: Dataset) -> tuple[str, str, str]:
    """Study, series and instance of a data set."""
    return ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID


@pytest.fixture
def filled(archive: Archive) -> Archive:
    for ds in series_of(4):
        put(archive, ds)
    return archive


def test_every_flipped_bit_is_found_and_none_is_served(archive: Archive) -> None:
    """F-16: on a whole read, by a look at the object, and by the scrubber; wherever in the file it is."""
    put(archive, ct_slice(number=1))
    located = found(archive)
    path, whole = file_of(archive, located), read(archive, located)
    dice = random.Random(16)
    for number in range(FLIPS):
        position, bit = (0, 0) if number == 0 else (dice.randrange(len(whole)), dice.randrange(8))
        flip(path, position, bit)
        with pytest.raises(Damaged):
            read(archive, located)
        assert archive.examine(located) == "digest", (position, bit)
        assert reasons(archive) == {located.sop_uid: "digest"}
        flip(path, position, bit)
        Scrubber(archive, DAYS, 1 << 30).recheck()
        assert reasons(archive) == {}, "a good object is served again"
        assert read(archive, located) == whole
    record("flipped bits", flipped=FLIPS, found_by_a_read=FLIPS, found_by_a_look=FLIPS, served=0)


def test_the_scrubber_finds_all_damage_in_one_cycle_and_nothing_else(filled: Archive) -> None:
    """F-16, F-17, F-18; and it goes on where another process left off (F-05)."""
    flip(file_of(filled, found(filled, 1)), 1000)
    file_of(filled, found(filled, 2)).unlink()
    os.truncate(file_of(filled, found(filled, 3)), 700)
    quiet = threading.Event()
    begin_cycle(filled)
    while (mark := filled.index.note(SCRUB)) is None or progress(mark)[1] is not None:
        Scrubber(filled, DAYS, 1 << 30).step(quiet)  # each slice by another process
    wanted = {1: "digest", 2: "missing", 3: "size"}
    assert reasons(filled) == {found(filled, number).sop_uid: why for number, why in wanted.items()}
    assert Scrubber(filled, DAYS, 1 << 30).step(quiet) > 0
    assert filled.index.note(SCRUB) == mark, "a cycle does not begin before its time"


def test_a_slice_is_taken_by_one_of_two_scrubbers(filled: Archive) -> None:
    """F-52: the second one leaves it, and takes the next."""
    mark = filled.index.note(SCRUB)
    Scrubber(filled, DAYS, 1 << 30).step(threading.Event())
    assert filled.index.enqueue([], 0.0, (SCRUB, mark, "late")) is None


def test_of_a_damaged_instance_not_even_a_frame_is_served(filled: Archive) -> None:
    """F-16: once found, by whoever; others are served."""
    damaged, good = found(filled, 1), found(filled, 2)
    flip(file_of(filled, damaged), damaged.size - 1)
    assert stored_frame(filled, damaged, 1)  # nobody has read the whole of it yet
    with pytest.raises(Damaged):
        read(filled, damaged)
    with pytest.raises(Damaged):
        stored_frame(filled, damaged, 1)
    assert stored_frame(filled, good, 1)


@pytest.mark.parametrize("harm", ["digest", "missing", "size"])
def test_the_same_data_set_again_repairs_it(filled: Archive, harm: str) -> None:
    """F-16 to F-18, F-44, L3: also when the damage was not known before; a rebuild comes to the same rows."""
    located = found(filled, 2)
    path, whole = file_of(filled, located), read(filled, located)
    match harm:
        case "digest":
            flip(path, 900)
        case "missing":
            path.unlink()
        case _:
            os.truncate(path, 0)
    assert put(filled, ct_slice(number=2)).outcome == "repaired"
    assert put(filled, ct_slice(number=2)).outcome == "duplicate"
    assert reasons(filled) == {}
    repaired = found(filled, 2)
    assert repaired.version != located.version
    assert read(filled, repaired) == whole
    assert [one.action for one in filled.changes()] == ["create"] * 4 + ["repair"]
    assert verify(filled, deep=True, lease=0).clean

    live = rows(filled)
    assert rebuild(filled).damaged == []
    assert rows(filled) == live


def test_a_repair_keeps_counters_and_descriptions(filled: Archive) -> None:
    """F-44: what study and series say stays."""
    file_of(filled, found(filled, 1)).unlink()
    (before,) = rows(filled)["study"]
    assert put(filled, ct_slice(number=1)).outcome == "repaired"
    delete(filled, CALLER, *uids(ct_slice(number=4)))
    (after,) = rows(filled)["study"]
    kept = {"patient_name", "study_description", "modalities_in_study", "study_date"}
    assert {k: v for k, v in before if k in kept} == {k: v for k, v in after if k in kept}
    assert dict(after)["number_of_study_related_instances"] == 3


def test_a_missing_object_does_not_keep_others_from_being_deleted(filled: Archive) -> None:
    """F-17: the instance that would speak for the study next is missing."""
    file_of(filled, found(filled, 2)).unlink()
    assert delete(filled, CALLER, *uids(ct_slice(number=1))) == 1
    assert reasons(filled) == {found(filled, 2).sop_uid: "missing"}


def test_nothing_damaged_is_committed(filled: Archive) -> None:
    """L6, SC-02: a missing object is 0112, a damaged one 0110; and both are listed from then on."""
    flip(file_of(filled, found(filled, 1)), 1000)
    file_of(filled, found(filled, 2)).unlink()
    asked = [(one.sop_class_uid, one.sop_uid) for one in (found(filled, number) for number in range(1, 5))]
    verdict = commitment.check(filled, asked)
    assert verdict is not None
    assert verdict.committed == tuple(asked[2:])
    assert verdict.failed == ((asked[0], 0x0110), (asked[1], 0x0112))
    assert set(reasons(filled).values()) == {"digest", "missing"}


def test_verify_tells_rows_from_objects(filled: Archive) -> None:
    """L4: missing and short objects at once, flipped bits when it reads deep; objects that no row names."""
    flip(file_of(filled, found(filled, 1)), 1000)
    file_of(filled, found(filled, 2)).unlink()
    os.truncate(file_of(filled, found(filled, 3)), 700)
    orphan = filled.key("1.2.3", filled.new_version())
    filled.objects.put_bytes(orphan, b"left by a crash")
    shallow = verify(filled, deep=False, lease=0)
    assert {one.instance.sop_uid: one.reason for one in shallow.damaged} == {
        found(filled, 2).sop_uid: "missing",
        found(filled, 3).sop_uid: "size",
    }
    assert (shallow.instances, shallow.orphans, shallow.clean) == (4, [orphan], False)
    deep = verify(filled, deep=True, lease=0)
    assert sorted(one.reason for one in deep.damaged) == ["digest", "missing", "size"]
    assert reasons(filled) == {one.instance.sop_uid: one.reason for one in deep.damaged}
    assert verify(filled, deep=False).orphans == [], "a store that goes on has an hour to name its object"


def without_checksums(found: dict[str, Any]) -> dict[str, Any]:
    """Rows but for what a rebuild cannot know of bytes that are not there any more."""
    left = [[column for column in row if column[0] != "checksum"] for row in found["instance"]]
    return {**found, "instance": sorted(left, key=str)}


def test_what_has_the_digest_of_its_file_is_held_against_that(archive: Archive) -> None:
    """F-16: as all had that were stored before there were seals; a rebuild keeps it."""
    put(archive, ct_slice(number=1))
    located = found(archive)
    digest = hashlib.sha256(archive.read(located)).hexdigest()
    assert digest != located.digest
    with closing(driver().connect(archive.spool.folder.parent / "index.db")) as connection:
        connection.execute("UPDATE instance SET digest = ?", [digest])
        connection.commit()
    os.setxattr(file_of(archive, located), "user.gantry", bytes.fromhex(digest + located.dataset_digest))
    assert archive.examine(found(archive)) is None
    before = rows(archive)
    rebuild(archive)
    assert rows(archive) == before
    flip(file_of(archive, located), located.size - 1)
    assert archive.examine(found(archive)) == "digest"


def test_a_rebuild_does_not_launder_damage(filled: Archive) -> None:
    """F-16, F-42: the row promises what was received, not what is there; the digests lie beside the object."""
    live, damaged = rows(filled), found(filled, 1)
    flip(file_of(filled, damaged), damaged.size - 1)
    report = rebuild(filled)
    assert report.damaged == [damaged.key]
    assert without_checksums(rows(filled)) == without_checksums(live)
    (again,) = (one for one in filled.locate(damaged.study_uid) if one.sop_uid == damaged.sop_uid)
    assert again.digest == damaged.digest and again.checksum is None  # so the digest is what a read is held against
    filled.look_at_damage()
    assert reasons(filled) == {damaged.sop_uid: "digest"}
    with pytest.raises(ObjectDamaged):
        filled.read(damaged, 0, 100)
    assert put(filled, ct_slice(number=1)).outcome == "repaired"


def test_what_a_rebuild_leaves_aside_is_not_swept(filled: Archive) -> None:
    """F-09: objects for a human to decide outlive the housekeeping, though no row names them."""
    other = filled.key(ct_slice(number=1).SOPInstanceUID, filled.new_version())
    filled.objects.put_bytes(other, part10_bytes(ct_slice(number=1, PatientID="other bytes")))
    junk = filled.key("1.2.3", filled.new_version())
    filled.objects.put_bytes(junk, b"no DICOM at all")
    rebuild(filled)
    for day in range(1, 4):
        filled.sweep(now=4e9 + day * 100_000)
    assert {info.key for info in filled.objects.keys("obj/")} >= {other, junk}
    assert sorted(verify(filled, deep=False, lease=0).kept) == sorted([other, junk])


def test_reconcile_brings_an_old_index_up_to_its_objects(archive: Archive) -> None:
    """F-43: what was stored since then is adopted and announced, what was deleted since then or before is gone."""
    ds = {number: ct_slice(number=number) for number in range(1, 6)}
    for number in (1, 2, 3):
        put(archive, ds[number])
    delete(archive, CALLER, *uids(ds[3]))
    second = found(archive, 2)
    put(archive, ds[4])
    put(archive, ct_slice("new", number=1))
    delete(archive, CALLER, *uids(ds[2]))
    live = rows(archive)

    # the index as it was: what came since is unknown to it, what left since is still there
    for sop_uid in (ds[4].SOPInstanceUID, ct_slice("new", number=1).SOPInstanceUID):
        one = archive.find(sop_uid)
        assert one is not None
        archive.index.delete(one.study_uid, [one.version], cleanup_after=0.0)
        archive.index.collected(one.version)
    archive.index.collected(second.version)
    with open_reader(archive, second) as stream:
        record = read_and_describe(stream, second.size, version=second.version, key=second.key)
    archive.index.add(record, announce=False)
    assert archive.find(ds[2].SOPInstanceUID) is not None

    told = len(archive.changes())
    report = reconcile(archive)
    assert (report.instances, report.removed, report.conflicts, report.unreadable) == (2, 1, [], [])
    assert rows(archive) == live
    assert [one.action for one in archive.changes()[told:]] == ["delete", "create", "create"]
    assert verify(archive, deep=True, lease=0).clean
    again = reconcile(archive)
    assert (again.instances, again.removed) == (0, 0)


def test_reconcile_reaches_back_to_where_the_index_was_when_it_went_on(archive: Archive) -> None:
    """F-43, F-38: an old index with which a gateway took more before anybody noticed; or as far back as one says."""
    forgotten = [archive.key(f"1.2.{number}", new_version(time.time() - 90_000 * number)) for number in (1, 2)]
    for number, key in enumerate(forgotten, 1):
        archive.objects.put_bytes(key, part10_bytes(ct_slice("forgotten", number=number)))
    put(archive, ct_slice(number=1))
    assert reconcile(archive).instances == 0  # its last entry is of now
    archive.high_water.doubt(time.time() - 100_000)
    assert reconcile(archive).instances == 1
    archive.high_water.check()
    assert reconcile(archive, since=time.time() - 200_000).instances == 1
    assert verify(archive, deep=True, lease=0).clean


def test_digests_lie_beside_the_object(archive: Archive) -> None:
    """Those of the file and of the data set, as the index has them."""
    put_bytes(archive, part10_bytes(ct_slice(number=1)))
    located = found(archive)
    assert archive.objects.digests(located.key) == (located.digest, located.dataset_digest)
