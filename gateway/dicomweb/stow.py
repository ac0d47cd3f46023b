"""STOW-RS: the Store transaction (PS3.18 10.5).

All parts of a request are spooled before the first is stored: a body that breaks off stores nothing (STOW-14). After
that each instance succeeds or fails by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from gateway.caller import Caller
from gateway.dicomweb import offers
from gateway.dicomweb.media_types import negotiate, parse_content_type
from gateway.dicomweb.multipart import Reader
from gateway.dicomweb.resources import root, target, tries
from gateway.dicomweb.stow_response import Outcome, response
from gateway.errors import NotUnderstood, ProcessingFailure, Refused
from gateway.http.bodies import Known
from gateway.http.failures import Failure
from gateway.http.guard import describe
from gateway.http.identity import caller_of
from gateway.http.ranges import Representation
from gateway.http.uploads import check_announced, take_in
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.store import Incoming, receive, store
from storage.archive import Archive

ACCEPTED = ('multipart/related; type="application/dicom"', "application/dicom")
STORE_THREADS = 8
"""Instances that are stored at the same time, of all requests together: most of a store is waiting for a disk."""

log = get_logger("gateway.dicomweb")


@dataclass(slots=True)
class Received:
    """One part: its spool file, or why it has none."""

    incoming: Incoming | None = None
    refused: Refused | None = None

    def refuse(self, refused: Refused) -> None:
        """It will not be stored: its spool file goes now."""
        self.refused = refused
        if self.incoming is not None:
            self.incoming.close()
            self.incoming = None


class Parts:
    """Spools the parts of one request, each by itself: what one of them lacks is no harm to the others."""

    def __init__(self, archive: Archive, max_bytes: int) -> None:
        self._archive = archive
        self._max_bytes = max_bytes
        self.received: list[Received] = []

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins. One that says it is something else than a Part 10 file is not looked into."""
        self.received.append(Received())
        media_type, _ = parse_content_type(headers.get("content-type", "application/dicom"))
        if media_type not in ("application/dicom", "application/octet-stream"):
            self.received[-1].refused = NotUnderstood("the part is no application/dicom")

    def data(self, piece: memoryview | bytes) -> None:
        """More bytes of the part."""
        part = self.received[-1]
        if part.refused is not None:
            return
        try:
            if part.incoming is None:
                part.incoming = receive(self._archive, max_bytes=self._max_bytes)
            part.incoming.write(piece)
        except Refused as refused:
            part.refuse(refused)

    def end(self) -> None:
        """The part is complete."""
        part = self.received[-1]
        try:
            if part.incoming is not None:
                part.incoming.park()
            elif part.refused is None:
                part.refused = NotUnderstood("the part is empty")
        except Refused as refused:
            part.refuse(refused)

    def close(self) -> None:
        """Remove the spool files of what was not stored."""
        for part in self.received:
            if part.incoming is not None:
                part.incoming.close()


class Store:
    """`POST /studies` and `POST /studies/{study}` (STOW-01)."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings
        self.turns = CapacityLimiter(STORE_THREADS)

    async def post(self, request: Request) -> Representation:
        """Spool, store, answer."""
        settings = self.settings
        named = target(request, settings.public_url).study_uid if request.path_params else None
        base = root(request, settings.public_url)
        offer = negotiate(tries(request, ()), offers.STORE_RESPONSE)
        parts = Parts(self.archive, settings.max_object_bytes)
        try:
            await self._spool(request, parts)
            outcomes = await self._store(parts.received, caller_of(request.scope), named)
        finally:
            await run_in_threadpool(parts.close)
        status, body, headers = response(outcomes, base)
        return Representation(Known([body]), offer.media_type, headers=headers, status=status)

    async def _spool(self, request: Request, parts: Parts) -> None:
        boundary = _boundary(request)
        limit, stall = self.settings.max_request_bytes, self.settings.body_timeout
        if boundary is None:
            check_announced(request.headers, self.settings.max_object_bytes)
            parts.begin({})
            await take_in(request, parts.data, limit=limit, stall_seconds=stall)
            parts.end()
        else:
            reader = Reader(boundary, parts)
            await take_in(request, reader.feed, limit=limit, stall_seconds=stall)
            reader.finish()

    async def _store(self, received: Sequence[Received], caller: Caller, named: str | None) -> list[Outcome]:
        """Store what was spooled, several at a time; those that claim the same instance one after the other."""
        outcomes: list[Outcome | None] = [None] * len(received)
        groups: dict[str, list[int]] = {}
        for number, part in enumerate(received):
            meta = part.incoming.meta if part.incoming is not None else None
            groups.setdefault(meta.sop_uid if meta is not None else "", []).append(number)

        def work(numbers: Sequence[int]) -> None:
            for number in numbers:
                outcomes[number] = self._store_one(number, received[number], caller, named)

        await asyncio.gather(*(to_thread.run_sync(work, numbers, limiter=self.turns) for numbers in groups.values()))
        return [outcome for outcome in outcomes if outcome is not None]

    def _store_one(self, number: int, part: Received, caller: Caller, named: str | None) -> Outcome:
        refused = part.refused
        if refused is None and part.incoming is not None:
            try:
                return Outcome(
                    stored=store(
                        self.archive,
                        part.incoming,
                        caller,
                        study_uid=named,
                        accept_unknown_classes=self.settings.accept_unknown_classes,
                    )
                )
            except Refused as error:
                refused = error
            # A part that makes the program fail must not take the others of its request with it (STOW-14).
            except Exception as error:
                log.error("store failed", part=number + 1, **describe(error))
                refused = ProcessingFailure("the instance could not be processed")
            finally:
                part.incoming.close()
        refused = refused or ProcessingFailure("the instance could not be processed")
        log.info("instance refused", part=number + 1, reason=refused.reason, sop_uid=refused.sop_uid, why=str(refused))
        return Outcome(refused=refused)


def _boundary(request: Request) -> str | None:
    """The boundary of a multipart body; None for a single part. Raises Failure 415 or BadRequest (STOW-02)."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _unsupported("Content-Encoding is not taken")
    media_type, parameters = parse_content_type(request.headers.get("content-type", ""))
    if media_type == "application/dicom":
        return None
    if media_type == "multipart/related":
        root_type = parameters.get("type", "application/dicom").lower()
        if root_type == "application/dicom":
            return parameters.get("boundary", "")
        raise _unsupported("multipart/related of this type is not taken")
    raise _unsupported("this Content-Type is not taken")


def _unsupported(why: str) -> Failure:
    detail = f"{why}; send {' or '.join(ACCEPTED)}."
    return Failure(415, "unsupported_media_type", detail[0].upper() + detail[1:], members={"accepted": list(ACCEPTED)})
