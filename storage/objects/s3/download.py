"""Reading an object from S3, also over connections that break."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3.exceptions
from botocore.exceptions import BotoCoreError
from botocore.response import StreamingBody

from storage.errors import ObjectDamaged, ObjectStoreUnavailable
from storage.objects import CHUNK
from storage.objects.s3.calls import Answer, Calls

_CUT = (BotoCoreError, urllib3.exceptions.HTTPError, OSError)
_RESUMES = 2


class Download:
    """One range of one object, on as many connections as it takes.

    Raises on the way ObjectMissing, ObjectDamaged and ObjectStoreUnavailable. Its owner calls `close`.
    """

    def __init__(self, calls: Calls, bucket: str, name: str, start: int, length: int | None) -> None:
        self._calls = calls
        self._of: dict[str, Any] = {"Bucket": bucket, "Key": name}
        self._at = start
        self._body: StreamingBody | None = None
        self._etag = ""
        if length == 0:
            size = int(calls.call("head_object", **self._of)["ContentLength"])
            self._end = self._within(start, size)
            return
        self._end = start + length if length else 0
        self._open()

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces of at most CHUNK."""
        resumes = _RESUMES
        while self._at < self._end:
            try:
                data = self._body.read(min(CHUNK, self._end - self._at)) if self._body else b""
                broken: Exception | None = None
            except _CUT as error:
                data, broken = b"", error
            if data:
                self._at += len(data)
                yield data
                continue
            self.close()
            self._calls.lost()
            if not resumes:
                raise ObjectStoreUnavailable("S3 get_object: the connection broke again and again") from broken
            resumes -= 1
            self._open()

    def close(self) -> None:
        """Close the connection, unless all of it was read."""
        if self._body:
            self._body.close()
            self._body = None

    def _open(self) -> None:
        """Ask for what is missing."""
        condition: dict[str, Any] = {"IfMatch": self._etag} if self._etag else {}
        if self._at or self._end:
            last = str(self._end - 1) if self._end else ""
            condition["Range"] = f"bytes={self._at}-{last}"
        began = time.monotonic()
        try:
            answer = self._at_once(condition) or self._calls.call(
                "get_object",
                handles=frozenset({412, 416}),
                spent=time.monotonic() - began,
                **self._of,
                **condition,
            )
        except Answer as refused:
            if refused.status == 412:
                raise ObjectDamaged(f"{self._of['Key']}: changed while it was read") from refused
            size = int(self._calls.call("head_object", **self._of)["ContentLength"])
            if self._end:
                raise ObjectDamaged(f"{self._of['Key']}: {size} bytes long, {self._end} expected") from refused
            self._end = self._within(self._at, size)
            return
        self._body, self._etag = answer["Body"], answer.get("ETag", "")
        if "Range" in condition:
            span, _, total = answer.get("ContentRange", "").removeprefix("bytes ").partition("/")
            if not total.isdecimal() or not span.startswith(f"{self._at}-"):
                self.close()
                raise ObjectStoreUnavailable("S3 get_object: the server does not answer ranges")
            size = int(total)
        else:
            size = int(answer["ContentLength"])
        if self._end > size:
            self.close()
            raise ObjectDamaged(f"{self._of['Key']}: {size} bytes long, {self._end} expected")
        self._end = self._end or size

    def _at_once(self, condition: Mapping[str, str]) -> Mapping[str, Any] | None:
        """The answer in the library's form, where it came without the library."""
        headers = {name.replace("IfMatch", "If-Match"): value for name, value in condition.items()}
        answer = self._calls.read(self._of["Bucket"], self._of["Key"], headers)
        if answer is None:
            return None
        length = answer.headers.get("content-length", "")
        if not length.isdecimal():
            answer.raw.release_conn()
            return None
        return {
            "Body": StreamingBody(answer.raw, int(length)),
            "ETag": answer.headers.get("etag", ""),
            "ContentRange": answer.headers.get("content-range", ""),
            "ContentLength": int(length),
        }

    def _within(self, at: int, size: int) -> int:
        if at > size:
            raise ObjectDamaged(f"{self._of['Key']}: {size} bytes long, {at} expected")
        return at
