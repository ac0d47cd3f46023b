"""The gateway that runs on a data folder at this moment: where it listens, and how to hand it files.

`gantry serve` leaves its address in the folder; a command that finds the index in use sends to it instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import urllib3

from gateway.errors import BadRequest, Damaged, GatewayError, NotFound, Refused, Unavailable

FILE = "gateway.json"
BOUNDARY = "gantry-import-3f1d0a52b6c84e0f"
CHUNK = 1 << 20
PAGE = 200


def announce(data: Path, http_url: str, secret: str, fingerprint: str = "") -> None:
    """Leave the address in the data folder, and a secret for commands: whoever may read the folder may do all.

    `fingerprint` is that of our certificate (SHA-256, hex), where the address is with TLS.
    """
    data.mkdir(parents=True, exist_ok=True)
    withdraw(data)
    file = data / FILE
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(json.dumps({"http": f"{http_url}#{fingerprint}", "pid": os.getpid(), "secret": secret}))


def withdraw(data: Path) -> None:
    """Take the address away."""
    (data / FILE).unlink(missing_ok=True)


def address(data: Path) -> tuple[str, str] | None:
    """The HTTP address of the gateway on this folder and the secret for commands, if one said so."""
    try:
        found = json.loads((data / FILE).read_text())
        return str(found["http"]), str(found["secret"])
    except (OSError, ValueError, KeyError):
        return None


def reached(data: Path, path: str) -> tuple[str, str] | None:
    """`address` of a gateway that answers at `path` now; None where none runs, or one crashed and left its address.

    Raises BadRequest, NotFound.
    """
    found = address(data)
    if found is None:
        return None
    try:
        ask(*found, path)
    except Unavailable:
        return None
    return found


class Running:
    """A target for `importer`: the running gateway, by STOW-RS (PS3.18 10.5), one instance a request."""

    def __init__(self, http_url: str, token: str | None) -> None:
        self._pool, root = _pool(http_url, maxsize=8, timeout=urllib3.Timeout(connect=5, read=300))
        self._url = f"{root}/dicomweb/studies"
        self._headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
            "Accept": "application/dicom+json",
        }
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def __call__(self, stream: BinaryIO) -> str:
        """Store one Part 10 file; the answer tells no duplicate from a new instance, so both count as stored."""
        try:
            answer = self._pool.request("POST", self._url, body=_multipart(stream), headers=self._headers)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable("the running gateway does not answer") from error
        if answer.status in (200, 202):
            return "stored"
        raise _refusal(answer)


class Reader:
    """What the running gateway has, by QIDO-RS and WADO-RS. Raises Damaged, NotFound, Unavailable."""

    def __init__(self, http_url: str, token: str | None) -> None:
        self._pool, root = _pool(http_url, maxsize=2, timeout=urllib3.Timeout(connect=5, read=300))
        self._url = f"{root}/dicomweb"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def search(self, path: str, tags: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The values of these elements in all matches of a search, page by page."""
        offset = 0
        while True:
            answer = self._ask(f"{path}?limit={PAGE}&offset={offset}", "application/dicom+json")
            if answer.status == 204:
                return
            matches = json.loads(answer.data)
            for match in matches:
                yield tuple(str(match[tag]["Value"][0]) for tag in tags)
            offset += len(matches)
            if len(matches) < PAGE:
                return

    @contextmanager
    def file(self, path: str) -> Iterator[Iterator[bytes]]:
        """The Part 10 file of an instance, in chunks; an answer that is cut short raises Damaged."""
        answer = self._ask(path, "application/dicom; transfer-syntax=*", stream=True)
        try:
            yield self._chunks(answer)
        finally:
            answer.close()

    def _chunks(self, answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            yield from answer.stream(CHUNK)
        except urllib3.exceptions.HTTPError as error:
            raise Damaged("the answer was cut: the object is damaged, or the gateway has gone") from error

    def _ask(self, path: str, accept: str, *, stream: bool = False) -> urllib3.BaseHTTPResponse:
        headers = {**self._headers, "Accept": accept}
        try:
            answer = self._pool.request("GET", self._url + path, headers=headers, preload_content=not stream)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable("the running gateway does not answer") from error
        if answer.status in (200, 204):
            return answer
        answer.close()
        if answer.status in (404, 410):
            raise NotFound("no such study")
        if answer.status == 500:
            raise Damaged("the stored object is damaged")
        raise Unavailable(f"the running gateway answered {answer.status}")


def ask(
    http_url: str, token: str | None, path: str, body: Mapping[str, Any] | None = None, method: str = ""
) -> dict[str, Any]:
    """What the running gateway answers to GET, or with a `body` to POST, or another method.

    Raises BadRequest, NotFound, Unavailable.
    """
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body)
    pool, root = _pool(http_url, timeout=urllib3.Timeout(60))
    try:
        answer = pool.request(method or ("GET" if body is None else "POST"), root + path, body=data, headers=headers)
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable("the running gateway does not answer") from error
    try:
        found: dict[str, Any] = json.loads(answer.data)
    except ValueError:
        found = {}
    if answer.status in (200, 201, 204):
        return found
    detail = str(found.get("detail", f"the running gateway answered {answer.status}"))
    if answer.status == 400:
        raise BadRequest(str(found.get("parameter", "")), detail)
    raise NotFound(detail) if answer.status == 404 else Unavailable(detail)


def _pool(http_url: str, maxsize: int = 1, **more: Any) -> tuple[urllib3.PoolManager, str]:
    """Connections to the address that a gateway has left, and that address: its own certificate is the one to trust."""
    root, _, fingerprint = http_url.partition("#")
    tls: dict[str, Any] = {"cert_reqs": "CERT_NONE", "assert_fingerprint": fingerprint} if fingerprint else {}
    return urllib3.PoolManager(maxsize=maxsize, retries=False, **tls, **more), root


def _multipart(stream: BinaryIO) -> Iterator[bytes]:
    yield f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    while chunk := stream.read(CHUNK):
        yield chunk
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def _refusal(answer: urllib3.BaseHTTPResponse) -> GatewayError:
    try:
        body: dict[str, Any] = json.loads(answer.data)
    except ValueError:
        return Unavailable(f"the running gateway answered {answer.status}")
    failures = [item for tag in ("00081198", "0008119A") for item in body.get(tag, {}).get("Value", [])]
    codes = [code for item in failures for code in item.get("00081197", {}).get("Value", [])]
    if not codes:
        return Unavailable(f"the running gateway answered {answer.status}: {body.get('detail', '')}")
    refused = Refused(_MEANING.get(int(codes[0]), "The running gateway refused it."))
    refused.code = int(codes[0])
    return refused


_MEANING = {kind.code: (kind.__doc__ or "").splitlines()[0] for kind in Refused.__subclasses__()}
"""What a Failure Reason means, in words."""
