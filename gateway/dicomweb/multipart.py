"""multipart/related, read and written as a stream (PS3.18 8.6.1.2; RFC 2046 5.1; RFC 2387).

Reading is one linear scan with `bytes.find`, in pieces of any size, within fixed limits. Written bodies are
byte-stable: the boundary is derived from what they hold, so the same resource always gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from gateway.errors import BadRequest, TooLarge
from gateway.http.bodies import Known, Source, read

MAX_BOUNDARY = 70
MAX_PARTS = 10_000
MAX_HEADER_BYTES = 16 * 1024
MAX_AROUND_BYTES = 64 * 1024
"""Of the preamble, and of the epilogue."""


class PartSink(Protocol):
    """What becomes of the parts that a Reader finds, in the order of the body."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins. Names of `headers` are in lower case."""

    def data(self, piece: memoryview) -> None:
        """More bytes of the part; valid during the call only."""

    def end(self) -> None:
        """The part is complete."""


class _State(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


class Reader:
    """Finds the parts of one body; `feed` it in pieces, then `finish`. Blocking only as far as its sink is.

    Lines end with CRLF. Raises BadRequest, which says at which byte, and TooLarge.
    """

    def __init__(self, boundary: str, sink: PartSink) -> None:
        if not 1 <= len(boundary) <= MAX_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
            raise BadRequest("boundary", f"the multipart boundary has 1 to {MAX_BOUNDARY} ASCII characters")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._first = self._delimiter[2:] + b"\r\n"
        self._sink = sink
        self._state = _State.PREAMBLE
        self._rest = b"\r\n"  # so that a body may begin with its first delimiter
        self._at = -2  # where in the body `_rest` begins
        self._around = 0
        self._skip = 0
        self.parts = 0

    def feed(self, data: bytes) -> None:
        """The next bytes of the body."""
        if self._at < 0 and data.startswith(self._first):  # as mostly: nothing has to be copied
            buffer, self._at = data, 0
            position = self._part_begins(len(self._first))
        else:
            buffer = self._rest + data if self._rest else data
            position = 0
        while True:
            if self._state is _State.EPILOGUE:
                self._count_around(len(buffer) - position)
                position = len(buffer)
                break
            step = self._headers(buffer, position) if self._state is _State.HEADERS else self._body(buffer, position)
            if step is None:
                break
            position = step
        if self._state in (_State.BODY, _State.PREAMBLE):
            position = self._pass_on(buffer, position)
        self._at += position
        self._rest = buffer[position:]

    def finish(self) -> None:
        """The body is over. Raises BadRequest when its closing boundary is missing (STOW-14) or it has no part."""
        end = self._at + len(self._rest)
        if self._state is not _State.EPILOGUE:
            raise BadRequest("body", f"the multipart body ends at byte {end} without its closing boundary")
        if not self.parts:
            raise BadRequest("body", "the multipart body holds no part")

    def _body(self, buffer: bytes, position: int) -> int | None:
        """Behind the next delimiter, what stands before it passed on; None when more bytes are needed."""
        found, line_end = position, -1
        while line_end < 0:
            found = buffer.find(self._delimiter, found)
            after = found + len(self._delimiter)
            if found < 0 or len(buffer) < after + 2:
                return None
            if buffer.startswith(b"--", after):
                self._close(buffer, position, found)
                self._state = _State.EPILOGUE
                return after + 2
            line_end = _end_of_padding(buffer, after)
            if line_end == len(buffer):  # its CRLF, or what follows it, is not here yet
                return None
            if line_end < 0:  # a longer token that starts like the boundary: data
                found += 1
        self._close(buffer, position, found)
        return self._part_begins(line_end)

    def _part_begins(self, line_end: int) -> int:
        """At the end of the delimiter's line: its CRLF, which an empty header block needs."""
        self._state = _State.HEADERS
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise TooLarge(f"the multipart body holds more than {MAX_PARTS} parts")
        return line_end - 2

    def _headers(self, buffer: bytes, position: int) -> int | None:
        """At the CRLF before the body of a part; None when more bytes are needed."""
        end = buffer.find(b"\r\n\r\n", position, position + MAX_HEADER_BYTES + 4)
        if end < 0:
            if len(buffer) - position > MAX_HEADER_BYTES:
                where = self._at + position + 2
                raise BadRequest("body", f"the part at byte {where} has a header of more than {MAX_HEADER_BYTES} bytes")
            return None
        self._sink.begin(_parse_headers(buffer[position + 2 : end]))
        self._state = _State.BODY
        self._skip = 2  # this CRLF is the delimiter's own where the part has no body at all
        return end + 2

    def _close(self, buffer: bytes, position: int, found: int) -> None:
        self._give(buffer, position, found)
        if self._state is _State.BODY:
            self._sink.end()

    def _pass_on(self, buffer: bytes, position: int) -> int:
        """Give away what cannot be the start of a delimiter; returns what stays."""
        keep = len(self._delimiter) + 128  # room for a delimiter, its padding and its line end
        until = max(position, len(buffer) - keep)
        self._give(buffer, position, until)
        return until

    def _give(self, buffer: bytes, start: int, stop: int) -> None:
        if stop <= start:
            return
        if self._state is _State.BODY:
            start, self._skip = start + self._skip, max(self._skip - (stop - start), 0)
            if stop > start:
                self._sink.data(memoryview(buffer)[start:stop])
        else:
            self._count_around(stop - start)

    def _count_around(self, size: int) -> None:
        self._around += size
        if self._around > MAX_AROUND_BYTES:
            raise BadRequest("body", f"more than {MAX_AROUND_BYTES} bytes lie outside the parts of the multipart body")


def _end_of_padding(buffer: bytes, at: int) -> int:
    """Behind the CRLF of a delimiter line; len(buffer) when it is not all there; -1 when this is no such line."""
    start = at
    while at < len(buffer) and buffer[at] in b" \t" and at - start < 64:
        at += 1
    if buffer.startswith(b"\r\n", at):
        return at + 2 if at + 2 < len(buffer) else len(buffer)
    return len(buffer) if at >= len(buffer) - 1 else -1


def _parse_headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            headers.setdefault(name.strip().lower().decode("latin-1"), value.strip().decode("latin-1"))
    return headers


@dataclass(frozen=True, slots=True)
class Part:
    """One part to be written: its Content-Type, the resource it represents, its bytes (GEN-10).

    `location` is empty for what is no resource, such as a search result (GEN-09).
    """

    content_type: str
    location: str
    body: bytes | Source

    @property
    def length(self) -> int:
        """Of the body, in bytes."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length


def boundary_of(*identity: str) -> str:
    """A boundary that is the same for the same content, and that cannot be foreseen by who made the content."""
    return "gantry-" + hashlib.sha256("\0".join(identity).encode()).hexdigest()[:48]


def content_type(root_type: str, boundary: str) -> str:
    """The Content-Type of the whole body (GEN-11)."""
    return f'multipart/related; type="{root_type}"; boundary={boundary}'


def write(parts: Sequence[Part], boundary: str) -> Known:
    """A body of parts that are all known."""
    pieces: list[bytes | Source] = []
    for number, part in enumerate(parts):
        pieces += [_opening(part, boundary, first=number == 0), part.body]
    pieces.append(_closing(boundary))
    return Known(pieces)


def flow(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    """A body of parts that are made one by one, while they are sent."""
    first = True
    for part in parts:
        yield _opening(part, boundary, first=first)
        first = False
        if isinstance(part.body, bytes):
            yield part.body
        else:
            yield from read(part.body)
    yield _closing(boundary)


def _opening(part: Part, boundary: str, *, first: bool) -> bytes:
    start = "" if first else "\r\n"
    location = f"Content-Location: {part.location}\r\n" if part.location else ""
    return (
        f"{start}--{boundary}\r\nContent-Type: {part.content_type}\r\nContent-Length: {part.length}\r\n{location}\r\n"
    ).encode("latin-1")


def _closing(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode("ascii")
