"""`/openapi.json` (OpenAPI 3.1), made from the tables of the services."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from gateway.http.catalogue import Operation, Parameter, Service

VERSION = "3.1.0"
_TEMPLATE = re.compile(r"\{([a-z]+)\}")
_ANY_QUERY: Mapping[str, object] = {
    "name": "keys",
    "in": "query",
    "description": "Matching keys: a keyword or a tag of eight hexadecimal digits, and the value to match.",
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
_PROBLEM: Mapping[str, object] = {
    "type": "object",
    "description": "Why the request was refused (RFC 9457).",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "parameter": {"type": "string", "description": "The parameter or header that is wrong."},
        "offered": {"type": "array", "items": {"type": "string"}, "description": "406: what is on offer."},
        "stored": {"type": ["string", "null"], "description": "406: the stored transfer syntax."},
        "accepted": {"type": "array", "items": {"type": "string"}, "description": "415: what is taken."},
        "limit": {"type": "integer", "description": "413: bytes that may be sent."},
    },
}


def document(services: Sequence[Service], version: str) -> dict[str, object]:
    """The description of all services as one OpenAPI document."""
    paths: dict[str, dict[str, object]] = {}
    for service in services:
        for path, operation in service.operations():
            paths.setdefault(path, {})[operation.method.lower()] = _operation(service, path, operation)
    return {
        "openapi": VERSION,
        "info": {
            "title": "Gantry",
            "version": version,
            "description": "DICOMweb (PS3.18) in front of one object store and one index.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": service.title} for service in services],
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _operation(service: Service, path: str, operation: Operation) -> dict[str, object]:
    in_path = [_parameter(service.parameters[name], "path") for name in _TEMPLATE.findall(path)]
    query = [_parameter(service.parameters[name], "query") for name in operation.query]
    refusals = () if operation.needs is None else (401, 403)
    statuses = sorted({*operation.statuses, *refusals})
    found: dict[str, object] = {
        "operationId": operation.name,
        "tags": [service.title],
        "summary": operation.text,
        "description": _permission(operation),
        "x-permission": None if operation.needs is None else operation.needs.value,
        "parameters": [*in_path, *query, *([_ANY_QUERY] if operation.any_query else [])],
        "responses": {str(status): _response(status, operation) for status in statuses},
    }
    if operation.consumes:
        content = {name: {"schema": {"type": "string", "format": "binary"}} for name in operation.consumes}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _permission(operation: Operation) -> str:
    if operation.needs is None:
        return "Needs no credentials."
    return f"Where the gateway is not open, it needs credentials that permit to {operation.needs.value}."


def _parameter(parameter: Parameter, place: str) -> dict[str, object]:
    found: dict[str, object] = {
        "name": parameter.name,
        "in": place,
        "description": parameter.text,
        "schema": parameter.schema,
    }
    if place == "path":
        found["required"] = True
    return found


def _response(status: int, operation: Operation) -> dict[str, object]:
    found: dict[str, object] = {"description": HTTPStatus(status).phrase}
    if status in (200, 202, 206) and operation.produces:
        found["content"] = {name: {} for name in operation.produces}
    elif status >= 400:
        problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        answered = {name: dict[str, object]() for name in operation.produces} if status == 409 else {}
        found["content"] = {**answered, **problem}
    return found
