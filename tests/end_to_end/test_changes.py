"""The change feed over HTTP, and webhooks from it: signed, tried again, never where the settings do not say."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.doors import Doors
from tests.end_to_end.test_forwarding import config
from tests.parts import once
from tests.parts.command import gantry
from tests.parts.datasets import ct_slice, part10_bytes, series_of
from tests.parts.fix_gateway import StartGateway
from tests.parts.waiting import until

SECRET = "a secret of the tests, long enough"


class Receiver(ThreadingHTTPServer):
    """A web server that keeps what it is posted, and answers with `status`; `elsewhere` is where it redirects to."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status = 200
        self.elsewhere = ""
        self.got: list[tuple[dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def changes(self) -> list[dict[str, Any]]:
        """All that it was told."""
        return [one for _, body in list(self.got) for one in json.loads(body)["changes"]]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers.items()), body))
        self.send_response(self.server.status)
        if self.server.elsewhere:
            self.send_header("Location", self.server.elsewhere)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return None


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that runs."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


def feed(doors: Doors, **query: int) -> dict[str, Any]:
    """One page of `/changes`."""
    answer = once.get(f"{doors.gateway.http_url}/changes", params=query, timeout=40)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("backend", ["folder+sqlite", "seaweedfs+postgres"])
def test_every_change_is_told_once_in_its_order_and_again_when_asked(backend: str, start_gateway: StartGateway) -> None:
    """L1: one `create` an instance, whatever door and however often; pages meet; a deletion is told."""
    with Doors(start_gateway(backend)) as doors:
        assert feed(doors) == {"changes": [], "next": 0}
        slices = series_of(5, "feed")
        files = [part10_bytes(ds) for ds in slices]
        assert doors.stow(*files[:3]).status == 200
        assert doors.c_store(files[2:]) == [0, 0, 0]  # the third is a duplicate, and no change
        first = slices[0]
        assert doors.delete(first.StudyInstanceUID, first.SeriesInstanceUID, first.SOPInstanceUID) in (200, 204)
        everything = feed(doors)["changes"]
        assert [one["action"] for one in everything] == ["create"] * 5 + ["delete"]
        assert sorted(one["instance"] for one in everything[:5]) == sorted(ds.SOPInstanceUID for ds in slices)
        assert everything[-1]["instance"] == first.SOPInstanceUID
        assert {one["study"] for one in everything} == {first.StudyInstanceUID}
        numbers = [one["sequence"] for one in everything]
        assert numbers == sorted(set(numbers))

        paged: list[dict[str, Any]] = []
        at = 0
        while page := feed(doors, since=at, limit=2)["changes"]:
            assert len(page) <= 2
            paged += page
            at = page[-1]["sequence"]
        assert paged == everything
        assert feed(doors, since=numbers[-1]) == {"changes": [], "next": numbers[-1]}

        late: list[dict[str, Any]] = []
        waiter = threading.Thread(target=lambda: late.append(feed(doors, since=numbers[-1], wait=20)))
        waiter.start()
        time.sleep(0.3)
        assert doors.stow(files[0]).status == 200  # stored anew: another version
        waiter.join(30)
        ((again,),) = [one["changes"] for one in late]
        assert (again["action"], again["instance"]) == ("create", first.SOPInstanceUID)

        for bad in ("since=-1", "since=x", "limit=0", "limit=1001", "wait=31", f"since={10**30}", "since=%d9%a3"):
            answer = once.get(f"{doors.gateway.http_url}/changes?{bad}")
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), bad


def signed(headers: dict[str, str], body: bytes) -> bool:
    """Is the signature that of this body, as a receiver checks it?"""
    moment, _, digest = headers["Gantry-Signature"].partition(",v1=")
    wanted = hmac.new(SECRET.encode(), moment.removeprefix("t=").encode() + b"." + body, hashlib.sha256).hexdigest()
    return abs(time.time() - int(moment.removeprefix("t="))) < 300 and hmac.compare_digest(digest, wanted)


def queued(gateway_url: str, state: str) -> list[dict[str, Any]]:
    """Webhook tasks in this state."""
    tasks = once.get(f"{gateway_url}/queue").json()["tasks"]
    return [one for one in tasks if one["kind"] == "webhook" and one["state"] == state]


def test_webhooks_are_signed_tried_again_and_given_up_in_sight(start_gateway: StartGateway, tmp_path: Path) -> None:
    """S-77, F-62: no redirect is followed; a receiver that was away gets all of it later; given up is not forgotten."""
    with receiving() as receiver, receiving() as other:
        arguments = config(
            tmp_path,
            f"""
            [[webhooks]]
            url = "{receiver.url}"
            secret = "{SECRET}"
            [[webhooks]]
            url = "{other.url}"
            actions = ["delete"]
            """,
        )
        gateway = start_gateway(arguments=arguments)
        with Doors(gateway) as doors:
            slices = series_of(3, "hook")
            assert doors.stow(*(part10_bytes(ds) for ds in slices)).status == 200
            until(lambda: len(receiver.changes()) == 3)
            assert receiver.changes() == feed(doors)["changes"]
            assert all(signed(headers, body) for headers, body in receiver.got)
            assert other.got == []

            # redirected: not followed, tried again
            receiver.got.clear()
            receiver.status, receiver.elsewhere = 307, other.url
            assert doors.stow(part10_bytes(ct_slice("hook", number=4))).status == 200
            until(lambda: [one["error"] for one in queued(gateway.http_url, "waiting")] == ["http_307"])
            assert other.got == []

            receiver.status, receiver.elsewhere = 200, ""
            receiver.got.clear()
            assert gantry("queue", "retry", "--data", gateway.data).returncode == 0
            until(lambda: len(receiver.changes()) == 1)
            until(lambda: not queued(gateway.http_url, "waiting"))

            # gone for good: given up, but not forgotten, and retried by hand
            receiver.status = 410
            receiver.got.clear()
            assert doors.delete(slices[0].StudyInstanceUID) in (200, 204)
            until(lambda: len(queued(gateway.http_url, "failed")) == 1)
            until(lambda: [one["action"] for one in other.changes()] == ["delete"] * 4)
            assert "Gantry-Signature" not in other.got[0][0]
            receiver.status = 200
            receiver.got.clear()
            assert gantry("queue", "retry", "--data", gateway.data).returncode == 0
            until(lambda: [one["action"] for one in receiver.changes()] == ["delete"] * 4)
            until(lambda: not queued(gateway.http_url, "failed"))
            assert SECRET not in gateway.log()

            # nobody listens: what happens meanwhile, a crash included, is told once somebody does
            count = len(receiver.changes())
            receiver.status = 503
            assert doors.stow(part10_bytes(ct_slice("hook", number=5))).status == 200
            until(lambda: [one["error"] for one in queued(gateway.http_url, "waiting")] == ["http_503"])
        gateway.kill()
        receiver.status = 200
        receiver.got.clear()
        again = start_gateway(data=gateway.data, arguments=arguments)
        assert gantry("queue", "retry", "--data", again.data).returncode == 0
        until(lambda: len(receiver.changes()) == 1)
        assert count == 4


@pytest.mark.parametrize("url", ["ftp://example/hook", "file:///etc/passwd", "https://", "example/hook"])
def test_a_webhook_of_another_kind_is_a_bad_setting(tmp_path: Path, url: str) -> None:
    """S-77."""
    arguments = config(tmp_path, f'[[webhooks]]\nurl = "{url}"\n')
    refused = gantry("serve", "--data", tmp_path / "data", *arguments)
    assert refused.returncode == 2
    assert "webhooks" in refused.stderr
