"""Storage commitment: is what a peer refers to kept, and unharmed (PS3.4 J.3)?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway import metrics
from gateway.errors import Unavailable
from gateway.logs import get_logger
from storage.archive import MISSING, Archive
from storage.errors import StorageError

log = get_logger(__name__)

PROCESSING_FAILURE, NO_SUCH_INSTANCE = 0x0110, 0x0112
CLASS_CONFLICT, DUPLICATE_TRANSACTION = 0x0119, 0x0131
"""Failure Reasons (PS3.3 C.14.1.1)."""

Reference = tuple[str, str]
"""SOP Class UID and SOP Instance UID."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What we commit to, and what not, with the Failure Reason."""

    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]


def check(
    archive: Archive, references: Sequence[Reference], interrupted: Callable[[], bool] = lambda: False
) -> Verdict | None:
    """Read every object again and compare its digest (SC-04); None when `interrupted` said to stop.

    Raises Unavailable when the archive cannot tell.
    """
    committed: list[Reference] = []
    failed: list[tuple[Reference, int]] = []
    for reference in references:
        if interrupted():
            return None
        if (reason := _check(archive, *reference)) is None:
            committed.append(reference)
        else:
            failed.append((reference, reason))
    return Verdict(tuple(committed), tuple(failed))


def _check(archive: Archive, sop_class_uid: str, sop_uid: str) -> int | None:
    """The Failure Reason for one instance; None when it is safe."""
    try:
        located = archive.find(sop_uid)
        if located is None:
            return NO_SUCH_INSTANCE
        if located.sop_class_uid != sop_class_uid:
            return CLASS_CONFLICT
        damage = archive.examine(located)
    except StorageError as error:
        raise Unavailable("the archive does not answer; try again") from error
    if damage is not None:
        metrics.DAMAGED.inc()
        archive.report(located, damage)
        log.error("object_damaged", sop_uid=sop_uid, reason=damage)
        return NO_SUCH_INSTANCE if damage == MISSING else PROCESSING_FAILURE
    return None
