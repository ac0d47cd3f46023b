"""The checker of histories: what it accepts, and what it does not."""

from __future__ import annotations

import pytest

from tests.parts.history import Step, explains

PUT_A = Step("put", "a", 0, 10, "stored")
CASES = [
    ("one after the other", [PUT_A, Step("read", "", 11, 12, "a")], True),
    ("lost", [PUT_A, Step("read", "", 11, 12, "absent")], False),
    ("at the same time, before", [PUT_A, Step("read", "", 5, 12, "absent")], True),
    ("read backwards", [PUT_A, Step("read", "", 1, 2, "a"), Step("read", "", 3, 4, "absent")], False),
    ("two winners", [PUT_A, Step("put", "b", 0, 10, "stored")], False),
    ("a winner and a loser", [PUT_A, Step("put", "b", 0, 10, "refused")], True),
    ("deleted in between", [PUT_A, Step("delete", "", 0, 10, "deleted"), Step("put", "b", 0, 10, "stored")], True),
    ("never answered, but there", [Step("put", "a", 0), Step("read", "", 11, 12, "a")], True),
    ("never answered, and not there", [Step("put", "a", 0), Step("read", "", 11, 12, "absent")], True),
    (
        "never answered, there and gone",
        [Step("put", "a", 0), Step("read", "", 1, 2, "a"), Step("read", "", 3, 4, "absent")],
        False,
    ),
    ("deleted and back", [PUT_A, Step("delete", "", 11, 12, "deleted"), Step("read", "", 13, 14, "a")], False),
    ("absent while it was there", [PUT_A, Step("delete", "", 11, 12, "absent")], False),
]


@pytest.mark.parametrize(("steps", "right"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_histories(steps: list[Step], right: bool) -> None:
    assert explains(steps, replace=False) is right


def test_a_replacement_is_seen_by_those_who_come_after() -> None:
    steps = [PUT_A, Step("put", "b", 11, 12, "replaced")]
    assert explains([*steps, Step("read", "", 13, 14, "b")], replace=True, end="b")
    assert not explains([*steps, Step("read", "", 13, 14, "a")], replace=True)
    assert not explains(steps, replace=True, end="a")
