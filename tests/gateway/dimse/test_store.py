"""C-STORE over real sockets: what comes in is kept as it came, and every refusal has its status."""

from __future__ import annotations

import errno
import os
import resource
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from storage.errors import ObjectStoreUnavailable
from storage.objects.memory import MemoryStore
from tests.gateway.dimse.conftest import Door, OpenDoor
from tests.gateway.dimse.wire import CT, EXPLICIT, IMPLICIT, P_DATA, VERIFICATION, Wire, pdv, store_command
from tests.parts.datasets import change, ct_slice, encapsulated, part10_bytes, uid, write_all
from tests.parts.files import dataset_bytes
from tests.parts.machine import need

FRAGMENT = 16378


def sent(
    wire: Wire, ds: Dataset, *, context_id: int = 1, sop_uid: str | None = None, sop_class: str | None = None
) -> int:
    """Status of a C-STORE of `ds` in Explicit VR Little Endian, in small fragments."""
    data = encode(ds, False, True)
    assert data is not None
    command = store_command(sop_uid or ds.SOPInstanceUID, sop_class or ds.SOPClassUID)
    wire.send(P_DATA, pdv(context_id, 3, command))
    for start in range(0, len(data), FRAGMENT):
        last = 2 if start + FRAGMENT >= len(data) else 0
        wire.send(P_DATA, pdv(context_id, last, data[start : start + FRAGMENT]))
    return wire.status()


@contextmanager
def scu(door: Door, *contexts: tuple[str, str]) -> Iterator[Association]:
    """A pynetdicom association with one transfer syntax for each context."""
    ae = AE("SCU")
    association = ae.associate(*door.address, contexts=[build_context(*one) for one in contexts], ae_title="GANTRY")
    assert association.is_established
    yield association
    association.release()


def stored_bytes(door: Door, sop_uid: str) -> bytes:
    """The Part 10 file that is kept."""
    located = door.archive.find(sop_uid)
    assert located is not None
    return door.archive.read(located)


def test_a_slice_is_kept_byte_for_byte(door: Door) -> None:
    """STORE-01: File Meta rebuilt, preamble zero, data set as sent; no spool file stays."""
    ds = ct_slice()
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        assert sent(wire, ds) == 0
        kept = stored_bytes(door, ds.SOPInstanceUID)
        assert kept[:132] == bytes(128) + b"DICM"
        assert dataset_bytes(kept) == encode(ds, False, True)
        meta = dcmread(BytesIO(kept)).file_meta
        assert meta.TransferSyntaxUID == EXPLICIT
        assert meta.SourceApplicationEntityTitle == "WIRE"
        assert door.spool_files() == []
        wire.release()


def test_the_memory_store_serves_as_well(open_door: OpenDoor) -> None:
    """STORE-01 on another object store."""
    door = open_door(objects="memory:")
    ds = ct_slice()
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        assert sent(wire, ds) == 0
    assert dataset_bytes(stored_bytes(door, ds.SOPInstanceUID)) == encode(ds, False, True)


def test_many_slices_over_one_association_with_dcmtk(door: Door, tmp_path: Path) -> None:
    """storescu, with the PDUs it likes."""
    folder = tmp_path / "in"
    folder.mkdir()
    paths = write_all(folder, [ct_slice(number=number, rows=256, columns=256) for number in range(1, 9)])
    host, port = door.address
    command = [need("storescu"), "-aec", "GANTRY", host, str(port), *map(str, paths)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    for path in paths:
        ds = dcmread(path)
        assert dataset_bytes(stored_bytes(door, ds.SOPInstanceUID)) == dataset_bytes(path.read_bytes())


def test_dcmsend_negotiates_and_sends(door: Door, tmp_path: Path) -> None:
    """dcmsend, which proposes what the files need."""
    plain = write_all(tmp_path, [ct_slice(study="a")])
    compressed = tmp_path / "compressed.dcm"
    ds = encapsulated(ct_slice(study="b"), [b"\xff\xd8\xff\xd9"])
    compressed.write_bytes(part10_bytes(ds, "1.2.840.10008.1.2.4.80"))
    host, port = door.address
    command = [need("dcmsend"), "-aec", "GANTRY", host, str(port), *map(str, plain), str(compressed)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert door.archive.index.count()[2] == 2
    located = door.archive.find(ds.SOPInstanceUID)
    assert located is not None
    assert located.transfer_syntax_uid == "1.2.840.10008.1.2.4.80"


def test_implicit_and_deflated_are_kept_as_they_are(door: Door) -> None:
    """NET-05: the context's syntax is the object's."""
    one, two = ct_slice(study="one"), ct_slice(study="two")
    with scu(door, (CT, IMPLICIT)) as association:
        one.file_meta = dcmread(BytesIO(part10_bytes(one, IMPLICIT))).file_meta
        assert association.send_c_store(one).Status == 0
    with scu(door, (CT, "1.2.840.10008.1.2.1.99")) as association:
        deflated = dcmread(BytesIO(part10_bytes(two, "1.2.840.10008.1.2.1.99")))
        assert association.send_c_store(deflated).Status == 0
    for ds, syntax in ((one, IMPLICIT), (two, "1.2.840.10008.1.2.1.99")):
        located = door.archive.find(ds.SOPInstanceUID)
        assert located is not None
        assert located.transfer_syntax_uid == syntax


def test_the_same_again_is_a_success(door: Door) -> None:
    """STORE-08, F-56: a re-send of what is stored succeeds, and is stored once."""
    ds = ct_slice()
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        assert [sent(wire, ds), sent(wire, ds)] == [0, 0]
    assert door.archive.index.count()[2] == 1


def test_other_bytes_under_a_known_uid_are_refused(door: Door) -> None:
    """STORE-08: 0111; the first stays."""
    first, other = ct_slice(), ct_slice(PatientID="OTHER")
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        assert sent(wire, first) == 0
        assert sent(wire, other) == 0x0111
        assert sent(wire, ct_slice(number=2)) == 0
    assert b"OTHER" not in stored_bytes(door, first.SOPInstanceUID)


def test_a_data_set_that_is_not_what_the_command_says_is_refused(door: Door) -> None:
    """STORE-05, STORE-08, S-14: A900, and nothing is stored."""
    ds = ct_slice()
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        assert sent(wire, ds, sop_uid=uid("another")) == 0xA900
        assert sent(wire, ct_slice(SOPClassUID="1.2.840.10008.5.1.4.1.1.4"), sop_class=CT) == 0xA900
        assert wire.socket.fileno() >= 0
    assert door.archive.index.count() == (0, 0, 0)
    assert door.spool_files() == []


def test_a_command_that_is_not_what_the_context_says_is_refused(door: Door) -> None:
    """STORE-07: 0122, and the association goes on."""
    ds = ct_slice()
    with door.wire((1, CT, (EXPLICIT,)), (3, VERIFICATION, (IMPLICIT,))) as wire:
        assert sent(wire, ds, sop_class="1.2.840.10008.5.1.4.1.1.4") == 0x0122
        assert sent(wire, ds) == 0
        assert wire.echo(3) == 0


@pytest.mark.parametrize("bad", ["../../etc/passwd", "1.2.03", "1..2", "abc", "1.2.3."])
def test_a_malformed_instance_uid_in_the_command_is_refused(door: Door, bad: str) -> None:
    """STORE-07, S-21: 0117."""
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        assert sent(wire, ct_slice(), sop_uid=bad) == 0x0117
        assert sent(wire, ct_slice()) == 0


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"no DICOM at all, but text of some length",
        b"\x08\x00\x16\x00UI\x1a\x00",
        bytes(1000),
    ],
)
def test_what_cannot_be_understood_is_refused(door: Door, broken: bytes) -> None:
    """STORE-06, S-24: C000, and nothing is stored."""
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        wire.send(P_DATA, pdv(1, 3, store_command("1.2.3")) + pdv(1, 2, broken))
        assert wire.status() == 0xC000
        assert sent(wire, ct_slice()) == 0
    assert door.archive.index.count()[2] == 1
    assert door.spool_files() == []


def test_a_truncated_data_set_is_refused(door: Door) -> None:
    """STORE-06, S-24."""
    ds = ct_slice()
    data = encode(ds, False, True)
    assert data is not None
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        wire.send(P_DATA, pdv(1, 3, store_command(ds.SOPInstanceUID)) + pdv(1, 2, data[:-100]))
        assert wire.status() == 0xC000


def test_a_missing_uid_is_named(door: Door) -> None:
    """STORE-06: Offending Element and a short Error Comment."""
    ds = ct_slice()
    full = dcmread(BytesIO(part10_bytes(ds)))
    change(full, {"StudyInstanceUID": None})
    with scu(door, (CT, EXPLICIT)) as association:
        answer = association.send_c_store(full)
    assert answer.Status == 0xC000
    assert answer.OffendingElement == 0x0020000D
    assert "Study Instance UID" in answer.ErrorComment
    assert len(answer.ErrorComment) <= 64


def test_private_classes_are_stored(door: Door) -> None:
    """S-17 the other way round: by default they are taken."""
    private = "1.2.826.0.1.3680043.9.7.1"
    ds = ct_slice(SOPClassUID=private)
    with door.wire((1, private, (EXPLICIT,))) as wire:
        assert sent(wire, ds) == 0


def test_an_object_beyond_the_limit_is_refused_and_read_to_its_end(open_door: OpenDoor) -> None:
    """S-10: A700, the spool file is gone, and the association goes on."""
    door = open_door(max_object_bytes=20_000)
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        assert sent(wire, ct_slice(rows=100, columns=100)) == 0xA700
        assert door.spool_files() == []
        assert sent(wire, ct_slice(rows=16, columns=16)) == 0


def test_a_data_set_that_never_ends_is_given_up(open_door: OpenDoor) -> None:
    """S-10: abort once as much again was thrown away; the disk holds nothing of it."""
    door = open_door(max_object_bytes=100_000)
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        wire.send(P_DATA, pdv(1, 3, store_command("1.2.3")))
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                wire.send(P_DATA, pdv(1, 0, bytes(FRAGMENT)))
    assert door.spool_empties()
    assert door.is_alive()


def test_a_full_spool_says_out_of_resources(open_door: OpenDoor) -> None:
    """STORE-04, F-10: A700 and no file left; once there is room again, the same object is stored."""
    door = open_door()
    ds = ct_slice(rows=300, columns=300)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))  # a write beyond is EFBIG, as a quota's end
            assert sent(wire, ds) == 0xA700
            assert door.spool_files() == []
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert sent(wire, ds) == 0
    assert os.strerror(errno.EFBIG)


class DownStore(MemoryStore):
    """An object store that does not answer."""

    def put(self, *args: object, **keywords: object) -> None:
        raise ObjectStoreUnavailable("no answer")


def test_a_store_that_is_down_says_out_of_resources(door: Door) -> None:
    """STORE-04, F-21: A700, nothing visible, no spool file; the association goes on."""
    real, door.archive.objects = door.archive.objects, DownStore()
    ds = ct_slice()
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        assert sent(wire, ds) == 0xA700
        assert door.archive.find(ds.SOPInstanceUID) is None
        assert door.spool_files() == []
        door.archive.objects = real
        assert sent(wire, ds) == 0


def test_an_object_of_many_frames_is_not_held_in_memory(door: Door) -> None:
    """512 MB over one association raise peak memory by less than 64 MB."""
    size = 512 << 20
    ds = ct_slice(rows=1024, columns=1024)
    pixels = ds.PixelData
    ds.NumberOfFrames = size // len(pixels)
    del ds.PixelData
    head = encode(ds, False, True)
    assert head is not None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with door.wire((1, CT, (EXPLICIT,)), timeout=100) as wire:
        wire.send(P_DATA, pdv(1, 3, store_command(ds.SOPInstanceUID)))
        wire.send(P_DATA, pdv(1, 0, head + struct.pack("<HH2s2xL", 0x7FE0, 0x0010, b"OW", size)))
        for sending in range(0, size, 131_064):
            piece = bytes(min(131_064, size - sending))
            wire.send(P_DATA, pdv(1, 2 if sending + 131_064 >= size else 0, piece))
        assert wire.status() == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    located = door.archive.find(ds.SOPInstanceUID)
    assert located is not None
    assert located.size > size


def test_what_the_settings_coerce_is_stored_with_status_b000(open_door: OpenDoor) -> None:
    """STORE-02, STOW-07: the warning names an element; the same again is a success; what others send stays as it is."""
    door = open_door(coerce=[{"calling_aet": ["WIRE"], "replace": {"InstitutionName": "Here"}}])
    ds, other = ct_slice(InstitutionName="There"), ct_slice(number=2, InstitutionName="There")
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        assert sent(wire, ds) == 0xB000
        assert sent(wire, ds) == 0
        wire.release()
    kept = dcmread(BytesIO(stored_bytes(door, ds.SOPInstanceUID)))
    assert kept.InstitutionName == "Here"
    (item,) = kept.OriginalAttributesSequence
    assert (item.ModifyingSystem, item.SourceOfPreviousValues) == ("GANTRY", "WIRE")
    assert item.ModifiedAttributesSequence[0].InstitutionName == "There"
    with scu(door, (CT, EXPLICIT)) as association:
        assert association.send_c_store(dcmread(BytesIO(part10_bytes(other)))).Status == 0
    assert dcmread(BytesIO(stored_bytes(door, other.SOPInstanceUID))).InstitutionName == "There"
    assert door.spool_files() == []
