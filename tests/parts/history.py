"""Is there an order of what several processes did at once that explains all answers (linearizability)?

Each step on one instance takes effect at one moment between its call and its answer. A step that was never answered may
have taken effect at any moment after its call, or never.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

State = str | None
"""What the instance holds: a name for its bytes; None when it is not there."""

NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Step:
    """One call: `put` of some content, `delete` or `read`; `answer` is None when none came."""

    kind: str
    content: str
    called: int
    answered: int = NEVER
    answer: str | None = None


def outcomes(step: Step, state: State, *, replace: bool) -> Iterator[tuple[str, State]]:
    """What the step may answer in this state, and the state after it."""
    if step.kind == "read":
        yield state or "absent", state
    elif step.kind == "delete":
        yield ("absent" if state is None else "deleted"), None
    elif state is None:
        yield "stored", step.content
    elif state == step.content:
        yield "duplicate", state
    elif replace:
        yield "replaced", step.content
    else:
        yield "refused", state


def explains(steps: Sequence[Step], *, replace: bool, start: State = None, end: State | str = "?") -> bool:
    """Whether such an order exists; `end` is what was there when all was over, `?` when that is not known."""
    answered = [step for step in steps if step.answer is not None]
    steps = [*answered, *(step for step in steps if step.answer is None and step.kind != "read")]
    known = len(answered)
    seen: set[tuple[int, State]] = set()

    def go(done: int, state: State) -> bool:
        if (done, state) in seen:
            return False
        seen.add((done, state))
        left = [number for number in range(len(steps)) if not done >> number & 1]
        if all(number >= known for number in left) and end in ("?", state):
            return True
        horizon = min((steps[number].answered for number in left), default=NEVER)
        for number in left:
            step = steps[number]
            if step.called > horizon:
                continue
            for answer, after in outcomes(step, state, replace=replace):
                if (step.answer is None or step.answer == answer) and go(done | 1 << number, after):
                    return True
        return False

    return go(0, start)
