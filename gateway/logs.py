"""Structured logs: one JSON object a line on standard error, with the request or association id of whoever asked.

Values come from strangers: they are escaped by JSON and cut, and hold no patient data by the rule that nobody logs any.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

LONGEST = 256
"""Characters of a logged value."""


def _cut(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str) and len(value) > LONGEST:
            event[key] = value[:LONGEST] + "…"
    return event


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send our logs, and warnings of the libraries, to `stream` (standard error) from `level` up."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.dict_tracebacks,
            _cut,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = _Forward()
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    sys.unraisablehook = _unraisable


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
