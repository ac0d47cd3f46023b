"""An archive of one's own for the use cases: a folder and SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import Archive, open_archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """An empty archive."""
    made = open_archive((tmp_path / "objects").as_uri(), f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "spool")
    yield made
    made.close()
