"""Dates, times and time zones as text whose order is that of time (PS3.5 6.2, PS3.4 C.2.2.2.5).

Stored values are never moved: with time zones, the ends of an interval are put into the zone of each stored value.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import datetime, timedelta

MINUTES_A_DAY = 24 * 60
DAY_BEGINS, DAY_ENDS = "000000", "235960.999999"
"""Without a fraction, which a stored time may leave out."""
OFFSETS: dict[str, int] = {
    f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}": minutes
    for minutes in range(-12 * 60, 14 * 60 + 1, 15)
}
"""Every Timezone Offset From UTC that is in use on earth or could be (PS3.3 C.12.1.1.8), in minutes."""

_ZONE = r"[+-](?:0[0-9]|1[0-4])[0-5][0-9]"
_TIME = re.compile(r"(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?)?)?")
_MOMENT = (
    r"[0-9]{4}(?:(?:0[1-9]|1[0-2])(?:(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?)?)?)?)?)?"
)
_STAMP = re.compile(rf"({_MOMENT})({_ZONE})?")
_STAMPS = re.compile(rf"((?:{_MOMENT})(?:{_ZONE})?)?\s*-\s*((?:{_MOMENT})(?:{_ZONE})?)?")
_FIRST = "00000101000000"


def date(text: str) -> str | None:
    """YYYYMMDD of a date, which may have the dots of ACR-NEMA; None when it is none."""
    digits = text.replace(".", "") if re.fullmatch(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}", text, re.ASCII) else text
    if not re.fullmatch(r"[0-9]{8}", digits, re.ASCII):
        return None
    return digits if "01" <= digits[4:6] <= "12" and "01" <= digits[6:] <= "31" else None


def time(text: str, *, last: bool) -> str | None:
    """The first or last moment of the day that a time of reduced precision covers; None when it is none."""
    digits = text.replace(":", "")
    if not _TIME.fullmatch(digits):
        return None
    whole, _, fraction = digits.partition(".")
    if not last:
        fraction = fraction.rstrip("0")  # a stored time may leave out as much
        return whole + "000000"[len(whole) :] + (f".{fraction}" if fraction else "")
    return whole + "235959"[len(whole) :] + f".{fraction.ljust(6, '9')}"


def time_key(value: str) -> str:
    """A stored time padded to seconds, so that text order is time order."""
    return value + "000000"[len(value) :]


def offset(text: object) -> int | None:
    """Minutes east of UTC of a Timezone Offset From UTC; None when it is none."""
    return OFFSETS.get(text) if isinstance(text, str) else None


def shift_moment(moment: str, minutes: int) -> str:
    """`YYYYMMDDHHMMSS.FFFFFF` some minutes later; seconds and their fraction stay as they are."""
    try:
        first = datetime(int(moment[:4]), int(moment[4:6]), 1, int(moment[8:10]), int(moment[10:12]))
        moved = first + timedelta(days=int(moment[6:8]) - 1, minutes=minutes)
    except (ValueError, OverflowError):  # the years 0 and 9999 have no neighbours
        return moment
    return f"{moved.year:04d}{moved:%m%d%H%M}{moment[12:]}"


def shift_time(moment: str, minutes: int) -> str:
    """`HHMMSS.FFFFFF` some minutes later, round the clock."""
    total = (int(moment[:2]) * 60 + int(moment[2:4]) + minutes) % MINUTES_A_DAY
    return f"{total // 60:02d}{total % 60:02d}{moment[4:]}"


def stamp(text: str, zone: int, *, last: bool) -> str | None:
    """The first or last moment that a DT covers, in UTC; `zone` is that of one that does not say. None: it is none."""
    found = _STAMP.fullmatch(text.strip())
    if found is None:
        return None
    whole, _, fraction = found[1].partition(".")
    moment = whole + (_last(whole) if last else _FIRST)[len(whole) : 14]
    own = found[2]
    minutes = zone if own is None else int(own[0] + "1") * (int(own[1:3]) * 60 + int(own[3:5]))
    return shift_moment(f"{moment}.{fraction.ljust(6, '9' if last else '0')}", -minutes)


def _last(whole: str) -> str:
    """The last second that a date and time of reduced precision covers."""
    month = whole[4:6] or "12"
    days = monthrange(max(int(whole[:4]), 1), int(month))[1]
    return f"{whole[:4]}{month}{days:02d}235960"


def stamps(text: str, zone: int) -> tuple[str | None, str | None] | None:
    """The interval in UTC that a DT key means: one DT or a range. None when it is neither.

    A hyphen before four digits that make an offset is that of a zone, not of a range.
    """
    if (low := stamp(text, zone, last=False)) is not None:
        return low, stamp(text, zone, last=True)
    found = _STAMPS.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        return None
    first = stamp(found[1], zone, last=False) if found[1] else None
    end = stamp(found[2], zone, last=True) if found[2] else None
    return first, end
