"""Instances as a zip archive, written while it is sent (an extension: PS3.18 names no such type).

Names are made here and hold nothing of the instances (S-76); nothing is compressed, since most images are already.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence

from gateway.http.bodies import Source, read
from storage.records import Located

FORM = "1"
"""Raised when the same instances give other archives than before."""
_TIME = (1980, 1, 1, 0, 0, 0)
"""The same for all files, so that the same instances always give the same bytes."""
_ZIP64_FROM = 2**31


class _Pipe:
    """Takes what the archive writes until it is fetched. No seeking: sizes and checksums follow their file."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes | memoryview) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        return None

    def take(self) -> bytes:
        """What was written since the last time."""
        found, self._pieces = b"".join(self._pieces), []
        return found


def names(found: Sequence[Located]) -> Iterator[str]:
    """A name for each instance: a folder for each series, files by their order."""
    series: dict[str, int] = {}
    counts: dict[str, int] = {}
    for located in found:
        folder = series.setdefault(located.series_uid, len(series) + 1)
        number = counts[located.series_uid] = counts.get(located.series_uid, 0) + 1
        yield f"series{folder:04}/{number:06}.dcm"


def flow(files: Iterable[tuple[str, Source]]) -> Iterator[bytes]:
    """The archive of these files, one after the other."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name, source in files:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=source.length >= _ZIP64_FROM) as target:
                for piece in read(source):
                    target.write(piece)
                    yield pipe.take()
            yield pipe.take()
    yield pipe.take()
