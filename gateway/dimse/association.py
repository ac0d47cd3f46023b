"""One association as its acceptor: a single thread that reads, serves and answers (PS3.7 7, PS3.8 7).

It takes the place of pynetdicom's `Association`, whose loop sleeps a millisecond between looks at its queues; service
classes, events and the state machine stay the library's. Of the library's events, only those of association control
and of the services are triggered: none per PDU.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Protocol, cast
from uuid import uuid4

from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE, A_RELEASE
from pynetdicom.service_class import ServiceClass
from structlog.contextvars import bound_contextvars

from gateway import foreground, metrics
from gateway.audit import FAILED as FAILURE
from gateway.audit import REFUSED, Event, event_of
from gateway.audit import SUCCESS as SUCCEEDED
from gateway.caller import Caller
from gateway.dimse import commands
from gateway.dimse.messages import Messages, Request
from gateway.dimse.negotiation import (
    CALLED_TITLE_UNKNOWN,
    CALLING_TITLE_UNKNOWN,
    VERIFICATION,
    Negotiation,
    Policy,
    Rejection,
)
from gateway.dimse.provider import CLOSING, TRANSFER, Provider, deadline
from gateway.dimse.requests import ProtocolError
from gateway.dimse.statuses import NOT_AUTHORIZED, SUCCESS
from gateway.dimse.transport import Connection, PeerLost, Woken
from gateway.logs import get_logger
from gateway.policy import Who
from gateway.rights import EVERYTHING, Rights
from storage.crashpoints import armed, reached

if TYPE_CHECKING:
    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.dimse_primitives import DIMSEPrimitive

    from gateway.dimse.c_store import Reception
    from gateway.dimse.limits import Limits

log = get_logger(__name__)

STOPPED, DROPPED, TIMED_OUT, PROTOCOL_ERROR, FAILED = "stopped", "dropped", "timeout", "protocol_error", "failed"
STALLED = "stalled"
"""Outcomes of an association in logs and metrics, besides `released`, `aborted`, `rejected`, `closed` (before it was
requested) and `connection_lost`."""


class Registry(Protocol):
    """Who keeps count of the associations."""

    def admit(self, association: Acceptor) -> Rejection | None:
        """Give the association one of the places for established ones, or say why not."""

    def ended(self, association: Acceptor, outcome: str) -> None:
        """The association needs its place no more."""


class Services(Protocol):
    """The services of an association."""

    def find(self, association: Acceptor, request: Request, abstract_syntax: str) -> ServiceClass | None:
        """The one that answers this request; None when there is no such operation on this presentation context."""


class Acceptor(Association):
    """An association that a peer requests of us. `start()` runs it in its own thread.

    `association_id` stands on every log line. `rejection` tells how it was rejected, when it was. `extended` is what
    SOP Class Extended Negotiation agreed on, by SOP class; `returned` are the storage classes that the peer is the SCP
    of. `services` answers what is neither C-STORE nor C-ECHO.
    """

    def __init__(
        self,
        ae: ApplicationEntity,
        accepted: socket.socket,
        registry: Registry,
        reception: Reception,
        services: Services,
        policy: Policy,
        limits: Limits,
        stop_signal: int,
        request_deadline: float,
    ) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.association_id = uuid4().hex[:16]
        self.name = f"association-{self.association_id}"
        self.policy = policy
        self.limits = limits
        self.reception = reception
        self.services = services
        self.rejection: Rejection | None = None
        self.user: Who | None = None
        self._rights: Rights | None = None
        self._asked: Caller | None = None
        self.extended: dict[str, bytes] = {}
        self.returned: frozenset[str] = frozenset()
        self.acse = Negotiation(self)
        self.dul = self.provider = Provider(self)
        self.dimse = self.messages = Messages(self, reception)
        self._registry = registry
        self._failure: Exception | None = None
        self._hung_up = ""
        self._answering = threading.Lock()
        self._request_deadline = request_deadline
        reception.bind(self)
        self.set_socket(Connection(self, accepted, stop_signal, limits))

    @property
    def caller(self) -> Caller:
        """Who asks, for the use cases."""
        aet = self.requestor.ae_title
        if self._rights is None:
            access = self.policy.access
            self._rights = EVERYTHING if access is None else access.rights(aet, self.user)
        name = aet if self.user is None else f"{aet} {self.user.name}"
        self._asked = Caller(name, "dimse", self.requestor.address, self.association_id, self._rights)
        return self._asked

    def audited(self, action: str, operation: str, status: int) -> None:
        """Tell the audit of an operation that is over: that of the last `caller`, since there is one at a time."""
        caller, self._asked = self._asked or self.caller, None
        if self.policy.audit is not None:
            good = status < 0x0100 or status >> 12 == 0xB
            outcome = SUCCEEDED if good else REFUSED if status == NOT_AUTHORIZED else FAILURE
            self.policy.audit.record(event_of(caller, action, operation, outcome, f"{status:04X}"))

    def beginning(self, operation: str) -> None:
        """Tell the audit that instances begin to go to another node: those that the last `caller` found."""
        if self.policy.audit is not None:
            self.policy.audit.record(event_of(self._asked or self.caller, "begin", operation, SUCCEEDED))

    def context(self, context_id: int) -> tuple[str, str]:
        """Abstract and transfer syntax of an accepted presentation context. Raises ProtocolError."""
        if (context := self._accepted_cx.get(context_id)) is None:
            raise ProtocolError(ProtocolError.INVALID_PARAMETER, "no such presentation context was accepted")
        return cast(str, context.abstract_syntax), context.transfer_syntax[0]

    def admit(self) -> Rejection | None:
        """Ask for a place among the established associations."""
        return self._registry.admit(self)

    def fail(self, error: PeerLost | ProtocolError) -> None:
        """End the association with `error` as soon as the service that runs has returned."""
        self._failure = error
        self.is_established = False

    def hang_up(self, outcome: str) -> None:
        """Make the association end with this outcome, from another thread."""
        self._hung_up = outcome
        self.provider.connection.hang_up()

    def give_up(self) -> None:
        """Answer in the place of the association's own thread, which the disk does not let go, and end it."""
        with self._answering:
            if self._hung_up:
                return
            self._hung_up = STALLED
        if self.reception.pending is not None:
            request, context_id = self.reception.pending
            self._send(self.reception.stalled(request), context_id)
        self.provider.refuse(ProtocolError.NOT_SPECIFIED)
        self._registry.ended(self, STALLED)
        self.provider.connection.hang_up()
        log.warning("association_given_up", association_id=self.association_id)

    def run_reactor(self) -> None:
        """The association from its first PDU to the end of the connection."""
        with bound_contextvars(association_id=self.association_id):
            outcome = FAILED
            try:
                outcome = self._converse()
            except PeerLost as lost:
                outcome = self._lost(lost)
            except ProtocolError as error:
                log.warning("protocol_error", what=str(error), abort_reason=error.reason)
                self.provider.refuse(error.reason)
                outcome = PROTOCOL_ERROR
            except Exception as error:
                # The thread's last line: whatever it is, the peer gets an A-ABORT and we a name, not a traceback.
                log.error("association_failed", error=type(error).__name__)
                self.provider.refuse(ProtocolError.NOT_SPECIFIED)
            finally:
                self.is_established = False
                self.reception.close()
                self._registry.ended(self, outcome)
                log.info("association_ended", outcome=outcome, stored=self.reception.stored)
                self.provider.close()

    def kill(self) -> None:
        """End the loop; the library calls this from `abort()`."""
        self._kill = True
        self.is_established = False

    def _lost(self, lost: PeerLost) -> str:
        """The connection is gone, or we hung up: say so to a peer that can still hear it."""
        if self._hung_up:
            self.provider.refuse(ProtocolError.NOT_SPECIFIED)
            return self._hung_up
        if lost.reason != "too_slow":
            return lost.reason
        if self.provider.state == TRANSFER:
            self.provider.refuse(ProtocolError.NOT_SPECIFIED)
        return TIMED_OUT

    def _converse(self) -> str:
        connection = self.provider.connection
        if connection.is_secured:
            try:
                connection.handshake(self._request_deadline)
            except PeerLost as lost:
                if lost.reason == "tls_failed" and self.policy.audit is not None:
                    where = (self.requestor.address or "", self.association_id)
                    self.policy.audit.record(Event("node", "TLS", REFUSED, "", "", "dimse", *where, at=time.time()))
                raise
            self._request_deadline = deadline(self.limits.request_seconds)
        self.provider.act()
        while (primitive := self.provider.indication()) is None and not self.provider.ended():
            self.provider.read(self._request_deadline)
            if self.provider.state == CLOSING:  # the state machine has rejected the protocol version
                return "rejected"
        if not isinstance(primitive, A_ASSOCIATE):
            return "aborted"
        self.requestor.primitive = primitive
        evt.trigger(self, evt.EVT_REQUESTED, {})
        self.acse.negotiate_association()
        if not self.is_established:
            log.info("association_rejected", rejection=self.rejection, **self._peer())
            if self.rejection and self.policy.audit is not None:
                operation = "A-ASSOCIATE " + ",".join(map(str, self.rejection))
                action = "node" if self.rejection in (CALLING_TITLE_UNKNOWN, CALLED_TITLE_UNKNOWN) else "login"
                self.policy.audit.record(event_of(self.caller, action, operation, REFUSED))
            return "rejected" if self.rejection else "connection_lost"
        log.info("association_accepted", contexts=len(self._accepted_cx), **self._peer())
        return self._serve_until_end()

    def _peer(self) -> dict[str, object]:
        return {"calling_aet": self.requestor.ae_title, "address": self.requestor.address}

    def _serve_until_end(self) -> str:
        """Read and answer until the peer releases or aborts, or one of us gives up."""
        while not self._kill:
            if not self.messages.in_message:
                woken = self.provider.wait(self.limits.idle_seconds)
                if woken is not Woken.DATA:
                    self.provider.refuse(ProtocolError.NOT_SPECIFIED)
                    return STOPPED if woken is Woken.STOPPING else TIMED_OUT
            self.provider.read(deadline(self.limits.pdu_seconds))
            while (message := self.messages.next_message()) is not None:
                self._answer(*message)
            primitive = self.provider.indication()
            if isinstance(primitive, A_RELEASE):
                self.acse.send_release(is_response=True)
                self.is_released = True
                evt.trigger(self, evt.EVT_RELEASED, {})
                return "released"
            if primitive is not None:
                self.is_aborted = True
                evt.trigger(self, evt.EVT_ABORTED, {})
                return "aborted"
        return FAILED

    def _answer(self, context_id: int, request: Request) -> None:
        """Answer one request, or let its service class do so (PS3.7 9.1)."""
        foreground.busy()
        abstract_syntax, _ = self.context(context_id)
        if isinstance(request, commands.Request):
            if request.field == commands.C_STORE_RQ and self.policy.is_storage(abstract_syntax):
                answer = self.reception.answer(request)
                with self._answering:
                    if self._hung_up == STALLED:
                        raise PeerLost(STALLED)
                    self._send(answer, context_id)
                reached("P10")
                return
            if request.field == commands.C_ECHO_RQ and abstract_syntax == VERIFICATION:
                self._send(_echo(request), context_id)
                return
        elif not request.is_valid_request:
            raise ProtocolError(ProtocolError.INVALID_PARAMETER, "the request lacks a mandatory parameter")
        service = self.services.find(self, request, abstract_syntax)
        if service is None:
            raise ProtocolError(ProtocolError.UNEXPECTED_PDU, "no such operation on this presentation context")
        self.messages.serving = request.MessageID
        # one of our own requests takes the place of the library's, as its services look at the same attributes
        service.SCP(cast("DIMSEPrimitive", request), self._accepted_cx[context_id])
        self.messages.serving = None
        self.messages.cancel_req = {}
        if self._failure is not None:
            raise self._failure

    def _send(self, command_set: bytes, context_id: int) -> None:
        pdus = self.messages.command(command_set, context_id)
        if armed("P9"):
            half = len(pdus) // 2
            self.provider.send_pieces([pdus[:half]])
            reached("P9")
            pdus = pdus[half:]
        self.messages.send_encoded(pdus, context_id)


def _echo(request: commands.Request) -> bytes:
    """The answer to C-ECHO is a success (PS3.4 A.4, NET-01)."""
    ECHOES.inc()
    return commands.answer(request, SUCCESS)


ECHOES = metrics.OPERATIONS.labels(command="C-ECHO", status="0000")
