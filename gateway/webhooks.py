"""Webhooks: the change feed, sent to HTTP servers of the settings as it grows.

Every delivery is a task of the queue, entered in one transaction with the mark of how far the feed was read: it
outlives crashes, is tried again with growing delays, and after a week is given up and kept to be looked at
(`gantry queue list`). A receiver may get a delivery twice, and late ones after newer ones: sequence numbers tell.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Generator, Sequence

import orjson
import urllib3

from gateway import changes
from gateway.caller import Caller
from gateway.logs import get_logger
from gateway.settings import Settings, Webhook
from gateway.tasks import WEBHOOK, Outcome, payload
from storage.archive import Archive
from storage.errors import StorageError
from storage.tasks import NewTask, Task

log = get_logger(__name__)

MARK = "webhooks"
BATCH = 100
"""Changes in one delivery at most."""

GONE = 410
_CALLER = Caller("webhooks", "tasks")


class WebhookFeed:
    """Turns changes of the archive into deliveries."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self._archive = archive
        self._hooks = settings.webhooks

    def start(self) -> None:
        """Take up where the last process ended; what happened before there was any webhook is not told.

        Raises IndexStoreError.
        """
        index = self._archive.index
        if not self._hooks:
            index.set_note(MARK, None)
        elif index.note(MARK) is None:
            index.enqueue([], time.time(), (MARK, None, str(index.horizon())))

    def advance(self) -> None:
        """Enter deliveries for all that is new. Raises IndexStoreError."""
        if not self._hooks:
            return
        index = self._archive.index
        while True:
            mark = index.note(MARK) or "0"
            new = changes.since(self._archive, _CALLER, int(mark), BATCH)
            if not new:
                return
            first, last = new[0].sequence, new[-1].sequence
            now = time.time()
            wanted = {one.action for one in new}
            tasks = [
                NewTask(WEBHOOK, hook.url, f"{WEBHOOK}:{hook.url}:{first}", payload(first=first, last=last), now)
                for hook in self._hooks
                if not hook.actions or wanted & set(hook.actions)
            ]
            index.enqueue(tasks, now, (MARK, mark, str(last)))


class Deliverer:
    """Handles tasks of kind `webhook`. Posts to URLs of the settings only, and follows no redirect (S-77)."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self._archive = archive
        self._hooks = {hook.url: hook for hook in settings.webhooks}
        self._pool = urllib3.PoolManager(maxsize=4, retries=False, timeout=urllib3.Timeout(connect=5, read=10))

    def __call__(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """See `gateway.tasks.Handler`."""
        away = ""
        for task in tasks:
            hook = self._hooks.get(task.target)
            if hook is None:
                yield Outcome(task, "no_such_webhook", final=True)
            elif away:
                yield Outcome(task, away)
            else:
                outcome = self._deliver(task, hook)
                away = outcome.error if outcome.error == "unreachable" else ""
                yield outcome

    def _deliver(self, task: Task, hook: Webhook) -> Outcome:
        wanted = orjson.loads(task.payload)
        try:
            found = self._archive.changes(wanted["first"] - 1, BATCH)
        except StorageError:
            return Outcome(task, "unavailable")
        told = [
            one for one in found if one.sequence <= wanted["last"] and (not hook.actions or one.action in hook.actions)
        ]
        body = orjson.dumps({"delivery": task.id, "changes": [changes.shown(one) for one in told]})
        headers = {"Content-Type": "application/json", "User-Agent": "gantry"}
        if hook.secret:
            headers["Gantry-Signature"] = signature(hook.secret, body, int(time.time()))
        try:
            answer = self._pool.request(
                "POST", hook.url, body=body, headers=headers, redirect=False, preload_content=False
            )
            try:
                answer.read(1 << 16)  # so that the connection can be kept, where the answer is short
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError):
            return Outcome(task, "unreachable")
        if 200 <= answer.status < 300:
            return Outcome(task)
        return Outcome(task, f"http_{answer.status}", final=answer.status == GONE)


def signature(secret: str, body: bytes, moment: int) -> str:
    """The value of Gantry-Signature: `t=` Unix time, `v1=` HMAC-SHA256 in hex over that time, a dot and the body."""
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"
