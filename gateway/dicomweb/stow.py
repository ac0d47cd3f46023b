"""STOW-RS: the Store transaction (PS3.18 10.5).

All parts of a request are spooled before the first is stored: a body that breaks off stores nothing (STOW-14). After
that each instance succeeds or fails by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from starlette.requests import Request

from gateway import metrics
from gateway.caller import Caller
from gateway.coerce import Coercer
from gateway.compose import compose
from gateway.dicom.model import SOP_INSTANCE_UID, text
from gateway.dicom.native_model import json_to_xml
from gateway.dicomweb import offers
from gateway.dicomweb.media_types import negotiate, parse_content_type
from gateway.dicomweb.multipart import Reader
from gateway.dicomweb.resources import root, target, tries
from gateway.dicomweb.stow_parts import JSON_TYPES, XML_TYPES, FileParts, ModelParts, Received
from gateway.dicomweb.stow_response import Outcome, encoded, response
from gateway.errors import ProcessingFailure, Refused
from gateway.http.bodies import Known
from gateway.http.failures import RETRY_AFTER_SECONDS, Failure
from gateway.http.guard import describe
from gateway.http.identity import caller_of
from gateway.http.patience import unless_stalled
from gateway.http.ranges import Representation
from gateway.http.threads import in_thread, to_its_end
from gateway.http.uploads import check_announced, take_in
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.store import Stored, store
from storage.archive import Archive
from storage.errors import ObjectStoreStalled, SpoolBusy

MEDIA_TYPES = ("application/dicom", "application/dicom+json", "application/dicom+xml")
ACCEPTED = (*(f'multipart/related; type="{name}"' for name in MEDIA_TYPES), *MEDIA_TYPES)
STORE_THREADS = 8
"""Instances that are stored at the same time, of all requests together: most of a store is waiting for a disk."""
MOST_IN_A_TURN = 8
"""Instances that a thread stores one after the other before others have their turn: each turn costs a trip to it."""

FORGOTTEN_BYTES = 16 << 20
"""Longest body of a request that was turned away, for whose end we wait."""
RETRY = {"Retry-After": str(RETRY_AFTER_SECONDS)}

Parts = FileParts | ModelParts
T = TypeVar("T")

log = get_logger("gateway.dicomweb")


class Store:
    """`POST /studies` and `POST /studies/{study}` (STOW-01)."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings
        self.coercer = Coercer.of(settings)
        self.turns = asyncio.Semaphore(STORE_THREADS)
        self.taken = 0

    async def post(self, request: Request) -> Representation:
        """Spool, store, answer. Who comes while there is too much to do is told at once to come again (F-73)."""
        self._admit(request)
        self.taken += 1
        return await unless_stalled(self._taken(request), self.archive.stalls)

    async def _taken(self, request: Request) -> Representation:
        try:
            return await self._post(request)
        finally:
            self.taken -= 1

    def _admit(self, request: Request) -> None:
        """Raises Failure 503. The connection is kept where the body is not large: it is read then, and forgotten."""
        # of all processes together
        busy = self.taken >= -(-self.settings.max_store_requests // self.settings.processes)
        if not busy:
            try:
                self.archive.spool.check_budget()
                self.archive.stalls.check()
            except (SpoolBusy, ObjectStoreStalled):
                busy = True
        if busy:
            metrics.STORES_TURNED_AWAY.labels(door="dicomweb").inc()
            announced = request.headers.get("content-length", "")
            small = announced.isdigit() and len(announced) < 12 and int(announced) <= FORGOTTEN_BYTES
            headers = RETRY if small else {**RETRY, "Connection": "close"}
            raise Failure(503, "busy", "Too much is being stored at this moment; try again.", headers=headers)

    async def _post(self, request: Request) -> Representation:
        settings = self.settings
        named = target(request, settings.public_url).study_uid if request.path_params else None
        base = root(request, settings.public_url)
        offer = negotiate(tries(request, ()), offers.STORE_RESPONSE)
        root_type, boundary = _content_type(request)
        parts = self._parts(root_type)
        work = _Work(parts, lambda number, one: self._store_one(number, one, parts, caller_of(request.scope), named))
        try:
            finish = await self._spool(request, parts, root_type, boundary)
            await self._in_turn(work.begin, finish)
            await asyncio.gather(*(self._in_turn(work.do, some) for some in work.left))
        finally:
            if not work.closed:
                await in_thread(parts.close)
        outcomes = [outcome for outcome in work.outcomes if outcome is not None]
        status, module, headers = response(outcomes, base)
        body = json_to_xml(module) if offer.media_type == offers.XML else encoded(module)
        return Representation(Known([body]), offer.media_type, headers=headers, status=status)

    async def _in_turn(self, work: Callable[[T], None], what: T) -> None:
        async with self.turns:
            await to_its_end(work, what)

    def _parts(self, root_type: str) -> Parts:
        limit = self.settings.max_object_bytes
        if root_type in JSON_TYPES:
            return ModelParts(self.archive, limit, JSON_TYPES)
        return ModelParts(self.archive, limit, XML_TYPES) if root_type in XML_TYPES else FileParts(self.archive, limit)

    async def _spool(self, request: Request, parts: Parts, root_type: str, boundary: str | None) -> Callable[[], None]:
        """Spool the body but for its last piece; what is returned does that, and tells `parts` that all is there."""
        limit, stall = self.settings.max_request_bytes, self.settings.body_timeout
        feed: Callable[[bytes], None] = parts.data
        end: Callable[[], None] = parts.end
        if boundary is None:
            check_announced(request.headers, self.settings.max_object_bytes)
            parts.begin({"content-type": root_type})
        else:
            reader = Reader(boundary, parts)
            feed, end = reader.feed, reader.finish
        last = await take_in(request, feed, limit=limit, stall_seconds=stall)

        def finish() -> None:
            if last:
                feed(last)
            end()

        return finish

    def _store_one(self, number: int, one: Received, parts: Parts, caller: Caller, named: str | None) -> Outcome:
        refused = one.refused
        try:
            if refused is None:
                return Outcome(stored=self._keep(one, parts, caller, named))
        except Refused as error:
            refused = error
        # A part that makes the program fail must not take the others of its request with it (STOW-14).
        except Exception as error:
            log.error("store failed", part=number + 1, **describe(error))
            refused = ProcessingFailure("the instance could not be processed")
        finally:
            if one.incoming is not None:
                one.incoming.close()
        log.info("instance refused", part=number + 1, reason=refused.reason, sop_uid=refused.sop_uid, why=str(refused))
        return Outcome(refused=refused)

    def _keep(self, one: Received, parts: Parts, caller: Caller, named: str | None) -> Stored:
        unknown = self.settings.accept_unknown_classes
        if one.model is not None:
            limit = self.settings.max_object_bytes
            return compose(
                self.archive,
                one.model,
                parts.bulk,
                caller,
                max_bytes=limit,
                study_uid=named,
                accept_unknown_classes=unknown,
                coercer=self.coercer,
            )
        if one.incoming is None:
            raise ProcessingFailure("the instance could not be processed")
        return store(
            self.archive,
            one.incoming,
            caller,
            study_uid=named,
            accept_unknown_classes=unknown,
            check_values=True,
            coercer=self.coercer,
        )


class _Work:
    """The instances of one request: several are stored at a time, those that claim the same one after the other."""

    def __init__(self, parts: Parts, store_one: Callable[[int, Received], Outcome]) -> None:
        self._parts = parts
        self._store_one = store_one
        self._received: Sequence[Received] = ()
        self.outcomes: list[Outcome | None] = []
        self.left: list[list[int]] = []
        self.closed = False

    def begin(self, finish: Callable[[], None]) -> None:
        """Once all is here; in one trip to a thread for a request of one instance."""
        finish()
        self._received = self._parts.instances()
        self.outcomes = [None] * len(self._received)
        groups: dict[str, list[int]] = {}
        for number, one in enumerate(self._received):
            groups.setdefault(_claimed(one), []).append(number)
        self.left = _turns(list(groups.values()))
        if len(self.left) == 1:
            self.do(self.left.pop())
            self._parts.close()
            self.closed = True

    def do(self, numbers: Sequence[int]) -> None:
        """Store these."""
        for number in numbers:
            self.outcomes[number] = self._store_one(number, self._received[number])


def _turns(groups: Sequence[list[int]]) -> list[list[int]]:
    """Instances for each turn of a thread, groups kept together: few turns, and as many threads as there may be."""
    many = -(-len(groups) // min(-(-len(groups) // STORE_THREADS), MOST_IN_A_TURN)) if groups else 0
    return [[number for group in groups[start::many] for number in group] for start in range(many)]


def _claimed(one: Received) -> str:
    """The SOP Instance UID that it claims, as far as that is known by now."""
    if one.model is not None:
        return text(one.model, SOP_INSTANCE_UID) or ""
    meta = one.incoming.meta if one.incoming is not None else None
    return meta.sop_uid if meta is not None else ""


def _content_type(request: Request) -> tuple[str, str | None]:
    """The media type of the (root) part, and the boundary; None for a body of one part (STOW-02).

    Raises Failure 415.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _unsupported("Content-Encoding is not taken")
    media_type, parameters = parse_content_type(request.headers.get("content-type", ""))
    if media_type in MEDIA_TYPES:
        return media_type, None
    if media_type == "multipart/related":
        root_type = parameters.get("type", "application/dicom").lower()
        if root_type in MEDIA_TYPES:
            return root_type, parameters.get("boundary", "")
        raise _unsupported("multipart/related of this type is not taken")
    raise _unsupported("this Content-Type is not taken")


def _unsupported(why: str) -> Failure:
    detail = f"{why}; send {' or '.join(ACCEPTED)}."
    return Failure(415, "unsupported_media_type", detail[0].upper() + detail[1:], members={"accepted": list(ACCEPTED)})
