"""Fixtures for all tests: real servers and a real gateway process. Each module below says what it offers."""

from __future__ import annotations

pytest_plugins = ["tests.parts.fix_servers", "tests.parts.fix_gateway", "tests.parts.fix_browser"]
