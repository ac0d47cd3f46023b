"""Answers given again while the index is as it was: the same as before, for those who may see them, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.types import Scope

from gateway.caller import Caller
from gateway.http.bodies import Begun
from gateway.http.identity import CALLER_KEY
from gateway.http.remembered import Remembered
from gateway.rights import EVERYTHING, Action, Rights
from storage.attributes import BY_KEYWORD
from storage.query import Equals
from tests.gateway.dicomweb.service import Service, serve
from tests.parts.datasets import ct_slice

ONE, OTHER = ct_slice("remembered"), ct_slice("remembered", 1, 2)
STUDY = f"/studies/{ONE.StudyInstanceUID}"


def asked(path: str = "/dicomweb/studies", rights: Rights = EVERYTHING, **headers: str) -> Scope:
    return {
        **{"type": "http", "method": "GET", "scheme": "http", "server": ("127.0.0.1", 80)},
        **{"path": path, "query_string": b"", CALLER_KEY: Caller("somebody", "web", rights=rights)},
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }


def given(text: bytes = b"body") -> Begun:
    return Begun(200, [], [text])


def known(memory: Remembered, scope: Scope) -> Begun | None:
    question = memory.question(scope)
    return None if question is None else memory.find(question, scope)


def tell(memory: Remembered, scope: Scope, answer: Begun) -> None:
    question = memory.question(scope)
    assert question is not None
    assert memory.find(question, scope) is None
    memory.keep(question, answer, scope)


def test_the_same_question_has_the_same_answer_until_the_index_changes() -> None:
    state = 1
    memory = Remembered(lambda: state)
    answer = given()
    tell(memory, asked(), answer)
    assert known(memory, asked()) is answer
    assert known(memory, asked("/dicomweb/series")) is None
    assert known(memory, asked(accept="image/png")) is None
    assert known(memory, asked(authorization="Bearer of somebody else with the same rights")) is answer
    state = 2
    assert known(memory, asked()) is None


def test_who_has_other_rights_asks_another_question() -> None:
    memory = Remembered(lambda: 1)
    north, south = (((Equals(BY_KEYWORD["InstitutionName"], name),),) for name in ("North", "South"))
    answer = given()
    tell(memory, asked(rights=Rights.to([Action.READ], north)), answer)
    assert known(memory, asked(rights=Rights.to([Action.READ], north))) is answer
    assert known(memory, asked(rights=Rights.to([Action.READ], south))) is None
    assert known(memory, asked(rights=Rights.to([Action.READ]))) is None


def test_an_answer_that_began_before_a_change_is_not_kept_for_after_it() -> None:
    state = 1
    memory = Remembered(lambda: state)
    slow = memory.question(asked())
    assert slow is not None and memory.find(slow, asked()) is None
    state = 2
    assert known(memory, asked()) is None
    memory.keep(slow, given(b"of before"), asked())
    assert known(memory, asked()) is None


def test_what_was_touched_is_on_the_trail_of_everybody_who_gets_the_answer() -> None:
    memory = Remembered(lambda: 1)
    first, second = asked(), asked()
    question = memory.question(first)
    assert question is not None and memory.find(question, first) is None
    first[CALLER_KEY].trail.study("1.2.3", "P1")
    first[CALLER_KEY].trail.search(["PatientID"], 3)
    memory.keep(question, given(), first)
    assert known(memory, second) is not None
    assert second[CALLER_KEY].trail == first[CALLER_KEY].trail


def test_memory_is_bounded_and_bodies_that_go_on_are_not_kept() -> None:
    memory = Remembered(lambda: 1, most=20_000)
    tell(memory, asked("/flows"), Begun(200, [], [b"head"], iter([b"tail"])))
    assert known(memory, asked("/flows")) is None
    for number in range(10):
        tell(memory, asked(f"/{number}"), given(bytes(4000)))
    assert [known(memory, asked(f"/{number}")) is not None for number in range(10)] == [False] * 7 + [True] * 3


def test_only_gets_are_remembered_and_nothing_where_changes_cannot_be_seen() -> None:
    assert Remembered(lambda: None).question(asked()) is None
    assert Remembered(lambda: 1).question({**asked(), "method": "HEAD"}) is None


# ---------------------------------------------------------------- through the door


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serve(tmp_path) as running:
        assert running.store(ONE).status_code == 200
        yield running


def twice(service: Service, path: str, accept: str = "*/*", **headers: str) -> httpx.Response:
    """The answer, which is the same both times but for its id."""
    first, second = (service.get(path, accept, **headers) for _ in range(2))
    told = [
        [(name, value) for name, value in one.headers.items() if name not in ("x-request-id", "date")]
        for one in (first, second)
    ]
    assert (first.status_code, told[0], first.content) == (second.status_code, told[1], second.content)
    return second


def test_asked_again_everything_is_as_it_was(service: Service) -> None:
    """SC-304, RES-06: conditions and ranges count for an answer that is remembered as for any other."""
    picture = f"{STUDY}/rendered"
    whole = twice(service, picture)
    assert whole.status_code == 200
    assert twice(service, picture, if_none_match=whole.headers["etag"]).status_code == 304
    assert [service.get(picture, if_match='"another"').status_code for _ in range(2)] == [412, 412]
    assert twice(service, picture, range="bytes=10-19").content == whole.content[10:20]
    assert twice(service, picture, "image/png").headers["content-type"] == "image/png"
    assert twice(service, "/studies", "application/dicom+json").headers["x-total-count"] == "1"
    assert service.client.head(picture).content == b""
    named = [service.get(picture, x_request_id=f"mine-{number}").headers["x-request-id"] for number in range(2)]
    assert named == ["mine-0", "mine-1"]


def test_what_is_stored_or_deleted_meanwhile_is_seen_at_once(service: Service) -> None:
    paths = [f"{STUDY}/metadata", f"{STUDY}/instances", f"{STUDY}/thumbnail"]
    for path in paths:
        twice(service, path)
    assert service.store(OTHER).status_code == 200
    assert [len(service.get(path).json()) for path in paths[:2]] == [2, 2]
    assert twice(service, paths[2]).status_code == 200
    assert service.client.delete(STUDY).status_code == 204
    assert [service.get(path).status_code for path in (paths[0], paths[2])] == [410, 410]
