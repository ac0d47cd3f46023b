"""Peers of a gateway: a node that takes what it is sent, and retrievals as a service class user."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gateway.caller import Caller
from gateway.settings import Peer
from gateway.store import receive, store
from tests.gateway.dimse.conftest import Door
from tests.gateway.dimse.wire import CT, EXPLICIT, IMPLICIT
from tests.parts.datasets import part10_bytes

MR, SC = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"


def keep(door: Door, *datasets: Dataset, syntax: str = EXPLICIT) -> None:
    """Store by the use case."""
    for ds in datasets:
        keep_file(door, part10_bytes(ds, syntax))


def keep_file(door: Door, part10: bytes) -> None:
    """Store a file by the use case."""
    with receive(door.archive, max_bytes=1 << 26) as incoming:
        incoming.write(part10)
        store(door.archive, incoming, Caller("test", "cli"))


def peer(aet: str, port: int, **more: object) -> Peer:
    """A node on this machine, as a setting."""
    return Peer.model_validate({"aet": aet, "host": "127.0.0.1", "port": port, **more})


@dataclass
class Node:
    """A storage SCP: `received` holds what came: data set bytes by SOP Instance UID; `syntaxes` in which syntax."""

    port: int = 0
    received: dict[str, bytes] = field(default_factory=dict)
    syntaxes: dict[str, str] = field(default_factory=dict)
    originators: set[tuple[str, int]] = field(default_factory=set)
    connections: int = 0
    answer: Callable[[int], int] = lambda count: 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def peer(self, aet: str = "NODE", **more: object) -> Peer:
        """This node as a setting."""
        return peer(aet, self.port, **more)

    def store(self, event: evt.Event) -> int:
        """C-STORE handler."""
        request: Any = event.request
        with self.lock:
            uid = str(request.AffectedSOPInstanceUID)
            self.received[uid] = request.DataSet.getvalue()
            self.syntaxes[uid] = str(event.context.transfer_syntax)
            if request.MoveOriginatorMessageID is not None:
                self.originators.add(
                    (str(request.MoveOriginatorApplicationEntityTitle), int(request.MoveOriginatorMessageID))
                )
            return self.answer(len(self.received))

    def connected(self, _event: evt.Event) -> None:
        """Connection handler."""
        self.connections += 1


@contextmanager
def node(
    classes: Sequence[str] = (CT, MR, SC),
    syntaxes: Sequence[str] = (EXPLICIT, IMPLICIT),
    max_pdu: int = 65536,
    port: int = 0,
) -> Iterator[Node]:
    """A running node."""
    ae = AE("NODE")
    ae.maximum_pdu_size = max_pdu
    ae.add_supported_context(Verification)
    for uid in classes:
        ae.add_supported_context(uid, list(syntaxes))
    made = Node()
    handlers = [(evt.EVT_C_STORE, made.store), (evt.EVT_CONN_OPEN, made.connected)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)  # type: ignore[arg-type]
    assert server is not None
    made.port = server.socket.getsockname()[1]  # type: ignore[union-attr]
    try:
        yield made
    finally:
        associations = server.active_associations
        server.shutdown()
        for association in associations:
            association.join(5)
        with warnings.catch_warnings():
            # pynetdicom leaves the socket of an aborted association to the collector
            warnings.simplefilter("ignore", ResourceWarning)
            del associations
            gc.collect()
