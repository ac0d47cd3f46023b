"""gzip for text made here (RFC 9110 8.4.1). Never for frames, bulk data and instances: viewers count their bytes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from starlette.datastructures import Headers

_LEVEL = 4
_GZIP_MEMBER = 31
_REFUSED = re.compile(r"q\s*=\s*0(\.0{0,3})?")


def wants_gzip(asked: Headers) -> bool:
    """Accept-Encoding names gzip, and not with a quality of 0."""
    for coding in asked.get("accept-encoding", "").lower().split(","):
        name, _, parameters = coding.partition(";")
        if name.strip() in ("gzip", "x-gzip"):
            return not _REFUSED.fullmatch(parameters.strip())
    return False


def gzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """`chunks` as one gzip member; the same bytes for the same input, in whatever chunks it comes."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_MEMBER)
    for chunk in chunks:
        packed = packer.compress(chunk)
        if packed:
            yield packed
    yield packer.flush()
