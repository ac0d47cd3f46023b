"""The upper layer of one association without a thread of its own (PS3.8 9.2).

pynetdicom's provider polls the socket and its queues once a millisecond from a second thread. This one is driven by
the association's thread: it blocks for the next PDU, runs the library's own state machine on it, and sends at once.
P-DATA in the data transfer state, nearly all of the traffic, goes straight to the DIMSE layer.
"""

from __future__ import annotations

import contextlib
import queue
import struct
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, cast

from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_P_ABORT, P_DATA

from gateway.dimse.limits import MAX_PDU
from gateway.dimse.requests import AssociateRequest, ProtocolError
from gateway.dimse.transport import Connection, PeerLost, Woken

if TYPE_CHECKING:
    from pynetdicom.pdu_primitives import _PDUPrimitiveType

    from gateway.dimse.association import Acceptor

ASSOCIATE_RQ, DATA, RELEASE_RQ, ABORT = 1, 4, 5, 7
IDLE, AWAITING_REQUEST, TRANSFER, RELEASING, CLOSING = "Sta1", "Sta2", "Sta6", "Sta8", "Sta13"
_PDU_TYPES = range(1, 8)
_EXPECTED = {AWAITING_REQUEST: (ASSOCIATE_RQ, ABORT), TRANSFER: (DATA, RELEASE_RQ, ABORT)}
"""What a peer may send in the states in which we read: all else is unexpected (PS3.8 Table 9-10)."""
SHORT_PDU = 4096
_PLAIN_ABORT = b"\x07\0\0\0\0\4\0\0\0\0"


class Provider(DULServiceProvider):
    """The upper layer service provider of an accepted association. Used by one thread; never started as one."""

    def __init__(self, assoc: Acceptor) -> None:
        super().__init__(assoc)
        self.acceptor = assoc
        self.request: AssociateRequest | None = None

    @property
    def connection(self) -> Connection:
        """The connection to the peer."""
        return cast(Connection, self.socket)

    @property
    def state(self) -> str:
        """The state of PS3.8 Table 9-10, `Sta1` to `Sta13`."""
        return self.state_machine.current_state

    def ended(self) -> bool:
        """Has the state machine come back to its first state: is the connection gone?"""
        return self._kill_thread

    def indication(self) -> object:
        """The next indication to the service user (an A-ASSOCIATE, A-RELEASE or abort primitive), None for none yet."""
        return self.receive_pdu()

    def wait(self, seconds: float) -> Woken:
        """Wait for a PDU to begin."""
        return self.connection.wait(seconds)

    def read(self, deadline: float) -> None:
        """Read one PDU and act on it. Raises PeerLost, ProtocolError."""
        connection = self.connection
        kind, length = connection.header(deadline)
        if length > self._longest(kind):
            raise ProtocolError(ProtocolError.INVALID_PARAMETER, "the PDU is longer than allowed")
        pdu = connection.pdu(length, deadline)
        if kind == DATA and self.state == TRANSFER:
            self.acceptor.messages.receive(pdu[6:])
        else:
            self._receive(kind, pdu)

    def act(self) -> None:
        """Run the state machine on the events that are waiting. Raises PeerLost when that ended the connection."""
        while not self.ended():
            try:
                event = self.event_queue.get_nowait()
            except queue.Empty:
                return
            try:
                self.state_machine.do_action(event)
            except InvalidEventError:
                raise PeerLost("connection_lost") from None
            if self.ended():
                self.acceptor.is_established = False

    def send_pdu(self, primitive: _PDUPrimitiveType) -> None:
        """Send a primitive at once, as its PDU."""
        if isinstance(primitive, P_DATA):
            self.send_data([primitive])
            return
        super().send_pdu(primitive)
        if self._process_recv_primitive():
            self.act()

    def send_data(self, primitives: list[P_DATA]) -> None:
        """Send the P-DATA of one message in one write."""
        self.send_pieces([P_DATA_TF(primitive).encode() for primitive in primitives])

    def send_pieces(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send encoded P-DATA-TF PDUs, in pieces; nothing when the association has ended meanwhile."""
        if self.state in (TRANSFER, RELEASING):
            self.connection.send_pieces(pieces)
        self.act()

    def refuse(self, reason: int) -> None:
        """Send an A-ABORT as the service provider (PS3.8 9.3.8), whatever the state, and end the association."""
        pdu = A_ABORT_RQ()
        pdu.source, pdu.reason_diagnostic = 2, reason
        self.connection.send(pdu.encode())
        primitive = A_P_ABORT()
        primitive.provider_reason = reason
        self.to_user_queue.put(primitive)
        self.acceptor.is_established = False

    def close(self) -> None:
        """Give the peer a moment to close first, then close. The state machine ends in `Sta1`."""
        if not self.ended():
            self.connection.linger()
        with contextlib.suppress(queue.Empty):
            while True:
                self.event_queue.get_nowait()
        self.connection.close()
        self._kill_thread = True
        self.state_machine.transition(IDLE)

    def _longest(self, kind: int) -> int:
        if self.state == AWAITING_REQUEST:
            return self.acceptor.limits.request_pdu
        return MAX_PDU if kind == DATA else SHORT_PDU

    def _receive(self, kind: int, pdu: memoryview) -> None:
        """Decode a PDU and let the state machine act on it."""
        if kind not in _PDU_TYPES:
            raise ProtocolError(ProtocolError.UNRECOGNISED_PDU, "the PDU is of an unknown type")
        if kind not in _EXPECTED.get(self.state, ()):
            raise ProtocolError(ProtocolError.UNEXPECTED_PDU, "the PDU is not allowed in this state")
        if kind == ASSOCIATE_RQ:
            self.request = AssociateRequest(pdu)
            self._recv_pdu.put(cast(A_ASSOCIATE_RQ, self.request))
            self.event_queue.put("Evt6")
        else:
            try:
                # An A-ABORT is one whatever source and reason it gives; the library refuses values it does not know.
                decoded, event = self._decode_pdu(bytearray(_PLAIN_ABORT if kind == ABORT else pdu))
            except (ValueError, TypeError, IndexError, KeyError, AssertionError, struct.error) as error:
                raise ProtocolError(ProtocolError.INVALID_PARAMETER, "the PDU is malformed") from error
            self._recv_pdu.put(decoded)
            self.event_queue.put(event)
        self.act()


def deadline(seconds: float) -> float:
    """The moment `seconds` from now, on the clock that `Connection` reads."""
    return monotonic() + seconds
