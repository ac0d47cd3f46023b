"""schemathesis asks all that `/openapi.json` describes, well and badly formed, with and without a token.

No answer may be a server error; each has a status and a media type that the document names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, SerializationContext
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from gateway.app import OWN
from gateway.dicomweb.catalogue import SERVICES as DICOMWEB
from tests.clients.conftest import store
from tests.parts import once
from tests.parts.datasets import multi_frame, part10_bytes
from tests.parts.fix_gateway import BackendEnvironment, starter
from tests.parts.gateway import GatewayProcess, Launch

TOKEN = "a-token-of-the-tests"
ALL = [(path, operation) for service in (*DICOMWEB, *OWN) for path, operation in service.operations()]
OPERATIONS = [(path, operation.method) for path, operation in ALL]
CLOSED = [(path, operation.method) for path, operation in ALL if operation.needs is not None]
QUESTIONS = [
    (path, operation.method, mode)
    for path, operation in ALL
    for mode in GenerationMode
    # Where there are no parameters, nothing that can be said breaks the document: any bytes are a body.
    if mode is GenerationMode.POSITIVE or "{" in path or operation.query
]
EXAMPLES = 3
"""Of each operation, in each of the ways below; the same ones every time."""
NOT_IMPLEMENTED = 501
DS = multi_frame("openapi")
KNOWN = {"study": DS.StudyInstanceUID, "series": DS.SeriesInstanceUID, "instance": DS.SOPInstanceUID, "frames": "1,3"}
AS_ONE_OF_US = {"Authorization": f"Bearer {TOKEN}"}


@schemathesis.serializer("application/dicom", "multipart/related")
def as_it_is(context: SerializationContext, value: object) -> bytes:
    """A body that schemathesis made up: bytes, which are no DICOM."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, backend_environment: BackendEnvironment, launch: Launch
) -> Iterator[GatewayProcess]:
    """One without a token, with an instance in it."""
    with ExitStack() as running:
        gateway = starter(running, tmp_path_factory.mktemp("open"), backend_environment, launch)()
        yield gateway
        assert "Traceback" not in gateway.log()


@pytest.fixture(scope="module")
def closed_gateway(
    tmp_path_factory: pytest.TempPathFactory, backend_environment: BackendEnvironment, launch: Launch
) -> Iterator[GatewayProcess]:
    """One that asks for a token."""
    with ExitStack() as running:
        start = starter(running, tmp_path_factory.mktemp("closed"), backend_environment, launch)
        gateway = start(environment={"GANTRY_TOKEN": TOKEN})
        yield gateway
        assert "Traceback" not in gateway.log()


def described(gateway: GatewayProcess) -> Any:
    """What the gateway says of itself, as schemathesis reads it."""
    return schemathesis.openapi.from_dict(once.get(f"{gateway.http_url}/openapi.json").json())


@pytest.fixture(scope="module")
def schema(gateway: GatewayProcess) -> Any:
    """That of the open gateway."""
    return described(gateway)


@pytest.fixture(scope="module")
def closed_schema(closed_gateway: GatewayProcess) -> Any:
    """That of the other."""
    return described(closed_gateway)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """What the questions are asked with."""
    with requests.Session() as session:
        yield session


def ask(case: Case[Any], gateway: GatewayProcess, session: requests.Session, **headers: str) -> int:
    """Ask once, and check the answer; its status."""
    answer = case.call(base_url=gateway.http_url, session=session, headers=headers, timeout=30)
    assert answer.status_code < 500 or answer.status_code == NOT_IMPLEMENTED, answer.text
    case.validate_response(answer, checks=[status_code_conformance, content_type_conformance])
    return answer.status_code


few = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def some_of(path: str) -> settings:
    """As many questions as the path is worth: DICOMweb's are the ones with much to say."""
    return few if path.startswith(("/dicomweb", "/wado")) else settings(few, max_examples=1)


def test_the_document_describes_all_services(schema: Any) -> None:
    found = {(operation.ok().path, operation.ok().method.upper()) for operation in schema.get_all_operations()}
    assert set(OPERATIONS) <= found


@pytest.mark.parametrize(("path", "method", "mode"), QUESTIONS)
def test_answers_are_those_that_are_documented(
    gateway: GatewayProcess, schema: Any, session: requests.Session, path: str, method: str, mode: GenerationMode
) -> None:
    """SC-400, SC-404, SC-406, SC-415: well-formed and malformed questions, of what is there and of what is not."""
    store(gateway, part10_bytes(DS))  # it may have been deleted

    @some_of(path)
    @given(data=st.data())
    def asked(data: st.DataObject) -> None:
        case = data.draw(schema[path][method].as_strategy(generation_mode=mode))
        ask(case, gateway, session)
        if case.path_parameters and method != "DELETE":
            case.path_parameters = {name: KNOWN.get(name, value) for name, value in case.path_parameters.items()}
            ask(case, gateway, session)

    asked()


@pytest.mark.parametrize(("path", "method"), CLOSED)
def test_without_the_token_nothing_is_told(
    closed_gateway: GatewayProcess, closed_schema: Any, session: requests.Session, path: str, method: str
) -> None:
    """SC-401, S-69; with the token it is never 401. What is open to everybody tells no data, and needs none."""
    strategy = closed_schema[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE)

    @some_of(path)
    @given(case=strategy)
    def asked(case: Case[Any]) -> None:
        assert ask(case, closed_gateway, session) == 401
        assert ask(case, closed_gateway, session, Authorization="Bearer another") == 401
        assert ask(case, closed_gateway, session, **AS_ONE_OF_US) != 401

    asked()
