"""Each rule of the standard that the web wing claims has a test that names it; the lists are in tests/rows/."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROWS = TESTS / "rows"
BEYOND = "beyond.txt"
_ROW = re.compile(r"\b([A-Z]+)-([0-9]{2,3})\b")
_SPAN = re.compile(r"\b([A-Z]+)-([0-9]{2,3}) to (?:\1-)?([0-9]{2,3})\b")


def rows(path: Path) -> dict[str, str]:
    """The ids of a list, and what each is about."""
    lines = (line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#"))
    found: dict[str, str] = {}
    for line in lines:
        name, _, words = line.partition(" ")
        assert _ROW.fullmatch(name), f"{path.name}: {line}"
        assert words.strip(), f"{path.name}: {name} says nothing"
        assert name not in found, f"{path.name}: {name} stands twice"
        found[name] = words
    return found


def claimed() -> dict[str, str]:
    """The rows of all lists but the one of what is beyond."""
    found: dict[str, str] = {}
    for path in sorted(ROWS.glob("*.txt")):
        if path.name != BEYOND:
            found.update(rows(path))
    return found


def docstrings() -> Iterator[str]:
    """Those of all test functions."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield ast.get_docstring(node) or ""


def named(text: str) -> set[str]:
    """The ids in a docstring; `TS-02 to TS-08` names all of them."""
    found = {match[0] for match in _ROW.finditer(text)}
    for name, first, last in _SPAN.findall(text):
        found |= {f"{name}-{number:0{len(first)}}" for number in range(int(first), int(last) + 1)}
    return found


@cache
def proven() -> set[str]:
    """The rows that docstrings name; all tests are read for it, so it is worked out by who asks."""
    return {name for text in docstrings() for name in named(text)}


@pytest.mark.parametrize("name", claimed())
def test_a_test_names_the_row(name: str) -> None:
    """The row is claimed, so there is a test whose docstring names it."""
    assert name in proven(), f"{name} ({claimed()[name]}) has no test"


def test_no_row_is_both_claimed_and_beyond() -> None:
    """What is left out says why, and is not claimed at the same time."""
    assert not rows(ROWS / BEYOND).keys() & claimed().keys()


def test_spans_are_understood() -> None:
    """Of lists and spans of ids."""
    found = named("AB-02 to AB-04, CD-10")
    assert found == {"AB-02", "AB-03", "AB-04", "CD-10"}
