"""QIDO-RS: the Search transaction in its six forms (PS3.18 10.6)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.dicomweb import offers
from gateway.dicomweb.dicom_json import DataSet, attribute, element, key, ordered, sequence
from gateway.dicomweb.media_types import negotiate
from gateway.dicomweb.qido_query import Search, read
from gateway.dicomweb.resources import instance_url, parameters, path_uids, root, tries
from gateway.http.bodies import Known
from gateway.http.compress import gzipped, wants_gzip
from gateway.http.identity import caller_of
from gateway.http.ranges import REVALIDATE, Representation
from gateway.search import search
from gateway.settings import Settings
from storage.archive import Archive
from storage.attributes import SEQUENCES, UNIQUE_KEYS, Attribute, Level, Returned
from storage.records import Item, Match, Value

_STUDY, _SERIES, _IMAGE = Level.STUDY, Level.SERIES, Level.IMAGE
_FIXED = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
_SMALL = 1024
"""Bytes below which compressing is not worth it."""


class Query:
    """Searches for studies, series and instances; blocking methods that Starlette runs in its worker threads."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings

    def studies(self, request: Request) -> Response | Representation:
        """`/studies` (QIDO-01)."""
        return self._search(request, _STUDY, (_STUDY,))

    def series(self, request: Request) -> Response | Representation:
        """`/series` and `/studies/{study}/series` (QIDO-02, QIDO-04)."""
        return self._search(request, _SERIES, (_SERIES,) if "study" in request.path_params else (_STUDY, _SERIES))

    def instances(self, request: Request) -> Response | Representation:
        """`/instances`, `/studies/{study}/instances` and those of a series (QIDO-03, QIDO-04)."""
        if "series" in request.path_params:
            return self._search(request, _IMAGE, (_IMAGE,))
        if "study" in request.path_params:
            return self._search(request, _IMAGE, (_SERIES, _IMAGE))
        return self._search(request, _IMAGE, (_STUDY, _SERIES, _IMAGE))

    def _search(self, request: Request, level: Level, tables: Sequence[Level]) -> Response | Representation:
        base = root(request, self.settings.public_url)
        asked = parameters(request)
        offer = negotiate(tries(request, asked), offers.SEARCH)
        fixed = {_FIXED[name]: uid for name, uid in path_uids(request).items()}
        wanted = read(asked, level, fixed, tables)
        page = search(self.archive, wanted.query, caller_of(request.scope))
        warnings = list(wanted.warnings)
        remaining = page.total - wanted.query.offset - len(page.matches)
        if page.matches and remaining > 0:
            warnings.append(f"There are {remaining} additional results that can be requested")
        headers = {"X-Total-Count": str(page.total), "Cache-Control": REVALIDATE}
        if warnings:
            headers["Warning"] = ", ".join(f"299 {base}: {text}" for text in warnings)
        if not page.matches and self.settings.empty_search == 204:
            return Response(status_code=204, headers={**headers, "Vary": "Accept"})
        body = orjson.dumps([dress(match, wanted, base) for match in page.matches])
        return json_answer(request, body, offer.media_type, headers)


def json_answer(request: Request, body: bytes, media_type: str, headers: dict[str, str]) -> Representation:
    """A JSON body with its entity tag, compressed where that is asked for and worth it."""
    etag = hashlib.sha256(body).hexdigest()[:32]
    vary = "Accept, Accept-Encoding"
    if len(body) < _SMALL or not wants_gzip(request.headers):
        return Representation(Known([body]), media_type, etag, headers, vary=vary)
    packed = b"".join(gzipped(iter([body])))
    return Representation(
        Known([packed]), media_type, f"{etag}-gzip", {**headers, "Content-Encoding": "gzip"}, vary=vary
    )


def dress(match: Match, wanted: Search, base: str) -> DataSet:
    """One result as a DICOM JSON object (QIDO-05 to QIDO-10, JSON-01)."""
    level = wanted.query.level
    found: DataSet = {
        "00080005": element("CS", "ISO_IR 192"),
        "00080056": element("CS", "ONLINE"),
        "00081190": element("UR", _retrieve_url(match, level, base)),
    }
    for one in wanted.returned:
        if one.sequence is not None:
            found.update(_items(match, one, wanted.returned))
            continue
        value = match.values.get(one.keyword)
        if isinstance(value, tuple):
            raise TypeError(f"{one.keyword} is no sequence")
        if value is not None or one.returned is not Returned.KNOWN:
            found[key(one.tag)] = attribute(one.vr, value, multiple=one.multiple)
    return ordered(found)


def _items(match: Match, one: Attribute, returned: Sequence[Attribute]) -> DataSet:
    """The sequence that `one` lies in, with those of its attributes that are returned; nothing when it is unknown."""
    name = one.sequence or ""
    items = match.values.get(name)
    if not isinstance(items, tuple) or not items:
        return {}
    members = [other for other in returned if other.sequence == name]
    return {key(SEQUENCES[name]): sequence([_item(item, members) for item in items])}


def _item(item: Item, members: Sequence[Attribute]) -> DataSet:
    values = ((one, item.get(one.keyword.rpartition(".")[2])) for one in members)
    return ordered({key(one.tag): attribute(one.vr, value) for one, value in values if value is not None})


def _retrieve_url(match: Match, level: Level, base: str) -> str:
    """Of the WADO-RS resource of this level (QIDO-27)."""
    uids: list[str] = []
    for upper in (_STUDY, _SERIES, _IMAGE):
        value: Value | tuple[Item, ...] | None = match.values.get(UNIQUE_KEYS[upper].keyword)
        if upper <= level:
            uids.append(str(value))
    return instance_url(base, *uids)
