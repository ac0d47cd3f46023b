"""What objects are held against."""

from __future__ import annotations

import hashlib

import pytest

from gateway.dicom.part10 import FileMeta, build_head
from storage.seal import Sealer, head_size, seal
from tests.parts.sealed import sealed

HEAD = build_head(FileMeta("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1"), "SENDER")
DATA = b"\x08\0\x05\0CS\0\0" + bytes(range(256)) * 40


@pytest.mark.parametrize("piece", [1, 7, 143, 144, 145, 1 << 20])
def test_a_seal_is_the_same_however_the_file_goes_by(piece: int) -> None:
    whole = HEAD + DATA
    sealer = Sealer()
    for at in range(0, len(whole), piece):
        sealer.update(memoryview(whole)[at : at + piece])
    assert head_size(whole) == len(HEAD)
    assert sealer.hexdigest() == seal(HEAD, hashlib.sha256(DATA).digest())


def test_any_change_breaks_the_seal() -> None:
    """F-16: in the head, in the data set, in their lengths."""
    whole = bytearray(HEAD + DATA)
    seals = {sealed(bytes(whole)), sealed(bytes(whole[:-1])), sealed(bytes(whole) + b"x")}
    places = [0, 127, 128, 131, 132, 140, 141, 143, 144, len(HEAD) - 1, len(HEAD), len(whole) - 1]
    for place in places:
        whole[place] ^= 1
        seals.add(sealed(bytes(whole)))
        whole[place] ^= 1
    assert len(seals) == 3 + len(places)


@pytest.mark.parametrize("data", [b"", b"no DICOM", bytes(200), HEAD[:140], HEAD[:140] + b"\xff" * 100])
def test_what_is_no_file_of_ours_has_a_seal_too(data: bytes) -> None:
    assert head_size(data) == 0
    assert sealed(data) == seal(b"", hashlib.sha256(data).digest())
