"""Structured logs: one JSON object a line on standard error, with the request or association id of whoever asked.

Values come from strangers: they are escaped by JSON and cut, and hold no patient data by the rule that nobody logs any.
"""

from __future__ import annotations

import json
import logging
import os
import select
import stat
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from gateway import metrics

LONGEST = 256
"""Characters of a logged value."""


REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of the HTTP request that is being answered; stands on all of its lines."""

_encode = json.JSONEncoder(default=repr).encode  # in ASCII: a terminal obeys control characters beyond it, too


def _line(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """The line of an event, with its level, time and ids. One step: most lines are those of requests, one for each."""
    event = structlog.contextvars.merge_contextvars(logger, method, event)
    if request_id := REQUEST_ID.get():
        event.setdefault("request_id", request_id)
    event["level"] = "warning" if method == "warn" else method
    event["time"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    if "exc_info" in event:
        event = structlog.processors.dict_tracebacks(logger, method, event)
    for key, value in event.items():
        if isinstance(value, str) and len(value) > LONGEST:
            event[key] = value[:LONGEST] + "…"
    return _encode(event)


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send our logs, and warnings of the libraries, to `stream` (standard error) from `level` up."""
    structlog.configure(
        processors=[_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=stream or cast(TextIO, _Sink(sys.stderr.fileno()))),
        cache_logger_on_first_use=False,
    )
    handler = _Forward()
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    sys.unraisablehook = _unraisable


class _Sink:
    """A file descriptor that lines go to as long as they are taken: nobody waits for a reader that has stopped (F-67).

    A pipe that says it can be written takes PIPE_BUF bytes at once; longer lines go to files only.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll: select.poll | None = None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLOUT)

    def write(self, line: str) -> int:
        """One line, or nothing of it."""
        data = line.encode("utf-8", "backslashreplace")
        try:
            if self._poll is None or (len(data) <= select.PIPE_BUF and self._poll.poll(0)):
                os.write(self._descriptor, data)
                return len(line)
        except OSError:  # its reader is gone
            pass
        metrics.LOG_LINES_DROPPED.inc()
        return len(line)

    def flush(self) -> None:
        """Nothing is held back."""


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    """What a library let fall in a place that cannot raise: a line instead of a traceback on standard error."""
    structlog.get_logger("python").warning("unraisable", error=getattr(found.exc_type, "__name__", "unknown"))


class _Forward(logging.Handler):
    """Libraries' log records as our lines: their message only, never a traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, "library", message=record.getMessage())


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger; `room` on each of its lines is `name`."""
    # lazy: bound by `configure`, which runs after the modules that ask for a logger were imported
    logger: FilteringBoundLogger = structlog.get_logger(room=name)
    return logger
