"""Search results as bodies: JSON, or XML as one part a result (PS3.18 10.6.3; MT-06)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson
from starlette.requests import Request

from gateway.dicom.native_model import json_to_xml
from gateway.dicomweb import multipart, offers
from gateway.dicomweb.dicom_json import DataSet
from gateway.http.bodies import Known
from gateway.http.compress import gzipped, wants_gzip
from gateway.http.ranges import Representation

SMALL = 1024
"""Bytes below which compressing is not worth it."""
VARY = "Accept, Accept-Encoding"


def answer(request: Request, results: Sequence[DataSet], media_type: str, headers: dict[str, str]) -> Representation:
    """Results as a body of `media_type`: the one place where objects become bytes."""
    body = orjson.dumps(results)
    etag = hashlib.sha256(body).hexdigest()[:32]
    if media_type == offers.XML:
        return _xml(results, etag, headers)
    if len(body) < SMALL or not wants_gzip(request.headers):
        return Representation(Known([body]), media_type, etag, headers, vary=VARY)
    packed = b"".join(gzipped(iter([body])))
    return Representation(
        Known([packed]), media_type, f"{etag}-gzip", {**headers, "Content-Encoding": "gzip"}, vary=VARY
    )


def _xml(results: Sequence[DataSet], etag: str, headers: dict[str, str]) -> Representation:
    boundary = multipart.boundary_of("results", etag)
    parts = [multipart.Part(offers.XML, "", json_to_xml(result)) for result in results]
    media_type = multipart.content_type(offers.XML, boundary)
    return Representation(multipart.write(parts, boundary), media_type, f"{etag}-xml", headers, vary=VARY)
