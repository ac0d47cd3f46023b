"""What a request to the Studies service names (PS3.18 10.1): UIDs and frame numbers of its path, and its own root."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import Request

from gateway.dicom.uids import is_uid
from gateway.dicomweb.media_types import MediaRange, acceptable
from gateway.errors import BadRequest
from gateway.http.forwarded import HOST, PREFIX_KEY

STRICT_KEY = "gantry.strict_accept"
"""In the scope: a request without an Accept header accepts nothing (NEG-01)."""
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_FRAME = re.compile(r"0*[1-9][0-9]{0,9}")
MAX_PARAMETERS = 500
MAX_FRAMES = 10_000
"""Frame numbers in one list."""


@dataclass(frozen=True, slots=True)
class Target:
    """A study, series or instance; `url` is its own, without a trailing slash."""

    root: str
    study_uid: str
    series_uid: str | None = None
    sop_uid: str | None = None

    @property
    def uids(self) -> tuple[str, str | None, str | None]:
        """Study, series, instance, as the use cases take them."""
        return self.study_uid, self.series_uid, self.sop_uid

    @property
    def url(self) -> str:
        """Of the resource."""
        return instance_url(self.root, *self.uids)


def path_uids(request: Request) -> dict[str, str]:
    """The UIDs in the path, by `study`, `series`, `instance`. Raises BadRequest (GEN-05, S-21, S-65)."""
    found: dict[str, str] = {}
    for name in ("study", "series", "instance"):
        uid = request.path_params.get(name)
        if uid is not None:
            if not is_uid(uid):
                raise BadRequest(name, f"the {name} in the path is no UID: digits and dots, at most 64 (PS3.5 9.1)")
            found[name] = uid
    return found


def target(request: Request, public_url: str | None) -> Target:
    """What the path names. Raises BadRequest."""
    uids = path_uids(request)
    return Target(root(request, public_url), uids["study"], uids.get("series"), uids.get("instance"))


def parameters(request: Request) -> list[tuple[str, str]]:
    """Names and values of the query, percent-decoded once (QIDO-15). Raises BadRequest."""
    try:
        text = request.scope["query_string"].decode("ascii")
        found = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError as error:
        raise BadRequest("query", "the query is percent-encoded UTF-8") from error
    except ValueError as error:
        raise BadRequest("query", f"a query has at most {MAX_PARAMETERS} parameters") from error
    if any("\0" in name or "\0" in value for name, value in found):
        raise BadRequest("query", "a query holds no NUL (PS3.18 8.3.1)")
    return found


def tries(request: Request, asked: Sequence[tuple[str, str]]) -> list[Sequence[MediaRange]]:
    """What the client accepts, by parameter and by header, in the order to be tried."""
    headers = request.headers.getlist("accept")
    query = ",".join(value for name, value in asked if name.lower() == "accept")
    strict = bool(request.scope.get(STRICT_KEY))
    return acceptable(",".join(headers) if headers else None, query, strict=strict)


def root(request: Request, public_url: str | None) -> str:
    """The DICOMweb root as the client may use it: below the public URL, else as the request came.

    What a trusted proxy said of it is in the scope by now (`gateway.http.forwarded`). Raises BadRequest for a Host
    header that is none (S-59).
    """
    mount: str = request.scope.get("root_path", "")
    if public_url:
        return public_url.rstrip("/") + mount
    address, port = request.scope.get("server") or ("localhost", None)
    own = f"[{address}]" if ":" in address else address
    host = request.headers.get("host") or own
    if not HOST.fullmatch(host):
        raise BadRequest("Host", "the Host header is malformed")
    # The Python client leaves the port out of its Host header. Where it names our own socket, that port is meant; any
    # other name may be that of a proxy, which knows best.
    if host == own or (host == "localhost" and address in _LOOPBACK):
        host = f"{host}:{port}" if port else host
    return f"{request.scope['scheme']}://{host}{request.scope.get(PREFIX_KEY, '')}{mount}"


def instance_url(root: str, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None) -> str:
    """`{root}/studies/{study}[/series/{series}[/instances/{instance}]]`."""
    url = f"{root}/studies/{study_uid}"
    if series_uid is not None:
        url += f"/series/{series_uid}"
    return url if sop_uid is None else f"{url}/instances/{sop_uid}"


def frame_numbers(text: str) -> list[int]:
    """The 1-based numbers of a frame list, in the order asked, repeats kept. Raises BadRequest (WADO-14)."""
    numbers = text.split(",")
    if len(numbers) > MAX_FRAMES:
        raise BadRequest("frames", f"at most {MAX_FRAMES} frames can be asked for at once")
    for number in numbers:
        if not _FRAME.fullmatch(number):
            raise BadRequest("frames", "a frame list holds numbers from 1 on, separated by commas")
    return [int(number) for number in numbers]
