"""Calls of an S3 server: within a time budget, with a circuit breaker, and with our errors instead of the library's.

The library retries (its standard mode: jittered, with a quota against retry storms); here stands what it lacks. No
attempt begins that could end after the budget of its call. While the server cannot be reached calls fail at once, and
every few seconds one may try again. Credentials that were refused are read anew, so that keys can be changed under a
running gateway.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import boto3
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from botocore.parsers import ResponseParserError

from storage.encryption import Encryption
from storage.errors import ObjectMissing, ObjectStoreError, ObjectStoreFull, ObjectStoreUnavailable
from storage.objects.s3.reads import Reads

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FULL = {
    "EntityTooLarge",
    "InsufficientStorage",
    "NotEnoughSpace",
    "QuotaExceeded",
    "QuotaExceededException",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
_ABSENT = {"404", "NoSuchKey", "NoSuchVersion", "NotFound"}
_RENEW = {
    "401",
    "403",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}


class Answer(Exception):
    """What the server answered instead of doing what was asked. `meaning` is the error to raise when it stays so."""

    def __init__(self, status: int, code: str, meaning: ObjectStoreError) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.meaning = meaning


class CircuitBreaker:
    """Remembers whether a server can be reached, for all threads.

    After `threshold` connections in a row that failed, none is tried for `cooldown` seconds, then one each `cooldown`
    seconds until one works.
    """

    def __init__(self, threshold: int = 3, cooldown: float = 3.0) -> None:
        self._threshold = threshold
        self._cooldown = cooldown
        self._failures = 0
        self._refuses_until = 0.0
        self._lock = threading.Lock()

    def permits(self) -> bool:
        """True when a connection may be tried now."""
        with self._lock:
            if self._failures < self._threshold:
                return True
            now = time.monotonic()
            if now < self._refuses_until:
                return False
            self._refuses_until = now + self._cooldown  # the others wait for what this one finds
            return True

    def record(self, *, reached: bool) -> None:
        """Tell how a connection ended."""
        with self._lock:
            self._failures = 0 if reached else self._failures + 1
            if self._failures >= self._threshold:
                self._refuses_until = time.monotonic() + self._cooldown


class _NotTried(Exception):
    """The attempt was not begun: the budget is spent, or the server known to be out of reach."""


class Calls:
    """Calls by name of the operation, as in the library's client. Shared by all threads."""

    def __init__(
        self,
        *,
        endpoint: str | None,
        region: str | None,
        connect_timeout: float,
        read_timeout: float,
        attempts: int,
        max_connections: int,
        encryption: Encryption,
    ) -> None:
        self.budget = connect_timeout + 2 * read_timeout
        """Seconds after which a call has ended, when its data flow."""
        self._attempt = connect_timeout + read_timeout
        self._endpoint = endpoint
        self._region = region
        self._encryption = encryption
        self._config = Config(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=max_connections,
            tcp_keepalive=True,
            s3={"addressing_style": "path"},
            # We send the digests that we have. The library's own (CRC32 in trailers) are unknown to older servers.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._breaker = CircuitBreaker()
        self._local = threading.local()
        self._renewal = threading.Lock()
        self._renewed = time.monotonic()
        self._timeouts = connect_timeout, read_timeout, max_connections
        self._client, self._keys, self._reads = self._connect()

    def call(
        self, operation: str, *, handles: frozenset[int] = frozenset(), spent: float = 0.0, **parameters: Any
    ) -> Mapping[str, Any]:
        """The server's answer to `operation`; `spent` seconds of its budget are gone already.

        Raises Answer for the HTTP statuses that the caller `handles`, ObjectMissing, ObjectStoreFull and
        ObjectStoreUnavailable for others and for a server that does not answer.
        """
        client = self._client
        parameters |= self._encryption.parameters(operation)
        try:
            return self._try(client, operation, parameters, spent)
        except ClientError as error:
            refused = _answer(operation, error)
            if refused.code in _RENEW and self._renew(client):
                try:
                    return self._try(self._client, operation, parameters)
                except ClientError as again:
                    error, refused = again, _answer(operation, again)
            if refused.status in handles:
                raise refused from error
            raise refused.meaning from error

    def read(self, bucket: str, name: str, headers: dict[str, str]) -> AWSResponse | None:
        """What a GET of an object gave at once, with its body unread; None where `call` has to be asked.

        That is so for Amazon's own service, whose addresses the library knows best, and for all that is no success.
        """
        reads = self._reads
        if reads is None or not self._breaker.permits():
            return None
        try:
            answer = reads.get(bucket, name, {**headers, **self._encryption.headers()})
        except (BotoCoreError, HTTPClientError):
            self._breaker.record(reached=False)
            return None
        self._breaker.record(reached=True)
        return answer

    def permits_anybody(self, operation: str, **parameters: Any) -> bool:
        """Does the server do for a stranger, who shows no credentials, what `operation` asks for? One try."""
        config = self._config.merge(Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}))
        region = self._client.meta.region_name
        try:
            with closing(
                boto3.session.Session().client("s3", region_name=region, endpoint_url=self._endpoint, config=config)
            ) as stranger:
                getattr(stranger, operation)(**parameters, **self._encryption.parameters(operation))
        except ClientError:
            return False
        except (BotoCoreError, ResponseParserError) as error:
            raise ObjectStoreUnavailable(f"S3 {operation}: {error}") from error
        return True

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()
        if self._reads is not None:
            self._reads.close()

    def lost(self) -> None:
        """Tell that a connection broke while its data were read."""
        self._breaker.record(reached=False)

    def _try(
        self, client: S3Client, operation: str, parameters: Mapping[str, Any], spent: float = 0.0
    ) -> Mapping[str, Any]:
        self._local.deadline = time.monotonic() + self.budget - spent
        self._local.refusal = None
        try:
            answer: Mapping[str, Any] = getattr(client, operation)(**parameters)
        except _NotTried as error:
            if self._local.refusal is not None:
                raise ClientError(self._local.refusal, operation) from error
            raise ObjectStoreUnavailable(f"S3 {operation}: {error}") from error
        except (BotoCoreError, ResponseParserError) as error:
            raise ObjectStoreUnavailable(f"S3 {operation}: {error}") from error
        return answer

    def _before_attempt(self, **_: Any) -> None:
        if time.monotonic() + self._attempt > self._local.deadline + 0.001:
            raise _NotTried("no answer in time")
        if not self._breaker.permits():
            raise _NotTried("the server could not be reached a moment ago")

    def _after_attempt(self, exception: Exception | None, parsed_response: Any, **_: Any) -> None:
        if exception is None:
            self._breaker.record(reached=True)
            self._local.refusal = parsed_response if parsed_response and "Error" in parsed_response else None
        elif isinstance(exception, (ConnectionError, HTTPClientError)):
            self._breaker.record(reached=False)

    def _connect(self) -> tuple[S3Client, tuple[str, ...], Reads | None]:
        try:
            session = boto3.session.Session(region_name=self._region)
            region = session.region_name or ("us-east-1" if self._endpoint else None)
            client = session.client("s3", region_name=region, endpoint_url=self._endpoint, config=self._config)
            keys = session.get_credentials()
            frozen = keys.get_frozen_credentials() if keys else None
        except (BotoCoreError, ValueError) as error:
            raise ObjectStoreUnavailable(f"S3 settings: {error}") from error
        client.meta.events.register("before-send.s3", self._before_attempt)
        client.meta.events.register("response-received.s3", self._after_attempt)
        if frozen is None or keys is None:
            return client, (), None
        reads = None
        if self._endpoint:
            connect, read, connections = self._timeouts
            reads = Reads(
                self._endpoint,
                region or "us-east-1",
                keys,
                connect_timeout=connect,
                read_timeout=read,
                max_connections=connections,
            )
        return client, (frozen.access_key or "", frozen.secret_key or "", frozen.token or ""), reads

    def _renew(self, refused: S3Client) -> bool:
        """True when credentials other than those that were refused are in use now; looks for them every few seconds."""
        with self._renewal:
            if self._client is not refused:
                return True
            if time.monotonic() - self._renewed < 2.0:
                return False
            self._renewed = time.monotonic()
            client, keys, reads = self._connect()
            if keys == self._keys:
                client.close()
                if reads is not None:
                    reads.close()
                return False
            self._client, self._keys, self._reads = client, keys, reads
            return True


def _answer(operation: str, error: ClientError) -> Answer:
    """What an error answer means for us. Its text names the reason, so that an operator need not guess."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "") or str(status)
    if code in _FULL or status in (413, 507):
        return Answer(status, code, ObjectStoreFull(f"S3 {operation}: {code}"))
    if code in _ABSENT:
        return Answer(status, code, ObjectMissing(f"S3 {operation}: {code}"))
    if code == "RequestTimeTooSkewed":
        reason = f"our clock and the server's differ too much ({code})"
    elif code == "NoSuchBucket":
        reason = f"there is no such bucket ({code})"
    elif status in (401, 403):
        reason = f"our credentials were refused ({code})"
    elif status in (429, 503):
        reason = f"the server is too busy ({code})"
    else:
        reason = f"answered with {status} {code}"
    return Answer(status, code, ObjectStoreUnavailable(f"S3 {operation}: {reason}"))
