"""Fixtures of the web wing's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.dicomweb.service import Service, serve


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """An empty archive behind a web wing, for one test."""
    with serve(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests of a module, which fills it."""
    with serve(tmp_path_factory.mktemp("shared")) as running:
        yield running
