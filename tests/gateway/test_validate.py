"""Values that break the rules of their VR (PS3.5 6.2)."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from gateway.dicom.header import Header, read_header
from gateway.validate import MAX_FAULTS, RULES, Fault, validate
from tests.parts.datasets import ct_slice, part10_bytes, report

KEPT = {
    "AE": ["A", "STORE SCP", ""],
    "AS": ["018M", "120Y"],
    "CS": ["ORIGINAL", "A B_C1"],
    "DA": ["20261123", "19000229"],
    "DS": ["1", "-1.5E-3", ".5", "1.", "+12"],
    "DT": ["2026", "202611", "20261123123059.123456+0100", "2026112312", "20261123-0930"],
    "IS": ["0", "-2147483648", "+5"],
    "LO": ["Ä" * 64, "tab is none"],
    "LT": ["lines\r\nare fine"],
    "PN": ["Doe^Jane", "A" * 64 + "=" + "B" * 64 + "=" + "C" * 64],
    "SH": ["x" * 16],
    "ST": ["x" * 1024],
    "TM": ["12", "1230", "123059.123456", "235960"],
    "UI": ["1.2.840.10008.1.2", "0.1"],
    "UR": ["https://x.example/a?b=c#d"],
}
BROKEN = {
    "AE": ["x" * 17, "é"],
    "AS": ["18M", "018X"],
    "CS": ["lower", "A" * 17, "A-B"],
    "DA": ["2026.11.23", "20261301", "20260132", "2026112", "20261123-20261124"],
    "DS": ["12345678901234567", "1,5", "x", "1 2", "nan"],
    "DT": ["20261332", "202611231230.5", "2026-11-23"],
    "IS": ["2147483648", "1.0", "1e3"],
    "LO": ["x" * 65, "a\x07b"],
    "PN": ["A=B=C=D", "x" * 65],
    "SH": ["x" * 17],
    "ST": ["x" * 1025],
    "TM": ["24", "12:30", "1230.5", "126000", "1"],
    "UI": ["1.02", "1..2", "1.2.", "x" * 65],
    "UR": ["a b", "<x>"],
}


def header_of(ds: Dataset, syntax: str = "1.2.840.10008.1.2.1") -> Header:
    data = part10_bytes(ds, syntax)
    return read_header(BytesIO(data), len(data))


@pytest.mark.parametrize(("vr", "value"), [(vr, value) for vr, values in KEPT.items() for value in values])
def test_values_that_keep_their_rule(vr: str, value: str) -> None:
    assert RULES[vr].kept_by(value) or (vr == "PN" and "=" in value)


@pytest.mark.parametrize(("vr", "value"), [(vr, value) for vr, values in BROKEN.items() for value in values])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # pydicom finds them, too
def test_values_that_break_it(vr: str, value: str, syntax: str) -> None:
    """Told by tag, VR and rule, in either byte order; never by value (S-80)."""
    ds = ct_slice("validate", SpecificCharacterSet="ISO_IR 192")
    made_as = "LO" if vr in ("DS", "IS") else vr  # pydicom makes numbers of these
    ds[0x00091001] = DataElement(0x00091001, made_as, value, validation_mode=config.IGNORE)
    ds[0x00091001].VR = vr
    ds.add_new(0x00090010, "LO", "GANTRY TEST")
    assert validate(header_of(ds, syntax)) == [Fault("00091001", vr, RULES[vr].text)]
    assert value not in RULES[vr].text


def test_valid_instances_have_no_faults() -> None:
    for ds in (ct_slice(), report()):
        assert validate(header_of(ds)) == []


def test_items_of_sequences_are_looked_at() -> None:
    item = Dataset()
    item.ScheduledProcedureStepID = "1"
    other = Dataset()
    other.add(DataElement(0x00400009, "SH", "x" * 17, validation_mode=config.IGNORE))
    ds = ct_slice("items")
    ds.RequestAttributesSequence = Sequence([item, other])
    assert [fault.path for fault in validate(header_of(ds))] == ["00400275/2/00400009"]


def test_faults_are_bounded() -> None:
    """S-28: a hostile file makes no endless list."""
    items = []
    for _ in range(MAX_FAULTS + 10):
        items.append(Dataset())
        items[-1].add(DataElement(0x00400009, "SH", "x" * 17, validation_mode=config.IGNORE))
    ds = ct_slice("many")
    ds.RequestAttributesSequence = Sequence(items)
    assert len(validate(header_of(ds))) == MAX_FAULTS
