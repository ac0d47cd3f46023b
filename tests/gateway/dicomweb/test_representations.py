"""Each representation of each readable file decodes to the same pixels in pydicom.

A file's representations are those that its own 406 answers list: as instance, as frames in each bulk data media type,
as pixel data and bulk data; multipart and single part. In `make test` each file takes its turn with one transfer
syntax; `make representations` takes them all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import httpx
import numpy as np
import pytest
from pydicom.dataset import Dataset

from gateway.dicom.encoders import ENCODERS
from gateway.dicom.uids import SYNTAXES
from tests.gateway.dicomweb.service import Service, parts_of, serve
from tests.parts.files import SampleFile, readable_files
from tests.parts.pixel_reading import Pixels, pixels_of, read, with_frames

EVERYTHING = os.environ.get("GANTRY_REPRESENTATIONS") == "all"
pytestmark = [pytest.mark.timeout(3600)] if EVERYTHING else []
LARGE = 400_000
"""Bytes of a file that is looked at only when everything is."""
MOST_FRAMES = 16
NONE = "application/x-none; transfer-syntax=1.2.3"
"""What nothing is offered as, so that the answer lists all that is."""
NOT_DECODED = {"JPEG2000-embedded-sequence-delimiter.dcm": "its codestream claims 14 million tiles"}
"""Files that come as they are stored only: why, by name."""
SLICES = 6
_OFFER = re.compile(r'^(?:(multipart)/related; type=)?"?([a-z]+/[A-Za-z0-9+.-]+)"?(?:; transfer-syntax=([0-9.]+))?$')


@dataclass(frozen=True, slots=True)
class Offered:
    """One entry of a 406 answer."""

    text: str
    multipart: bool
    media_type: str
    syntax: str


def offered(answer: httpx.Response) -> list[Offered]:
    assert answer.status_code == 406, answer.text
    found = []
    for text in answer.json()["offered"]:
        match = _OFFER.match(text)
        assert match is not None, text
        found.append(Offered(text, bool(match[1]), match[2], match[3] or ""))
    return found


class Looked:
    """One stored file, and what is wrong with its representations."""

    def __init__(self, service: Service, file: SampleFile) -> None:
        self.service = service
        self.file = file
        self.path = f"/studies/{file.study_uid}/series/{file.series_uid}/instances/{file.sop_uid}"
        self.wrong: list[str] = []
        self.looked_at = 0

    def get(self, path: str, accept: str) -> list[bytes]:
        """The parts, or the single body; the Content-Type of each is what was asked for."""
        answer = self.service.get(self.path + path, accept)
        assert answer.status_code == 200, (path, accept, answer.status_code, answer.text[:300])
        self.looked_at += 1
        if not answer.headers["content-type"].startswith("multipart/related"):
            assert answer.headers["content-type"].replace('"', "") in accept.replace('"', ""), accept
            return [answer.content]
        return [body for _, body in parts_of(answer)]

    def check(self, what: str, got: Pixels, expected: Pixels, *, noise: float) -> None:
        """`noise`: 0 for exactly the same, else the largest root of the mean square difference."""
        if got.shape != expected.shape:
            self.wrong.append(f"{self.file.name}: {what}: {got.shape}, not {expected.shape}")
        elif noise == 0 and not np.array_equal(got, expected):
            self.wrong.append(f"{self.file.name}: {what}: up to {np.abs(got - expected).max()} off")
        elif noise and (off := float(np.sqrt(((got - expected) ** 2).mean()))) > noise:
            self.wrong.append(f"{self.file.name}: {what}: {off:.2f} off, more than {noise}")


def reference(look: Looked) -> Pixels | None:
    """The pixels of the file as pydicom reads them; None where it has none, or pydicom cannot read them."""
    try:
        return pixels_of(read(look.file.path.read_bytes()))
    except Exception:  # whatever pydicom and its plugins raise for files that are there to make them do so
        return None


def allowed(stored: Dataset, syntax: str) -> float:
    """How far off a representation may be, in root of the mean square: 0 but for lossy compression.

    What was lossy before is decoded by other programs here than there: their rounding may differ by one or two.
    """
    own = str(stored.file_meta.TransferSyntaxUID)
    encoder = ENCODERS.get(syntax)
    rounding = 2.0 if SYNTAXES[own].lossy else 0.0
    if syntax == own or encoder is None or encoder.method is None:
        return rounding
    return max(2.5, 2.0 ** (int(stored.BitsStored) - 5)) + rounding


def look_at(look: Looked, every: bool) -> None:
    file = look.file
    stored = read(file.path.read_bytes())
    expected = reference(look)
    everything = offered(look.service.get(look.path, NONE))
    files = [one for one in everything if one.media_type == "application/dicom"]
    syntaxes = sorted({one.syntax for one in files})
    if file.name in NOT_DECODED:
        syntaxes = [file.transfer_syntax_uid]
    turn = crc32(file.name.encode())
    chosen = syntaxes if every else [syntaxes[turn % len(syntaxes)]]
    for number, syntax in enumerate(chosen):
        forms = [one for one in files if one.syntax == syntax]
        for one in forms if every else [forms[(turn + number) % len(forms)]]:
            (data,) = look.get("", one.text)
            ds = read(data)
            assert ds.file_meta.TransferSyntaxUID == syntax
            assert ds.SOPInstanceUID == file.sop_uid
        if expected is None:
            continue
        own = pixels_of(ds)
        look.check(one.text, own, expected, noise=allowed(stored, syntax))
        for what, count, frames in bare(look, ds, syntax, own.shape[0], every, turn):
            look.check(what, pixels_of(with_frames(ds, frames, count)), own[:count], noise=0)


def bare(
    look: Looked, ds: Dataset, syntax: str, count: int, every: bool, turn: int
) -> Iterator[tuple[str, int, list[bytes]]]:
    """Frames without a data set in this transfer syntax: how they were asked for, how many, and the pieces."""
    few = min(count, MOST_FRAMES)
    several = ",".join(str(number) for number in range(1, few + 1))
    ways: list[tuple[str, int]] = [("/frames/1", 1), (f"/frames/{several}", few)]
    ways += [("/pixeldata", count), ("/bulkdata/7FE00010", count)]
    if not every:
        ways = [ways[turn % 2], ways[2 + turn // 2 % 2]]
    for path, wanted in ways:
        forms = [one for one in offered(look.service.get(look.path + path, NONE)) if one.syntax in (syntax, "")]
        for one in forms if every else forms[turn % len(forms) :][:1] if forms else []:
            yield f"{path} {one.text}", wanted, look.get(path, one.text)


@pytest.mark.parametrize("turn", range(SLICES))
def test_each_representation_decodes_to_the_same_pixels(tmp_path: Path, turn: int) -> None:
    """WADO-01, WADO-03, WADO-06, MT-01, MT-03, TS-01 to TS-08, TS-12 to TS-15."""
    wrong: list[str] = []
    looked_at = 0
    files = [one for one in readable_files() if EVERYTHING or one.path.stat().st_size <= LARGE][turn::SLICES]
    with serve(tmp_path, duplicates="replace") as service:
        for file in files:
            assert service.store(file.path.read_bytes()).status_code in (200, 202), file.name
            look = Looked(service, file)
            try:
                look_at(look, EVERYTHING)
            except Exception as error:  # the other files are to be looked at all the same
                wrong.append(f"{file.name}: {type(error).__name__}: {str(error)[:400]}")
            wrong += look.wrong
            looked_at += look.looked_at
    assert wrong == []
    assert looked_at >= len(files)
