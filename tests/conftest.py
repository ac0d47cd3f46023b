"""Fixtures for all tests: real servers and a real gateway process. Each module below says what it offers.

Generated data are the same in every run, so that what passes once passes again; `GANTRY_FUZZ=1` draws others each time.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

pytest_plugins = ["tests.parts.fix_servers", "tests.parts.fix_gateway", "tests.parts.fix_browser"]

settings.register_profile("the same", derandomize=True, database=None)
settings.register_profile("others", print_blob=True)
settings.load_profile("others" if os.environ.get("GANTRY_FUZZ") else "the same")

LONG = (
    "tests/faults/",
    "tests/storage/objects/test_s3.py",
    "tests/end_to_end/",
    "tests/clients/",
    "tests/benchmarks/",
    "tests/gateway/ui/",
    "tests/gateway/dimse/",
)
"""Where one file can take a minute: they come first, so that none is left to one process when the others have ended."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first; otherwise as they were found."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
