"""Every operation of the API against every action and two tenants: who may what, through a running gateway."""

from __future__ import annotations

import base64
import os
import re
import stat
import time
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from gateway.rights import Action
from tests.parts import command, once
from tests.parts.datasets import ct_slice, part10_bytes
from tests.parts.gateway import GatewayProcess
from tests.parts.nginx import caches

TOKEN = "the-token-that-may-do-everything"
NOWHERE = {
    **{"study": "1.2.3.4", "series": "1.2.3.5", "instance": "1.2.3.6"},
    **{"frames": "1", "path": "00420011", "id": "0" * 16},
}
NORTH = ct_slice("north", InstitutionName="North", PatientID="N1")
SOUTH = ct_slice("south", InstitutionName="South", PatientID="S1")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    environment = {"GANTRY_TOKEN": TOKEN, "GANTRY_API_KEYS": "true", "GANTRY_BASIC_AUTH": "true"}
    with GatewayProcess(tmp_path_factory.mktemp("permissions"), environment=environment) as started:
        for ds in (NORTH, SOUTH):
            headers = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
            answer = Asking(started, TOKEN).post("/dicomweb/studies", content=part10_bytes(ds), headers=headers)
            assert answer.status_code == 200, answer.text
        yield started


class Asking:
    """Requests with one secret, each on a connection of its own; a context to read better."""

    def __init__(self, gateway: GatewayProcess, secret: str) -> None:
        self._root = gateway.http_url
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask, by a path or a whole URL."""
        headers = {**self._headers, **more.pop("headers", {})}
        url = path if path.startswith("http") else self._root + path
        return once.request(method, url, headers=headers, timeout=60, **more)

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    delete = partialmethod(request, "DELETE")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def key(gateway: GatewayProcess, *may: str, **more: Any) -> str:
    """The secret of a new API key."""
    answer = Asking(gateway, TOKEN).post("/tokens", json={"name": "a test", "may": may, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret"])


def operations(gateway: GatewayProcess) -> list[tuple[str, str, str | None]]:
    """Method, path and needed action of every operation, as the gateway describes itself."""
    described = Asking(gateway, "").get("/openapi.json").json()
    return [
        (method.upper(), path, operation["x-permission"])
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def ask(client: Asking, method: str, path: str, names: dict[str, str]) -> httpx.Response:
    filled = re.sub(r"\{([a-z]+)\}", lambda match: names[match[1]], path)
    return client.request(method, filled, headers={"Content-Type": "application/json"}, content=b"{}")


@pytest.mark.parametrize("action", [*Action, None], ids=lambda action: action.value if action else "nothing")
def test_each_operation_is_for_those_who_may_do_what_it_needs(gateway: GatewayProcess, action: Action | None) -> None:
    """S-69: 403 for everybody else, before anything else is looked at; what is open is open."""
    with Asking(gateway, key(gateway, *([action.value] if action else []))) as ours:
        for method, path, needs in operations(gateway):
            answer = ask(ours, method, path, NOWHERE)
            permitted = needs is None or (action is not None and needs == action.value)
            assert (answer.status_code != 403) is permitted, (method, path, answer.text)
            assert answer.status_code not in (401, 500, 501), (method, path, answer.text)


@pytest.mark.parametrize(
    "action", [action for action in Action if action is not Action.ADMIN], ids=lambda one: one.value
)
def test_each_operation_for_each_role_of_another_tenant(gateway: GatewayProcess, action: Action) -> None:
    """S-69, S-89: 403 where the role may not do it at all; where it may, what another has is as what nobody has."""
    south = key(gateway, action.value, studies=[{"InstitutionName": "South"}])
    seen = 0
    with Asking(gateway, south) as ours:
        for method, path, needs in operations(gateway):
            if "{study}" not in path or needs is None:
                continue
            theirs, nowhere = (ask(ours, method, path, names) for names in (uids(NORTH), NOWHERE))
            assert (theirs.status_code == 403) is (needs != action.value), (method, path)
            assert theirs.status_code == nowhere.status_code, (method, path)
            assert (theirs.status_code not in (200, 206)) or not theirs.content, (method, path)
            seen += needs == action.value
    assert seen or action in (Action.SHARE, Action.MONITOR)


def test_without_credentials_only_what_is_open_answers(gateway: GatewayProcess) -> None:
    """S-69"""
    with Asking(gateway, "") as nobody:
        for method, path, needs in operations(gateway):
            assert (ask(nobody, method, path, NOWHERE).status_code == 401) is (needs is not None), (method, path)


def uids(ds: Any) -> dict[str, str]:
    return {**NOWHERE, "study": ds.StudyInstanceUID, "series": ds.SeriesInstanceUID, "instance": ds.SOPInstanceUID}


def test_what_another_tenant_has_does_not_exist(gateway: GatewayProcess) -> None:
    """S-69, S-89: the same answer as for what was never there, on every operation that names a study."""
    everything = [action.value for action in Action if action is not Action.ADMIN]
    south = key(gateway, *everything, studies=[{"InstitutionName": "South"}])
    with Asking(gateway, south) as ours:
        for method, path, needs in operations(gateway):
            if "{study}" not in path or needs is None:
                continue
            theirs, nowhere = (ask(ours, method, path, names) for names in (uids(NORTH), NOWHERE))
            assert theirs.status_code == nowhere.status_code, (method, path)
            if nowhere.headers.get("content-type") == "application/problem+json":
                one, other = theirs.json(), nowhere.json()
                assert {**one, "request_id": ""} == {**other, "request_id": ""}, (method, path)
            if method == "GET" and needs == "read":
                assert theirs.status_code == 404, path
        # and what is ours is there
        assert ours.get(f"/dicomweb/studies/{SOUTH.StudyInstanceUID}/metadata").status_code == 200
        found = ours.get("/dicomweb/studies")
        assert [one["0020000D"]["Value"] for one in found.json()] == [[SOUTH.StudyInstanceUID]]
        assert found.headers["x-total-count"] == "1"
        assert ours.get("/dicomweb/instances?InstitutionName=North").status_code == 204
        assert ours.get("/dicomweb/instances?StudyComments=x").status_code == 204
        assert {one["study"] for one in ours.get("/changes").json()["changes"]} == {SOUTH.StudyInstanceUID}
        uri = {"requestType": "WADO", "objectUID": NORTH.SOPInstanceUID}
        uri |= {"studyUID": NORTH.StudyInstanceUID, "seriesUID": NORTH.SeriesInstanceUID}
        assert ours.get("/wado", params=uri).status_code == 404
        assert ours.post("/links", json={"study": NORTH.StudyInstanceUID, "name": "x", "minutes": 5}).status_code == 404
    with Asking(gateway, TOKEN) as all_of_it:
        assert all_of_it.get(f"/dicomweb/studies/{NORTH.StudyInstanceUID}/metadata").status_code == 200


def test_a_cache_that_many_share_keeps_nothing_of_what_needs_credentials(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    """S-74: nginx before the gateway, for one who may see everything, and then for one who may not: no operation's
    answer is given to both, with or without Vary. One that pays no heed to Cache-Control shows what that would be.
    """
    south = key(gateway, "search", "read", studies=[{"InstitutionName": "South"}])

    def asked(root: str, secret: str, path: str) -> httpx.Response:
        filled = re.sub(r"\{([a-z]+)\}", lambda name: names[name[1]], path)
        return Asking(gateway, secret).request("GET", root + filled)

    names = uids(NORTH)
    closed = [path for method, path, needs in operations(gateway) if method == "GET" and needs is not None]
    assert len(closed) > 30
    with caches(tmp_path / "nginx", gateway.http_url) as nginx:
        metadata = "/dicomweb/studies/{study}/metadata"
        assert asked(nginx.careless, TOKEN, metadata).headers["x-cache"] == "MISS"
        leaked = asked(nginx.careless, south, metadata)
        assert (leaked.status_code, leaked.headers["x-cache"]) == (200, "HIT")
        for root in (nginx.shared, nginx.blind):
            for path in closed:
                if path == "/changes/stream":
                    continue
                first, again, theirs = (asked(root, secret, path) for secret in (TOKEN, TOKEN, south))
                kept = {one.headers["x-cache"] for one in (first, again, theirs)}
                assert kept == {"MISS"}, (path, kept, first.headers)
                assert first.headers["cache-control"].split(",")[0] in ("private", "no-store"), (path, first.headers)
                assert "Authorization" in first.headers.get("vary", "") or not first.is_success, path
                if "{study}" in path:
                    assert theirs.status_code in (204, 403, 404), path


def test_a_tenant_stores_into_its_own_studies_only(gateway: GatewayProcess) -> None:
    """S-69: Failure Reason 0124H; neither another institution's name nor its study can be written into."""
    south = key(gateway, "store", studies=[{"InstitutionName": "South"}])
    intruder = ct_slice("north", number=7, InstitutionName="South", PatientID="N1")
    stranger = ct_slice("west", InstitutionName="West")
    headers = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
    with Asking(gateway, south) as ours:
        for ds in (intruder, stranger):
            answer = ours.post("/dicomweb/studies", content=part10_bytes(ds), headers=headers)
            assert answer.status_code == 409
            (failed,) = answer.json()["00081198"]["Value"]
            assert failed["00081197"]["Value"] == [0x0124]
        fitting = ct_slice("south", number=7, InstitutionName="South", PatientID="S1")
        assert ours.post("/dicomweb/studies", content=part10_bytes(fitting), headers=headers).status_code == 200
    with Asking(gateway, TOKEN) as all_of_it:
        assert all_of_it.get(f"/dicomweb/studies/{stranger.StudyInstanceUID}/metadata").status_code == 404
        found = all_of_it.get(f"/dicomweb/studies/{NORTH.StudyInstanceUID}/instances")
        assert len(found.json()) == 1


def test_a_key_ends_when_it_is_revoked_or_over(gateway: GatewayProcess) -> None:
    """S-79: after the seconds for which it is remembered."""
    with Asking(gateway, TOKEN) as admin:
        made = admin.post("/tokens", json={"name": "short", "may": ["search"], "days": 1 / 86_400}).json()
        assert Asking(gateway, made["secret"]).get("/dicomweb/studies").status_code == 200
        other = admin.post("/tokens", json={"name": "other", "may": ["search"]}).json()
        assert Asking(gateway, other["secret"]).get("/dicomweb/studies").status_code == 200
        assert admin.delete(f"/tokens/{other['id']}").status_code == 204
        assert admin.delete(f"/tokens/{other['id']}").status_code == 404
        listed = {one["id"]: one for one in admin.get("/tokens").json()["credentials"]}
        assert listed[other["id"]]["revoked_at"] and "secret" not in listed[other["id"]]
        deadline = time.monotonic() + 30
        secrets = [made["secret"], other["secret"]]
        while secrets and time.monotonic() < deadline:
            statuses = {secret: Asking(gateway, secret).get("/dicomweb/studies").status_code for secret in secrets}
            secrets = [secret for secret, status in statuses.items() if status != 401]
            time.sleep(0.3)
        assert not secrets


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"may": ["read"]}, "name"),
        ({"name": "x"}, "may"),
        ({"name": "x", "may": ["fly"]}, "may"),
        ({"name": "x", "may": ["read"], "studies": [{"NoSuch": "x"}]}, "studies"),
        ({"name": "x", "may": ["read"], "days": -1}, "days"),
        ({"name": "x\n", "may": ["read"]}, "name"),
    ],
)
def test_a_key_that_means_nothing_is_not_made(gateway: GatewayProcess, body: dict[str, Any], parameter: str) -> None:
    answer = Asking(gateway, TOKEN).post("/tokens", json=body)
    assert answer.status_code == 400
    assert answer.json()["parameter"].startswith(parameter)


def test_a_link_shows_its_study_and_nothing_else(gateway: GatewayProcess) -> None:
    """It reads, with the secret in the query as `<img>` needs it, or as a bearer token; it makes no further links."""
    sharer = key(gateway, "read", "search", "share")
    with Asking(gateway, sharer) as ours:
        wanted = {"study": NORTH.StudyInstanceUID, "name": "Dr Outside", "minutes": 5}
        made = ours.post("/links", json=wanted)
        assert made.status_code == 201
        link = made.json()
        assert link["page"] == f"{gateway.http_url}/#token={link['secret']}&study={NORTH.StudyInstanceUID}"
        assert link["qr"].startswith("data:image/svg+xml")
        assert ours.post("/links", json={**wanted, "minutes": 1e5}).status_code == 400
        assert ours.post("/links", json={"study": NORTH.StudyInstanceUID, "name": "x"}).status_code == 400
    picture = f"/dicomweb/studies/{NORTH.StudyInstanceUID}/thumbnail"
    token = {"token": link["secret"]}
    with Asking(gateway, "") as browser:
        answer = browser.get(picture, params=token)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert browser.get(link["dicomweb"]).status_code == 200
        found = browser.get("/dicomweb/studies", params=token)
        assert [one["0020000D"]["Value"] for one in found.json()] == [[NORTH.StudyInstanceUID]]
        assert "warning" not in found.headers
        assert browser.get(f"/dicomweb/studies/{SOUTH.StudyInstanceUID}/thumbnail", params=token).status_code == 404
        assert browser.delete(f"/dicomweb/studies/{NORTH.StudyInstanceUID}", params=token).status_code == 401
        assert browser.get("/tokens", params=token).status_code == 401
        assert browser.get(picture, params={"token": link["secret"] + "x"}).status_code == 401
        assert browser.get(picture, params={"token": sharer}).status_code == 401
    with Asking(gateway, link["secret"]) as bearer:
        assert bearer.get(picture).status_code == 200
        assert bearer.post("/links", json=wanted).status_code == 403
        assert bearer.delete(f"/dicomweb/studies/{NORTH.StudyInstanceUID}").status_code == 403
    with Asking(gateway, key(gateway, "share")) as stranger:
        assert stranger.delete(f"/links/{link['id']}").status_code in (204, 403)
    with Asking(gateway, TOKEN) as admin:
        admin.delete(f"/links/{link['id']}")
    assert Asking(gateway, "").get(picture, params=token).status_code == 401
    assert link["secret"] not in gateway.log()


def test_a_user_signs_in_with_a_password_where_that_is_on(gateway: GatewayProcess) -> None:
    """RFC 7617"""
    with Asking(gateway, TOKEN) as admin:
        assert admin.post("/users", json={"name": "reader", "password": "short", "may": ["search"]}).status_code == 400
        body = {"name": "reader", "password": "correct horse battery", "may": ["search"]}
        assert admin.post("/users", json=body).status_code == 201
    with Asking(gateway, "") as browser:

        def status(name: str, password: str) -> int:
            return int(browser.get("/dicomweb/studies", auth=(name, password)).status_code)

        assert status("reader", "correct horse battery") == 200
        assert status("reader", "wrong horse battery") == 401
        assert status("nobody", "correct horse battery") == 401
        malformed = {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()}
        assert browser.get("/dicomweb/studies", headers=malformed).status_code == 401
        assert 'Basic realm="gantry"' in browser.get("/dicomweb/studies").headers["www-authenticate"]
    assert "correct horse" not in gateway.log()


def test_commands_make_keys_in_the_running_gateway(gateway: GatewayProcess) -> None:
    """By the secret in the data folder, which nobody else may read."""
    announced = gateway.data / "gateway.json"
    assert stat.S_IMODE(announced.stat().st_mode) == 0o600 and announced.stat().st_uid == os.getuid()

    def gantry(*arguments: str) -> str:
        done = command.gantry(*arguments, "--data", gateway.data)
        assert done.returncode == 0, done.stderr
        return done.stdout

    secret = gantry("token", "create", "nightly", "--may", "search", "--study", "InstitutionName=So*").strip()
    with Asking(gateway, secret) as ours:
        assert len(ours.get("/dicomweb/studies").json()) == 1
        (line,) = (line for line in gantry("token", "list").splitlines() if "nightly" in line)
        gantry("token", "revoke", line.split()[0])
        assert "ended" in gantry("token", "list")
        deadline = time.monotonic() + 30
        while ours.get("/dicomweb/studies").status_code != 401 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert ours.get("/dicomweb/studies").status_code == 401
