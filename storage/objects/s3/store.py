"""The object store in a bucket.

An object is written once: the server is asked to refuse a taken key where it knows how (`If-None-Match`, found out at
the first write), and is looked at before where it does not. Nothing rests on it, for keys are never used twice.
Every write carries the SHA-256 of its bytes: servers that know the header verify it; the others verify the signature,
which covers the bytes unless TLS does.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from io import BufferedReader
from pathlib import Path
from typing import Any
from uuid import uuid4

from storage.crashpoints import reached
from storage.encryption import Encryption
from storage.errors import (
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    ObjectStoreError,
    ObjectStoreFull,
    ObjectStoreUnavailable,
)
from storage.objects import Entrance, ObjectInfo, check_key, check_span, is_key
from storage.objects.s3.calls import Answer, Calls
from storage.objects.s3.download import Download

_log = logging.getLogger(__name__)

_PART = 16 << 20  # bytes, held in memory while they are sent
_WHOLE = 64 << 20  # bytes; larger files are sent in parts
_MOST_PARTS = 10_000
_PROBE = ".probe"
_TOKEN = "gantry-put"  # tells our own object from another's when an answer was lost
_DIGEST = "sha256"
_DAMAGED_ON_THE_WAY = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}


class S3Store:
    """An ObjectStore in `bucket`, below `prefix`.

    `endpoint` is the URL of the server (none: Amazon's); credentials come by the usual AWS chain. Times are in seconds:
    a call is tried up to `attempts` times, and ends within `connect_timeout + 2 * read_timeout` when its data flow.
    """

    worth_a_read = 256 << 10
    entrance: Entrance | None = None

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        region: str | None = None,
        connect_timeout: float = 2.0,
        read_timeout: float = 10.0,
        attempts: int = 3,
        max_connections: int = 32,
        encryption: Encryption | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._calls = Calls(
            endpoint=endpoint,
            region=region,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            attempts=attempts,
            max_connections=max_connections,
            encryption=encryption or Encryption(),
        )
        self._refuses_taken: bool | None = None
        self._probing = threading.Lock()
        self._write_failed = False

    def put(self, key: str, source: Path, *, sha256: str, metadata: Mapping[str, str] | None = None) -> None:
        """See ObjectStore. `metadata` become `x-amz-meta-` headers. The source stays where it is."""
        name = self._name(key)
        token = uuid4().hex
        kept = {**(metadata or {}), _DIGEST: sha256, _TOKEN: token}
        try:
            with source.open("rb") as file, self._writing():
                size = source.stat().st_size
                if size > _WHOLE:
                    self._put_parts(name, file, size, sha256, kept)
                else:
                    self._put_whole(name, file, size, sha256, kept)
        except OSError as error:
            raise ObjectStoreUnavailable(f"the file to be stored cannot be read: {error.strerror}") from error

    def put_bytes(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        name = self._name(key)
        with self._writing():
            self._ask_abilities()
            self._send("put_object", Key=name, Body=bytes(data), ChecksumSHA256=_base64(hashlib.sha256(data)))

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """See ObjectStore."""
        with self.stream(key, start, length) as chunks:
            return b"".join(chunks)

    @contextmanager
    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[Iterator[bytes]]:
        """See ObjectStore. A connection that breaks is taken up again where it broke, twice at most.

        ObjectDamaged, raised on entering, means that the object itself is too short; ObjectStoreUnavailable, at any
        time, that the connection could not be kept.
        """
        check_span(start, length)
        download = Download(self._calls, self._bucket, self._name(key), start, length)
        try:
            yield download.chunks()
        finally:
            download.close()

    def digests(self, key: str) -> tuple[str, str] | None:
        """See ObjectStore."""
        found = self._call("head_object", Key=self._name(key)).get("Metadata", {})
        kept = {text.lower(): value for text, value in found.items()}
        digests = kept.get("digest"), kept.get("dataset-digest")
        return (digests[0], digests[1]) if digests[0] and digests[1] else None

    def size(self, key: str) -> int:
        """See ObjectStore."""
        return int(self._call("head_object", Key=self._name(key))["ContentLength"])

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        with suppress(ObjectMissing):
            self._call("delete_object", Key=self._name(key))

    def keys(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """See ObjectStore. The order is the server's: some list `a/x` before `a-b`, though `-` sorts before `/`."""
        parameters: dict[str, Any] = {"Prefix": self._prefix + prefix}
        if after:
            parameters["StartAfter"] = self._prefix + after
        while True:
            page = self._call("list_objects_v2", **parameters)
            for entry in page.get("Contents", ()):
                key = entry["Key"][len(self._prefix) :]
                if is_key(key) and key != after:
                    yield ObjectInfo(key, int(entry["Size"]))
            if not page.get("IsTruncated"):
                return
            if page.get("NextContinuationToken", "") in ("", parameters.get("ContinuationToken")):
                raise ObjectStoreUnavailable("S3 list_objects_v2: the server lost its place in the list")
            parameters["ContinuationToken"] = page["NextContinuationToken"]

    def tidy(self, older_than: float = 86400.0) -> int:
        """Abort uploads in parts that a crash left behind more than `older_than` seconds ago; tells how many."""
        before = datetime.now(UTC) - timedelta(seconds=older_than)
        parameters: dict[str, Any] = {"Prefix": self._prefix}
        aborted = 0
        while True:
            page = self._call("list_multipart_uploads", **parameters)
            for upload in page.get("Uploads", ()):
                if upload["Initiated"] < before and is_key(upload["Key"][len(self._prefix) :]):
                    with suppress(ObjectMissing):
                        self._call("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
                        aborted += 1
            if not page.get("IsTruncated"):
                return aborted
            parameters |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}

    def facts(self) -> Mapping[str, str]:
        """See ObjectStore: what the server knows, its clock, and whether strangers may list or read the bucket."""
        refuses = self._ask_abilities()
        answer = self._call("head_bucket").get("ResponseMetadata", {}).get("HTTPHeaders", {})
        found = {"conditional put": "yes" if refuses else "no (not needed)", "server": answer.get("server", "unknown")}
        if self._calls.permits_anybody("head_object", Bucket=self._bucket, Key=self._prefix + _PROBE):
            found["public"] = "read"
        elif self._calls.permits_anybody("list_objects_v2", Bucket=self._bucket, MaxKeys=1):
            found["public"] = "list"
        with suppress(KeyError, ValueError):
            found["clock"] = str(parsedate_to_datetime(answer["date"]).timestamp())
        return found

    def check(self) -> None:
        """See ObjectStore. One small request; after a write that failed also a small write."""
        self._find_bucket()
        if self._refuses_taken is None:
            self._ask_abilities()
        elif self._write_failed:
            self._call("put_object", Key=self._prefix + _PROBE, Body=b"")
            self._write_failed = False

    def close(self) -> None:
        """See ObjectStore."""
        self._calls.close()

    # Writing

    def _put_whole(self, name: str, file: BufferedReader, size: int, sha256: str, metadata: Mapping[str, str]) -> None:
        condition = self._condition(name)
        for attempts_left in reversed(range(3)):
            file.seek(0)
            reached("P3")
            digest = b64encode(bytes.fromhex(sha256)).decode()
            try:
                self._send(
                    "put_object",
                    handles=frozenset({409, 412}),
                    Key=name,
                    Body=file,
                    ChecksumSHA256=digest,
                    ContentType="application/dicom",
                    Metadata=metadata,
                    **condition,
                )
                return
            except Answer as answer:
                if answer.status == 412:
                    self._claim(name, size, metadata)
                    return
                if not attempts_left:  # another write of this key goes on, says the server
                    raise answer.meaning from answer
                time.sleep(random.uniform(0.05, 0.25))
            except ObjectDamaged:
                file.seek(0)
                if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                    raise ObjectStoreUnavailable("S3 put_object: the bytes were damaged on the way") from None
                raise

    def _put_parts(self, name: str, file: BufferedReader, size: int, sha256: str, metadata: Mapping[str, str]) -> None:
        condition = self._condition(name, looks=True)  # some refuse a taken key for a whole object only
        upload = self._call(
            "create_multipart_upload",
            Key=name,
            ChecksumAlgorithm="SHA256",
            ContentType="application/dicom",
            Metadata=metadata,
        )["UploadId"]
        part_size = max(_PART, -(-size // _MOST_PARTS))
        whole = hashlib.sha256()
        parts: list[dict[str, Any]] = []
        try:
            while data := file.read(part_size):
                whole.update(data)
                digest = _base64(hashlib.sha256(data))
                number = len(parts) + 1
                sent = self._send(
                    "upload_part", Key=name, UploadId=upload, PartNumber=number, Body=data, ChecksumSHA256=digest
                )
                parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": digest})
                reached("P4")
            if whole.hexdigest() != sha256:
                raise ObjectDamaged("the file to be stored is not the one whose digest was given")
            try:
                self._call(
                    "complete_multipart_upload",
                    handles=frozenset({404, 409, 412}),
                    Key=name,
                    UploadId=upload,
                    MultipartUpload={"Parts": parts},
                    **condition,
                )
            except Answer as answer:
                if answer.status == 409:
                    raise answer.meaning from answer
                self._claim(name, size, metadata)  # 404: an earlier attempt was done, and its answer lost
        except BaseException:
            with suppress(ObjectStoreError):  # what stays is found by `tidy`
                self._call("abort_multipart_upload", Key=name, UploadId=upload)
            raise

    def _condition(self, name: str, *, looks: bool = False) -> dict[str, str]:
        """What makes the server refuse a taken key; where it does not know how, look first. Raises ObjectExists."""
        refuses = self._ask_abilities()
        if looks or not refuses:
            with suppress(ObjectMissing):
                self._call("head_object", Key=name)
                raise ObjectExists(name)
        return {"IfNoneMatch": "*"} if refuses else {}

    def _claim(self, name: str, size: int, metadata: Mapping[str, str]) -> None:
        """The key is taken: return when it is by ourselves, an attempt before whose answer was lost."""
        try:
            found = self._call("head_object", Key=name)
        except ObjectMissing as error:
            raise ObjectStoreUnavailable("S3: what became of a write could not be found out") from error
        theirs = {text.lower(): value for text, value in found.get("Metadata", {}).items()}
        if theirs.get(_TOKEN) != metadata[_TOKEN] or int(found["ContentLength"]) != size:
            raise ObjectExists(name)

    def _ask_abilities(self) -> bool:
        """True when the server refuses a PUT of a taken key; asked once, by a try. Raises when there is no bucket."""
        if self._refuses_taken is None and self._probing.acquire(blocking=False):
            try:
                self._find_bucket()  # some servers make a bucket of any name at the first PUT
                probe: dict[str, Any] = {"Key": self._prefix + _PROBE, "Body": b""}
                self._call("put_object", **probe)
                try:
                    self._call("put_object", handles=frozenset({400, 409, 412, 501}), IfNoneMatch="*", **probe)
                    refuses = False
                except Answer as answer:
                    refuses = answer.status in (409, 412)
                self._refuses_taken = refuses
                _log.info("S3 bucket %s: conditional put %s", self._bucket, "works" if refuses else "is not supported")
            finally:
                self._probing.release()
        return self._refuses_taken or False

    def _find_bucket(self) -> None:
        try:
            self._call("head_bucket")
        except ObjectMissing as error:
            raise ObjectStoreUnavailable(f"there is no bucket {self._bucket}") from error

    def _send(self, operation: str, *, handles: frozenset[int] = frozenset(), **parameters: Any) -> Mapping[str, Any]:
        """A call with a body; sent once more when it arrived damaged, then ObjectDamaged."""
        for again in (True, False):
            try:
                return self._call(operation, handles=handles | {400}, **parameters)
            except Answer as answer:
                if answer.code in _DAMAGED_ON_THE_WAY:
                    if again:
                        _log.warning("S3 %s: the bytes did not arrive as sent; sent once more", operation)
                        if hasattr(parameters["Body"], "seek"):
                            parameters["Body"].seek(0)
                        continue
                    raise ObjectDamaged(f"S3 {operation}: {answer.code}") from answer
                if answer.status in handles:
                    raise
                raise answer.meaning from answer
        raise AssertionError("unreachable")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Remember writes that failed, for `check`."""
        try:
            yield
        except (ObjectStoreFull, ObjectStoreUnavailable):
            self._write_failed = True
            raise

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _call(self, operation: str, *, handles: frozenset[int] = frozenset(), **parameters: Any) -> Mapping[str, Any]:
        return self._calls.call(operation, handles=handles, Bucket=self._bucket, **parameters)


def _base64(digest: Any) -> str:
    return b64encode(digest.digest()).decode()
