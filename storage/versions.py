"""One name per attempt to store: a UUIDv7 in hex (RFC 9562 5.7), so names sort by time and are never reused."""

from __future__ import annotations

import hashlib
import secrets
import time


def new_version(now: float | None = None) -> str:
    """A fresh UUIDv7, 32 hex digits. `now` is in seconds since the epoch."""
    milliseconds = int((time.time() if now is None else now) * 1000) & 0xFFFF_FFFF_FFFF
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return f"{value:032x}"


def version_time(version: str) -> float:
    """When the version was made, in seconds since the epoch."""
    return int(version[:12], 16) / 1000


OBJECTS = "obj/"
"""Prefix of the keys of received objects."""


def object_key(sop_uid: str, version: str) -> str:
    """Where version `version` of an instance is kept. Holds a hash, so nothing of the UID reaches a path."""
    name = hashlib.sha256(sop_uid.encode()).hexdigest()
    return f"{OBJECTS}{name[:2]}/{name[:32]}/{version}.dcm"


def version_of(key: str) -> str:
    """The version in an object key."""
    return key.rpartition("/")[2].removesuffix(".dcm")
