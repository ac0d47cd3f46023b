"""multipart/related, read in pieces of any size and written byte-stable."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicomweb import multipart
from gateway.errors import BadRequest, TooLarge

PART = b"--b\r\nContent-Type: application/dicom\r\n\r\n"


class Collected:
    """Keeps the parts in memory."""

    def __init__(self) -> None:
        self.headers: list[Mapping[str, str]] = []
        self.bodies: list[bytes] = []
        self.ended = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        self.headers.append(headers)
        self.bodies.append(b"")

    def data(self, piece: memoryview) -> None:
        self.bodies[-1] += piece

    def end(self) -> None:
        self.ended += 1


def read(body: bytes, step: int = 1 << 20, boundary: str = "b") -> Collected:
    parts = Collected()
    reader = multipart.Reader(boundary, parts)
    for start in range(0, len(body), step):
        reader.feed(body[start : start + step])
    reader.finish()
    assert parts.ended == len(parts.bodies) == reader.parts
    return parts


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize(
    ("body", "bodies"),
    [
        (PART + b"one\r\n" + PART + b"two\r\n--b--\r\n", [b"one", b"two"]),
        (b"\r\n" + PART + b"one\r\n--b--", [b"one"]),
        (b"a preamble\r\n" + PART + b"one\r\n--b--\r\nan epilogue", [b"one"]),
        (PART + b"\r\n--b--", [b""]),
        (b"--b\r\nContent-Type: x/y\r\n\r\n--b--", [b""]),
        (b"--b\r\n\r\nno header\r\n--b--", [b"no header"]),
        (b"--b  \t\r\nA: b\r\n\r\npadded\r\n--b--", [b"padded"]),
        (PART + b"\r\n--bb\r\n--b-x\r\n--\r\n-- \r\n--b--", [b"\r\n--bb\r\n--b-x\r\n--\r\n-- "]),
        (PART + b"\r" * 300 + b"\n" * 300 + b"\r\n--b--", [b"\r" * 300 + b"\n" * 300]),
    ],
)
def test_parts_are_found_whatever_the_pieces(body: bytes, bodies: list[bytes], step: int) -> None:
    assert read(body, step).bodies == bodies


def test_part_headers_are_read_by_lower_case_name() -> None:
    body = b'--b\r\ncontent-TYPE: application/dicom; transfer-syntax="1.2"\r\nContent-Location: x\r\n\r\n\r\n--b--'
    (headers,) = read(body).headers
    assert headers == {"content-type": 'application/dicom; transfer-syntax="1.2"', "content-location": "x"}


@pytest.mark.parametrize(
    "body", [b"", b"--b", PART + b"data", PART + b"data\r\n--b", PART + b"data\r\n--b-", b"x" * 50]
)
def test_a_missing_closing_boundary_is_named_with_its_byte(body: bytes) -> None:
    """STOW-14."""
    with pytest.raises(BadRequest, match=f"ends at byte {len(body)} without its closing boundary"):
        read(body)


def test_bare_line_feeds_are_no_delimiters() -> None:
    """S-51."""
    with pytest.raises(BadRequest):
        read(b"--b\nContent-Type: application/dicom\n\ndata\n--b--\n")


def test_a_body_without_parts_is_refused() -> None:
    with pytest.raises(BadRequest, match="holds no part"):
        read(b"--b--\r\n")


@pytest.mark.parametrize("boundary", ["", "x" * 71, "ä", "a\r\nb"])
def test_a_malformed_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(BadRequest):
        multipart.Reader(boundary, Collected())


@pytest.mark.parametrize(
    "body",
    [
        b"x" * (1 << 20),
        b"\r\n--" * 200_000,
        PART + b"\r\n--b--" + b"e" * (1 << 20),
        b"--b\r\n" + b"A: " + b"h" * (1 << 20),
        b"--b\r\n" + b"A: b\r\n" * 200_000,
    ],
)
def test_endless_preamble_epilogue_and_headers_are_refused_at_once(body: bytes) -> None:
    """S-51."""
    begun = time.perf_counter()
    with pytest.raises(BadRequest):
        read(body, 65_536)
    assert time.perf_counter() - begun < 1


def test_a_million_parts_are_refused() -> None:
    """S-51."""
    begun = time.perf_counter()
    with pytest.raises(TooLarge):
        read(b"--b\r\n\r\n\r\n" * 1_000_000, 65_536)
    assert time.perf_counter() - begun < 2


def test_reading_is_linear_in_bytes_that_look_like_delimiters() -> None:
    body = PART + b"\r\n--bx" * 500_000 + b"\r\n--b--"
    begun = time.perf_counter()
    assert len(read(body, 65_536).bodies[0]) == 3_000_000
    assert time.perf_counter() - begun < 2


@given(
    bodies=st.lists(st.binary(max_size=300) | st.sampled_from([b"\r\n--b", b"\r\n", b"--b--", b"\r\n--"]), min_size=1),
    step=st.integers(1, 400),
)
def test_what_is_written_is_read_again(bodies: list[bytes], step: int) -> None:
    boundary = multipart.boundary_of("some", "content")
    parts = [multipart.Part("application/dicom", f"/n/{number}", body) for number, body in enumerate(bodies)]
    known = multipart.write(parts, boundary)
    written = b"".join(known.chunks())
    assert len(written) == known.length
    assert written == b"".join(multipart.flow(parts, boundary))
    found = read(written, step, boundary)
    assert found.bodies == bodies
    assert [headers["content-length"] for headers in found.headers] == [str(len(body)) for body in bodies]


def test_boundaries_follow_the_content() -> None:
    """GEN-10, GEN-20."""
    one = multipart.boundary_of("digest", "syntax")
    assert one == multipart.boundary_of("digest", "syntax") != multipart.boundary_of("digests", "yntax")
    assert len(one) <= 70
    assert multipart.content_type("application/dicom", one) == (
        f'multipart/related; type="application/dicom"; boundary={one}'
    )


def test_a_flow_of_parts_is_lazy() -> None:
    made: list[int] = []

    def parts() -> Iterator[multipart.Part]:
        for number in range(3):
            made.append(number)
            yield multipart.Part("a/b", "/", b"x")

    flowing = multipart.flow(parts(), "b")
    next(flowing)
    assert made == [0]
