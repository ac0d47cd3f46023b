"""Single headers, without an object for all of them: the layers that every request passes look at few."""

from __future__ import annotations

from starlette.types import Message, Scope


def header(scope: Scope, name: bytes) -> str | None:
    """The first value of the header `name`, which is given in lower case; None where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def add_vary(message: Message, *names: bytes) -> None:
    """Say in the start of a response that it depends on these headers of the request as well."""
    headers = list(message.get("headers", ()))
    for place, (name, value) in enumerate(headers):
        if name == b"vary":
            headers[place] = name, b", ".join((value, *names))
            break
    else:
        headers.append((b"vary", b", ".join(names)))
    message["headers"] = headers
