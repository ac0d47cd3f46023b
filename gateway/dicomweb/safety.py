"""Media types that a stored file claims for itself: an Encapsulated Document says what it is, and may say anything."""

from __future__ import annotations

import mimetypes
import re

_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_ENDINGS = {
    "application/pdf": ".pdf",
    "video/h264": ".h264",
    "video/h265": ".h265",
    "video/mp2t": ".ts",
    "video/mp4": ".mp4",
    "video/mpeg": ".mpg",
}
_SHOWN = re.compile(r"application/pdf|video/(mp4|mpeg|mp2t|h264|h265)|image/(jpeg|png|gif|jp2|jxl|webp)|model/[a-z+-]+")


def safe_type(claimed: str) -> str:
    """The claimed type where it is one (S-58), else octet-stream."""
    found = claimed.split(";")[0].strip().lower()
    return found if _TYPE.fullmatch(found) else "application/octet-stream"


def safe_headers(media_type: str, name: str) -> dict[str, str]:
    """Headers that keep a browser from running it on our origin (S-20, S-60): what is no picture, film or PDF is to be
    saved, not shown. Under `name`, a UID, with the ending of its type."""
    ending = _ENDINGS.get(media_type, "") or mimetypes.guess_extension(media_type) or ".bin"
    file = f'filename="{name}{ending}"'
    if _SHOWN.fullmatch(media_type):
        return {"Content-Disposition": f"inline; {file}"}
    return {"Content-Disposition": f"attachment; {file}", "Content-Security-Policy": "default-src 'none'; sandbox"}
