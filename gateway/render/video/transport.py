"""Video and sound of a transport stream, as they are taken out of its packets (ISO/IEC 13818-1 2.4.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.errors import NotRenderable
from gateway.render.video.container import PACKET

H264, AAC = 0x1B, 0x0F
"""Stream types of H.264, and of AAC with headers of its own (ADTS) (Table 2-34)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a stream of pictures or sound; `pts` and `dts`, in ticks of 90 kHz, are of the one that starts in it."""

    data: bytes
    pts: int | None = None
    dts: int | None = None
    sound: bool = False


def streams_of(chunks: Iterable[bytes | memoryview]) -> Iterator[Piece]:
    """The first H.264 stream of the first program that has one, and its first AAC stream, piece by piece as they come.

    Raises NotRenderable where there is no H.264.
    """
    tables: dict[int, str] = {0: "programs"}
    wanted: dict[int, bool] = {}  # whether it is sound
    packets: dict[int, list[bytes]] = {}
    for packet in _packets(chunks):
        pid = int.from_bytes(packet[1:3], "big") & 0x1FFF
        starts, payload = bool(packet[1] & 0x40), _payload(packet)
        if pid in wanted:
            held = packets.setdefault(pid, [])
            if starts and held:
                yield _piece(b"".join(held), wanted[pid])
                held.clear()
            if starts or held:
                held.append(payload)
        elif pid in tables and starts and not wanted:
            if tables[pid] == "programs":
                tables |= dict.fromkeys(_programs(payload), "streams")
            else:
                wanted = _streams(payload)
    if not wanted:
        raise NotRenderable("the transport stream has no H.264 video")
    for pid, held in packets.items():
        if held:
            yield _piece(b"".join(held), wanted[pid])


def _packets(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        buffer = rest + bytes(chunk)
        whole = len(buffer) // PACKET * PACKET
        for at in range(0, whole, PACKET):
            packet = buffer[at : at + PACKET]
            if packet[0] != 0x47:
                if not any(buffer[at:]):
                    return  # padding of the last fragment
                raise NotRenderable("the transport stream has lost its packets")
            yield packet
        rest = buffer[whole:]


def _payload(packet: bytes) -> bytes:
    control = packet[3] >> 4 & 3
    if not control & 1:
        return b""
    return packet[5 + packet[4] :] if control & 2 else packet[4:]


def _section(payload: bytes) -> bytes:
    """A table section without its header's first 3 and its check's 4 bytes; it lies in one packet."""
    start = 1 + payload[0] if payload else 1
    if len(payload) < start + 3:
        return b""
    length = int.from_bytes(payload[start + 1 : start + 3], "big") & 0xFFF
    return payload[start + 3 : start + 3 + max(length - 4, 0)]


def _programs(payload: bytes) -> list[int]:
    body = _section(payload)[5:]
    entries = [body[at : at + 4] for at in range(0, len(body) - 3, 4)]
    return [int.from_bytes(entry[2:], "big") & 0x1FFF for entry in entries if entry[:2] != b"\0\0"]


def _streams(payload: bytes) -> dict[int, bool]:
    """The streams of a program that are wanted, and whether each is sound; none where it has no H.264."""
    body = _section(payload)
    at = 9 + (int.from_bytes(body[7:9], "big") & 0xFFF) if len(body) >= 9 else len(body)
    found: dict[int, int] = {}
    while at + 5 <= len(body):
        found.setdefault(body[at], int.from_bytes(body[at + 1 : at + 3], "big") & 0x1FFF)
        at += 5 + (int.from_bytes(body[at + 3 : at + 5], "big") & 0xFFF)
    if H264 not in found:
        return {}
    return {found[H264]: False, **({found[AAC]: True} if AAC in found else {})}


def _piece(packet: bytes, sound: bool) -> Piece:
    """A PES packet without its header (2.4.3.6)."""
    if packet[:3] != b"\0\0\1" or len(packet) < 9:
        return Piece(b"", sound=sound)
    flags, start = packet[7] >> 6, 9 + packet[8]
    pts = _time(packet[9:14]) if flags & 2 and len(packet) >= 14 else None
    dts = _time(packet[14:19]) if flags == 3 and len(packet) >= 19 else pts
    return Piece(packet[start:], pts, dts, sound)


def _time(field: bytes) -> int:
    high, middle, low = (
        field[0] >> 1 & 7,
        int.from_bytes(field[1:3], "big") >> 1,
        int.from_bytes(field[3:5], "big") >> 1,
    )
    return high << 30 | middle << 15 | low
