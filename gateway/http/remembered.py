"""Answers that were given a moment ago, given again at once for as long as nothing in the index has changed.

What a caller may see, where it lies and what it is like all come from the index; stored objects do not change. So while
the index is as it was, the same question of a caller with the same rights has the same answer, and neither a search nor
a worker thread is needed for it. After the next change, whatever it is, everything is worked out anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from starlette.types import Scope

from gateway.http.bodies import Begun
from gateway.http.forwarded import PREFIX_KEY
from gateway.http.identity import caller_of

MOST = 32 << 20
"""Bytes of answers that are remembered."""
_EACH = 2048
"""Bytes that an answer counts for besides its body: question, headers, objects."""

_APART = frozenset({b"authorization", b"cookie", b"x-request-id", b"traceparent", b"tracestate"})
"""Headers that say who asks and how to follow it. All others may change an answer, and belong to the question."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, at which state of the index."""

    state: int
    key: Hashable


@dataclass(frozen=True, slots=True)
class _Answer:
    begun: Begun
    studies: dict[str, str | None]
    keys: list[str]
    count: int
    size: int


class Remembered:
    """The answers of some resources, by question; `state` is that of the index. For the thread of the event loop."""

    def __init__(self, state: Callable[[], int | None], most: int = MOST) -> None:
        self._state = state
        self._most = most
        self._at = -1
        self._size = 0
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()

    def question(self, scope: Scope) -> Question | None:
        """What a request asks for; None where its answer is not to be remembered. To be made before it is answered."""
        state = self._state() if scope["method"] == "GET" else None
        if state is None:
            return None
        headers = tuple([one for one in scope["headers"] if one[0] not in _APART])
        place = (scope["scheme"], scope["server"], scope.get(PREFIX_KEY, ""), scope["path"], scope["query_string"])
        key = (place, headers, tuple(caller_of(scope).rights.granted.items()))
        return Question(state, key)

    def find(self, question: Question, scope: Scope) -> Begun | None:
        """The answer, if it was given before; what it touches is on the caller's trail."""
        if question.state != self._at:
            self._answers.clear()
            self._at, self._size = question.state, 0
            return None
        found = self._answers.get(question.key)
        if found is None:
            return None
        self._answers.move_to_end(question.key)
        trail = caller_of(scope).trail
        trail.studies.update(found.studies)
        trail.keys, trail.count = list(found.keys), found.count
        return found.begun

    def keep(self, question: Question, answer: object, scope: Scope) -> None:
        """Remember an answer that is all there; others are let go."""
        if question.state != self._at or not isinstance(answer, Begun) or answer.chunks is not None:
            return
        trail = caller_of(scope).trail
        size = _EACH + sum(map(len, answer.trip))
        before = self._answers.pop(question.key, None)
        self._answers[question.key] = _Answer(answer, dict(trail.studies), list(trail.keys), trail.count, size)
        self._size += size - (0 if before is None else before.size)
        while self._size > self._most:
            self._size -= self._answers.popitem(last=False)[1].size
