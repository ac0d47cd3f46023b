"""QIDO-RS: the Search transaction in its six forms (PS3.18 10.6)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from gateway.dicomweb import offers
from gateway.dicomweb.answers import answer, answer_xml
from gateway.dicomweb.media_types import negotiate
from gateway.dicomweb.qido_query import read
from gateway.dicomweb.resources import parameters, path_uids, root, tries
from gateway.dicomweb.results import MANY, Dresser
from gateway.http.identity import caller_of
from gateway.http.ranges import REVALIDATE, Representation
from gateway.search import search
from gateway.settings import Settings
from storage.archive import Archive
from storage.attributes import Level
from storage.query.times import OFFSETS

_STUDY, _SERIES, _IMAGE = Level.STUDY, Level.SERIES, Level.IMAGE
_FIXED = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}


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
        wanted = read(asked, level, fixed, tables, OFFSETS.get(self.settings.timezone))
        page = search(
            self.archive,
            wanted.query,
            caller_of(request.scope),
            scan_limit=self.settings.search_scan_limit,
            match_unknown=self.settings.match_unknown,
            root=base,
        )
        warnings = list(wanted.warnings)
        if page.unread:
            warnings.append(f"{page.unread} stored instances could not be read, and were not searched")
        remaining = page.total - wanted.query.offset - len(page.matches)
        if page.matches and remaining > 0:
            warnings.append(f"There are {remaining} additional results that can be requested")
        headers = {"X-Total-Count": str(page.total), "Cache-Control": REVALIDATE}
        if warnings:
            headers["Warning"] = ", ".join(f"299 {base}: {text}" for text in warnings)
        if not page.matches and self.settings.empty_search == 204:
            return Response(status_code=204, headers={**headers, "Vary": "Accept"})
        dresser = Dresser(wanted.returned, level, base, wanted.named, many=len(page.matches) >= MANY)
        if offer.media_type == offers.XML:
            return answer_xml([dresser.dress(match) for match in page.matches], headers)
        return answer(request, dresser.json(page.matches), offer.media_type, headers)
