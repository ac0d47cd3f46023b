"""The damaged instances from the command line: of the gateway that runs on the data folder, or of the index itself."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from gateway import running
from gateway.app import open_from
from gateway.http.integrity import PAGE, shown
from gateway.settings import Settings


def listed(settings: Settings) -> list[dict[str, Any]]:
    """All damaged instances, as `/integrity` shows them. Raises StorageError, GatewayError, BadSettings."""
    found = running.reached(settings.data, "/integrity")
    if found is not None:
        return _remote(*found)
    with closing(open_from(settings)) as archive:
        return [shown(damage) for damage in archive.look_at_damage()]


def _remote(url: str, token: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["version"] if found else ""
        page = running.ask(url, token, f"/integrity?after={after}")["damaged"]
        found += page
        if len(page) < PAGE:
            return found
