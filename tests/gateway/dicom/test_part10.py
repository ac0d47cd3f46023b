"""Preamble, prefix and File Meta Information."""

from __future__ import annotations

import io
import struct

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicom.part10 import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION,
    MAX_HEAD,
    FileMeta,
    build_head,
    built_size,
    parse_head,
    source_aet,
)
from gateway.dicom.uids import DEFLATED_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, is_uid
from gateway.errors import NotUnderstood
from tests.gateway.dicom.building import CLASS, INSTANCE, explicit, identity, implicit

META = FileMeta(CLASS, INSTANCE, EXPLICIT_LITTLE_ENDIAN)
SYNTAX = explicit(0x00020010, "UI", b"1.2.840.10008.1.2.1\0")
START = bytes(128) + b"DICM"


def test_what_is_built_can_be_parsed() -> None:
    head = build_head(META, "MODALITY")
    assert parse_head(head + identity()) == (META, len(head))


def test_pydicom_reads_what_is_built() -> None:
    ds = pydicom.dcmread(io.BytesIO(build_head(META, "MODALITY") + identity()))
    assert ds.file_meta.MediaStorageSOPClassUID == CLASS
    assert ds.file_meta.MediaStorageSOPInstanceUID == INSTANCE
    assert ds.file_meta.TransferSyntaxUID == EXPLICIT_LITTLE_ENDIAN
    assert ds.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert ds.file_meta.ImplementationVersionName == IMPLEMENTATION_VERSION
    assert ds.file_meta.SourceApplicationEntityTitle == "MODALITY"
    assert ds.file_meta.FileMetaInformationVersion == b"\x00\x01"
    assert ds.preamble == bytes(128)
    length = len(build_head(META, "MODALITY")) - 144
    assert ds.file_meta.FileMetaInformationGroupLength == length


def test_the_implementation_has_lawful_names() -> None:
    assert is_uid(IMPLEMENTATION_CLASS_UID)
    assert len(IMPLEMENTATION_VERSION) <= 16


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert build_head(META, "A") == build_head(META, "A ")
    assert (
        build_head(META)
        == build_head(META, "no\\title")
        == build_head(META, "seventeen letters")
        == build_head(META, "ä")
    )


@pytest.mark.parametrize("field", ["sop_class_uid", "sop_uid", "transfer_syntax_uid"])
@pytest.mark.parametrize("uid", ["../../x", "1.2\\1.3", "1.2\0", "1." + "2" * 63])
def test_no_head_holds_a_malformed_uid(field: str, uid: str) -> None:
    """S-21."""
    fields = {"sop_class_uid": CLASS, "sop_uid": INSTANCE, "transfer_syntax_uid": EXPLICIT_LITTLE_ENDIAN, field: uid}
    with pytest.raises(NotUnderstood):
        build_head(FileMeta(**fields))


def test_identity_may_be_left_to_the_data_set() -> None:
    head = build_head(FileMeta("", "", EXPLICIT_LITTLE_ENDIAN))
    assert parse_head(head + identity()) == (FileMeta("", "", EXPLICIT_LITTLE_ENDIAN), len(head))
    with pytest.raises(NotUnderstood):
        build_head(FileMeta(CLASS, INSTANCE, ""))


def test_more_bytes_are_asked_for_until_the_group_has_ended() -> None:
    data = build_head(META) + identity()
    end = len(build_head(META))
    for length in range(end + 2):
        assert parse_head(data[:length]) is None
    for length in range(end + 2, end + 20):
        assert parse_head(data[:length]) == (META, end)


@pytest.mark.parametrize("preamble", [b"MZ\x90", b"\x7fELF", b"#!/bin/sh\n", b"<script>", b"II*\0"])
def test_a_preamble_is_passed_over(preamble: bytes) -> None:
    """S-20: neither looked at nor kept."""
    head = build_head(META)
    data = preamble + head[len(preamble) :] + identity()
    assert parse_head(data) == (META, len(head))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"DICM" + SYNTAX + identity(), "no preamble"),
        ((identity() + explicit(0x00100010, "PN", b"A" * 200)), "no preamble"),
        (implicit(0x00080005, b"ISO_IR 100") + implicit(0x00100010, b"A" * 200), "no preamble"),
        (explicit(0x00080016, "UI", CLASS.encode() + b"\0", order=">") + bytes(200), "no preamble"),
        (identity(), "no preamble"),
        (b"\xff\xd8\xff\xe0" + bytes(200), "no DICM prefix"),
        (b"%PDF-1.7" + bytes(200), "no DICM prefix"),
        (bytes(200), "no DICM prefix"),
    ],
)
def test_anything_but_a_part_10_file_is_not_understood(data: bytes, message: str) -> None:
    with pytest.raises(NotUnderstood, match=message):
        parse_head(data)


@pytest.mark.parametrize(
    "group",
    [
        SYNTAX,
        explicit(0x00020000, "UL", struct.pack("<I", 4)) + SYNTAX,
        explicit(0x00020000, "UL", struct.pack("<I", 0xFFFFFFFF)) + SYNTAX,
        explicit(0x00020000, "UL", b"") + SYNTAX,
        SYNTAX + explicit(0x00020002, "UI", b"../../x\0") + explicit(0x00020003, "UI", b""),
        SYNTAX + explicit(0x00020102, "OB", bytes(1000)) + explicit(0x00020016, "AE", b"X "),
    ],
)
def test_sloppy_groups_are_read_to_their_end(group: bytes) -> None:
    """S-24: a group length that lies, or is missing; missing UIDs, which the data set has as well."""
    parsed = parse_head(START + group + identity())
    assert parsed == (FileMeta("", "", EXPLICIT_LITTLE_ENDIAN), len(START + group))


@pytest.mark.parametrize(
    ("group", "tag"),
    [
        (b"", 0x00020010),
        (explicit(0x00020002, "UI", b"1.2\0"), 0x00020010),
        (explicit(0x00020010, "UI", b""), 0x00020010),
        (explicit(0x00020010, "UI", b"1.2/../3"), 0x00020010),
        (SYNTAX + SYNTAX, 0x00020010),
        (explicit(0x00020001, "??", b"\0\1") + SYNTAX, 0x00020001),
        (explicit(0x00020001, "ZZ", b"\0\1") + SYNTAX, 0x00020001),
        (explicit(0x00020102, "OB", b"", 0xFFFFFFFF) + SYNTAX, 0x00020102),
        (explicit(0x00020102, "OB", b"", MAX_HEAD) + SYNTAX, 0x00020102),
        (implicit(0x00020000, b"\0\0\0\0") + implicit(0x00020010, b"1.2.840.10008.1.2\0"), 0x00020000),
    ],
)
def test_groups_that_mislead_are_not_understood(group: bytes, tag: int) -> None:
    """S-40, S-43: no transfer syntax, two of them, VRs that no standard knows, values beyond the bound."""
    with pytest.raises(NotUnderstood) as caught:
        parse_head(START + group + identity())
    assert caught.value.tag == tag


def test_a_head_is_bounded() -> None:
    """S-24, S-43: a group of endless elements is refused after 64 KiB."""
    group = b"".join(explicit(0x00020100 + number, "OB", bytes(600)) for number in range(200))
    with pytest.raises(NotUnderstood, match="too long"):
        parse_head(START + group)


def test_a_deflated_data_set_may_begin_like_group_2() -> None:
    head = build_head(FileMeta(CLASS, INSTANCE, DEFLATED_LITTLE_ENDIAN))
    parsed = parse_head(head + b"\x02\x00\x02\x00\x03\x00" + bytes(20))
    assert parsed is not None
    assert parsed[1] == len(head)


@given(st.data())
def test_mutations_are_parsed_or_not_understood(data: st.DataObject) -> None:
    head = bytearray(build_head(FileMeta(CLASS, INSTANCE, IMPLICIT_LITTLE_ENDIAN)) + implicit(0x00080016, b"1.2\0"))
    for _ in range(data.draw(st.integers(1, 6))):
        head[data.draw(st.integers(128, len(head) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = parse_head(bytes(head))
    except NotUnderstood:
        return
    if parsed is not None:
        assert is_uid(parsed[0].transfer_syntax_uid)
        assert parsed[1] <= len(head)


@pytest.mark.parametrize("title", ["CT1", "", "SIXTEEN LETTERS."])
def test_the_sender_can_be_read_from_the_head_again(title: str) -> None:
    head = build_head(FileMeta("1.2.3", "1.2.3.4", "1.2.840.10008.1.2.1"), title)
    assert source_aet(head) == source_aet(head + b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100") == title


@pytest.mark.parametrize("title", ["", "MODALITY"])
@pytest.mark.parametrize("digest", ["", "ab" * 32])
def test_the_size_of_a_built_head_is_told_without_parsing_it(title: str, digest: str) -> None:
    head = build_head(FileMeta(CLASS, INSTANCE, EXPLICIT_LITTLE_ENDIAN, digest), title)
    assert built_size(head + identity()) == built_size(memoryview(head)) == len(head)
    assert built_size(head[:-1]) is None


def test_of_a_head_that_is_not_ours_no_size_is_told() -> None:
    head = build_head(META)
    strange = head.replace(IMPLEMENTATION_CLASS_UID.encode(), b"1.2.3" + IMPLEMENTATION_CLASS_UID[5:].encode())
    for data in (b"", bytes(144), strange + identity(), b"x" + head[1:] + identity()):
        assert built_size(data) is None
