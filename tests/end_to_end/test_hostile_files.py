"""Hostile Part 10 files at both doors: refused or stored as the standard says, at once, in little memory.

Nothing that comes beside them is harmed, and what is stored comes out in valid JSON.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn
from zlib import crc32

import pytest
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.dicom.part10 import FileMeta, build_head
from tests.end_to_end.conftest import Site
from tests.end_to_end.doors import AS_STORED, Instance, resource
from tests.gateway.dicom.building import UNDEFINED, explicit, implicit, item, part10, sequence
from tests.parts.datasets import ct_slice, part10_bytes, uid
from tests.parts.files import dataset_bytes
from tests.parts.gateway import Launch, program
from tests.parts.torture import record

NOT_UNDERSTOOD, CLASS_NOT_SUPPORTED, SYNTAX_NOT_SUPPORTED = 0xC000, 0x0122, 0xC122
LONGEST = 20.0
"""Seconds in which each answer has to be there; far more than it takes, for machines that are busy."""
MOST = 256 << 20
"""Bytes of memory that all of them together may cost."""
OPENING = explicit(0x00400275, "SQ", b"", UNDEFINED) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
CLOSING = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
IMPLICIT_OPENING = implicit(0x00400275, b"", UNDEFINED) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"

Maker = Callable[[], bytes]


@pytest.fixture(scope="module")
def launch() -> Launch:
    """As a program: memory is what is looked at."""
    return program


def identity(name: object, *, vr: bool = True, sop_class: str = CTImageStorage) -> bytes:
    """The elements that say which instance it is."""
    values = {
        0x00080016: sop_class,
        0x00080018: uid("hostile", name),
        0x0020000D: uid("hostile study", name),
        0x0020000E: uid("hostile series", name),
    }
    data = b""
    for tag, value in values.items():
        raw = value.encode() + b"\0" * (len(value) % 2)
        data += explicit(tag, "UI", raw) if vr else implicit(tag, raw)
    return data


def between(name: object, middle: bytes) -> bytes:
    """A data set with `middle` between SOP Instance and Study Instance UID."""
    data = identity(name)
    at = data.index(b"\x20\x00\x0d\x00")
    return data[:at] + middle + data[at:]


@dataclass(frozen=True)
class Case:
    """A data set to be made, the rows that it is for, and whether it is stored."""

    rows: str
    make: Maker
    syntax: str = ExplicitVRLittleEndian
    stored: bool = False


def more(name: str, rows: str, data: Callable[[], bytes], stored: bool = False) -> tuple[str, Case]:
    """The identity, then these elements."""
    return name, Case(rows, lambda: identity(name) + data(), stored=stored)


def tiny(number: int) -> bytes:
    """An element of a private block, one of a million."""
    return explicit(0x00411000 + (number // 60_000 << 17) + number % 60_000, "CS", b"")


def blocks(count: int) -> Iterator[bytes]:
    """So many private creators, in order."""
    groups = range(0x0021, 0x7FDF, 2)
    left = count
    for group in groups:
        for block in range(0x10, min(0x10 + left, 0x100)):
            yield explicit(group << 16 | block, "LO", b"P%d" % (block % 10))
        left -= 0xF0
        if left <= 0:
            return


def no_numbers() -> Iterator[bytes]:
    """Numbers that JSON has no words for, and that no number is."""
    yield explicit(0x00181041, "DS", b"nan\\inf\\-inf\\1e400 ")
    yield explicit(0x00186050, "UL", b"\xff\xff\xff\xff")
    yield explicit(0x00189087, "FD", struct.pack("<3d", float("nan"), float("inf"), -float("inf")))
    yield explicit(0x00200013, "IS", b"1e400 ")
    yield explicit(0x00280008, "IS", b"9" * 400)
    yield explicit(0x00289110, "FL", struct.pack("<f", float("nan")))


def lying_group(name: str) -> bytes:
    """A retired group length, which nobody is to believe (PS3.5 7.2)."""
    return explicit(0x00080000, "UL", b"\xff\xff\xff\x7f") + identity(name)


def backwards() -> bytes:
    """Elements that go down."""
    return explicit(0x00100020, "LO", b"ID") + explicit(0x00100010, "PN", b"Name")


def ordered(name: str, *elements: bytes) -> bytes:
    """A data set of the identity and these elements, by their tags."""
    whole = identity(name)
    found = list(elements)
    while whole:
        (length,) = struct.unpack_from("<H", whole, 6)
        found.append(whole[: 8 + length])
        whole = whole[8 + length :]
    return b"".join(sorted(found, key=lambda one: struct.unpack_from("<HH", one)))


def charset(name: str, value: bytes) -> bytes:
    """A name in this character set."""
    return ordered(
        name,
        explicit(0x00080005, "CS", value + b" " * (len(value) % 2)),
        explicit(0x00100010, "PN", b"M\xfcller\xff-xn--"),
    )


def text(name: str, value: bytes) -> bytes:
    """In a name, a description and a comment."""
    value += b" " * (len(value) % 2)
    return ordered(
        name,
        explicit(0x00080005, "CS", b"\\ISO 2022 IR 87 " if value.startswith(b"\x1b") else b"ISO_IR 192"),
        explicit(0x00081030, "LO", value),
        explicit(0x00100010, "PN", value),
        explicit(0x00104000, "LT", value),
    )


CASES: dict[str, Case] = dict(
    [
        more("nested 65 deep", "S-22", lambda: OPENING * 65 + CLOSING * 65),
        more("nested 63 deep", "S-22", lambda: OPENING * 63 + CLOSING * 63, True),
        more("nested 199 deep", "S-22", lambda: OPENING * 199 + CLOSING * 199),
        more("nested 100,000 deep", "S-22", lambda: OPENING * 100_000),
        (
            "nested 100,000 deep, implicit",
            Case(
                "S-22",
                lambda: identity("nested 100,000 deep, implicit", vr=False) + IMPLICIT_OPENING * 100_000,
                ImplicitVRLittleEndian,
            ),
        ),
        more("UN of 2 MB without end", "S-23", lambda: explicit(0x00411001, "UN", bytes(2_000_000), UNDEFINED)),
        more("items that never end", "S-23", lambda: explicit(0x00400275, "SQ", item(b"", True)[:8] * 5000, UNDEFINED)),
        more("a delimiter in the data set", "S-23", lambda: b"\xfe\xff\x0d\xe0\0\0\0\0"),
        more("a value of 0xFFFFFFFE bytes", "S-24", lambda: explicit(0x7FE00010, "OW", bytes(100), 0xFFFFFFFE)),
        more("an odd length past the end", "S-24", lambda: explicit(0x00420011, "OB", bytes(101), 103)),
        more("a last value that is cut", "S-24", lambda: explicit(0x7FE00010, "OW", bytes(99), 100)),
        more("a sequence longer than the file", "S-24", lambda: explicit(0x00400275, "SQ", item(b""), 1 << 20)),
        ("a group length that lies", Case("S-24", lambda: lying_group("a group length that lies"), stored=True)),
        more("a million items", "S-25", lambda: sequence(0x00400275, item() * 1_000_000)),
        more("a million elements", "S-25", lambda: b"".join(tiny(n) for n in range(1_000_000))),
        more("100,000 private blocks", "S-25", lambda: b"".join(blocks(100_000)), True),
        (
            "16 million decimal strings",
            Case(
                "S-26",
                lambda: identity("16 million decimal strings", vr=False) + implicit(0x30060050, b"1\\" * 16_000_000),
                ImplicitVRLittleEndian,
                stored=True,
            ),
        ),
        more("a DS of 32 MB in UN", "S-26", lambda: explicit(0x30060050, "UN", b"1\\" * 16_000_000), True),
        ("numbers that are none", Case("S-27", lambda: ordered("numbers that are none", *no_numbers()), stored=True)),
        (
            "group 0000 in the data set",
            Case("S-40", lambda: explicit(0x00000002, "UI", b"1.2\0") + identity("group 0000 in the data set")),
        ),
        (
            "group 0002 in the data set",
            Case(
                "S-40",
                lambda: (
                    explicit(0x00080005, "CS", b"")
                    + explicit(0x00020010, "UI", b"1.2\0")
                    + identity("group 0002 in the data set")
                ),
            ),
        ),
        (
            "SOP Instance UID twice",
            Case("S-40", lambda: between("SOP Instance UID twice", explicit(0x00080018, "UI", b"1.2.9\0"))),
        ),
        more("Study Instance UID twice", "S-40", lambda: explicit(0x0020000D, "UI", b"1.2.9\0")),
        ("tags out of order", Case("S-40", lambda: between("tags out of order", backwards()), stored=True)),
    ]
    + [
        (f"character set {name}", Case("S-28", partial(charset, f"character set {name}", value), stored=True))
        for name, value in {
            "punycode": b"punycode",
            "idna": b"idna",
            "hex": b"hex ",
            "zlib": b"zlib",
            "rot13": b"rot13 ",
            "utf_7": b"utf_7 ",
            "unicode_escape": b"unicode_escape",
            "of 1,000 values": b"\\".join([b"ISO 2022 IR 87"] * 1000),
            "of lawful and unlawful": b"ISO 2022 IR 6\\hex\\ISO 2022 IR 87",
        }.items()
    ]
    + [
        (f"text with {name}", Case("S-29", partial(text, f"text with {name}", value), stored=True))
        for name, value in {
            "storms of escapes": b"\x1b$B\x1b(J\x1b-F\x1b$)C" * 2000,
            "escapes of nowhere": b"\x1b%/Z\x1b\x1b\x1b(" * 2000,
            "overlong UTF-8": b"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf",
            "surrogates": b"\xed\xa0\x80\xed\xb0\x80",
            "NUL": b"Odd\0^Name\0",
            "bidi": "\u202eadmin\u2066\u2069".encode(),
            "escape of a terminal": b"\x1b]0;owned\x07\x1b[31m",
        }.items()
    ]
)


def strict(body: bytes) -> Any:
    """JSON as RFC 8259 has it."""

    def no(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON")

    return json.loads(body, parse_constant=no)


@pytest.fixture(scope="module")
def memory(site: Site) -> Iterator[None]:
    """What all of them cost together."""
    assert site.doors.stow(part10_bytes(ct_slice("warm"))).status == 200
    site.gateway.settle()
    before = site.gateway.rss()
    site.gateway.forget_peak()
    yield
    rise = site.gateway.peak_rss() - before
    record("memory that hostile files cost, all of them together", mib=rise >> 20)
    assert rise < MOST, f"{rise >> 20} MiB"


def lawful(name: str) -> bytes:
    """A canary: stored whatever comes beside it."""
    return part10_bytes(ct_slice(f"{crc32(name.encode()):08x}"))


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_data_set_is_refused_or_stored_whole_by_both_doors(site: Site, memory: None, name: str) -> None:
    """S-22 to S-29, S-40: the same answer at both doors, and soon; the canaries beside it are stored."""
    case = CASES[name]
    data = case.make()
    file = part10(data, case.syntax)
    started = time.monotonic()
    answer = site.doors.stow(file, lawful(f"{name} web"))
    one = Instance(CTImageStorage, uid("hostile", name), case.syntax, data)
    statuses = site.doors.c_store([one, lawful(f"{name} dimse")])
    assert time.monotonic() - started < LONGEST
    canary = Instance.of(lawful(f"{name} web")).sop_uid
    if not case.stored:
        assert (answer.status, answer.stored) == (202, [canary])
        assert [*answer.failed.values(), *answer.others] == [NOT_UNDERSTOOD]
        assert statuses == [NOT_UNDERSTOOD, 0]
        return
    assert answer.status in (200, 202)
    assert sorted(answer.stored) == sorted([canary, uid("hostile", name)])
    assert statuses == [0, 0]  # the same data set again
    study = uid("hostile study", name)
    started = time.monotonic()
    response = site.doors.get(resource(study), AS_STORED)
    if case.syntax != ImplicitVRLittleEndian:
        assert response.status_code == 200
        assert dataset_bytes(site.doors.retrieve(study)[0]) == data
    (model,) = strict(site.doors.get(resource(study) + "/metadata").content)
    assert model["00080018"]["Value"] == [uid("hostile", name)]
    found = site.doors.get(f"/instances?SOPInstanceUID={uid('hostile', name)}&includefield=all")
    (match,) = strict(found.content)
    assert match["0020000D"]["Value"] == [study]
    assert len(found.content) < 1 << 20
    xml = site.doors.get(resource(study) + "/metadata", 'multipart/related; type="application/dicom+xml"')
    assert xml.status_code == 200
    assert time.monotonic() - started < LONGEST


@pytest.mark.parametrize("name", ["16 million decimal strings", "a DS of 32 MB in UN"])
def test_long_values_are_bulk_data_and_not_looked_into(site: Site, memory: None, name: str) -> None:
    """S-26."""
    site.doors.stow(part10(CASES[name].make()))
    response = site.doors.get(resource(uid("hostile study", name)) + "/metadata")
    assert len(response.content) < 10_000
    (model,) = response.json()
    assert [one for one in model.values() if "BulkDataURI" in one]


PREAMBLES = {
    "PE": b"MZ\x90\0" + bytes(124),
    "ELF": b"\x7fELF\x02\x01\x01" + bytes(121),
    "shell": b"#!/bin/sh\ntouch /tmp/gantry-owned\n".ljust(128),
    "page": b"<html><script>alert(1)</script></html>".ljust(128),
    "TIFF": b"II*\0\x08\0\0\0" + bytes(120),
}


@pytest.mark.parametrize("name", PREAMBLES)
def test_what_stands_in_a_preamble_is_neither_kept_nor_served_as_such(site: Site, name: str) -> None:
    """S-20: zeros instead; as DICOM, not to be guessed at, to be saved and not shown."""
    ds = ct_slice(f"pre {name}")
    assert site.doors.stow(PREAMBLES[name] + part10_bytes(ds)[128:]).status == 200
    path = resource(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    response = site.doors.get(path, "application/dicom; transfer-syntax=*")
    assert response.status_code == 200
    assert response.content[:132] == bytes(128) + b"DICM"
    assert response.headers["content-type"].startswith("application/dicom")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-disposition"].startswith("attachment")


def head(*elements: bytes) -> bytes:
    """Preamble and these elements of group 0002."""
    return bytes(128) + b"DICM" + b"".join(elements)


SYNTAX = explicit(0x00020010, "UI", b"1.2.840.10008.1.2.1\0")
HEADS = {
    "a VR of nowhere": head(explicit(0x00020001, "ZZ", bytes(2)), SYNTAX),
    "a VR of nowhere, and 4 GB": head(struct.pack("<HH2sHI", 2, 1, b"\xff\xff", 0, 0xFFFFFFF0), SYNTAX),
    "4 GB of private information": head(SYNTAX, explicit(0x00020102, "OB", bytes(100), 0xFFFFFFF0)),
    "an undefined length": head(explicit(0x00020102, "OB", bytes(100), UNDEFINED), SYNTAX),
    "a sequence": head(explicit(0x00020099, "SQ", item(b"") * 1000, UNDEFINED), SYNTAX),
    "the transfer syntax twice": head(SYNTAX, SYNTAX),
    "a million elements": head(b"".join(explicit(0x00020200 + n, "CS", b"") for n in range(0x100)) * 3907, SYNTAX),
    "implicit VR": head(implicit(0x00020010, b"1.2.840.10008.1.2.1\0")),
    "a path for a transfer syntax": head(explicit(0x00020010, "UI", b"../../../etc/passwd\0")),
}


@pytest.mark.parametrize("name", HEADS)
def test_hostile_file_meta_information_is_refused_in_bounded_memory(site: Site, memory: None, name: str) -> None:
    """S-43: C000, and the file beside it is stored. C-STORE brings none: it is the gateway that writes it."""
    file = HEADS[name] + identity(f"head {name}") + bytes(1 << 20)
    started = time.monotonic()
    answer = site.doors.stow(file, lawful(f"head {name}"))
    assert time.monotonic() - started < LONGEST
    assert (answer.status, len(answer.stored)) == (202, 1)
    assert [*answer.failed.values(), *answer.others] == [NOT_UNDERSTOOD]


def dicomdir(name: str, *, with_uids: bool) -> bytes:
    """A DICOMDIR: Basic Directory IOD, with a record that leads out of its medium."""
    record = explicit(0x00041430, "CS", b"IMAGE ") + explicit(0x00041500, "CS", b"..\\..\\ETC\\PASSWD")
    directory = explicit(0x00041130, "CS", b"MEDIA ") + sequence(0x00041220, item(record))
    data = directory + (identity(name, sop_class="1.2.840.10008.1.3.10") if with_uids else b"")
    return build_head(FileMeta("1.2.840.10008.1.3.10", uid("hostile", name), ExplicitVRLittleEndian)) + data


@pytest.mark.parametrize("with_uids", [True, False])
def test_a_directory_of_media_is_no_instance(site: Site, with_uids: bool) -> None:
    """S-42: 0122, by whichever door; the files that it names are not looked for."""
    answer = site.doors.stow(dicomdir("dicomdir", with_uids=with_uids), lawful(f"dicomdir {with_uids}"))
    assert (answer.status, len(answer.stored)) == (202, 1)
    assert [*answer.failed.values(), *answer.others] == [CLASS_NOT_SUPPORTED]


def test_a_directory_of_media_has_no_presentation_context(site: Site) -> None:
    """S-42, S-17: nobody can send one by C-STORE."""
    with pytest.raises(AssertionError):
        site.doors.c_store([Instance("1.2.840.10008.1.3.10", "1.2.3", ExplicitVRLittleEndian, identity("media"))])


def test_missing_and_other_uids_are_told_apart(site: Site) -> None:
    """S-41: C000 for what has none, A900 for another study than the URI names; 409 when nothing is stored."""
    without = part10(explicit(0x00080016, "UI", CTImageStorage.encode() + b"\0"))
    answer = site.doors.stow(without)
    assert (answer.status, [*answer.failed.values(), *answer.others]) == (409, [NOT_UNDERSTOOD])
    answer = site.doors.stow(part10(identity("elsewhere")), study="1.2.3.4")
    assert (answer.status, list(answer.failed.values())) == (409, [0xA900])


def test_deflated_data_that_lie_are_refused(site: Site, memory: None) -> None:
    """S-24: bytes that are no deflate stream, or one that ends early."""
    for number, data in enumerate((b"\xff" * 1000, b"", b"\x03\x00" + bytes(100))):
        file = part10(data, DeflatedExplicitVRLittleEndian)
        answer = site.doors.stow(file, lawful(f"deflated {number}"))
        assert (answer.status, len(answer.stored)) == (202, 1)


def test_nothing_of_it_was_an_error_of_ours(site: Site) -> None:
    """X, Q: no server error, no traceback, every line of the log is JSON, nothing is left in the spool."""
    assert [one for one in site.gateway.events() if one["level"] == "error"] == []
    assert "Traceback" not in site.gateway.log()
    assert site.spooled() == []
    assert site.doors.stow(part10_bytes(ct_slice("the last"))).status == 200
    assert site.doors.qido("/studies", limit=1)
