"""Messages between a process and its children: lengths, facts in JSON, bytes."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import numpy
import orjson

_LENGTHS = struct.Struct("<IQ")
_MAX_FACTS = 1 << 20

Facts = dict[str, Any]


class Broken(Exception):
    """The other side is gone, or says what it cannot mean."""


def send(link: socket.socket, facts: Facts, data: bytes | memoryview = b"") -> None:
    """Send one message. Raises OSError; TimeoutError after the socket's timeout without progress."""
    text = orjson.dumps(facts)
    link.sendall(_LENGTHS.pack(len(text), len(data)) + text)
    if len(data):
        link.sendall(data)


def receive(link: socket.socket, most: int, until: float | None = None) -> tuple[Facts, memoryview]:
    """The next message, with at most `most` bytes of data, by the monotonic time `until`.

    Raises TimeoutError; Broken at the end of the stream and for what is no message.
    """
    text_length, length = _LENGTHS.unpack(_exactly(link, _LENGTHS.size, until))
    if text_length > _MAX_FACTS or length > most:
        raise Broken("a message that is too long")
    try:
        facts = orjson.loads(_exactly(link, text_length, until))
    except ValueError as error:
        raise Broken("no message") from error
    if not isinstance(facts, dict):
        raise Broken("no message")
    return facts, _exactly(link, length, until)


def _exactly(link: socket.socket, length: int, until: float | None) -> memoryview:
    view = numpy.empty(length, numpy.uint8).data  # not filled with zeros first, as a bytearray is
    done = 0
    while done < length:
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            link.settimeout(left)
        try:
            count = link.recv_into(view[done:])
        except ConnectionError as error:
            raise Broken("the connection is gone") from error
        if not count:
            raise Broken("the connection was closed")
        done += count
    return view
