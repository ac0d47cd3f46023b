"""Every index that passes the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage import open_index
from storage.index import Index

MakeIndex = Callable[[], Index]


@pytest.fixture(params=["sqlite", "postgres"])
def index_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty index."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'index.db'}"
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture
def index(index_url: str) -> Iterator[Index]:
    """An empty index."""
    made = open_index(index_url)
    yield made
    made.close()
