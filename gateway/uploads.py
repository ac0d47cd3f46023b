"""Sending instances to another DICOMweb server, by STOW-RS (PS3.18 10.5)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import orjson
import urllib3

from gateway.dicom.uids import EXPLICIT_LITTLE_ENDIAN
from gateway.errors import GatewayError, NotAcceptable
from gateway.forwarding import instances
from gateway.retrieve import WEB_FORBIDDEN, Blob, part10
from gateway.settings import Settings
from gateway.tasks import Outcome
from storage.archive import Archive
from storage.errors import StorageError
from storage.records import Located
from storage.tasks import Task

_BOUNDARY = "gantry-forward-8c0e3a1f97d24b65"
_AGAIN = frozenset({0x0110, 0xA700})
"""Failure Reasons that may pass: processing failure, out of resources (PS3.18 I.2.2)."""


class Uploads:
    """Handles tasks whose target is the base URL of a DICOMweb service in the settings: one instance a request, on
    connections that are kept. No redirect is followed."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self._archive = archive
        self._tokens = {rule.to: rule.token for rule in settings.forward}
        self._pool = urllib3.PoolManager(maxsize=4, retries=False, timeout=urllib3.Timeout(connect=5, read=60))

    def __call__(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """See `gateway.tasks.Handler`."""
        target = tasks[0].target
        away = ""
        for task, located in instances(self._archive, tasks):
            if target not in self._tokens:
                yield Outcome(task, "no_such_server", final=True)
            elif located is None:  # it was deleted: there is nothing to send
                yield Outcome(task)
            elif away:
                yield Outcome(task, away)
            else:
                outcome = self._send(task, target, located)
                away = outcome.error if outcome.error == "unreachable" else ""
                yield outcome

    def _send(self, task: Task, target: str, located: Located) -> Outcome:
        try:
            forbidden = located.transfer_syntax_uid in WEB_FORBIDDEN
            blob = part10(self._archive, located, EXPLICIT_LITTLE_ENDIAN if forbidden else None)
            answer = self._post(target, located, blob)
        except NotAcceptable:
            return Outcome(task, "not_acceptable", final=True)
        except (GatewayError, StorageError) as error:
            return Outcome(task, getattr(error, "reason", "unavailable"))
        except urllib3.exceptions.HTTPError:
            return Outcome(task, "unreachable")
        if answer.status in (200, 202):
            return Outcome(task)
        reasons = _reasons(answer)
        final = answer.status == 409 and bool(reasons) and not reasons & _AGAIN
        return Outcome(task, f"http_{answer.status}" + "".join(f"_{one:04X}" for one in sorted(reasons)), final)

    def _post(self, target: str, located: Located, blob: Blob) -> urllib3.BaseHTTPResponse:
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}',
            "Accept": "application/dicom+json",
            "Content-Length": str(len(head) + blob.length + len(tail)),
        }
        if token := self._tokens[target]:
            headers["Authorization"] = f"Bearer {token}"

        def body() -> Iterator[bytes]:
            yield head
            with blob.open(0, None) as chunks:
                for chunk in chunks:
                    yield bytes(chunk)
            yield tail

        url = f"{target.rstrip('/')}/studies/{located.study_uid}"
        return self._pool.request("POST", url, body=body(), headers=headers, redirect=False)


def _reasons(answer: urllib3.BaseHTTPResponse) -> set[int]:
    """The Failure Reasons in a Store Instances Response (PS3.18 Annex I)."""
    try:
        body = orjson.loads(answer.data)
        items = body.get("00081198", {}).get("Value", [])
        return {int(code) for item in items for code in item.get("00081197", {}).get("Value", [])}
    except (ValueError, TypeError, AttributeError):
        return set()
