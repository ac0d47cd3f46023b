"""The queue of tasks from the command line: of the gateway that runs on the data folder, or of the index itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Protocol

from gateway import running, tasks
from gateway.app import command_audit, handlers, open_from
from gateway.caller import Caller
from gateway.forwarding import send_here
from gateway.http.queue import shown
from gateway.settings import Settings
from storage import Archive

CLAIM = 3600.0
PAGE = 1000


class Queue(Protocol):
    """What can be done with the queue."""

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks, as `/queue` shows them."""

    def retry(self, ids: list[int] | None) -> int:
        """Try tasks again at once (None: all that failed); returns how many."""

    def drop(self, ids: list[int] | None) -> int:
        """Forget tasks (None: those given up); returns how many."""

    def send(self, to: str, study_uid: str, series_uid: str | None, sop_uid: str | None) -> tuple[int, int, int]:
        """Send instances: how many were sent, failed, and were left to the running gateway. Raises GatewayError."""


@contextmanager
def opened(settings: Settings) -> Iterator[Queue]:
    """The queue of the running gateway, else that of the index. Raises StorageError, BadSettings."""
    found = running.reached(settings.data, "/queue")
    if found is not None:
        yield _Remote(*found)
        return
    with closing(open_from(settings)) as archive:
        yield _Here(archive, settings)


class _Remote:
    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token

    def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["id"] if found else 0
            page = running.ask(self._url, self._token, f"/queue?after={after}")["tasks"]
            found += page
            if len(page) < PAGE:
                return found

    def retry(self, ids: list[int] | None) -> int:
        return int(running.ask(self._url, self._token, "/queue/retry", {"ids": ids})["count"])

    def drop(self, ids: list[int] | None) -> int:
        return int(running.ask(self._url, self._token, "/queue/drop", {"ids": ids})["count"])

    def send(self, to: str, study_uid: str, series_uid: str | None, sop_uid: str | None) -> tuple[int, int, int]:
        body = {"to": to, "study": study_uid, "series": series_uid, "instance": sop_uid}
        return 0, 0, int(running.ask(self._url, self._token, "/queue/send", body)["count"])


class _Here:
    def __init__(self, archive: Archive, settings: Settings) -> None:
        self._archive, self._settings = archive, settings

    def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while page := self._archive.index.tasks(after=found[-1]["id"] if found else 0, limit=PAGE):
            found += [shown(task) for task in page]
        return found

    def retry(self, ids: list[int] | None) -> int:
        return self._archive.index.retry_tasks(ids, time.time())

    def drop(self, ids: list[int] | None) -> int:
        return self._archive.index.drop_tasks(ids)

    def send(self, to: str, study_uid: str, series_uid: str | None, sop_uid: str | None) -> tuple[int, int, int]:
        """Do it now; what fails stays in the queue, for the next gateway."""
        uids = (study_uid, series_uid, sop_uid)
        batch = send_here(self._archive, self._settings, Caller("send", "cli"), to, uids, CLAIM)
        with command_audit(self._settings, self._archive) as audit:
            outcomes = list(handlers(self._archive, self._settings, audit)[tasks.FORWARD](batch))
        tasks.settle(self._archive, outcomes)
        failed = sum(1 for outcome in outcomes if outcome.error)
        return len(outcomes) - failed, failed, 0
