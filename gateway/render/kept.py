"""Finished pictures, kept under `derived/`: a picture that was made before costs as much as a frame that is read."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from gateway import metrics
from gateway.blob import reading
from gateway.render.view import Picture
from storage.archive import Archive
from storage.records import Located

VERSION = "5"
"""Of the renderer: raised when the same stored bytes and parameters give another picture than before."""


def key_of(digest: str, what: str, media_type: str) -> str:
    """The key of a picture: all that its bytes depend on."""
    return f"{digest} picture {VERSION} {media_type} {what}"


def keep(archive: Archive, located: Located, what: str, media_type: str, make: Callable[[], Picture]) -> Picture:
    """The picture of an instance that `what` describes, whole and unambiguous; made by `make` if it is not kept.

    All who ask for it while it is being made share it, and nobody waits for its file. Raises what `make` raises;
    Unavailable.
    """

    def write() -> bytes:
        metrics.RENDITIONS_MADE.inc()
        picture = make()
        made.append(picture)
        facts = {"width": picture.width, "height": picture.height, "window": picture.window}
        return orjson.dumps(facts) + b"\n" + picture.data

    made: list[Picture] = []
    with reading():
        kept = archive.behind.get(key_of(located.digest, what, media_type), write)
    if made:
        return made[0]
    facts, _, data = kept.partition(b"\n")
    return Picture(data, media_type, **orjson.loads(facts))
