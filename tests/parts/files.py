"""Real files: what pydicom and pydicom-data bring along, as packages installed here. Nothing is downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

NO_FILE_META = "no File Meta Information: pydicom reads it only when told to guess"
NO_UIDS = "a fragment of a data set, without SOP Instance UID"
NO_STUDY = "no Study and Series Instance UID"

NOT_DICOM = frozenset({".icc", ".json", ".md", ".py", ".pyc", ".txt", ".dump", ".gz"})
"""Suffixes of what else lies beside them."""

UNREADABLE = {
    "ExplVR_BigEndNoMeta.dcm": NO_FILE_META,
    "ExplVR_LitEndNoMeta.dcm": NO_FILE_META,
    "OT-PAL-8-face.dcm": NO_FILE_META,
    "chrSQEncoding.dcm": NO_UIDS,
    "chrSQEncoding1.dcm": NO_UIDS,
    "emri_small_jpeg_2k_lossless_too_short.dcm": "fragments without an end: pydicom reads nothing",
    "empty_charset_LEI.dcm": NO_UIDS,
    "meta_missing_tsyntax.dcm": NO_UIDS,
    "nested_priv_SQ.dcm": NO_UIDS,
    "no_meta.dcm": NO_FILE_META,
    "no_meta_group_length.dcm": NO_UIDS,
    "priv_SQ.dcm": NO_UIDS,
    "rtstruct.dcm": NO_FILE_META,
    "UN_sequence.dcm": NO_UIDS,
}
"""Files that pydicom cannot read, or that have no SOP Instance UID: why, by name."""

REFUSED = {
    "JPEGLSNearLossless_08.dcm": NO_STUDY,
    "JPEGLSNearLossless_16.dcm": NO_STUDY,
    "MR_truncated.dcm": "Pixel Data is longer than the file",
    "SC_rgb_jls_lossy_line.dcm": NO_STUDY,
    "SC_rgb_jls_lossy_sample.dcm": NO_STUDY,
    "bad_sequence.dcm": "SOP, Study and Series Instance UID are hexadecimal digests",
    "fall.dcm": NO_STUDY,
    "hotiron.dcm": NO_STUDY,
    "hotmetalblue.dcm": NO_STUDY,
    "pet.dcm": NO_STUDY,
    "pet20step.dcm": NO_STUDY,
    "rtplan_truncated.dcm": "the file ends within a value",
    "spring.dcm": NO_STUDY,
    "summer.dcm": NO_STUDY,
    "winter.dcm": NO_STUDY,
}
"""Files that pydicom reads and an archive must not take: why, by name."""


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A DICOM file. The UIDs are those of the data set, which in a few files differ from the File Meta's."""

    path: Path
    sop_class_uid: str
    sop_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax_uid: str

    @property
    def name(self) -> str:
        """The file's name: what tests are called by, and what the tables above go by."""
        return self.path.name

    def dataset_bytes(self) -> bytes:
        """The encoded data set, without preamble and File Meta Information."""
        return dataset_bytes(self.path.read_bytes())


def dataset_bytes(part10: bytes) -> bytes:
    """The encoded data set of a DICOM file: what follows group 0002, whatever its length says (PS3.10 7.1)."""
    position = 132 if part10[128:132] == b"DICM" else 0
    while part10[position : position + 2] == b"\x02\x00":
        if part10[position + 4 : position + 6] in {b"OB", b"UN", b"UT"}:
            position += 12 + int.from_bytes(part10[position + 8 : position + 12], "little")
        else:
            position += 8 + int.from_bytes(part10[position + 6 : position + 8], "little")
    return part10[position:]


def package_folder(package: str) -> Path:
    """Where an installed package lies."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is not installed"
    return Path(spec.origin).parent


def candidates() -> Iterator[Path]:
    """Every file of the two packages that may be an instance, in a fixed order."""
    for folder in (package_folder("pydicom") / "data", package_folder("data_store") / "data"):
        for path in sorted(folder.rglob("*")):
            other = path.suffix in NOT_DICOM or path.name == "README" or path.name.startswith("DICOMDIR")
            if path.is_file() and not other:
                yield path


def dicomdirs() -> list[Path]:
    """Every DICOMDIR of a media set whose files are all there (PS3.10 8)."""
    folder = package_folder("pydicom") / "data" / "test_files" / "dicomdirtests"
    return sorted(folder.rglob("DICOMDIR"))


def read(path: Path) -> SampleFile | None:
    """What the file is; None when pydicom cannot read it or it has no SOP Instance UID."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # many of these files are there because they are odd
        try:
            ds = dcmread(path, specific_tags=["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
        except InvalidDicomError:
            return None
        if "SOPInstanceUID" not in ds:
            return None
        return SampleFile(
            path,
            str(ds.SOPClassUID),
            str(ds.SOPInstanceUID),
            str(ds.get("StudyInstanceUID", "")),
            str(ds.get("SeriesInstanceUID", "")),
            str(ds.file_meta.TransferSyntaxUID),
        )


@cache
def readable_files() -> tuple[SampleFile, ...]:
    """Every file that pydicom reads with a SOP Instance UID and that an archive must take."""
    return tuple(file for path in candidates() if path.name not in REFUSED and (file := read(path)))


@cache
def refused_files() -> tuple[SampleFile, ...]:
    """The files of REFUSED."""
    return tuple(file for path in candidates() if path.name in REFUSED and (file := read(path)))


def waves(files: Iterable[SampleFile]) -> list[list[SampleFile]]:
    """The files in lists that hold each SOP Instance UID once: many files are one instance, encoded in several ways."""
    lists: list[list[SampleFile]] = []
    seen: dict[str, int] = {}
    for file in files:
        turn = seen[file.sop_uid] = seen.get(file.sop_uid, -1) + 1
        if turn == len(lists):
            lists.append([])
        lists[turn].append(file)
    return lists
