"""The version of Gantry."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def gantry_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("gantry")
    except PackageNotFoundError:
        return "0+unknown"
