"""Ranged reads signed here and sent on connections of our own: a third of what the library's call costs.

Only what succeeds at once comes from here. For everything else (an error of the server, a connection that broke, keys
that have to be renewed) the caller asks the library, which tries again, waits and tells why.
"""

from __future__ import annotations

from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

UNSIGNED = "UNSIGNED-PAYLOAD"
_SUCCESS = frozenset({200, 206})


class Reads:
    """GETs of objects at `endpoint`, addressed by path; credentials may renew themselves. Shared by all threads.

    Times are in seconds.
    """

    def __init__(
        self,
        endpoint: str,
        region: str,
        credentials: Credentials | RefreshableCredentials,
        *,
        connect_timeout: float,
        read_timeout: float,
        max_connections: int,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._region = region
        self._credentials = credentials
        self._session = URLLib3Session(
            proxies=get_environ_proxies(endpoint),
            timeout=(connect_timeout, read_timeout),  # type: ignore[arg-type]  # the library itself gives it both
            max_pool_connections=max_connections,
        )

    def get(self, bucket: str, name: str, headers: dict[str, str]) -> AWSResponse | None:
        """The answer, its body unread, or None when it is no success. Raises HTTPClientError when there is none."""
        url = f"{self._endpoint}/{bucket}/{quote(name, safe='/~')}"
        request = AWSRequest("GET", url, headers={**headers, "x-amz-content-sha256": UNSIGNED}, stream_output=True)
        request.context["payload_signing_enabled"] = False
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        answer: AWSResponse = self._session.send(request.prepare())
        if answer.status_code in _SUCCESS:
            return answer
        answer.raw.drain_conn()
        answer.raw.release_conn()
        return None

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()
