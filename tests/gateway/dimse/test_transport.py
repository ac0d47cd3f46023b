"""Sending pieces: all of them, in their order, whatever the peer takes at once, and no longer than agreed."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from gateway.dimse.transport import send_all


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection with little room in between."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        far.connect(listener.getsockname())
        near, _ = listener.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with near, far:
        yield near, far


@pytest.mark.parametrize(
    "sizes", [[300_000], [12, 100_000, 0, 12, 131_072, 12, 1], [7] * 5000], ids=["one", "large and small", "many"]
)
def test_a_peer_that_takes_little_at_a_time_gets_all_of_it(
    ends: tuple[socket.socket, socket.socket], sizes: list[int]
) -> None:
    near, far = ends
    pieces: list[bytes | memoryview] = [memoryview(os.urandom(size)) for size in sizes]
    got = bytearray()

    def take() -> None:
        while data := far.recv(3001):
            got.extend(data)

    reader = threading.Thread(target=take)
    reader.start()
    send_all(near, pieces, 60)
    near.shutdown(socket.SHUT_WR)
    reader.join(60)
    assert bytes(got) == b"".join(pieces)


def test_a_peer_that_takes_nothing_is_not_waited_for_longer_than_agreed(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, _ = ends
    with pytest.raises(TimeoutError):
        send_all(near, [bytes(1 << 20), bytes(1 << 20)], 0.2)


def test_a_peer_that_has_gone_is_an_error(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.close()
    with pytest.raises(OSError):
        send_all(near, [bytes(1 << 22)] * 4, 60)
