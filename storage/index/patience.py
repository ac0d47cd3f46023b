"""Connections to PostgreSQL that notice when nobody is there any more.

The server bounds how long a statement takes; nothing bounds how long a broken line says nothing, and behind a proxy not
even TCP notices. Whoever waited for a commit then would hold up all others for hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, Self, TypeVar

import psycopg
from psycopg.waiting import Ready

T = TypeVar("T")

LOOK_AFTER = 0.8
"""The part of the patience after which, and then again and again, a fresh connection tells if the server is there."""

LONGEST = 75.0
"""Seconds of silence after which it counts as lost all the same; the server ends a statement before that."""


class PatientConnection(psycopg.Connection[Any]):
    """Waits for an answer as long as the server can be reached, `LONGEST` seconds at most."""

    patience = 10.0
    """Seconds of silence, about, after which a server that cannot be reached is given up."""

    @classmethod
    def patient(cls, url: str, patience: float, **arguments: Any) -> Self:
        """A connection with this patience."""
        made = cls.connect(url, **arguments)
        made.patience = patience
        return made

    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **named: Any) -> T:
        """See psycopg. Raises OperationalError when the server is out of reach."""
        return super().wait(_within(gen, self._is_lost, LOOK_AFTER * self.patience), *arguments, **named)

    def _is_lost(self, silent: float) -> bool:
        """Whether to give up; then the connection is closed, so that nobody uses it again."""
        if silent < LONGEST and self._can_be_reached():
            return False
        self.pgconn.finish()
        return True

    def _can_be_reached(self) -> bool:
        info = self.info
        parameters: dict[str, Any] = {**info.get_parameters(), "password": info.password, "connect_timeout": "3"}
        try:
            psycopg.connect(**parameters).close()
        except psycopg.OperationalError:
            return False
        return True


def _within(gen: Generator[Any, Any, T], is_lost: Callable[[float], bool], after: float) -> Generator[Any, Any, T]:
    """The same waiting, looked after: `is_lost` is asked after a silence of so many seconds."""
    began = time.monotonic()
    look = began + after
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready == Ready.NONE and (now := time.monotonic()) > look:
                if is_lost(now - began):
                    gen.close()
                    raise psycopg.OperationalError("the server does not answer any more")
                look = now + after
            elif ready != Ready.NONE:
                began, look = time.monotonic(), time.monotonic() + after
            wanted = gen.send(ready)
    except StopIteration as end:
        value: T = end.value
        return value
