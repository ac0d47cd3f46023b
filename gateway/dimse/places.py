"""The places for established associations, which the processes of one gateway share."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from dataclasses import dataclass

_COUNT = struct.Struct("=L")


@dataclass(frozen=True, slots=True)
class Seat:
    """Which of `count` processes this is, from 0. `descriptor` is a file that all of them have, of `size(count)` bytes:
    how many associations each of them serves.
    """

    number: int
    count: int
    descriptor: int


def size(count: int) -> int:
    """Bytes of the file of so many processes."""
    return count * _COUNT.size


def vacate(seat: Seat) -> None:
    """The process of this seat has ended, and its associations with it."""
    os.pwrite(seat.descriptor, _COUNT.pack(0), seat.number * _COUNT.size)


class Places:
    """At most `most` associations at a time, here and in the other processes. Its caller sees to it that one thread
    at a time is in it.
    """

    def __init__(self, most: int, seat: Seat | None = None) -> None:
        self._most = most
        self._seat = seat
        self._taken = 0
        self._all = None if seat is None else mmap.mmap(seat.descriptor, size(seat.count))

    def take(self) -> bool:
        """Take a place, if one is free."""
        if self._seat is None or self._all is None:
            if self._taken >= self._most:
                return False
            self._taken += 1
            return True
        fcntl.lockf(self._seat.descriptor, fcntl.LOCK_EX)  # of this process; gone with it, whatever ends it
        try:
            if sum(count for (count,) in _COUNT.iter_unpack(self._all)) >= self._most:
                return False
            self._taken += 1
            self._tell()
            return True
        finally:
            fcntl.lockf(self._seat.descriptor, fcntl.LOCK_UN)

    def give(self) -> None:
        """Give a place back."""
        self._taken -= 1
        self._tell()

    def _tell(self) -> None:
        if self._seat is not None and self._all is not None:
            _COUNT.pack_into(self._all, self._seat.number * _COUNT.size, self._taken)
