"""Part 10 files changed at random, and data sets made at random: only answers that are meant, in bounded time.

`make torture` looks at a million of them, with another seed each time; the seed is in the figures.
"""

from __future__ import annotations

import random
import struct
import time
import warnings
from collections import Counter
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from gateway.describe import read_and_describe
from gateway.dicom.header import read_header
from gateway.dicom.metadata import to_json
from gateway.errors import GatewayError, Refused
from gateway.validate import validate
from tests.end_to_end.doors import Doors, Instance
from tests.faults.conftest import Yard
from tests.gateway.dicom.building import LONG, UNDEFINED, explicit, item, item_end, part10, sequence_end
from tests.gateway.dicomweb.service import STOW_TYPE, stow_body
from tests.parts.datasets import color, ct_slice, part10_bytes, report, sequence_item
from tests.parts.files import candidates, dataset_bytes
from tests.parts.ledger import Ledger, alive, quiet
from tests.parts.torture import record, seed, size

LONGEST = 2.0
"""Seconds of processor time that one file may cost."""
MOST = 512 << 20
"""Bytes of resident memory, at the most, that all of them may come to."""
LARGEST_SEED = 60_000

INTERESTING = [b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff", b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\0\0\0\0"]
INTERESTING += [b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"SQ", b"UN", b"OB", b"ZZ", b"DICM"]
INTERESTING += [b"\xe0\x7f\x10\x00", b"\x02\x00\x10\x00", b"\x08\x00\x18\x00", b"\\" * 50, b"1" * 80, b"\x1b$B"]


def seeds() -> list[bytes]:
    """Small files of many kinds: our own and those that pydicom brings along."""
    ds = ct_slice("fuzz", rows=8, columns=8, RequestAttributesSequence=[sequence_item(RequestedProcedureID="R")])
    found = [part10_bytes(one) for one in (ds, color("fuzz", rows=8, columns=8), report("fuzz"))]
    found += [path.read_bytes() for path in candidates() if path.stat().st_size <= LARGEST_SEED]
    return [file for file in found if look(file) == "taken"]


def changed(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """The file after a few changes, most often one."""
    made = bytearray(data)
    for _ in range(dice.choice([1, 1, 1, 2, 4])):
        if not made:
            break
        # most of what there is to break lies at the beginning
        at = dice.randrange(len(made)) if dice.random() < 0.3 else dice.randrange(min(len(made), 2500))
        match dice.choice([0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]):
            case 0:
                made[at] ^= 1 << dice.randrange(8)
            case 1:
                made[at] = dice.randrange(256)
            case 2:
                word = dice.choice(INTERESTING)
                made[at : at + len(word)] = word
            case 3:
                made[at:at] = dice.choice(INTERESTING) * dice.randint(1, 40)
            case 4:
                del made[at : at + dice.choice([1, 2, 4, 8, 100, 5000])]
            case 5:
                del made[at:]
            case 6:
                piece = made[at : at + dice.randint(1, 400)]
                made[at:at] = piece * dice.randint(1, 60)
            case 7:
                other = dice.choice(others)
                start = dice.randrange(len(other))
                made[at : at + dice.randint(0, 600)] = other[start : start + dice.randint(1, 3000)]
            case _:
                made[at : at + 4] = struct.pack(
                    "<I", dice.choice([0, 1, 7, len(made), 0x7FFFFFFF, 0xFFFFFFFE, UNDEFINED])
                )
    return bytes(made)


def look(data: bytes) -> str:
    """All that a store and a metadata request do with a file; what came of it. Raises what nobody meant."""
    begun = time.process_time()
    try:
        stream = BytesIO(data)
        header = read_header(stream, len(data))
        made = read_and_describe(stream, len(data), version="0" * 32, key="k")
        list(validate(header))
        orjson.dumps(to_json(header, lambda path: path))
        outcome = "taken"
        for uid in (made.sop_uid, made.study_uid, made.series_uid):
            assert uid.replace(".", "").isdecimal() and len(uid) <= 64
        _agrees(data, made.sop_uid)
    except Refused as refused:
        outcome = refused.reason
    except GatewayError as error:
        outcome = error.reason
    took = time.process_time() - begun
    assert took < LONGEST, f"{took:.1f} s"
    return outcome


def _agrees(data: bytes, sop_uid: str) -> None:
    """S-40: another reader sees the same instance in it, where it reads it at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = dcmread(BytesIO(data), stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
            other = str(theirs.SOPInstanceUID)
    except Exception:  # it has its own ideas of what is wrong, and its own mistakes
        return
    assert other.rstrip("\0 ") == sop_uid, "two readers see two instances"


def memory(line: str) -> int:
    """Bytes of memory of this process: `VmRSS` now, `VmHWM` at its peak."""
    (found,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(line + ":"))
    return int(found.split()[1]) << 10


@pytest.mark.timeout(0)
def test_files_changed_at_random_are_taken_or_refused() -> None:
    """S-22 to S-29, S-40, S-43: nothing but what is meant comes out, in two seconds and half a gigabyte."""
    begun, number = seed(), size(3000, 1_000_000)
    dice = random.Random(begun)
    files = seeds()
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    Path("/proc/self/clear_refs").write_text("5")  # what other tests of this process needed does not count
    before = memory("VmRSS")
    for count in range(number):
        data = changed(dice, dice.choice(files), files)
        started = time.process_time()
        try:
            outcomes[look(data)] += 1
        except Exception as error:
            raise AssertionError(f"seed {begun}, file {count} of {len(data)} bytes") from error
        slowest = max(slowest, time.process_time() - started)
    peak = memory("VmHWM") - before
    record(
        "fuzz of Part 10 files in the process",
        seed=begun,
        files=number,
        outcomes=dict(outcomes),
        slowest_ms=round(slowest * 1000),
        peak_mib=peak >> 20,
    )
    assert outcomes["taken"] > 0
    assert outcomes["not_understood"] > 0
    assert peak < MOST


VRS = st.sampled_from(["CS", "UI", "PN", "DS", "IS", "US", "OB", "OW", "UN", "UT", "AT", "FD", "LO", "DA"])
TAGS = st.one_of(
    st.sampled_from([0x00080005, 0x00080016, 0x00080018, 0x00100010, 0x0020000D, 0x0020000E, 0x00280008, 0x7FE00010]),
    st.integers(0, 0xFFFFFFFF),
)
LENGTHS = st.one_of(st.none(), st.none(), st.sampled_from([0, 1, 0xFFFE, UNDEFINED, 0xFFFFFFFE]))


@st.composite
def element(draw: st.DrawFn, depth: int = 0) -> bytes:
    """One element, lawful or not."""
    tag, length = draw(TAGS), draw(LENGTHS)
    if depth < 3 and draw(st.integers(0, 3)) == 0:
        items = draw(st.lists(st.lists(element(depth + 1), max_size=3), max_size=3))
        content = b"".join(item(b"".join(one), draw(st.booleans())) for one in items)
        content += draw(st.sampled_from([b"", sequence_end(), item_end()]))
        return explicit(tag, draw(st.sampled_from(["SQ", "UN", "OB"])), content, length)
    vr = draw(VRS)
    if vr not in LONG and length is not None:
        length &= 0xFFFF
    value = draw(st.binary(max_size=40))
    return explicit(tag, vr, value, length)


@settings(max_examples=size(150, 20_000), deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(element(), max_size=8), st.booleans())
def test_data_sets_made_at_random_are_taken_or_refused(elements: list[bytes], with_identity: bool) -> None:
    """S-22 to S-25, S-40."""
    known = dataset_bytes(part10_bytes(ct_slice("fuzz", rows=2, columns=2))) if with_identity else b""
    look(part10(b"".join(elements) + known))


@pytest.mark.timeout(600)
def test_no_file_changed_at_random_is_an_error_of_ours_at_a_door(yard: Yard, ledger: Ledger) -> None:
    """X, A, Q: hundreds at both doors of a running gateway; a lawful instance in each request is stored."""
    gateway = yard.gateway()
    begun, number = seed(), size(240, 20_000)
    dice = random.Random(begun + 1)
    files = seeds()
    instances = [Instance.of(file) for file in files]
    statuses: Counter[int] = Counter()
    with Doors(gateway, seconds=60) as doors:
        for batch in range(0, number, 20):
            some = [changed(dice, dice.choice(files), files) for _ in range(20)]
            good = ct_slice("canary", number=batch + 1)
            body = stow_body([*some[:10], part10_bytes(good), *some[10:]])
            answer = doors.web.post("/studies", content=body, headers={"Content-Type": STOW_TYPE})
            assert answer.status_code in (200, 202), answer.text
            named = [one["00081155"]["Value"][0] for one in answer.json()["00081199"]["Value"]]
            assert good.SOPInstanceUID in named
            sent = [
                replace(one, data=changed(dice, one.data, [other.data for other in instances]))
                for one in dice.choices(instances, k=20)
            ]
            statuses.update(doors.c_store([*sent, part10_bytes(good)]))
    assert {status for status in statuses if status not in (0, 0xC000, 0xA900, 0x0111)} == set(), statuses
    assert statuses[0] >= number // 20
    record(
        "fuzz of Part 10 files at both doors",
        seed=begun,
        files=number,
        c_store={f"{k:04X}": v for k, v in statuses.items()},
    )
    assert [one for one in gateway.events() if one["level"] == "error"] == []
    alive(ledger, gateway, "fuzz")
    quiet(gateway)
