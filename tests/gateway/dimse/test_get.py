"""C-GET over real sockets (PS3.4 C.4.3)."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt

from tests.gateway.dimse.conftest import Door, OpenDoor
from tests.gateway.dimse.peers import MR, SC, keep, keep_file
from tests.gateway.dimse.wire import CT, EXPLICIT, IMPLICIT
from tests.parts.datasets import ct_slice, mr_slice, series_of, uid
from tests.parts.files import dataset_bytes, readable_files
from tests.parts.machine import need

PATIENT_GET, STUDY_GET = "1.2.840.10008.5.1.4.1.2.1.3", "1.2.840.10008.5.1.4.1.2.2.3"
COMPOSITE_GET = "1.2.840.10008.5.1.4.1.2.4.3"
RLE = "1.2.840.10008.1.2.5"


def identifier(level: str, **keys: Any) -> Dataset:
    """A retrieval's identifier."""
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


class Getter:
    """A C-GET SCU that keeps what it is sent."""

    def __init__(
        self, door: Door, model: str = STUDY_GET, syntaxes: Any = (EXPLICIT, IMPLICIT), **options: Any
    ) -> None:
        self.received: dict[str, bytes] = {}
        self.syntaxes: dict[str, str] = {}
        self.statuses: list[Dataset] = []
        self.failed: list[str] = []
        self.answer = options.get("answer", lambda: 0)
        self.cancel_after = options.get("cancel_after")
        ae = AE("GETTER")
        ae.add_requested_context(model)
        classes = options.get("classes", (CT, MR, SC))
        for one in classes:
            for syntax in syntaxes:
                ae.add_requested_context(one, [syntax] if isinstance(syntax, str) else list(syntax))
        roles = [build_role(one, scp_role=True) for one in classes] if options.get("roles", True) else []
        self.model = model
        self.association = ae.associate(
            *door.address,
            ae_title="GANTRY",
            ext_neg=roles,  # type: ignore[arg-type]
            evt_handlers=[(evt.EVT_C_STORE, self._store)],
        )
        assert self.association.is_established

    def _store(self, event: evt.Event) -> int:
        request: Any = event.request
        self.received[str(request.AffectedSOPInstanceUID)] = request.DataSet.getvalue()
        self.syntaxes[str(request.AffectedSOPInstanceUID)] = str(event.context.transfer_syntax)
        if self.cancel_after == len(self.received):
            self.association.send_c_cancel(1, query_model=self.model)
        return int(self.answer())

    def get(self, ds: Dataset) -> int:
        """Run one C-GET; its final status."""
        self.statuses, self.failed = [], []
        for status, answer in self.association.send_c_get(ds, self.model):
            self.statuses.append(status)
            if answer is not None:
                uids = answer.get("FailedSOPInstanceUIDList", [])
                self.failed = [uids] if isinstance(uids, str) else [str(one) for one in uids]
        return int(self.statuses[-1].Status)

    @property
    def counts(self) -> tuple[int | None, int, int, int]:
        """Remaining, completed, failed, warning of the final response."""
        last = self.statuses[-1]
        return (
            last.get("NumberOfRemainingSuboperations"),
            last.NumberOfCompletedSuboperations,
            last.NumberOfFailedSuboperations,
            last.NumberOfWarningSuboperations,
        )

    def __enter__(self) -> Getter:
        return self

    def __exit__(self, *_: object) -> None:
        if self.association.is_established:
            self.association.release()


@pytest.fixture(scope="module")
def door(module_door: Door) -> Door:
    """Two patients: three CT slices in two series and an MR; one CT."""
    keep(module_door, ct_slice("one", 1, 1), ct_slice("one", 1, 2), ct_slice("one", 2, 3), ct_slice("three", 1, 1))
    keep(module_door, mr_slice("two", 1, 1, PatientID="ID-one"))
    return module_door


def stored(door: Door, sop_uid: str) -> bytes:
    """The data set that is kept."""
    located = door.archive.find(sop_uid)
    assert located is not None
    return dataset_bytes(door.archive.read(located))


CT_UIDS = [ct_slice("one", series, number).SOPInstanceUID for series, number in ((1, 1), (1, 2), (2, 3))]
MR_UID = mr_slice("two", 1, 1).SOPInstanceUID


@pytest.mark.parametrize(
    ("model", "ds", "expected"),
    [
        (PATIENT_GET, identifier("PATIENT", PatientID="ID-one"), [*CT_UIDS, MR_UID]),
        (PATIENT_GET, identifier("STUDY", PatientID="ID-one", StudyInstanceUID=uid("study", "one")), CT_UIDS),
        (PATIENT_GET, identifier("STUDY", PatientID="ID-three", StudyInstanceUID=uid("study", "one")), []),
        (STUDY_GET, identifier("STUDY", StudyInstanceUID=uid("study", "one")), CT_UIDS),
        (
            STUDY_GET,
            identifier("STUDY", StudyInstanceUID=[uid("study", "one"), uid("study", "two")]),
            [*CT_UIDS, MR_UID],
        ),
        (
            STUDY_GET,
            identifier("SERIES", StudyInstanceUID=uid("study", "one"), SeriesInstanceUID=uid("series", "one", 1)),
            CT_UIDS[:2],
        ),
        (
            STUDY_GET,
            identifier(
                "SERIES",
                StudyInstanceUID=uid("study", "one"),
                SeriesInstanceUID=[uid("series", "one", 2), uid("series", "one", 1)],
            ),
            CT_UIDS,
        ),
        (
            STUDY_GET,
            identifier(
                "IMAGE",
                StudyInstanceUID=uid("study", "one"),
                SeriesInstanceUID=uid("series", "one", 1),
                SOPInstanceUID=CT_UIDS[1],
            ),
            CT_UIDS[1:2],
        ),
        (COMPOSITE_GET, identifier("IMAGE", SOPInstanceUID=[CT_UIDS[2], MR_UID, "1.2.3"]), [CT_UIDS[2], MR_UID]),
        (STUDY_GET, identifier("STUDY", StudyInstanceUID="1.2.3", PatientName=""), []),
    ],
)
def test_every_level_of_every_model(door: Door, model: str, ds: Dataset, expected: list[str]) -> None:
    """MOVE-03, MOVE-04, MOVE-07, GET-02: what is named comes, as it is stored; no match is a success."""
    with Getter(door, model) as getter:
        assert getter.get(ds) == 0
        assert getter.received == {one: stored(door, one) for one in expected}
        assert getter.counts == (None, len(expected), 0, 0)


@pytest.mark.parametrize(
    ("model", "ds"),
    [
        (STUDY_GET, identifier("PATIENT", PatientID="ID-one")),
        (STUDY_GET, identifier("STUDY")),
        (STUDY_GET, identifier("STUDY", StudyInstanceUID="")),
        (STUDY_GET, identifier("STUDY", StudyInstanceUID=uid("study", "one"), StudyDate="20260304")),
        (STUDY_GET, identifier("STUDY", StudyInstanceUID=uid("study", "one"), Modality="CT")),
        (STUDY_GET, identifier("SERIES", SeriesInstanceUID=uid("series", "one", 1))),
        (STUDY_GET, identifier("STUDY", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")),
        (
            STUDY_GET,
            identifier("SERIES", StudyInstanceUID=["1.2", "1.3"], SeriesInstanceUID=uid("series", "one", 1)),
        ),
        (PATIENT_GET, identifier("STUDY", StudyInstanceUID=uid("study", "one"))),
        (PATIENT_GET, identifier("PATIENT", PatientID="")),
        (COMPOSITE_GET, identifier("STUDY", StudyInstanceUID=uid("study", "one"))),
        (STUDY_GET, identifier("WHATEVER", StudyInstanceUID=uid("study", "one"))),
    ],
)
def test_other_identifiers_are_refused(door: Door, model: str, ds: Dataset) -> None:
    """MOVE-01: A900, and why."""
    with Getter(door, model) as getter:
        assert getter.get(ds) == 0xA900
        assert getter.statuses[-1].ErrorComment
        assert not getter.received


def test_a_patient_id_with_wild_cards_is_taken_literally(door: Door) -> None:
    """MOVE-01: nobody gets the whole archive."""
    with Getter(door, PATIENT_GET) as getter:
        assert getter.get(identifier("PATIENT", PatientID="*")) == 0
        assert getter.get(identifier("PATIENT", PatientID="ID-?ne")) == 0
        assert not getter.received


def test_what_the_peer_has_no_context_for_counts_as_failed(door: Door) -> None:
    """GET-01, MOVE-03, MOVE-05, NET-05: B000 with the instances that failed; A702 when all did."""
    with Getter(door, classes=(CT,)) as getter:
        both = identifier("STUDY", StudyInstanceUID=[uid("study", "one"), uid("study", "two")])
        assert getter.get(both) == 0xB000
        assert getter.counts == (None, 3, 1, 0)
        assert getter.failed == [MR_UID]
        assert getter.get(identifier("STUDY", StudyInstanceUID=uid("study", "two"))) == 0xA702
        assert getter.counts == (None, 0, 1, 0)


def test_without_the_scp_role_nothing_is_sent(door: Door) -> None:
    """NET-08, GET-01."""
    with Getter(door, roles=False) as getter:
        assert getter.get(identifier("STUDY", StudyInstanceUID=uid("study", "one"))) == 0xA702
        assert getter.failed == CT_UIDS
        assert not getter.received


@pytest.mark.parametrize(("status", "final", "counts"), [(0xB000, 0xB000, (0, 0, 3)), (0xA700, 0xA702, (0, 3, 0))])
def test_statuses_of_the_peer_are_counted(door: Door, status: int, final: int, counts: tuple[int, int, int]) -> None:
    """MOVE-03, MOVE-05: warnings are no failures."""
    with Getter(door, answer=lambda: status) as getter:
        assert getter.get(identifier("STUDY", StudyInstanceUID=uid("study", "one"))) == final
        assert getter.counts == (None, *counts)
        assert getter.failed == (CT_UIDS if status == 0xA700 else [])


def test_the_counters_of_every_response_add_up(open_door: OpenDoor) -> None:
    """MOVE-04."""
    door = open_door()
    keep(door, *series_of(60, "many"))
    with Getter(door) as getter:
        assert getter.get(identifier("STUDY", StudyInstanceUID=uid("study", "many"))) == 0
        pending = [one for one in getter.statuses if one.Status == 0xFF00]
        assert pending
        for one in pending:
            numbers = [
                one[f"NumberOf{kind}Suboperations"].value for kind in ("Remaining", "Completed", "Failed", "Warning")
            ]
            assert sum(numbers) == 60 and numbers[0] > 0
        completed = [one.NumberOfCompletedSuboperations for one in pending]
        assert completed == sorted(set(completed))


def test_a_cancel_stops_it(open_door: OpenDoor) -> None:
    """MOVE-03, MOVE-04: FE00, with what remains."""
    door = open_door()
    keep(door, *series_of(40, "many"))
    with Getter(door, cancel_after=5) as getter:
        assert getter.get(identifier("STUDY", StudyInstanceUID=uid("study", "many"))) == 0xFE00
        remaining, completed, failed, warned = getter.counts
        assert remaining and remaining + completed == 40 and (failed, warned) == (0, 0)
        assert 5 <= completed == len(getter.received) < 20
        assert getter.get(identifier("STUDY", StudyInstanceUID=uid("study", "none"))) == 0


def test_compressed_goes_as_it_is_where_the_peer_takes_it_and_native_where_not(open_door: OpenDoor) -> None:
    """NET-05: the stored syntax on its own context, else Explicit or Implicit VR Little Endian."""
    door = open_door()
    ds = ct_slice("rle")
    keep(door, ds, syntax=RLE)
    asked = identifier("STUDY", StudyInstanceUID=uid("study", "rle"))
    for syntaxes, sent in (
        (((RLE,), (EXPLICIT, IMPLICIT)), RLE),
        (((IMPLICIT, EXPLICIT, RLE),), EXPLICIT),
        (((IMPLICIT,),), IMPLICIT),
    ):
        with Getter(door, syntaxes=syntaxes) as getter:
            assert getter.get(asked) == 0
            assert getter.syntaxes == {ds.SOPInstanceUID: sent}
            data = getter.received[ds.SOPInstanceUID]
            if sent == RLE:
                assert data == stored(door, ds.SOPInstanceUID)
                continue
            came = dcmread(BytesIO(data), force=True)
            came.file_meta.TransferSyntaxUID = UID(sent)
            assert came.PixelData == ds.PixelData
            assert came.PatientName == ds.PatientName


def test_every_real_file_can_be_had_in_implicit_vr(open_door: OpenDoor) -> None:
    """NET-05: what an old peer gets is the same data set, element by element."""
    door = open_door()
    native = {"1.2.840.10008.1.2.1"}
    files = {one.sop_uid: one for one in readable_files() if one.transfer_syntax_uid in native}
    for one in files.values():
        keep_file(door, one.path.read_bytes())
    classes = sorted({one.sop_class_uid for one in files.values()})
    with Getter(door, COMPOSITE_GET, ((IMPLICIT,),), classes=classes) as getter:
        assert getter.get(identifier("IMAGE", SOPInstanceUID=sorted(files))) == 0
    assert getter.received.keys() == files.keys()
    for sop_uid, data in getter.received.items():
        came = dcmread(BytesIO(data), force=True)
        kept = dcmread(files[sop_uid].path)
        # group lengths and trailing padding (PS3.10 7.2) say nothing of the instance
        assert set(came.keys()) == {tag for tag in kept.keys() if tag.element and tag != 0xFFFCFFFC}, sop_uid  # noqa: SIM118
        if "PixelData" in kept:
            assert came.PixelData == kept.PixelData


def test_dcmtk_gets_a_study(door: Door, tmp_path: Path) -> None:
    """GET-01 with getscu."""
    subprocess.run(
        [
            need("getscu"), "-S", "-aec", "GANTRY", "-od", str(tmp_path), "127.0.0.1", str(door.address[1]),
            "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid('study', 'one')}",
        ],
        check=True, timeout=30,
    )  # fmt: skip
    assert sorted(dcmread(path).SOPInstanceUID for path in tmp_path.iterdir()) == sorted(CT_UIDS)
