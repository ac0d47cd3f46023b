"""Immutable bytes on their way out, and what storage errors mean to one who reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from gateway import metrics
from gateway.errors import Damaged, Unavailable
from storage.errors import ObjectDamaged, ObjectMissing, StorageError

Chunks = Iterator[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Blob:
    """Immutable bytes to be sent: `length` in bytes, `open` gives them in chunks, `etag` names them (unquoted)."""

    length: int
    open: Callable[[int, int | None], AbstractContextManager[Chunks]]
    etag: str


@contextmanager
def reading() -> Iterator[None]:
    """Storage errors as what they mean to one who reads: a missing object is damage, never absence (F-17)."""
    try:
        yield
    except (ObjectMissing, ObjectDamaged) as error:
        metrics.DAMAGED.inc()
        raise Damaged("the stored object is missing or damaged") from error
    except StorageError as error:
        raise Unavailable("the archive does not answer; try again") from error
