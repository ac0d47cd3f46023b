"""A real OpenID provider: oidc-provider of npm (MIT), as tests/clients/oidc sets it up.

`fetch` installs what its package-lock.json pins. Run as a script by `make test`, so that the tests themselves download
nothing.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.parts import once
from tests.parts.browser_clients import ROOT, NotFetched, installed, made_once
from tests.parts.machine import cannot_run, free_port, need
from tests.parts.processes import background, wait_until

SOURCES = ROOT / "tests" / "clients" / "oidc"
PROGRAM = "provider.js"


def fetch() -> Path:
    """The folder with the program and its packages, made once for these sources. Raises NotFetched."""
    return made_once("oidc-provider", SOURCES, Path(__file__), build)


def build(target: Path, sources: Sequence[Path]) -> None:
    """Install; `target` appears in one step."""
    with installed(sources) as work:
        ready = work / "ready"
        ready.mkdir()
        for name in (PROGRAM, "package.json", "node_modules"):
            shutil.move(work / name, ready / name)
        shutil.move(ready, target)


@contextmanager
def provider(folder: Path, back: str) -> Iterator[str]:
    """Run it; its issuer. `back` is where it sends browsers of the client `page` after signing in."""
    node = need("node")
    try:
        program = fetch() / PROGRAM
    except NotFetched as error:
        cannot_run(str(error))
    port = free_port()
    issuer, log = f"http://127.0.0.1:{port}", folder / "provider.log"

    def ready() -> bool:
        try:
            return once.get(f"{issuer}/.well-known/openid-configuration").status_code == 200
        except httpx.TransportError:
            return False

    with background([node, str(program), str(port), back], log) as process:
        wait_until(ready, "the OpenID provider", process, log)
        yield issuer


def access_token(issuer: str, client: str, scope: str) -> str:
    """An access token for a program (RFC 6749 4.4)."""
    form = {"grant_type": "client_credentials", "scope": scope}
    answer = once.post(f"{issuer}/token", data=form, auth=(client, f"{client}-secret"))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


if __name__ == "__main__":
    try:
        fetch()
    except NotFetched as error:
        sys.exit(f"The OpenID provider could not be fetched, so its tests will fail: {error}")
