"""Metadata that are sent to harm: refused quickly, in little memory, with no look at anything outside (S-63, S-64)."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from random import Random

import pytest

from gateway.dicom.header import read_header
from gateway.dicom.model.bulk_parts import BulkPart
from gateway.dicom.model.json_reader import read_json
from gateway.dicom.model.writer import write
from gateway.dicom.model.xml_reader import read_xml
from gateway.errors import NotUnderstood, Refused
from tests.gateway.dicom.model.storing import Sink
from tests.gateway.dicom.model.test_pixels import CASES, picture

SECONDS = 3.0
"""Of a processor. Most take milliseconds, those that reach a limit some hundreds."""

ROOT = b"<NativeDicomModel>"
END = b"</NativeDicomModel>"
LAUGHS = b'<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %c "%s">' % (letter, b"&%c;" % (letter - 1) * 10) for letter in range(ord("b"), ord("k"))
)


def doctype(declarations: bytes, body: bytes = b"") -> bytes:
    return b"<!DOCTYPE NativeDicomModel [" + declarations + b"]>" + ROOT + body + END


def value(text: bytes) -> bytes:
    return b'<DicomAttribute tag="00104000" vr="LT"><Value number="1">' + text + b"</Value></DicomAttribute>"


XML: dict[str, bytes] = {
    "billion laughs": doctype(LAUGHS, value(b"&j;")),
    "laughs in an attribute": doctype(LAUGHS, b'<DicomAttribute tag="00104000" vr="LT" x="&j;"/>'),
    "quadratic blowup": doctype(b'<!ENTITY a "' + b"x" * 100_000 + b'">', value(b"&a;" * 100_000)),
    "external entity": doctype(b'<!ENTITY a SYSTEM "file:///etc/passwd">', value(b"&a;")),
    "external entity on the net": doctype(b'<!ENTITY a SYSTEM "http://127.0.0.1:9/">', value(b"&a;")),
    "parameter entity": doctype(b'<!ENTITY % a SYSTEM "http://127.0.0.1:9/x.dtd"> %a;'),
    "external DTD": b'<!DOCTYPE NativeDicomModel SYSTEM "http://127.0.0.1:9/x.dtd">' + ROOT + END,
    "public DTD": b'<!DOCTYPE NativeDicomModel PUBLIC "-//X//Y" "file:///etc/passwd">' + ROOT + END,
    "empty DTD": b"<!DOCTYPE NativeDicomModel>" + ROOT + END,
    "recursion": doctype(b'<!ENTITY a "&b;"><!ENTITY b "&a;">', value(b"&a;")),
    "inclusion": b'<NativeDicomModel xmlns:x="http://www.w3.org/2001/XInclude"><x:include href="/etc/passwd"/>' + END,
    "deep": ROOT + b'<DicomAttribute tag="00081140" vr="SQ"><Item number="1">' * 250_000,
    "deep of anything": b"<a>" * 1_000_000,
    "many elements": ROOT + b'<DicomAttribute tag="00081140" vr="LO"/>' * 400_000 + END,
    "many items": ROOT + b'<DicomAttribute tag="00081140" vr="SQ">' + b'<Item number="1"/>' * 400_000,
    "long tag": ROOT + b"<DicomAttribute " + b" ".join(b'a%x=""' % n for n in range(500_000)) + b"/>" + END,
    "openings": b"<" * 15_000_000,
    "openings and closings": (b"<" * 65_535 + b">") * 200,
    "long comment": ROOT + b"<!--" + b"x" * 15_000_000,
    "codec of Python": b'<?xml version="1.0" encoding="zlib"?>' + ROOT + END,
    "another codec": b'<?xml version="1.0" encoding="utf-7"?>' + ROOT + END,
    "wide codec": b'<?xml version="1.0" encoding="utf-32"?>' + ROOT + END,
    "no text": bytes(1_000_000),
    "numbers without values": ROOT
    + b'<DicomAttribute tag="00081030" vr="LO"><Value number="999999999"/></DicomAttribute>',
    "long number": ROOT
    + b'<DicomAttribute tag="00280010" vr="US"><Value number="1">'
    + b"1" * 15_000_000
    + b"</Value></DicomAttribute>"
    + END,
}


def member(vr: bytes, content: bytes) -> bytes:
    return b'[{"00081140":{"vr":"' + vr + b'","Value":[' + content + b"]}}]"


JSON: dict[str, bytes] = {
    "arrays": b"[" * 1_000_000,
    "objects": b'{"00081140":' * 500_000,
    "deep": b'[{"00081140":{"vr":"SQ","Value":[{' + b'"00081140":{"vr":"SQ","Value":[{' * 300_000,
    "many arrays": member(b"CS", b"[]," * 5_000_000 + b"[]"),
    "many items": member(b"SQ", b"{}," * 4_000_000 + b"{}"),
    "many instances": b"[" + b"{}," * 4_000_000 + b"{}]",
    "long number": member(b"DS", b"1" * 15_000_000),
    "long number for one": member(b"US", b"1" * 4_000),
    "long fraction": member(b"US", b"0." + b"1" * 15_000_000),
    "long exponent": member(b"FD", b"1e" + b"9" * 15_000_000),
    "long string for a number": member(b"US", b'"' + b"1" * 15_000_000 + b'"'),
    "long string for a float": member(b"FD", b'"' + b"1" * 15_000_000 + b'"'),
    "one name again and again": b"[{" + b",".join([b'"00081030":{"vr":"LO"}'] * 200_000) + b"}]",
    "endless string": b'[{"' + b"a" * 15_000_000,
    "escapes": b'[{"' + b'\\"' * 7_000_000,
    "no base64": b'[{"00091001":{"vr":"OB","InlineBinary":"' + b"A" * 14_000_001 + b'"}}]',
    "padding": b'[{"00091001":{"vr":"OB","InlineBinary":"' + b"=" * 14_000_000 + b'"}}]',
    "no text": bytes(1_000_000),
}


def refused(read: Callable[[bytes], object], data: bytes) -> NotUnderstood:
    """The refusal of the whole, or of its one instance; and not before long."""
    started = time.process_time()
    try:
        found = read(data)
    except NotUnderstood as error:
        found = [error]
    assert time.process_time() - started < SECONDS
    assert isinstance(found, list)
    (only,) = found
    assert isinstance(only, NotUnderstood)
    return only


@pytest.mark.parametrize("name", XML)
def test_hostile_xml_is_refused_at_once(name: str) -> None:
    """S-64"""
    refused(read_xml, XML[name])


@pytest.mark.parametrize("name", JSON)
def test_hostile_json_is_refused_at_once(name: str) -> None:
    """S-64"""
    refused(read_json, JSON[name])


@pytest.mark.parametrize(
    "name", ["many items", "deep", "many elements", "long tag", "quadratic blowup", "billion laughs"]
)
def test_hostile_xml_takes_little_memory(name: str) -> None:
    assert peak(read_xml, XML[name][:1_000_000]) < 10_000_000


@pytest.mark.parametrize(
    "name", ["many items", "many instances", "deep", "arrays", "objects", "one name again and again"]
)
def test_hostile_json_takes_little_memory(name: str) -> None:
    assert peak(read_json, JSON[name][:2_000_000]) < 80_000_000


def peak(read: Callable[[bytes], object], data: bytes) -> int:
    tracemalloc.start()
    try:
        with suppress(Refused):
            read(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


WATCHED = """
import sys
from tests.gateway.dicom.model.test_hostile import JSON, XML, minimal_with
from gateway.dicom.model.json_reader import read_json
from gateway.dicom.model.xml_reader import read_xml
from gateway.dicom.model.writer import write
from gateway.errors import Refused
from tests.gateway.dicom.model.storing import Sink

seen = []
watching = False
def hook(event, arguments):
    if watching and event.partition(".")[0] in ("open", "socket", "urllib", "subprocess", "os", "ftplib", "http"):
        seen.append((event, arguments))
sys.addaudithook(hook)

def attempt(work):
    try:
        return work()
    except Refused:
        return None

read_json(minimal_with("x", False))  # Python loads a codec at its first use
watching = True
open("/dev/null").close()
works = len(seen)
for name in [name for name in XML if any(word in name for word in ("entity", "DTD", "laughs", "inclusion", "codec"))]:
    attempt(lambda: read_xml(XML[name]))
for uri in ("http://127.0.0.1:9/", "file:///etc/passwd", "ftp://127.0.0.1/x", "//127.0.0.1/x", "/etc/passwd"):
    for read in (lambda data: read_json(data)[0], read_xml):
        model = read(minimal_with(uri, read is read_xml))
        attempt(lambda: write(model, {}, Sink()))
watching = False
print(works, seen[works:])
"""


def minimal_with(uri: str, xml: bool) -> bytes:
    """Metadata of an instance with one bulk data element."""
    if xml:
        uids = "".join(
            f'<DicomAttribute tag="{tag}" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute>'
            for tag in ("00080016", "00080018")
        )
        bulk = f'<DicomAttribute tag="00420011" vr="OB"><BulkData uri="{uri}"/></DicomAttribute>'
        return ROOT + (uids + bulk).encode() + END
    ui = '{"vr":"UI","Value":["1.2.3"]}'
    return f'[{{"00080016":{ui},"00080018":{ui},"00420011":{{"vr":"OB","BulkDataURI":"{uri}"}}}}]'.encode()


def test_nothing_outside_is_ever_looked_at() -> None:
    """S-63, S-64: no file is opened and no socket made, whatever an entity or a BulkDataURI points to."""
    run = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "1 []", run.stderr


def mutations(data: bytes, count: int) -> Iterator[bytes]:
    """The same damaged copies every time: bytes changed, cut out, put in, the end cut off."""
    chance = Random(data)
    for _ in range(count):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 1, 3))):
            damaged = damaged or bytearray(1)
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.choice((0, 1, 1, 4))] = chance.choice(
                (b"", b"\0", b"\xff", b'"', b"<", chance.randbytes(2))
            )
            if chance.random() < 0.1:
                del damaged[at + 1 :]
        yield bytes(damaged)


@pytest.mark.parametrize("read", [read_json, read_xml], ids=["json", "xml"])
def test_damaged_metadata_are_read_or_refused(read: Callable[[bytes], object]) -> None:
    """S-21: no other exception ever comes out"""
    read_ones = 0
    for data in mutations(minimal_with("x", read is read_xml), 3000):
        with suppress(Refused):
            read(data)
            read_ones += 1
    assert 10 < read_ones < 3000


@pytest.mark.parametrize("name", CASES)
def test_damaged_pixel_data_are_stored_or_refused(name: str) -> None:
    """S-21, S-32: what is stored can be read again"""
    media_type, data, *_ = CASES[name]
    for damaged in mutations(data[:400], 60):
        sink = Sink()
        with suppress(Refused):
            write(picture(), {"pixels": [BulkPart(damaged, media_type)]}, sink)
            assert read_header(BytesIO(sink.data), len(sink.data)).pixel is not None
