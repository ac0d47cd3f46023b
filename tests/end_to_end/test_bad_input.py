"""Bad input and hostile senders, at both doors: the right status, no harm to anything else, nothing half-stored."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.end_to_end.conftest import Site
from tests.end_to_end.doors import Answer, Doors, Instance
from tests.gateway.dicom.building import explicit, item, part10
from tests.gateway.dicomweb.service import BOUNDARY, STOW_TYPE, stow_body
from tests.gateway.dimse.wire import P_DATA, Wire, pdv, store_command
from tests.parts.datasets import ct_slice, part10_bytes, uid
from tests.parts.files import dataset_bytes
from tests.parts.fix_gateway import StartGateway
from tests.parts.received import received

NOT_UNDERSTOOD, MISMATCH, BAD_UID, OUT_OF_RESOURCES = 0xC000, 0xA900, 0x0117, 0xA700
CLASS, STUDY, SERIES, INSTANCE = CTImageStorage, "1.2.3.1", "1.2.3.2", "1.2.3.4"
ESCAPED = "gantry-escaped"
"""In the names of all files that a hostile UID tries to make."""


def crafted(
    *,
    sop_class: str | bytes | None = CLASS,
    sop: str | bytes | None = INSTANCE,
    study: str | bytes | None = STUDY,
    series: str | bytes | None = SERIES,
    more: bytes = b"",
) -> bytes:
    """An encoded data set with these UIDs, well-formed or not; None leaves one out."""
    values = {0x00080016: sop_class, 0x00080018: sop, 0x0020000D: study, 0x0020000E: series}
    data = b""
    for tag, value in values.items():
        if value is not None:
            raw = value.encode() if isinstance(value, str) else value
            data += explicit(tag, "UI", raw + b"\0" * (len(raw) % 2))
    return data + more


WHOLE = part10_bytes(ct_slice("cut"))

HOSTILE_UIDS: dict[str, str | bytes] = {
    "climbs": f"../../../{ESCAPED}",
    "absolute": f"/tmp/{ESCAPED}",
    "backslash": f"..\\..\\{ESCAPED}",
    "home": f"~/{ESCAPED}",
    "NUL": b"1.2.3\0.4",
    "NULs in front": b"\0\0" + b"1.2.3.4",
    "a space in front": b" 1.2.3.4",
    "65 characters": "1." + "2" * 63,
    "leading zero": "1.02.3",
    "empty": "",
    "dot at the end": "1.2.3.",
    "letters": "1.2.three",
    "two values": "1.2.3\\1.2.4",
    "other digits": "1.2.٣",
    "line end": b"1.2.3\r\nX: y",
    "script": "<script>alert(1)</script>",
}

BAD_DATA_SETS: dict[str, bytes] = {
    "empty": b"",
    "no SOP Class UID": crafted(sop_class=None),
    "no SOP Instance UID": crafted(sop=None),
    "no Study Instance UID": crafted(study=None),
    "no Series Instance UID": crafted(series=None),
    **{f"SOP Instance UID: {name}": crafted(sop=value) for name, value in HOSTILE_UIDS.items()},
    **{f"Study Instance UID: {name}": crafted(study=value) for name, value in HOSTILE_UIDS.items()},
    **{f"Series Instance UID: {name}": crafted(series=value) for name, value in HOSTILE_UIDS.items()},
    "SOP Class UID climbs": crafted(sop_class=f"../{ESCAPED}"),
    # S-22: nested too deep
    "1,000 sequences in each other": crafted(
        more=(explicit(0x00400275, "SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 1000
    ),
    # S-23: delimiters that are missing or out of place
    "no delimiter": crafted(more=explicit(0x00400275, "SQ", bytes(2000), 0xFFFFFFFF)),
    "UN without end": crafted(more=explicit(0x00411001, "UN", bytes(2_000_000), 0xFFFFFFFF)),
    "delimiter of nothing": crafted(more=b"\xfe\xff\xdd\xe0\0\0\0\0"),
    "item outside of a sequence": crafted(more=item(b"")),
    # S-24: lengths that lie
    "a length past the end": crafted(more=explicit(0x7FE00010, "OW", bytes(100), 102)),
    "the largest length": crafted(more=explicit(0x7FE00010, "OW", bytes(100), 0xFFFFFFFE)),
    "an item longer than its sequence": crafted(
        more=explicit(0x00400275, "SQ", b"\xfe\xff\x00\xe0\x40\0\0\0" + bytes(8), 16)
    ),
    "cut in Pixel Data": dataset_bytes(WHOLE)[:-1],
    "cut in an element's header": dataset_bytes(WHOLE)[:6],
    "cut after the UIDs": dataset_bytes(WHOLE)[:301],
    "text": b"This is no data set at all. " * 30,
    "a twin element": crafted(more=explicit(0x0020000D, "UI", b"1.2.3.9\0")),
}

NO_FILES: dict[str, bytes] = {
    "text": b"GET / HTTP/1.1\r\n" * 50,
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(300),
    "one byte": b"\0",
    "preamble alone": bytes(128),
    "preamble and prefix": bytes(128) + b"DICM",
    "no preamble": b"DICM" + WHOLE[132:],
    "data set alone": dataset_bytes(WHOLE),
    "cut in File Meta": WHOLE[:200],
    "no transfer syntax": bytes(128) + b"DICM" + explicit(0x00020002, "UI", CLASS.encode() + b"\0") + crafted(),
    "File Meta of 4 GiB": bytes(128) + b"DICM" + explicit(0x00020001, "OB", bytes(64), 0xFFFFFFF0),
    "unknown transfer syntax": part10(crafted(), "1.2.3.4.5.6"),
}


@pytest.fixture(autouse=True)
def quiet_and_clean(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After each test: nothing half-received, no traceback in the log, nothing outside of the data folder."""
    yield
    assert site.spooled() == []
    assert "Traceback" not in site.gateway.log()
    assert ESCAPED not in site.gateway.log()
    assert site.gateway.events() is not None  # every line is JSON
    for place in (Path("/tmp"), site.gateway.data.parent):
        assert [path for path in place.iterdir() if ESCAPED in path.name] == []


def seen(doors: Doors) -> set[str]:
    """The UIDs of everything that can be found."""
    return {one["SOPInstanceUID"] for one in doors.qido("/instances", limit=1000)}


def good(name: str) -> bytes:
    """A file that has to be stored whatever else happens; a new one for each name."""
    return part10_bytes(ct_slice(f"{crc32(name.encode()):08x}"))


def no_harm(answer: Answer) -> None:
    """An answer tells neither of our program nor of our file system."""
    assert "Traceback" not in answer.text
    assert "/gateway/" not in answer.text
    assert ESCAPED not in answer.text


# ---------------------------------------------------------------- files and data sets


@pytest.mark.parametrize("name", BAD_DATA_SETS)
def test_a_bad_data_set_is_refused_by_both_doors(site: Site, name: str) -> None:
    """STORE-06, S-21 to S-24: C000 and Failure Reason C000; what came before and after it on both doors is stored."""
    data = BAD_DATA_SETS[name]
    before = seen(site.doors)
    first, second = good(f"{name} 1"), good(f"{name} 2")
    statuses = site.doors.c_store([first, Instance(CLASS, INSTANCE, ExplicitVRLittleEndian, data), second])
    assert statuses == [0, NOT_UNDERSTOOD, 0]

    alone = site.doors.stow(part10(data))
    assert (alone.status, [*alone.failed.values(), *alone.others]) == (409, [NOT_UNDERSTOOD])
    assert "00081199" not in alone.module
    no_harm(alone)
    third, fourth = good(f"{name} 3"), good(f"{name} 4")
    among = site.doors.stow(third, part10(data), fourth)
    assert (among.status, [*among.failed.values(), *among.others]) == (202, [NOT_UNDERSTOOD])
    stored = {Instance.of(file).sop_uid for file in (first, second, third, fourth)}
    assert set(among.stored) < stored
    assert seen(site.doors) == before | stored


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_dicom_file_is_refused(site: Site, name: str) -> None:
    """STOW-14: by itself, and among others that are stored all the same. C-STORE has no files to be wrong."""
    reason = 0xC122 if name == "unknown transfer syntax" else NOT_UNDERSTOOD
    alone = site.doors.stow(NO_FILES[name])
    assert (alone.status, alone.failed, alone.others) == (409, {}, [reason])
    no_harm(alone)
    among = site.doors.stow(good(f"no file, {name}"), NO_FILES[name])
    assert (among.status, among.others, len(among.stored)) == (202, [reason], 1)


def test_an_empty_part_is_refused_and_the_others_are_stored(site: Site) -> None:
    answer = site.doors.stow(b"", good("beside an empty part"), b"")
    assert (answer.status, answer.others, len(answer.stored)) == (202, [NOT_UNDERSTOOD] * 2, 1)
    alone = site.doors.stow(b"")
    assert (alone.status, alone.others) == (409, [NOT_UNDERSTOOD])


@pytest.mark.parametrize("sop_uid", [f"../../{ESCAPED}", f"/tmp/{ESCAPED}", "1.02", "1.2.", "a", "", "1." + "2" * 63])
def test_a_command_with_a_malformed_uid_is_refused(site: Site, sop_uid: str) -> None:
    """STORE-07: 0117H, whatever the data set says."""
    assert site.doors.c_store([Instance(CLASS, sop_uid, ExplicitVRLittleEndian, crafted())]) == [BAD_UID]
    assert INSTANCE not in seen(site.doors)


def test_a_command_that_names_another_instance_is_refused(site: Site) -> None:
    """STORE-05, STORE-08, S-14: A900."""
    statuses = site.doors.c_store(
        [
            Instance(CLASS, "1.2.3.99", ExplicitVRLittleEndian, crafted()),
            Instance("1.2.840.10008.5.1.4.1.1.4", INSTANCE, ExplicitVRLittleEndian, crafted()),
        ]
    )
    assert statuses == [MISMATCH, MISMATCH]
    assert INSTANCE not in seen(site.doors)


def test_an_instance_of_another_study_than_the_uri_names_is_refused(site: Site) -> None:
    """STOW-01: A900 for it alone."""
    right, wrong = ct_slice("uri"), ct_slice("other uri")
    answer = site.doors.stow(part10_bytes(right), part10_bytes(wrong), study=right.StudyInstanceUID)
    assert (answer.status, answer.stored) == (202, [right.SOPInstanceUID])
    assert answer.failed == {wrong.SOPInstanceUID: MISMATCH}


@pytest.mark.parametrize("preamble", [b"MZ" + bytes(126), b"\x7fELF" + bytes(124), b"#!/bin/sh\nrm -rf /\n".ljust(128)])
def test_a_program_in_the_preamble_is_not_kept(site: Site, preamble: bytes) -> None:
    """S-20: the file is stored and served with a preamble of zeros."""
    ds = ct_slice(preamble[:4].hex())
    assert site.doors.stow(preamble + part10_bytes(ds)[128:]).status == 200
    (got,) = site.doors.retrieve(ds.StudyInstanceUID)
    assert got[:128] == bytes(128)
    assert dataset_bytes(got) == dataset_bytes(part10_bytes(ds))


@pytest.mark.parametrize(
    "path",
    [
        "/studies/..%2F..%2F..%2Fetc%2Fpasswd",
        "/studies/%2Fetc%2Fpasswd/metadata",
        "/studies/1.2.3/series/..%5C..%5Cx/instances",
        "/studies/1.2.3%00/series",
        f"/studies/1.2.3/series/1.2.4/instances/{'1' * 65}",
        "/studies/1.02.3",
        "/studies/1.2.%D9%A3",
    ],
)
def test_a_path_with_a_malformed_uid_is_a_bad_request(site: Site, path: str) -> None:
    """GEN-05, S-21: 400, or 404 where the path is none of ours; a problem body, no page of a library."""
    response = site.doors.get(path)
    assert response.status_code in (400, 404)
    assert response.headers["content-type"] == "application/problem+json"
    assert "passwd" not in response.text
    assert site.doors.web.delete(path).status_code in (400, 404, 405)


ODD_VALUES = {
    "NUL in a name": explicit(0x00100010, "PN", b"Odd\0^Name"),
    "broken UTF-8": explicit(0x00080005, "CS", b"ISO_IR 192") + explicit(0x00100010, "PN", b"Odd\xc3\x28\xff"),
    "half a surrogate pair": explicit(0x00080005, "CS", b"ISO_IR 192") + explicit(0x00100010, "PN", b"Odd\xed\xa0\x80"),
    "a character set of nowhere": explicit(0x00080005, "CS", b"idna") + explicit(0x00100010, "PN", b"Odd\xe4\xf6\xfc"),
    "a name of 60,000 letters": explicit(0x00100010, "PN", b"O" * 60_000),
    "no date": explicit(0x00080020, "DA", b"yesterday ") + explicit(0x00080030, "TM", b"noon"),
    "numbers beyond all bounds": explicit(0x00200011, "IS", b"9" * 400) + explicit(0x00200013, "IS", b"1e400 "),
    "no numbers": explicit(0x00280010, "US", b"\0\0\0") + explicit(0x00280008, "IS", b"inf "),
    "quotes": explicit(0x00100020, "LO", b"'; DROP TABLE studies; --\0"),
    "mark-up": explicit(0x00081030, "LO", b"<img src=x onerror=alert(1)>"),
}


@pytest.mark.parametrize("name", ODD_VALUES)
@pytest.mark.parametrize("site", ["folder+sqlite", "seaweedfs+postgres"], indirect=True)
def test_odd_values_are_no_reason_to_refuse(site: Site, name: str) -> None:
    """S-27 to S-29: stored as they are by both doors, found, and told in valid JSON."""
    for door in ("dimse", "web"):
        study, sop = uid("odd study", name, door), uid("odd", name, door)
        data = crafted(study=study, sop=sop, series=uid("odd series", name, door), more=ODD_VALUES[name])
        one = Instance(CLASS, sop, ExplicitVRLittleEndian, data)
        if door == "web":
            answer = site.doors.stow(one.file())
            assert answer.status in (200, 202)  # 202 tells of values that break the rules of their VR
            assert answer.stored == [sop]
        else:
            assert site.doors.c_store([one]) == [0]
        (found,) = site.doors.qido("/instances", SOPInstanceUID=sop)
        assert found["StudyInstanceUID"] == study
        assert dataset_bytes(site.doors.retrieve(study)[0]) == data
        (model,) = site.doors.get(f"/studies/{study}/metadata").json()
        assert model["00080018"]["Value"] == [sop]


# ---------------------------------------------------------------- bodies that break off


def test_a_body_without_its_closing_boundary_stores_nothing(site: Site) -> None:
    """STOW-14: 400, though both parts are there in whole."""
    before = seen(site.doors)
    body = stow_body([good("unclosed 1"), good("unclosed 2")]).removesuffix(f"--{BOUNDARY}--\r\n".encode())
    for cut in (body, body[:-2], body + f"--{BOUNDARY}\r\n".encode(), body + f"--{BOUNDARY}-".encode()):
        response = site.doors.web.post("/studies", content=cut, headers={"Content-Type": STOW_TYPE})
        assert response.status_code == 400
        assert response.headers["content-type"] == "application/problem+json"
        no_harm(Answer(400, response.headers, response.text))
    assert seen(site.doors) == before


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (STOW_TYPE, b"", 400),
        (STOW_TYPE, f"--{BOUNDARY}--\r\n".encode(), 400),
        (STOW_TYPE, b"no boundary in sight " * 100, 400),
        (STOW_TYPE, f"--{BOUNDARY}\r\n".encode() + b"X: " + b"y" * 100_000 + b"\r\n\r\n", 400),
        ('multipart/related; type="application/dicom"', stow_body([good("no boundary")]), 400),
        (STOW_TYPE.replace(BOUNDARY, "another"), stow_body([good("other boundary")]), 400),
        (STOW_TYPE.replace(BOUNDARY, "b" * 71), stow_body([good("long boundary")], "b" * 71), 400),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 415),
        ("image/png", b"\x89PNG\r\n\x1a\n", 415),
        ("", b"x", 415),
    ],
)
def test_a_body_that_cannot_be_read_has_a_status_and_no_effect(
    site: Site, content_type: str, body: bytes, status: int
) -> None:
    """STOW-02, STOW-08, S-51."""
    before = seen(site.doors)
    response = site.doors.web.post("/studies", content=body, headers={"Content-Type": content_type})
    assert response.status_code == status, response.text
    assert seen(site.doors) == before


def connected(site: Site) -> socket.socket:
    """A connection to the HTTP door."""
    host, _, port = site.gateway.http_url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def announced(size: int) -> bytes:
    """The head of a request that announces so many bytes, and the head of its first part."""
    head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {STOW_TYPE}\r\nContent-Length: {size}\r\n\r\n"
    return f"{head}--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()


def becomes_empty(site: Site, seconds: float = 10) -> bool:
    """Does the spool become empty?"""
    end = time.monotonic() + seconds
    while site.spooled() and time.monotonic() < end:
        time.sleep(0.02)
    return not site.spooled()


def fills(site: Site, seconds: float = 10) -> bool:
    """Does something arrive in the spool?"""
    end = time.monotonic() + seconds
    while not site.spooled() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(site.spooled())


def test_ten_gigabytes_that_are_announced_and_never_sent_time_out(start_gateway: StartGateway) -> None:
    """S-52: 408 after the time that a body may stand still; nothing stays of the bytes that came."""
    gateway = start_gateway(environment={"GANTRY_BODY_TIMEOUT": "1"})
    with Doors(gateway) as doors:
        site = Site(gateway, doors, {})
        with closing(connected(site)) as stalled:
            stalled.sendall(announced(10 << 30) + WHOLE + bytes(3 << 20))
            assert fills(site)
            started = time.monotonic()
            answer = stalled.recv(65536)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert time.monotonic() - started < 10
            assert b"application/problem+json" in answer
        assert becomes_empty(site)
        assert doors.stow(good("after a stall")).status == 200
        assert seen(doors) == {Instance.of(good("after a stall")).sop_uid}
        assert "Traceback" not in gateway.log()
        assert gateway.stop() == 0


def test_ten_gigabytes_whose_sender_leaves_are_forgotten(site: Site) -> None:
    """F-64: no bytes stay, nothing is stored, and it is no error of ours."""
    before = seen(site.doors)
    with closing(connected(site)) as leaving:
        leaving.sendall(announced(10 << 30) + WHOLE + bytes(3 << 20))
        assert fills(site)
    assert becomes_empty(site)
    assert seen(site.doors) == before
    assert [event for event in site.gateway.events() if event["level"] == "error"] == []


def test_a_c_store_whose_sender_leaves_is_forgotten(site: Site) -> None:
    """F-55, F-57."""
    before = seen(site.doors)
    with Wire((site.gateway.host, site.gateway.dimse_port)) as wire:
        wire.associate([(1, CLASS, (ExplicitVRLittleEndian,))])
        wire.send(P_DATA, pdv(1, 3, store_command(INSTANCE, CLASS)))
        wire.send(P_DATA, pdv(1, 0, crafted(more=explicit(0x7FE00010, "OW", bytes(1000), 1 << 30))))
        assert fills(site)
    assert becomes_empty(site)
    assert seen(site.doors) == before


def test_more_than_a_request_may_have_is_refused_before_it_is_read(site: Site) -> None:
    """S-50: 413."""
    with closing(connected(site)) as eager:
        eager.sendall(announced(1 << 50))
        assert eager.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_an_object_larger_than_allowed_is_refused_by_both_doors(start_gateway: StartGateway) -> None:
    """S-10: A700; the others are stored. A data set that goes on for as much again ends the association."""
    gateway = start_gateway(environment={"GANTRY_MAX_OBJECT_BYTES": "100000"})
    large, small = part10_bytes(ct_slice("large", rows=256, columns=256)), good("small")
    endless = Instance(CLASS, INSTANCE, ExplicitVRLittleEndian, bytes(1_000_000))
    with Doors(gateway) as doors:
        assert doors.c_store([large, small]) == [OUT_OF_RESOURCES, 0]
        with pytest.raises((AssertionError, OSError)):
            doors.c_store([endless])
        answer = doors.stow(large, small)
        assert (answer.status, [*answer.failed.values(), *answer.others]) == (202, [OUT_OF_RESOURCES])
        assert seen(doors) == {Instance.of(small).sop_uid}
        assert doors.qido("/studies", StudyInstanceUID=uid("study", "large")) == []
        assert received(gateway.data / "spool") == []
