"""DELETE of studies, series and instances. PS3.18 has no such transaction; servers and clients share this form."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.delete import delete
from gateway.dicomweb.resources import target
from gateway.errors import TooOften
from gateway.http.identity import caller_of
from gateway.http.patience import unless_stalled
from gateway.http.threads import in_thread
from gateway.limiter import Limiter
from gateway.settings import Settings
from storage.archive import Archive

HOUR = 3600.0


class Delete:
    """Deletes in worker threads."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings
        rate = settings.delete_rate if settings.closed else 0
        self._pace = Limiter(rate / HOUR, rate) if rate else None

    async def resource(self, request: Request) -> Response:
        """204 once the instances are in no answer any more; 404 when there were none, 410 when there were.

        Who deletes very much is held up (S-91). Raises NotFound, Gone, TooOften, Unavailable, Failure 503.
        """
        return await unless_stalled(in_thread(self._resource, request), self.archive.stalls)

    def _resource(self, request: Request) -> Response:
        where, caller = target(request, self.settings.public_url), caller_of(request.scope)
        if self._pace is not None and (early := self._pace.add(caller.name)):
            raise TooOften(early, "These credentials have deleted as much as they may in an hour.")
        delete(self.archive, caller, *where.uids)
        return Response(status_code=204)
