"""What holds for the whole web wing: capabilities, description, negotiation rules, status codes, hostile requests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from starlette.routing import Mount, Route

from gateway.dicomweb import offers
from gateway.dicomweb.capabilities import NAMESPACE, tree
from gateway.dicomweb.catalogue import SERVICES, STUDIES, URI
from gateway.dicomweb.media_types import choose, parse
from gateway.dicomweb.routes import routes, uri_routes
from gateway.http import health
from gateway.http.openapi import document
from gateway.settings import Settings
from tests.gateway.dicomweb.service import BOUNDARY, Service, parts_of, serve, stow_body
from tests.parts.datasets import ct_slice

SLICE = ct_slice("service")
PATH = f"/studies/{SLICE.StudyInstanceUID}/series/{SLICE.SeriesInstanceUID}/instances/{SLICE.SOPInstanceUID}"
WADL = "application/vnd.sun.wadl+xml"


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    assert shared.store(SLICE).status_code == 200
    yield shared


# ---------------------------------------------------------------- capabilities


def test_options_of_the_root_describes_the_service(filled: Service) -> None:
    """GEN-01, GEN-16, GEN-17: WADL with one application, one resources element with the base, and the resource tree."""
    answer = filled.client.options("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == WADL
    application = ElementTree.fromstring(answer.content)
    name = f"{{{NAMESPACE}}}"
    assert application.tag == f"{name}application"
    resources = application[0]
    assert len(application) == 1
    assert resources.attrib["base"] == filled.url
    paths = {resource.attrib["path"] for resource in resources.iter(f"{name}resource")}
    assert {"/", "/studies", "{study}", "series", "metadata", "frames/{frames}"} <= paths
    search = next(method for method in resources.iter(f"{name}method") if method.attrib["id"] == "search.studies")
    asked = [one for request in search.findall(f"{name}request") for one in request]
    accept, query = asked[0], asked[1:]
    assert accept.attrib == {"name": "Accept", "style": "header"}
    assert "application/dicom+json" in {option.attrib["value"] for option in accept}
    assert "includefield" in {one.attrib["name"] for one in query}
    statuses = {one.attrib["status"] for one in search.findall(f"{name}response")}
    assert {"200", "204", "400"} <= statuses


def test_capabilities_come_in_json_too_and_are_revalidated(filled: Service) -> None:
    """GEN-16: application/json, 304, 406."""
    answer = filled.client.options("/", headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["application"]["resources"]["base"] == filled.url
    again = filled.client.options("/", headers={"Accept": "application/json", "If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert filled.client.options("/", headers={"Accept": "image/png"}).status_code == 406


def test_options_of_a_resource_describes_it_and_what_lies_below(filled: Service) -> None:
    """GEN-16."""
    answer = filled.client.options(PATH, headers={"Accept": "application/json"})
    assert answer.status_code == 200
    assert set(answer.headers["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS"}
    (resource,) = answer.json()["application"]["resources"]["resource"]
    assert {"metadata", "bulkdata", "rendered"} <= {one["path"] for one in resource["resource"]}


def test_a_preflight_is_no_question_for_capabilities(filled: Service, tmp_path: Path) -> None:
    """GEN-18: answered as CORS, with and without origins that may use the API."""
    asked = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "GET"}
    answer = filled.client.options("/studies", headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "access-control-allow-origin" not in answer.headers
    with serve(tmp_path, cors_origins="https://viewer.example") as service:
        answer = service.client.options("/studies", headers=asked)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "https://viewer.example"


def test_every_route_is_described_and_nothing_else(tmp_path: Path) -> None:
    """GEN-16: routes, capabilities and /openapi.json say the same."""
    with serve(tmp_path) as service:
        settings = Settings(data=tmp_path)
        found = [
            Mount("/dicomweb", routes=routes(service.archive, settings)),
            *uri_routes(service.archive, settings),
            *health.routes(),
        ]
        described = service.client.get(f"{service.origin}/openapi.json").json()["paths"]
    there: set[tuple[str, str]] = set()
    for one in found:
        prefix, inner = (one.path, one.routes) if isinstance(one, Mount) else ("", [one])
        for route in inner:
            assert isinstance(route, Route)
            path = prefix + route.path.replace(":path}", "}")
            there |= {(path, method.lower()) for method in route.methods or ()}
    stated = {(path, method) for path, methods in described.items() for method in methods}
    own = {("/openapi.json", "get"), ("/docs", "get")}
    implied = {(path, method) for path, method in there if method == "options" or (method == "head")}
    assert stated - own == there - implied | {("/dicomweb/", "options")}


def test_the_description_is_whole() -> None:
    """Each operation has a name of its own, its path parameters, and types for what it answers."""
    described = json.loads(json.dumps(document(SERVICES, "1")))
    names: list[str] = []
    for path, methods in described["paths"].items():
        for operation in methods.values():
            names.append(operation["operationId"])
            in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert in_path == {part.strip("{}") for part in path.split("/") if part.startswith("{")}
            assert set(operation["responses"]) & {"200", "204"}
            for status, response in operation["responses"].items():
                assert not status.startswith("4") or "application/problem+json" in response["content"]
    assert len(names) == len(set(names))


def test_the_tree_holds_every_resource_once() -> None:
    """GEN-17."""
    found: list[str] = []

    def walk(nodes: object, above: str) -> None:
        assert isinstance(nodes, list)
        for node in nodes:
            path = f"{above}/{node.path}" if above else node.path
            found.append(path)
            walk(node.nodes, path)

    walk(tree(STUDIES.resources), "")
    assert sorted(found) == sorted(resource.path for resource in STUDIES.resources)


def test_the_page_of_the_description_loads_nothing_from_elsewhere(filled: Service) -> None:
    """S-60: no script, no foreign host."""
    answer = filled.client.get(f"{filled.origin}/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text and "http://" not in answer.text and "https://" not in answer.text
    for service in (STUDIES, URI, health.SERVICE):
        for path, operation in service.operations():
            assert path in answer.text
            assert f"id='{operation.name}'" in answer.text


def test_description_needs_no_token(tmp_path: Path) -> None:
    """SC-401: all else does."""
    with serve(tmp_path, token="a-token-of-enough-length") as service:
        for path in ("/openapi.json", "/docs"):
            assert service.client.get(service.origin + path).status_code == 200
        for path in ("/dicomweb/studies", "/wado?requestType=WADO"):
            refused = service.client.get(service.origin + path)
            assert (refused.status_code, "www-authenticate" in refused.headers) == (401, True)


# ---------------------------------------------------------------- negotiation


def test_without_an_accept_header_a_strict_gateway_refuses(tmp_path: Path) -> None:
    """NEG-01: 406 when the setting says so, anything by default."""
    with serve(tmp_path, strict_accept=True) as service:
        service.store(SLICE, Accept="application/dicom+json")
        for path in ("/studies", PATH, PATH + "/metadata", PATH + "/frames/1", PATH + "/rendered"):
            request = service.client.build_request("GET", path)
            del request.headers["accept"]
            answer = service.client.send(request)
            assert answer.status_code == 406, path
            assert answer.json()["offered"]
            assert service.get(path, "*/*").status_code == 200
    with serve(tmp_path / "lenient") as service:
        service.store(SLICE)
        request = service.client.build_request("GET", PATH)
        del request.headers["accept"]
        assert service.client.send(request).status_code == 200


@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        ("accept=application/json", "*/*, application/json;q=0.1", "application/json"),
        ("accept=application/json", "application/dicom%2Bjson", 406),
        ("accept=image/png", "*/*", "application/dicom+json"),
        ("", "application/json", "application/json"),
        ("", "*/*", "application/dicom+json"),
        ("", "image/png", 406),
        ("accept=image/png", "image/png", 406),
    ],
)
def test_parameter_then_header_then_default_then_406(
    filled: Service, query: str, header: str, expected: str | int
) -> None:
    """NEG-04, NEG-06, GEN-06: in this order."""
    answer = filled.get(f"{PATH}/metadata?{query}", header)
    assert expected in (answer.status_code, answer.headers["content-type"])


def test_what_a_406_says(filled: Service) -> None:
    """SC-406: what is on offer, and the stored transfer syntax."""
    answer = filled.get(PATH + "/frames/1", "video/mp4").json()
    assert answer["stored"] == "1.2.840.10008.1.2.1"
    assert any("application/octet-stream" in one for one in answer["offered"])


def test_a_transfer_syntax_is_no_matter_of_rendered_types(filled: Service) -> None:
    """NEG-11: not permitted there, so the parameter is ignored (NEG-03)."""
    for accept in ("image/png; transfer-syntax=1.2.840.10008.1.2.4.50", "image/png; transfer-syntax=*"):
        assert filled.get(PATH + "/rendered", accept).headers["content-type"] == "image/png"


@pytest.mark.parametrize("asked", ["?charset=utf-8", "?charset=nonsense", "?charset="])
@pytest.mark.parametrize("header", [None, "iso-8859-1", "utf-8;q=0.5, *;q=0"])
def test_answers_are_in_utf_8_whatever_is_asked(filled: Service, asked: str, header: str | None) -> None:
    """GEN-07, GEN-15: unsupported character sets are ignored; UTF-8 has every character of every answer."""
    more = {"Accept_Charset": header} if header else {}
    for accept in ("application/dicom+json; charset=utf-16", "application/dicom+json"):
        answer = filled.get(PATH + "/metadata" + asked, accept, **more)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/dicom+json"
        assert json.loads(answer.content.decode("utf-8"))


def test_what_the_range_star_stands_for() -> None:
    """NEG-08: `*` is the stored syntax, else what the type gives without the parameter."""
    jls = "1.2.840.10008.1.2.4.80"
    frames = offers.frames("1.2.840.10008.1.2.1", explicit=True, single=True, possible=("1.2.840.10008.1.2.1", jls))
    chosen = choose([parse("image/jls; transfer-syntax=*")], frames)
    assert chosen is not None and chosen.syntax == jls
    chosen = choose([parse("application/octet-stream; transfer-syntax=*")], frames)
    assert chosen is not None and chosen.stored


# ---------------------------------------------------------------- status codes and bad input


def test_a_part_that_names_another_transfer_syntax_is_what_its_file_says(service: Service) -> None:
    """GEN-14."""
    body = stow_body([SLICE]).replace(
        b"Content-Type: application/dicom\r\n",
        b"Content-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50\r\n",
    )
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    assert service.client.post("/studies", content=body, headers={"Content-Type": kind}).status_code == 200
    (headers, _) = parts_of(service.get(PATH, 'multipart/related; type="application/dicom"; transfer-syntax=*'))[0]
    assert headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"


def test_codes_of_what_goes_well_and_what_does_not(filled: Service) -> None:
    """SC-200, SC-400, SC-404, SC-405, WADO-16."""
    assert filled.get(PATH).status_code == 200
    assert filled.get("/studies/1..2").status_code == 400
    assert filled.get("/studies/1.2").status_code == 404
    refused = filled.client.put("/studies")
    assert refused.status_code == 405
    assert {one.strip() for one in refused.headers["allow"].split(",")} == {"GET", "HEAD", "OPTIONS", "POST"}
    for answer in (filled.get("/studies/1..2"), filled.get("/studies/1.2"), refused):
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("text", "accept", "status"),
    [
        *((text, "image/png", 200) for text in ("no", "yes", "srgb", "adobergb", "rommrgb")),
        *((text, "image/png", 400) for text in ("", "nonsense", "sRGB", "yes,srgb")),
        *((text, kind, 400) for text in ("yes", "srgb") for kind in ("image/gif", "image/jxl")),
        ("no", "image/gif", 200),
    ],
)
def test_a_colour_profile_that_the_picture_cannot_have(filled: Service, text: str, accept: str, status: int) -> None:
    """RP-06: 400, and for what is none."""
    answer = filled.get(f"{PATH}/rendered?iccprofile={text}", accept)
    assert answer.status_code == status
    assert status == 200 or answer.json()["parameter"] == "iccprofile"
    assert status == 400 or (b"iCCP" in answer.content) == (text != "no")


def test_without_permission_nothing_is_told(tmp_path: Path) -> None:
    """SC-403: there is one kind of caller, so refusals are 401; no answer tells whether an instance exists."""
    with serve(tmp_path, token="a-token-of-enough-length") as service:
        service.client.headers["Authorization"] = "Bearer a-token-of-enough-length"
        service.store(SLICE)
        del service.client.headers["Authorization"]
        known, unknown = service.get(PATH), service.get("/studies/1.2.3")
        assert (known.status_code, unknown.status_code) == (401, 401)
        assert known.json()["detail"] == unknown.json()["detail"]


def test_a_body_of_unknown_length_is_taken(service: Service) -> None:
    """SC-411: Content-Length is never demanded."""
    pieces = (stow_body([SLICE])[at : at + 999] for at in range(0, len(stow_body([SLICE])), 999))
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    assert service.client.post("/studies", content=pieces, headers={"Content-Type": kind}).status_code == 200


def test_a_uri_that_is_too_long(filled: Service) -> None:
    """SC-414: at 56 KiB; 8 KiB are no trouble."""
    uids = ",".join(f"1.2.{number}" for number in range(1000, 2000))
    assert filled.get(f"/studies?StudyInstanceUID={uids}").status_code == 204
    answer = filled.raw(
        f"GET /dicomweb/studies?PatientID={'x' * 60_000} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 414 ")
    assert b"application/problem+json" in answer


HOSTILE_ACCEPTS = (
    ",".join(["a/b"] * 10_000),
    "application/dicom;" * 3000,
    "multipart/related; type=" + '"' * 9000,
    "*/*" + ";q=0" * 4000,
    "," * 16_000,
    'multipart/related; type="\\' * 500,
    ", ".join(f"multipart/related; type=a/b; transfer-syntax=1.2.{n}" for n in range(120)),
)


@pytest.mark.parametrize("accept", HOSTILE_ACCEPTS)
@pytest.mark.parametrize("path", ["/metadata", "/frames/1", "", "/rendered", "/bulkdata"])
def test_hostile_accept_headers_cost_nothing(filled: Service, accept: str, path: str) -> None:
    """S-55: a verdict in milliseconds, and no 500."""
    seconds: list[float] = []
    for _ in range(3):
        begun = time.perf_counter()
        assert filled.get(PATH + path, accept).status_code in (200, 400, 406)
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.2


@pytest.mark.parametrize(
    "path", ["%2e%2e/%2e%2e/etc/passwd", "1.2%00.3", "1.2/..%2f3", "\uff11.\uff12", "1.2%E2%88%953", "%c0%ae"]
)
def test_paths_that_try_something(filled: Service, path: str) -> None:
    """S-65."""
    answer = filled.raw(f"GET /dicomweb/studies/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ")[1] in (b"400", b"404")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PATCH", "PROPFIND", "BREW"])
def test_methods_that_nothing_has(filled: Service, method: str) -> None:
    """S-73, SC-405; what a client calls an override is ignored."""
    target = "example.org:443" if method == "CONNECT" else "/dicomweb/studies"
    answer = filled.raw(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ")[1] in (b"400", b"404", b"405"), answer[:100]
    for header in ("X-HTTP-Method-Override", "X-Method-Override"):
        assert filled.client.get(PATH, headers={header: "DELETE"}).status_code == 200
    assert filled.get(PATH).status_code == 200


SMUGGLED = b"GET /dicomweb/studies HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -1\r\n",
        b"X: a\r\n b\r\nContent-Length : 5\r\n",
        b"X: a\rY: b\r\nContent-Length: 0\r\n",
    ],
)
def test_requests_that_could_be_read_in_two_ways(filled: Service, head: bytes) -> None:
    """S-72, S-50: one answer at most, and never one to the smuggled request."""
    sent = b"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n0\r\n\r\n" + SMUGGLED
    answer = filled.raw(sent, seconds=3)
    assert answer.count(b"HTTP/1.1 ") <= 1, answer[:300]
    assert answer.split(b" ")[1].startswith(b"4") if answer else True


def test_an_instance_is_the_same_in_all_of_its_places(filled: Service) -> None:
    """GEN-01: everything of the Studies service lies below one base URI."""
    assert filled.get("/studies").json()[0]["00081190"]["Value"][0].startswith(filled.url + "/studies/")
    assert filled.get(PATH, "application/dicom; transfer-syntax=*").headers["content-location"] == filled.url + PATH
