"""One name per attempt to store: a UUIDv7 in hex (RFC 9562 5.7), so names sort by time and are never reused."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time

_guard = threading.Lock()
_last = 0


def new_version(now: float | None = None) -> str:
    """A fresh UUIDv7, 32 hex digits; those of one process sort in the order they were made.

    `now` (seconds since the epoch) makes one for another moment, outside that order.
    """
    global _last
    if now is not None:
        moment = int(now * 1000) << 12 | secrets.randbits(12)
    else:
        # twelve bits count within the millisecond, and run on into the next one (RFC 9562 6.2, method 1)
        with _guard:
            moment = _last = max(int(time.time() * 1000) << 12, _last + 1)
    milliseconds, counter = moment >> 12 & 0xFFFF_FFFF_FFFF, moment & 0xFFF
    value = milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | secrets.randbits(62)
    return f"{value:032x}"


def version_time(version: str) -> float:
    """When the version was made, in seconds since the epoch."""
    return int(version[:12], 16) / 1000


OBJECTS = "obj/"
"""Prefix of the keys of received objects."""


def object_key(sop_uid: str, version: str) -> str:
    """Where version `version` of an instance is kept. Holds a hash, so nothing of the UID reaches a path.

    Few folders with many objects each: an object that needs no folder of its own has one name less to be synced.
    """
    name = hashlib.sha256(sop_uid.encode()).hexdigest()
    return f"{OBJECTS}{name[:2]}/{name[:32]}-{version}.dcm"


def version_of(key: str) -> str:
    """The version in an object key."""
    return key.rpartition("-")[2].removesuffix(".dcm")


def instance_of(key: str) -> str:
    """What the keys of all versions of an instance begin with."""
    return key.rpartition("-")[0]
