"""Media types that a stored file claims for itself: an Encapsulated Document says what it is, and may say anything."""

from __future__ import annotations

import re

_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_SHOWN = re.compile(r"application/pdf|video/(mp4|mpeg|h265)|image/(jpeg|png|gif|jp2|jxl|webp)|model/[a-z+-]+")


def safe_type(claimed: str) -> str:
    """The claimed type where it is one (S-58), else octet-stream."""
    found = claimed.split(";")[0].strip().lower()
    return found if _TYPE.fullmatch(found) else "application/octet-stream"


def safe_headers(media_type: str) -> dict[str, str]:
    """Headers that keep a browser from running it on our origin (S-20, S-60): what is no picture, film or PDF is to be
    saved, not shown."""
    if _SHOWN.fullmatch(media_type):
        return {"Content-Disposition": "inline"}
    return {"Content-Disposition": "attachment", "Content-Security-Policy": "default-src 'none'; sandbox"}
