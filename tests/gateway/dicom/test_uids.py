"""UIDs, transfer syntaxes, storage SOP classes."""

from __future__ import annotations

import pytest
from pydicom.uid import AllTransferSyntaxes, PhotoacousticImageStorage, SegmentationStorage

from gateway.dicom.uids import STORAGE_CLASSES, SYNTAXES, is_uid, syntax
from gateway.errors import SyntaxNotSupported


@pytest.mark.parametrize("text", ["1.2.840.10008.1.2", "0", "2.25.0", "1." + "2" * 62])
def test_a_uid_is_one(text: str) -> None:
    """GEN-05, S-21."""
    assert is_uid(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "1.", ".1", "1..2", "01.2", "1.02", "1.2 ", " 1.2", "1.2\0", "1.2\n", "1.2\\1.3", "1,2", "-1.2"),
        *("1.2a", "../../x", "/etc/x", "a\\b", "1.\u0662.3", "1.\uff12.3", "1." + "2" * 63, "1.2/3", "1.2%00"),
    ],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    """GEN-05, S-21: padded, with NUL, VM 2, paths, digits of other scripts, 65 characters."""
    assert not is_uid(text)


def test_the_facts_of_each_syntax_agree_with_those_of_pydicom() -> None:
    streaming = {uid for uid in AllTransferSyntaxes if uid.startswith("1.2.840.10008.1.2.7.")}
    for uid in set(AllTransferSyntaxes) - streaming:
        found = SYNTAXES[uid]
        assert found.uid == uid
        assert found.name == uid.name
        assert found.explicit is not uid.is_implicit_VR
        assert found.little_endian is uid.is_little_endian
        assert found.deflated is (uid.is_deflated or uid.endswith((".95", ".205")))  # PS3.5 A.7, A.12: pydicom forgets
        assert found.encapsulated is (uid.is_encapsulated and "JPIP" not in uid.name)


@pytest.mark.parametrize(
    ("uid", "lossy", "video"),
    [
        ("1.2.840.10008.1.2.4.50", True, False),
        ("1.2.840.10008.1.2.4.70", False, False),
        ("1.2.840.10008.1.2.4.80", False, False),
        ("1.2.840.10008.1.2.4.81", True, False),
        ("1.2.840.10008.1.2.4.106.1", True, True),
        ("1.2.840.10008.1.2.4.108", True, True),
        ("1.2.840.10008.1.2.4.110", False, False),
        ("1.2.840.10008.1.2.4.112", True, False),
        ("1.2.840.10008.1.2.4.201", False, False),
        ("1.2.840.10008.1.2.4.203", True, False),
        ("1.2.840.10008.1.2.8.1", False, False),
    ],
)
def test_codecs_say_whether_they_lose(uid: str, lossy: bool, video: bool) -> None:
    found = syntax(uid)
    assert (found.encapsulated, found.lossy, found.video) == (True, lossy, video)


@pytest.mark.parametrize("uid", ["1.2.3", "", "1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.7.1", "<script>"])
def test_other_syntaxes_are_not_supported(uid: str) -> None:
    with pytest.raises(SyntaxNotSupported) as caught:
        syntax(uid)
    assert caught.value.tag == 0x00020010
    assert "<" not in str(caught.value)


def test_storage_classes_are_those_of_instances() -> None:
    """S-42: a DICOMDIR is no instance."""
    assert {PhotoacousticImageStorage, SegmentationStorage} <= STORAGE_CLASSES
    assert "1.2.840.10008.5.1.4.1.1.66.7" in STORAGE_CLASSES
    assert "1.2.840.10008.1.3.10" not in STORAGE_CLASSES
    assert "1.2.840.10008.1.20.1" not in STORAGE_CLASSES
    assert all(map(is_uid, STORAGE_CLASSES))
