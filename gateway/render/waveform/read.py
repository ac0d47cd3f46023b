"""Samples of a waveform in the units they were measured in (PS3.3 C.10.9.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from gateway.dicom.header import Header
from gateway.dicom.view import View

MAX_SECONDS = 10.0
"""What is drawn of each multiplex group: a page of 250 mm at 25 mm/s."""
MAX_CHANNELS = 40
"""Most channels on a sheet."""
_MAX_BYTES = 64 << 20
"""Most samples read for it."""

_SEQUENCE, _DATA, _BITS, _INTERPRETATION, _PADDING = 0x54000100, 0x54001010, 0x54001004, 0x54001006, 0x5400100A
_CHANNELS, _SAMPLES, _FREQUENCY, _GROUP_LABEL = 0x003A0005, 0x003A0010, 0x003A001A, 0x003A0020
_DEFINITIONS, _LABEL, _SOURCE, _MEANING, _CODE = 0x003A0200, 0x003A0203, 0x003A0208, 0x00080104, 0x00080100
_SENSITIVITY, _UNITS, _CORRECTION, _BASELINE = 0x003A0210, 0x003A0211, 0x003A0212, 0x003A0213
_TYPES = {
    "SB": "i1", "UB": "u1", "MB": "u1", "AB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4",
}  # fmt: skip
_MILLIVOLTS = {"mV": 1.0, "uV": 1e-3, "µV": 1e-3, "V": 1e3, "nV": 1e-6}

Samples = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: `samples` in `units`, those that are padding NaN."""

    label: str
    units: str
    samples: Samples


@dataclass(frozen=True, slots=True)
class Group:
    """A multiplex group: channels of one sampling frequency (in Hz), and how long it is in seconds as a whole."""

    label: str
    frequency: float
    seconds: float
    channels: tuple[Channel, ...]
    left_out: int


def read_groups(header: Header, read: Callable[[int, int], bytes]) -> list[Group]:
    """The groups that can be drawn, in their order; `MAX_SECONDS` and `MAX_CHANNELS` of them."""
    groups: list[Group] = []
    room = MAX_CHANNELS
    for item in header.sequence(_SEQUENCE):
        group = _group(item, read, room) if room else None
        if group is not None:
            groups.append(group)
            room -= len(group.channels)
    return groups


def _group(item: View, read: Callable[[int, int], bytes], room: int) -> Group | None:
    count, length = item.number(_CHANNELS) or 0, item.number(_SAMPLES) or 0
    frequency, data = item.float(_FREQUENCY) or 0.0, item.find(_DATA)
    code = _TYPES.get(item.text(_INTERPRETATION) or "")
    if not 1 <= count <= 1024 or length < 1 or data is None or code is None or not 1e-3 <= frequency <= 1e6:
        return None
    kind = numpy.dtype(("<" if item.little_endian else ">") + code)
    if item.number(_BITS) != 8 * kind.itemsize:
        return None
    shown = min(length, max(int(MAX_SECONDS * frequency) + 1, 2), _MAX_BYTES // (count * kind.itemsize))
    wanted = min(shown * count * kind.itemsize, data.length)
    raw = data.value[:wanted] if data.value is not None else read(data.offset, wanted)
    if data.vr == "OW" and not item.little_endian and kind.itemsize == 1:
        words = numpy.frombuffer(raw[: len(raw) // 2 * 2], ">u2").astype("<u2")
        raw = words.tobytes()
    rows = len(raw) // (count * kind.itemsize)
    if rows < 2:
        return None
    stored = numpy.frombuffer(raw, kind, rows * count).reshape(rows, count)
    padding = item.find(_PADDING)
    value = padding.value if padding is not None and padding.value else b""
    gap = numpy.frombuffer(value, kind, 1)[0] if len(value) >= kind.itemsize else None
    definitions = item.sequence(_DEFINITIONS)
    channels = tuple(
        _channel(definitions[place] if place < len(definitions) else None, place, stored[:, place], gap, item)
        for place in range(min(count, room))
    )
    return Group(item.text(_GROUP_LABEL) or "", frequency, length / frequency, channels, count - len(channels))


def _channel(
    definition: View | None, place: int, stored: NDArray[numpy.generic], gap: numpy.generic | None, item: View
) -> Channel:
    interpretation = item.text(_INTERPRETATION) or ""
    samples = _companded(stored, interpretation) if interpretation in ("MB", "AB") else stored.astype(numpy.float64)
    if gap is not None:
        samples = numpy.where(stored == gap, numpy.nan, samples)
    if definition is None:
        return Channel(f"{place + 1}", "", samples)
    label = definition.text(_LABEL) or ""
    for source in definition.sequence(_SOURCE)[:1]:
        label = label or source.text(_MEANING) or source.text(_CODE) or ""
    sensitivity = definition.float(_SENSITIVITY)
    units = ""
    if sensitivity is not None:
        # Channel Baseline is where zero lies, in the units of the sensitivity (PS3.3 C.10.9.1.4).
        samples = samples * sensitivity * (definition.float(_CORRECTION) or 1.0) + (definition.float(_BASELINE) or 0.0)
        for unit in definition.sequence(_UNITS)[:1]:
            units = unit.text(_CODE) or ""
    if units in _MILLIVOLTS:
        return Channel(_lead(label) or f"{place + 1}", "mV", samples * _MILLIVOLTS[units])
    return Channel(_lead(label) or f"{place + 1}", units, samples)


def _lead(label: str) -> str:
    """`Lead aVR (augmented)` is the lead `aVR`."""
    words = label.split()
    return words[1] if len(words) > 1 and words[0].lower() == "lead" else label[:24]


def _companded(stored: NDArray[numpy.generic], law: str) -> Samples:
    """ITU-T G.711: mu-law (MB) and A-law (AB) as linear samples."""
    code = stored.astype(numpy.int64)
    if law == "MB":
        code = ~code & 0xFF
        size = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
        return numpy.where(code & 0x80, -size, size).astype(numpy.float64)
    code = code ^ 0x55
    exponent, mantissa = (code & 0x70) >> 4, (code & 0x0F) << 4
    size = numpy.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << numpy.maximum(exponent - 1, 0))
    return numpy.where(code & 0x80, size, -size).astype(numpy.float64)
