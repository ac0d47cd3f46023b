"""What an error is called in a DIMSE response: the one table (PS3.4 B.2.3 and C.4.1.1.4, PS3.7 Annex C).

`Refused` errors carry the failure code that C-STORE and STOW-RS share; everything else is here. A test walks all
errors of `gateway.errors` and `storage.errors` and fails on one for which there is no row.
"""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset

from gateway import errors
from gateway.dimse import commands
from storage import errors as storage_errors

SUCCESS = 0x0000
PENDING = 0xFF00
PENDING_WARNING = 0xFF01
"""Matches are continuing; one or more optional keys were not supported."""
CANCELLED = 0xFE00
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
INVALID_ARGUMENT = 0x0115
NO_SUCH_CLASS = 0x0118
CLASS_NOT_SUPPORTED = 0x0122
NO_SUCH_ACTION = 0x0123
NOT_AUTHORIZED = 0x0124
"""Refused: not authorized (PS3.7 C.5.17)."""
RESOURCE_LIMITATION = 0x0213
OUT_OF_RESOURCES = 0xA700
IDENTIFIER_MISMATCH = 0xA900
"""Data set or identifier does not match the SOP Class."""
UNABLE_TO_PROCESS = 0xC000
CANNOT_COUNT = 0xA701
"""Out of resources: unable to calculate the number of matches."""
CANNOT_SEND = 0xA702
"""Out of resources: unable to perform sub-operations."""
DESTINATION_UNKNOWN = 0xA801
COERCED = 0xB000
"""Stored, with elements coerced (PS3.4 Table B.2-1)."""
SUB_OPERATIONS_WARNING = 0xB000
"""Sub-operations complete, one or more failures or warnings."""

MAX_COMMENT = 64
"""Error Comment is LO (PS3.7 Annex E)."""


class UnknownDestination(errors.GatewayError):
    """The Move Destination is no node that we know."""

    reason = "unknown_destination"


STORE: dict[type[Exception], int] = {
    errors.Unavailable: OUT_OF_RESOURCES,
    errors.TooSlow: OUT_OF_RESOURCES,
    errors.Damaged: PROCESSING_FAILURE,
    errors.NotFound: PROCESSING_FAILURE,
    errors.Gone: PROCESSING_FAILURE,
    errors.Unauthenticated: NOT_AUTHORIZED,
    errors.Forbidden: NOT_AUTHORIZED,
    errors.BadRequest: UNABLE_TO_PROCESS,
    errors.TooOften: OUT_OF_RESOURCES,
    errors.TooBroad: PROCESSING_FAILURE,
    errors.NotAcceptable: PROCESSING_FAILURE,
    errors.NotRenderable: PROCESSING_FAILURE,
    errors.GatewayError: PROCESSING_FAILURE,
    storage_errors.ObjectStoreFull: OUT_OF_RESOURCES,
    storage_errors.ObjectStoreUnavailable: OUT_OF_RESOURCES,
    storage_errors.ObjectStoreStalled: OUT_OF_RESOURCES,
    storage_errors.ObjectStoreBroken: OUT_OF_RESOURCES,
    storage_errors.SpoolBusy: OUT_OF_RESOURCES,
    storage_errors.ObjectDamaged: PROCESSING_FAILURE,
    storage_errors.ObjectMissing: PROCESSING_FAILURE,
    storage_errors.ObjectExists: PROCESSING_FAILURE,
    storage_errors.ObjectStoreError: PROCESSING_FAILURE,
    storage_errors.IndexFull: OUT_OF_RESOURCES,
    storage_errors.IndexUnavailable: OUT_OF_RESOURCES,
    storage_errors.IndexStalled: OUT_OF_RESOURCES,
    storage_errors.IndexTooSlow: OUT_OF_RESOURCES,
    storage_errors.IndexBroken: OUT_OF_RESOURCES,
    storage_errors.IndexDamaged: OUT_OF_RESOURCES,
    storage_errors.IndexBusy: OUT_OF_RESOURCES,
    storage_errors.IndexBehind: PROCESSING_FAILURE,
    storage_errors.SchemaRefused: PROCESSING_FAILURE,
    storage_errors.RebuildPending: PROCESSING_FAILURE,
    storage_errors.IndexStoreError: PROCESSING_FAILURE,
    storage_errors.DuplicateConflict: errors.Duplicate.code,
    storage_errors.QueryRefused: UNABLE_TO_PROCESS,
    storage_errors.StorageError: PROCESSING_FAILURE,
}
"""C-STORE statuses of what is no `Refused`. What a retry may cure is A700 (PS3.4 B.2.3)."""

FIND: dict[type[Exception], int] = {
    errors.Unauthenticated: NOT_AUTHORIZED,
    errors.Forbidden: NOT_AUTHORIZED,
    errors.BadRequest: IDENTIFIER_MISMATCH,
    errors.NotUnderstood: UNABLE_TO_PROCESS,
    errors.ClassMismatch: IDENTIFIER_MISMATCH,
    errors.ClassNotSupported: CLASS_NOT_SUPPORTED,
    errors.Unavailable: OUT_OF_RESOURCES,
    errors.TooBroad: OUT_OF_RESOURCES,
    errors.TooOften: OUT_OF_RESOURCES,
    errors.OutOfResources: OUT_OF_RESOURCES,
    errors.TooLarge: OUT_OF_RESOURCES,
    errors.Refused: UNABLE_TO_PROCESS,
    errors.GatewayError: UNABLE_TO_PROCESS,
    storage_errors.ObjectStoreFull: OUT_OF_RESOURCES,
    storage_errors.ObjectStoreUnavailable: OUT_OF_RESOURCES,
    storage_errors.ObjectStoreError: UNABLE_TO_PROCESS,
    storage_errors.IndexFull: OUT_OF_RESOURCES,
    storage_errors.IndexUnavailable: OUT_OF_RESOURCES,
    storage_errors.IndexBusy: OUT_OF_RESOURCES,
    storage_errors.IndexStoreError: UNABLE_TO_PROCESS,
    storage_errors.QueryRefused: IDENTIFIER_MISMATCH,
    storage_errors.StorageError: UNABLE_TO_PROCESS,
}
"""C-FIND statuses (PS3.4 Table C.4-1). An error without a row of its own has that of its base."""

KNOWN_ERRORS = (errors.GatewayError, storage_errors.StorageError)
"""What use cases raise on purpose."""


def store_status(error: Exception) -> int:
    """The C-STORE status of an error of the use case."""
    return error.code if isinstance(error, errors.Refused) else _look_up(STORE, error)


def find_status(error: Exception) -> int:
    """The C-FIND status of an error of the use case."""
    return _look_up(FIND, error)


def retrieve_status(error: Exception) -> int:
    """The C-MOVE or C-GET status of an error of the use case (PS3.4 Tables C.4-2, C.4-3)."""
    if isinstance(error, UnknownDestination):
        return DESTINATION_UNKNOWN
    status = _look_up(FIND, error)
    return CANNOT_COUNT if status == OUT_OF_RESOURCES else status


def response(status: int, comment: str = "", tag: int | None = None) -> Dataset:
    """Status elements of a response; `tag` is the offending element's (PS3.7 C.5)."""
    ds = Dataset()
    ds.Status = status
    if tag is not None:
        ds.OffendingElement = [tag]
    if comment := shorten(comment):
        ds.ErrorComment = comment
    return ds


def elements(ds: Dataset) -> commands.Values:
    """The status elements of a response besides Status, as they stand in its command set."""
    more: dict[int, int | str | bytes] = {}
    if "OffendingElement" in ds:
        tag = ds.OffendingElement if ds["OffendingElement"].VM == 1 else ds.OffendingElement[0]
        more[commands.OFFENDING_ELEMENT] = struct.pack("<HH", tag.group, tag.element)
    if "ErrorComment" in ds:
        more[commands.ERROR_COMMENT] = str(ds.ErrorComment)
    return more


def refusal(status: int, error: Exception) -> Dataset:
    """Status elements that tell the peer why. The messages of our errors hold no patient data."""
    return response(status, str(error), getattr(error, "tag", None))


def shorten(text: str) -> str:
    """`text` as a value of Error Comment: ASCII, one line, no backslash, 64 characters at most."""
    plain = "".join(char if " " <= char <= "~" and char != "\\" else "?" for char in text.strip())
    return plain if len(plain) <= MAX_COMMENT else plain[: MAX_COMMENT - 3].rstrip() + "..."


def _look_up(table: dict[type[Exception], int], error: Exception) -> int:
    return next((table[kind] for kind in type(error).__mro__ if kind in table), PROCESSING_FAILURE)
