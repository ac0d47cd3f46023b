"""Sending stored instances by C-STORE, whoever opened the association (PS3.4 B, PS3.7 9.1.1).

The bytes of the data set go from the object store to the connection in large writes, in as many PDUs as the peer wants;
no object is ever held. While one instance is sent, the next ones are opened and their first bytes are read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol, Self

from gateway.dicom.part10 import built_size, parse_head
from gateway.dicom.uids import DEFLATED_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from gateway.dimse import commands
from gateway.errors import Damaged, GatewayError, NotAcceptable
from gateway.logs import get_logger
from gateway.retrieve import part10
from storage.archive import Archive
from storage.errors import StorageError
from storage.records import Located

log = get_logger(__name__)

Contexts = Mapping[str, Mapping[str, int]]
"""Presentation context ID by transfer syntax, by SOP class: those on which we are the SCU."""

_HEAD = 4096
AHEAD = 4
"""Instances that threads open ahead of the one being sent; at most 1 MiB of each is in memory."""

SLOW = 0.005
"""Seconds to open an instance that are worth a thread, when as many as SLOW_ONES in a row take them: one alone may have
waited for the processor."""
SLOW_ONES = 3

_COMMON = (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, DEFLATED_LITTLE_ENDIAN)


class Channel(Protocol):
    """An established association, seen by the one who sends requests on it."""

    @property
    def room(self) -> int:
        """Bytes of a message that fit into one PDU."""

    def send(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send encoded PDUs, in pieces, all of them. Raises when the association is lost."""

    def response(self, message_id: int) -> commands.Response:
        """Wait for the response to a request. Raises when the association is lost, or the peer is too slow."""


class CutShort(Exception):
    """An instance turned out to be damaged, or could not be read on, after a part of it was sent: the association
    cannot be used any more."""


@dataclass(frozen=True, slots=True)
class Originator:
    """The C-MOVE that a C-STORE is a sub-operation of (PS3.7 9.1.1.1)."""

    aet: str
    message_id: int


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one instance: the status of the peer's response; None when it was not sent, and `reason` why."""

    located: Located
    status: int | None
    reason: str = ""

    @property
    def stored(self) -> bool:
        """Does the peer have it now, with or without a warning (PS3.4 B.2.3)?"""
        return self.status == 0 or self.warned

    @property
    def warned(self) -> bool:
        """Was it stored with a warning?"""
        return self.status is not None and self.status >> 12 == 0xB


@dataclass(slots=True)
class _Ready:
    """An instance that is open: its first bytes are read, and the first of them are of its data set."""

    located: Located
    context_id: int = 0
    first: memoryview = field(default_factory=lambda: memoryview(b""))
    rest: Iterator[bytes | memoryview] = field(default_factory=lambda: iter(()))
    left: int = 0
    reason: str = ""
    closing: ExitStack = field(default_factory=ExitStack)


class _Ahead:
    """Opens instances in their order, ahead of the one that is being sent.

    From an object store at hand, the next one is opened by the same thread while the peer works: that takes least of
    the processor. Once opening takes long, since the store is far away or transcodes, threads do it, several at a time.
    """

    def __init__(self, instances: Iterable[Located], open_one: Callable[[Located], _Ready]) -> None:
        self._instances = iter(instances)
        self._open = open_one
        self._opened: deque[_Ready | Future[_Ready]] = deque()
        self._threads: ThreadPoolExecutor | None = None
        self._slow_ones = 0
        self._context = copy_context()  # log lines of the threads belong to the association

    def prepare(self) -> None:
        """Open what comes next, unless that is done or under way."""
        while len(self._opened) < (1 if self._threads is None else AHEAD):
            if (located := next(self._instances, None)) is None:
                return
            if self._threads is not None:
                self._opened.append(self._threads.submit(self._context.copy().run, self._open, located))
                continue
            started = perf_counter()
            self._opened.append(self._open(located))
            self._slow_ones = self._slow_ones + 1 if perf_counter() - started > SLOW else 0
            if self._slow_ones == SLOW_ONES:
                self._threads = ThreadPoolExecutor(AHEAD, "ahead")

    def __iter__(self) -> Iterator[_Ready]:
        self.prepare()
        while self._opened:
            opened = self._opened.popleft()
            if self._threads is not None:
                self.prepare()
            yield opened.result() if isinstance(opened, Future) else opened
            self.prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for opened in self._opened:
            if not isinstance(opened, Future):
                opened.closing.close()
            elif not opened.cancelled():
                opened.result().closing.close()


class Sender:
    """Sends instances over one association; message IDs start from 1."""

    def __init__(
        self,
        archive: Archive,
        channel: Channel,
        contexts: Contexts,
        *,
        originator: Originator | None = None,
        priority: int = 0,
    ) -> None:
        self._archive = archive
        self._channel = channel
        self._contexts = contexts
        self._originator = originator
        self._priority = priority
        self._message_id = 0

    def send(self, instances: Iterable[Located]) -> Generator[Sent, None, None]:
        """Send all, in their order; what the archive cannot give counts as not sent.

        Raises what the channel raises, and CutShort: then the instance after the last result was not sent, or not to
        its end.
        """
        with _Ahead(instances, self._open) as ahead:
            for now in ahead:
                if now.reason:
                    yield Sent(now.located, None, now.reason)
                    continue
                with now.closing:
                    message_id = self._transmit(now)
                ahead.prepare()  # while the peer works
                status = self._channel.response(message_id).status
                yield Sent(now.located, status, "" if status == 0 else f"status {status:04X}")

    def _open(self, located: Located) -> _Ready:
        ready = _Ready(located)
        with ExitStack() as closing:
            try:
                blob = None
                for syntax_uid, context_id in self._choices(located):
                    try:
                        blob = part10(self._archive, located, syntax_uid)
                    except NotAcceptable:
                        continue
                    ready.context_id = context_id
                    break
                if blob is None:
                    ready.reason = "no_context"
                    return ready
                chunks = closing.enter_context(blob.open(0, None))
                first = memoryview(next(chunks, b""))
                start = _dataset_offset(first)
                if start is None or len(first) == start < blob.length:
                    raise Damaged("the stored object ends within its head")
                ready.first, ready.rest = first[start:], chunks
                ready.left = blob.length - start
            except (GatewayError, StorageError) as error:
                ready.reason = getattr(error, "reason", "unavailable")
                log.warning("not_sent", sop_uid=located.sop_uid, reason=ready.reason)
                return ready
            ready.closing = closing.pop_all()
        return ready

    def _choices(self, located: Located) -> Iterator[tuple[str, int]]:
        """The contexts of an instance: as stored first, then in what any peer reads, then in whatever it accepted."""
        accepted = self._contexts.get(located.sop_class_uid, {})
        for uid in (located.transfer_syntax_uid, *_COMMON, *accepted):
            if uid in accepted:
                yield uid, accepted[uid]

    def _transmit(self, ready: _Ready) -> int:
        """Send the request and its data set; returns the message ID."""
        self._message_id = self._message_id % 0xFFFF + 1
        size = self._channel.room
        left = ready.left - len(ready.first)
        pieces = commands.pdus(ready.context_id, self._request(ready.located), size, command=True)
        pieces += commands.pdus(ready.context_id, ready.first, size, last=left == 0)
        self._channel.send(pieces)
        try:
            for chunk in ready.rest:
                left -= len(chunk)
                self._channel.send(commands.pdus(ready.context_id, chunk, size, last=left == 0))
        except (GatewayError, StorageError) as error:
            log.warning("sending_cut_short", sop_uid=ready.located.sop_uid, error=type(error).__name__)
            raise CutShort from error
        if left:
            raise CutShort
        return self._message_id

    def _request(self, located: Located) -> bytes:
        values: dict[int, int | str] = {
            commands.AFFECTED_CLASS: located.sop_class_uid,
            commands.FIELD: commands.C_STORE_RQ,
            commands.MESSAGE_ID: self._message_id,
            commands.PRIORITY: self._priority,
            commands.DATA_SET_TYPE: commands.DATA_SET,
            commands.AFFECTED_INSTANCE: located.sop_uid,
        }
        if self._originator is not None:
            values[commands.MOVE_ORIGINATOR] = self._originator.aet
            values[commands.MOVE_ORIGINATOR_ID] = self._originator.message_id
        return commands.encode(values)


def _dataset_offset(first: memoryview) -> int | None:
    """Where the data set starts in a Part 10 file of which these are the first bytes; None when it ends before."""
    if (size := built_size(first[:_HEAD])) is not None:
        return size
    head = parse_head(bytes(first[:_HEAD])) or parse_head(bytes(first))
    return head[1] if head is not None else None


def proposals(
    instances: Iterable[Located], most: int = 128
) -> list[tuple[list[tuple[str, tuple[str, ...]]], list[Located]]]:
    """Associations for these instances: presentation contexts to propose (SOP class, transfer syntaxes), at most
    `most`, and the instances to send on each.

    One context for each SOP class and stored syntax, and one with what any peer reads (NET-05).
    """
    stored: dict[str, dict[str, None]] = {}
    for one in instances:
        stored.setdefault(one.sop_class_uid, {})[one.transfer_syntax_uid] = None
    plain = (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN)
    plans: list[tuple[list[tuple[str, tuple[str, ...]]], set[str]]] = []
    for class_uid, syntaxes in stored.items():
        contexts: list[tuple[str, tuple[str, ...]]] = []
        contexts.extend((class_uid, (uid,)) for uid in list(syntaxes)[: most - 1])
        contexts.append((class_uid, plain))
        if not plans or len(plans[-1][0]) + len(contexts) > most:
            plans.append(([], set()))
        plans[-1][0].extend(contexts)
        plans[-1][1].add(class_uid)
    kept = list(instances)
    return [(contexts, [one for one in kept if one.sop_class_uid in classes]) for contexts, classes in plans]
