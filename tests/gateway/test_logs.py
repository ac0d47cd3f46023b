"""Logs: one JSON object a line, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from gateway.logs import LONGEST, configure, get_logger


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Puts back what `configure` changes in the process."""
    hook, handlers = sys.unraisablehook, list(logging.getLogger().handlers)
    yield
    sys.unraisablehook = hook
    structlog.reset_defaults()
    logging.captureWarnings(False)
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def stream() -> io.StringIO:
    written = io.StringIO()
    configure("info", written)
    return written


def test_each_line_is_json_and_carries_the_bound_id(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        get_logger("room").info("stored", outcome="stored")
    get_logger("room").debug("not this")
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["request_id"], event["room"], event["level"]) == ("stored", "r1", "room", "info")


def test_hostile_values_stay_in_their_line_and_are_cut(stream: io.StringIO) -> None:
    """S-80"""
    get_logger("room").info("called", aet='X\r\nFAKE\x1b[31m"}', long="x" * 10_000)
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event["aet"] == 'X\r\nFAKE\x1b[31m"}'
    assert "\x1b" not in line
    assert len(event["long"]) == LONGEST + 1


def test_warnings_of_libraries_become_lines_of_ours(stream: io.StringIO) -> None:
    logging.getLogger("some.library").warning("careful %s", "now")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "careful now"


def test_a_logger_made_before_the_configuration_follows_it() -> None:
    early = get_logger("early")
    written = io.StringIO()
    configure("warning", written)
    early.info("not this")
    early.warning("this")
    (line,) = written.getvalue().splitlines()
    assert json.loads(line)["room"] == "early"


def test_an_error_in_a_finalizer_is_one_line_without_a_traceback(stream: io.StringIO) -> None:
    """S-75"""

    class Falls:
        def __del__(self) -> None:
            raise ValueError("Doe^John")

    Falls()
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["error"] == "ValueError"
    assert "Doe" not in line
