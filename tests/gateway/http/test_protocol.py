"""Connections that would be held for ever, or that send without end (S-52, S-50)."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from statistics import median

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.http.bodies import Known
from gateway.http.protocol import Protocol
from gateway.http.ranges import Representation
from tests.gateway.dicomweb.service import Service, serve
from tests.parts.machine import memory

HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


class Hasty(Protocol):
    """With deadlines that a test can wait for."""

    head_seconds = 0.5
    write_seconds = 0.8


def much(_request: Request) -> Response:
    return StreamingResponse((b"x" * (1 << 20) for _ in range(500)), media_type="text/plain")


KNOWN = Known([b"small", *[os.urandom(1 << 20)] * 60, b"", *[b"piece"] * 2000, os.urandom(1 << 20)])
WHOLE = b"".join(KNOWN.chunks())


def known(_request: Request) -> Representation:
    """Of known length: written to the connection by the thread that reads it."""
    return Representation(KNOWN, "application/octet-stream", "etag")


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("hasty")
    with serve(folder, protocol=Hasty, more_routes=[Route("/much", much), Route("/known", known)]) as service:
        yield service


def until_closed(connection: socket.socket, seconds: float = 30) -> bytes:
    """What comes until the server closes."""
    connection.settimeout(seconds)
    pieces = []
    while chunk := connection.recv(65536):
        pieces.append(chunk)
    return b"".join(pieces)


def answered(connection: HTTPConnection) -> int:
    """The status of one request on this connection."""
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.mark.parametrize("sent", [b"G", HEAD, HEAD + b"X-Long: " + b"a" * 1000])
def test_a_head_that_does_not_end_is_408(hasty: Service, sent: bytes) -> None:
    """S-52."""
    with closing(socket.create_connection(hasty.address)) as connection:
        connection.sendall(sent)
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


def test_a_connection_that_says_nothing_is_closed(hasty: Service) -> None:
    """S-52."""
    with closing(socket.create_connection(hasty.address)) as connection:
        assert until_closed(connection) == b""


@contextmanager
def many_files(number: int) -> Iterator[None]:
    """This process may have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_head_that_trickles_is_408_and_others_are_served_meanwhile(hasty: Service) -> None:
    """S-52: no byte gives a sender more time; 1,000 of them hinder nobody: both ends of them are in this process."""
    waits = []
    with many_files(4096), ExitStack() as slow:
        begun = time.monotonic()
        senders = [slow.enter_context(socket.create_connection(hasty.address)) for _ in range(1000)]
        byte, alive = b"G", True
        while alive and time.monotonic() - begun < 60:
            for one in senders:
                try:
                    one.sendall(byte)
                except OSError:
                    alive = False
            byte = b"E"
            asked = time.monotonic()
            assert hasty.client.get(f"{hasty.origin}/healthz").status_code == 200
            waits.append(time.monotonic() - asked)
            time.sleep(0.05)
    assert not alive
    assert median(waits) < 2


def test_a_second_request_has_a_deadline_too(hasty: Service) -> None:
    """S-52: on a connection that is kept alive; empty lines before it do not help."""
    for more in (HEAD, b"\r\n"):
        with closing(HTTPConnection(*hasty.address)) as connection:
            assert answered(connection) == 200
            connection.sock.sendall(more)
            rest = until_closed(connection.sock)
        assert rest.startswith(b"HTTP/1.1 408 ") if more == HEAD else rest == b""


def test_a_connection_may_be_silent_between_requests(hasty: Service) -> None:
    """Viewers keep theirs for the next frames."""
    with closing(HTTPConnection(*hasty.address)) as connection:
        connection.auto_open = 0
        connection.connect()
        for _ in range(2):
            assert answered(connection) == 200
            time.sleep(1.0)


@pytest.mark.parametrize("path", ["/much", "/known"])
def test_a_response_that_nobody_takes_is_given_up(hasty: Service, path: str) -> None:
    """S-52: the socket is gone, not only closed for writing; memory was that of a buffer."""
    before = memory(os.getpid())
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(hasty.address)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.settimeout(20)
        with pytest.raises(OSError):  # reset
            while True:
                time.sleep(0.1)
                connection.sendall(b"\r\n")
    assert memory(os.getpid()) - before < 100 << 20
    assert hasty.client.get(f"{hasty.origin}/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/much", "/known"])
def test_a_reader_that_is_slow_but_reads_gets_everything(hasty: Service, path: str) -> None:
    """S-52: progress counts, not speed."""
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.connect(hasty.address)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        got, begun = 0, time.monotonic()
        while time.monotonic() - begun < 2.5:  # several deadlines long
            got += len(connection.recv(65536))
            time.sleep(0.05)
        assert got
        connection.settimeout(20)
        assert connection.recv(65536)


def test_a_large_body_of_known_length_comes_whole_and_the_connection_goes_on(hasty: Service) -> None:
    """Several on one connection, a part of one, and requests that were sent ahead."""
    with closing(HTTPConnection(*hasty.address)) as connection:
        for headers, status, body in (
            ({}, 200, WHOLE),
            ({"Range": "bytes=3-50000000"}, 206, WHOLE[3:50000001]),
            ({}, 200, WHOLE),
        ):
            connection.request("GET", "/known", headers=headers)
            answer = connection.getresponse()
            assert (answer.status, answer.read() == body) == (status, True)
        assert answered(connection) == 200
    with closing(socket.create_connection(hasty.address)) as ahead:
        ahead.sendall(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /healthz HTTP/1.0\r\n\r\n")
        got = until_closed(ahead)
    assert [got.count(one) for one in (WHOLE[-3000:], b"HTTP/1.1 200 OK")] == [2, 3]


def test_others_are_served_while_many_take_large_bodies_slowly(hasty: Service) -> None:
    """S-52: more of them than there are threads, none of which waits for a client."""
    slow = [socket.create_connection(hasty.address) for _ in range(60)]
    try:
        for one in slow:
            one.sendall(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(10):
            assert hasty.client.get(f"{hasty.url}/studies").status_code in (200, 204)
    finally:
        for one in slow:
            one.close()
    assert hasty.client.get(f"{hasty.origin}/known").content == WHOLE


@pytest.mark.parametrize("line", [b"X-Many: " + b"a" * 990 + b"\r\n", b"a" * 1000])
def test_an_endless_head_is_431(hasty: Service, line: bytes) -> None:
    """S-50, S-51: after some 128 KiB, in header lines or in one."""
    with closing(socket.create_connection(hasty.address)) as connection:
        connection.sendall(HEAD + (b"" if line.endswith(b"\n") else b"X-Long: "))
        try:
            for _ in range(10_000):
                connection.sendall(line)
        except OSError:
            pass
        else:
            pytest.fail("10 MB of headers were taken")


def test_endless_trailers_are_refused(hasty: Service) -> None:
    """S-50: of a chunked body."""
    with closing(socket.create_connection(hasty.address)) as connection:
        connection.sendall(b"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        try:
            for _ in range(10_000):
                connection.sendall(b"X-Trailer: " + b"a" * 990 + b"\r\n")
        except OSError:
            pass
        else:
            pytest.fail("10 MB of trailers were taken")


def test_what_is_no_http_is_400_with_a_problem_body(hasty: Service) -> None:
    """SC-400."""
    answer = hasty.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 HELLO\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
