"""Errors and the DIMSE statuses they become."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway import errors
from gateway.dimse import statuses
from storage import errors as storage_errors


def family(base: type[Exception]) -> Iterator[type[Exception]]:
    """A class and all its subclasses."""
    yield base
    for kind in base.__subclasses__():
        yield from family(kind)


KNOWN = sorted({*family(errors.GatewayError), *family(storage_errors.StorageError)}, key=lambda kind: kind.__name__)
OURS = [kind for kind in KNOWN if kind.__module__ in {errors.__name__, storage_errors.__name__}]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_store_status_of_its_own(kind: type[Exception]) -> None:
    """STORE-04 to STORE-07: a new error must be given a row, or carry a code."""
    assert issubclass(kind, errors.Refused) or kind in statuses.STORE


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_find_status(kind: type[Exception]) -> None:
    """FIND-04: statuses of a failed C-FIND are A700, A900, 0122 or Cxxx; 0124 for who may not ask (PS3.7 C.5.17)."""
    status = next(statuses.FIND[base] for base in kind.__mro__ if base in statuses.FIND)
    assert status in {0xA700, 0xA900, 0x0122, 0x0124} or 0xC000 <= status <= 0xCFFF


def test_what_a_retry_can_cure_is_out_of_resources() -> None:
    """STORE-04."""
    curable = [
        errors.OutOfResources("full", full=True),
        errors.Unavailable("down"),
        storage_errors.ObjectStoreFull("full"),
        storage_errors.ObjectStoreUnavailable("down"),
        storage_errors.ObjectStoreStalled("slow"),
        storage_errors.IndexFull("full"),
        storage_errors.IndexUnavailable("down"),
        storage_errors.IndexStalled("slow"),
        storage_errors.IndexBusy("locked"),
    ]
    assert {statuses.store_status(error) for error in curable} == {0xA700}


def test_the_refusals_keep_their_codes() -> None:
    """STORE-05, STORE-06, STORE-07, S-14."""
    assert statuses.store_status(errors.ClassMismatch("x")) == 0xA900
    assert statuses.store_status(errors.NotUnderstood("x")) == 0xC000
    assert statuses.store_status(errors.ClassNotSupported("x")) == 0x0122
    assert statuses.store_status(errors.InvalidInstance("x")) == 0x0117
    assert statuses.store_status(errors.Duplicate("x")) == 0x0111
    assert statuses.store_status(errors.ProcessingFailure("x")) == 0x0110


def test_an_error_comment_is_one_short_ascii_line() -> None:
    """STORE-06: LO, at most 64 characters, no backslash."""
    comment = statuses.shorten("Größe \\ line\n" + "x" * 100)
    assert len(comment) == 64
    assert comment.isascii()
    assert comment.isprintable()
    assert "\\" not in comment


def test_a_refusal_names_the_offending_element() -> None:
    """STORE-06."""
    ds = statuses.refusal(0xC000, errors.NotUnderstood("no UID", 0x00080018))
    assert ds.Status == 0xC000
    assert ds.OffendingElement == 0x00080018
    assert ds.ErrorComment == "no UID"
