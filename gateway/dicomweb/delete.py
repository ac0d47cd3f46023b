"""DELETE of studies, series and instances. PS3.18 has no such transaction; servers and clients share this form."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.delete import delete
from gateway.dicomweb.resources import target
from gateway.http.identity import caller_of
from gateway.settings import Settings
from storage.archive import Archive


class Delete:
    """Blocking method that Starlette runs in its worker threads."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings

    def resource(self, request: Request) -> Response:
        """204 once the instances are in no answer any more; 404 when there were none, 410 when there were."""
        where = target(request, self.settings.public_url)
        delete(self.archive, caller_of(request.scope), *where.uids)
        return Response(status_code=204)
