"""Credentials that the gateway hands out: API keys (`/tokens`) and users (`/users`) for administrators; links to one
study (`/links`) by everybody who may read and share it.

A secret is told once, in the answer that makes it; only its hash is kept.
"""

from __future__ import annotations

import time
from typing import Any

import orjson
import segno
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway import retrieve
from gateway.authentication import Authentication
from gateway.authentication.issued import Issued
from gateway.blob import reading
from gateway.caller import Caller
from gateway.dicom.uids import is_uid
from gateway.errors import BadRequest, Forbidden, NotFound
from gateway.http.catalogue import Operation, Parameter, Resource, Service
from gateway.http.identity import LINK_PARAMETER, caller_of
from gateway.http.permission import needing
from gateway.http.queue import body_of, json_answer
from gateway.http.threads import in_thread
from gateway.policy import Limits
from gateway.rights import Action
from gateway.settings import Settings
from storage.archive import Archive
from storage.credentials import KEY, LINK, USER, Credential

JSON = "application/json"
LONGEST_NAME = 64
DAY = 86_400.0

_ID = Parameter("id", "Of the credential.", {"type": "string", "pattern": "^[0-9a-f]{16}$"})


def _resources(path: str, what: str, needs: Action) -> list[Resource]:
    name = path.strip("/")
    listed = Operation("GET", name, f"The {what}s that were made.", (JSON,), needs=needs)
    made = Operation(
        "POST", f"{name}.add", f"Make a {what}.", (JSON,), (JSON,), statuses=(201, 400, 413, 415), needs=needs
    )
    ended = Operation("DELETE", f"{name}.revoke", f"End a {what}.", statuses=(204, 404), needs=needs)
    return [Resource(path, [listed, made]), Resource(path + "/{id}", [ended])]


SERVICE = Service(
    "",
    "Credentials",
    (
        *_resources("/tokens", "API key", Action.ADMIN),
        *_resources("/users", "user", Action.ADMIN),
        *_resources("/links", "link", Action.SHARE),
    ),
    {"id": _ID},
)


def routes(archive: Archive, settings: Settings, authentication: Authentication) -> list[BaseRoute]:
    """The routes of `SERVICE`."""
    issued = Issued(archive)

    def listing(kind: str, everybody: bool) -> Any:
        async def listed(request: Request) -> Response:
            caller = caller_of(request.scope)
            found = await in_thread(_listed, archive, kind)
            if not everybody and not caller.rights.may(Action.ADMIN):
                found = [one for one in found if one.made_by == caller.name]
            return json_answer({"credentials": [shown(one) for one in found]})

        return listed

    def revoking(kind: str) -> Any:
        async def revoked(request: Request) -> Response:
            caller = caller_of(request.scope)
            await in_thread(_revoke, archive, kind, request.path_params["id"], caller)
            authentication.forget()
            return Response(status_code=204)

        return revoked

    async def add_key(request: Request) -> Response:
        body = await body_of(request)
        name, limits, expires_at = _name(body), limits_of(body), _expires(body, "days", DAY)
        caller = caller_of(request.scope)
        new, secret = await in_thread(issued.issue, KEY, name, limits, caller.name, expires_at)
        return json_answer({**shown(new), "secret": secret}, 201)

    async def add_user(request: Request) -> Response:
        body = await body_of(request)
        name, limits, password = _name(body), limits_of(body), body.get("password")
        if not isinstance(password, str):
            raise BadRequest("password", "password is missing")
        try:
            new = await in_thread(issued.add_user, name, password, limits, caller_of(request.scope).name)
        except ValueError as error:
            raise BadRequest("password", str(error)) from error
        return json_answer(shown(new), 201)

    async def add_link(request: Request) -> Response:
        body = await body_of(request)
        study_uid = body.get("study")
        if not isinstance(study_uid, str) or not is_uid(study_uid):
            raise BadRequest("study", "study is a Study Instance UID")
        expires_at = _expires(body, "minutes", 60.0)
        most = time.time() + settings.link_days * DAY
        if expires_at is None or expires_at > most:
            raise BadRequest("minutes", f"a link lasts for {settings.link_days:g} days at most")
        caller = caller_of(request.scope)
        await in_thread(retrieve.find, archive, caller, study_uid)
        limits = Limits.model_validate({"may": ["search", "read"], "studies": [{"StudyInstanceUID": study_uid}]})
        new, secret = await in_thread(issued.issue, LINK, _name(body), limits, caller.name, expires_at)
        root = settings.public_url or str(request.base_url).rstrip("/")
        page = f"{root}/#token={secret}&study={study_uid}"
        series = f"{root}/dicomweb/studies/{study_uid}?{LINK_PARAMETER}={secret}"
        links = {"page": page, "dicomweb": series, "qr": _qr(page)}
        return json_answer({**shown(new), "secret": secret, **links}, 201)

    found: list[BaseRoute] = []
    adders = {"/tokens": (KEY, add_key), "/users": (USER, add_user), "/links": (LINK, add_link)}
    for path, (kind, add) in adders.items():
        needs = Action.SHARE if kind == LINK else Action.ADMIN
        found += [
            Route(path, needing(needs, listing(kind, kind != LINK)), methods=["GET"]),
            Route(path, needing(needs, add), methods=["POST"]),
            Route(path + "/{id}", needing(needs, revoking(kind)), methods=["DELETE"]),
        ]
    return found


def shown(one: Credential) -> dict[str, Any]:
    """A credential as JSON, without anything that is secret."""
    return {
        "id": one.id,
        "kind": one.kind,
        "name": one.name,
        "limits": orjson.loads(one.limits),
        "made_by": one.made_by,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "revoked_at": one.revoked_at,
    }


def limits_of(body: dict[str, Any]) -> Limits:
    """What a new credential is to permit. Raises BadRequest."""
    try:
        return Limits.model_validate({name: body[name] for name in ("may", "studies") if name in body})
    except ValidationError as error:
        wrong = error.errors()[0]
        raise BadRequest(".".join(str(part) for part in wrong["loc"]), wrong["msg"]) from error


def _listed(archive: Archive, kind: str) -> list[Credential]:
    with reading():
        return archive.index.credentials(kind)


def _revoke(archive: Archive, kind: str, id: str, caller: Caller) -> None:
    """Raises NotFound, Forbidden, Unavailable."""
    with reading():
        found = archive.index.credential(id)
        if found is None or found.kind != kind or not found.alive(time.time()):
            raise NotFound("no such credential is alive")
        if found.made_by != caller.name and not caller.rights.may(Action.ADMIN):
            raise Forbidden(Action.ADMIN.value)
        archive.index.revoke_credential(id, time.time())


def _name(body: dict[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise BadRequest("name", f"name says whose it is, in 1 to {LONGEST_NAME} printable characters")
    return name.strip()


def _expires(body: dict[str, Any], name: str, seconds: float) -> float | None:
    given = body.get(name)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1e6:
        raise BadRequest(name, f"{name} is a number above 0")
    return time.time() + given * seconds


def _qr(text: str) -> str:
    """The text as a QR code: an SVG image in a data URL."""
    return segno.make(text, error="m").svg_data_uri(scale=4, border=2, encode_minimal=True)
