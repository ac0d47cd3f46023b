"""Threads that do tasks as they become due, and turn what happens in the archive into tasks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from gateway import metrics, tasks
from gateway.errors import GatewayError
from gateway.logs import get_logger
from gateway.tasks import Handler, Outcome
from storage.archive import Archive
from storage.errors import StorageError
from storage.tasks import Task

log = get_logger(__name__)

POLL = 1.0
"""Seconds between two looks at the index for changes and due tasks."""

COUNT_EVERY = 15.0
SETTLE_EVERY = 1.0
LEASE = 600.0
"""Seconds for which claimed tasks are left alone by other gateways; a crash delays them for as long."""

BATCH = 200
NOT_TRIED = 5.0
"""Seconds until tasks are due again whose handler ended before it came to them."""


class Workers:
    """Does tasks by their kind, at most `threads` batches at a time and one for each target.

    `feed` is called often; it enters tasks for what is new. `start` and `stop` once, from one thread.
    """

    def __init__(
        self,
        archive: Archive,
        handlers: Mapping[str, Handler],
        feed: Callable[[], None] = lambda: None,
        *,
        threads: int = 4,
        poll: float = POLL,
        count_every: float = COUNT_EVERY,
    ) -> None:
        self._archive = archive
        self._handlers = handlers
        self._feed = feed
        self._threads = threads
        self._poll = poll
        self._count_every = count_every
        self._lock = threading.Lock()
        self._busy: dict[tuple[str, str], threading.Thread] = {}
        self._stopping = threading.Event()
        self._awake = threading.Event()
        self._counted = 0.0
        self._shown: set[tuple[str, str]] = set()
        self._thread = threading.Thread(target=self._run, name="tasks", daemon=True)

    def start(self) -> None:
        """Begin to do tasks."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once."""
        self._awake.set()

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Finish the instance or report at hand, for at most `grace_seconds`; the rest waits for the next start."""
        self._stopping.set()
        self._awake.set()
        until = time.monotonic() + grace_seconds
        if self._thread.is_alive():
            self._thread.join(grace_seconds)
        with self._lock:
            working = list(self._busy.values())
        for thread in working:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        trouble = ""
        while not self._stopping.is_set():
            try:
                self._feed()
                self._dispatch()
                self._count()
                trouble = ""
            except (StorageError, GatewayError) as error:
                if trouble != (trouble := type(error).__name__):  # once, not every second
                    log.warning("tasks_wait", error=trouble)
            self._awake.wait(self._poll)
            self._awake.clear()

    def _dispatch(self) -> None:
        """Start a thread for each batch that is due."""
        index = self._archive.index
        due = index.next_due()
        while due is not None and due <= time.time() and not self._stopping.is_set():
            with self._lock:
                busy = list(self._busy)
            if len(busy) >= self._threads:
                return
            batch = index.claim(time.time(), LEASE, BATCH, busy)
            if not batch:
                return
            place = (batch[0].kind, batch[0].target)
            thread = threading.Thread(target=self._do, args=(place, batch), name=f"task-{place[0]}", daemon=True)
            with self._lock:
                self._busy[place] = thread
            thread.start()

    def _do(self, place: tuple[str, str], batch: Sequence[Task]) -> None:
        """Do one batch and write down what became of each task."""
        left = {task.id: task for task in batch}
        outcomes: list[Outcome] = []
        settled = time.monotonic()
        try:
            with closing(self._handlers[place[0]](batch)) as results:
                for outcome in results:
                    del left[outcome.task.id]
                    outcomes.append(outcome)
                    if time.monotonic() - settled > SETTLE_EVERY:
                        self._settle(place, outcomes)
                        outcomes, settled = [], time.monotonic()
                    if self._stopping.is_set():
                        break
        except (StorageError, GatewayError) as error:
            outcomes += [Outcome(task, type(error).__name__) for task in left.values()]
            left = {}
        except Exception as error:
            # A fault of ours in one kind of tasks must not end this thread silently, nor be tried again in a circle.
            log.error("task_failed", kind=place[0], error=type(error).__name__)
            outcomes += [Outcome(task, type(error).__name__) for task in left.values()]
            left = {}
        try:
            self._settle(place, outcomes)
            if left:
                tasks.release(self._archive, list(left.values()), 0.0 if self._stopping.is_set() else NOT_TRIED)
        except GatewayError as error:  # they are due again when the lease is over
            log.warning("tasks_unsettled", kind=place[0], error=type(error).__name__)
        with self._lock:
            del self._busy[place]
        self._awake.set()

    def _settle(self, place: tuple[str, str], outcomes: Sequence[Outcome]) -> None:
        tasks.settle(self._archive, outcomes)
        for outcome in outcomes:
            metrics.TASKS_DONE.labels(kind=place[0], outcome=_word(outcome)).inc()
        failed = [outcome for outcome in outcomes if outcome.error]
        if failed:
            log.warning("tasks_failed", kind=place[0], target=place[1], count=len(failed), reason=failed[-1].error)
        if any(not outcome.error and outcome.task.attempts for outcome in outcomes):
            self._archive.index.hurry(*place, time.time())  # the target is back

    def _count(self) -> None:
        if time.monotonic() - self._counted < self._count_every:
            return
        self._counted = time.monotonic()
        self._archive.index.expire_tasks(time.time() - tasks.KEPT)
        self._archive.index.settle()
        counts = self._archive.index.task_counts()
        self._shown |= counts.keys()
        for kind, state in self._shown:  # none left is a count too: several processes cannot take one away
            metrics.TASKS.labels(kind=kind, state=state).set(counts.get((kind, state), 0))


def _word(outcome: Outcome) -> str:
    if not outcome.error:
        return "done"
    return "given_up" if outcome.final else "failed"
