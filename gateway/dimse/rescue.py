"""Associations that wait for a disk which stands still: their peers are told, since the disk will not say when (F-19).

The thread of such an association is in a system call, and cannot be called back. So another one answers the peer A700H
and aborts; the stuck thread ends, and says nothing more, once the disk lets it go.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gateway.logs import get_logger

if TYPE_CHECKING:
    from gateway.dimse.association import Acceptor
    from storage.stalls import Stalls

log = get_logger(__name__)

LOOK = 0.5
"""Seconds between two looks."""


class Rescue:
    """Looks after the associations that `established` gives, while it runs."""

    def __init__(self, stalls: Stalls, established: Callable[[], Iterable[Acceptor]]) -> None:
        self._stalls = stalls
        self._established = established
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dimse-rescue", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopping.set()

    def _watch(self) -> None:
        told = False
        while not self._stopping.wait(LOOK):
            if not self._stalls.found:
                if told:
                    log.info("disk_answers")
                told = False
                continue
            if not told:
                log.error("disk_stalled", seconds=self._stalls.patience)
            told = True
            before = time.monotonic() - self._stalls.patience
            for association in self._established():
                if association.reception.has_waited_since(before):
                    association.give_up()
