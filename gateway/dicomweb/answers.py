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


def answer(request: Request, body: bytes, media_type: str, headers: dict[str, str]) -> Representation:
    """Results as the body that they are, an array of the DICOM JSON Model; compressed for those who want it."""
    etag = hashlib.sha256(body).hexdigest()[:32]
    if len(body) < SMALL or not wants_gzip(request.headers):
        return Representation(Known([body]), media_type, etag, headers, vary=VARY)
    packed = b"".join(gzipped(iter([body])))
    return Representation(
        Known([packed]), media_type, f"{etag}-gzip", {**headers, "Content-Encoding": "gzip"}, vary=VARY
    )


def answer_xml(results: Sequence[DataSet], headers: dict[str, str]) -> Representation:
    """Results in the Native DICOM Model, one part for each."""
    etag = hashlib.sha256(orjson.dumps(results)).hexdigest()[:32]
    boundary = multipart.boundary_of("results", etag)
    parts = [multipart.Part(offers.XML, "", json_to_xml(result)) for result in results]
    media_type = multipart.content_type(offers.XML, boundary)
    return Representation(multipart.write(parts, boundary), media_type, f"{etag}-xml", headers, vary=VARY)
