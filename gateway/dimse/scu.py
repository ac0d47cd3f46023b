"""An association that we request of a peer: a few blocking calls with deadlines, on pynetdicom's PDUs (PS3.8 7.1).

Only peers of the settings are ever called. pynetdicom's own requestor polls from two threads and encodes each message
by way of a `Dataset`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from time import monotonic
from types import TracebackType
from typing import Self

from pydicom.uid import UID
from pynetdicom._globals import APPLICATION_CONTEXT_NAME
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, A_RELEASE_RP, A_RELEASE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    A_RELEASE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext

from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from gateway.dimse import commands
from gateway.dimse.limits import MAX_PDU, Limits
from gateway.dimse.requests import ProtocolError
from gateway.dimse.transport import send_all
from gateway.errors import GatewayError
from gateway.logs import get_logger
from gateway.settings import BadSettings, Peer, Settings
from gateway.tls import client_context, verify

log = get_logger(__name__)

_ACCEPT, _REJECT, _DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 2, 3, 4, 5, 6, 7
_HEADER = struct.Struct(">BxL")
_PDV = struct.Struct(">LBB")
_COMMAND, _LAST = 1, 2
_NEGOTIATION_PDU, _SHORT_PDU = 1 << 20, 4096
_TICK = 0.5
_RELEASE_SECONDS = 5.0

Proposal = tuple[str, Sequence[str]]
"""A presentation context to propose: abstract syntax, and its transfer syntaxes."""


class PeerFailure(GatewayError):
    """A peer that we called could not be reached, refused us, or went away. `reason` says which, in a word."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(message or f"the peer cannot be sent to: {reason.replace('_', ' ')}")
        self.reason = reason


class Requestor:
    """An established association that we asked for; leaving the context releases it, or aborts it after an error.

    `accepted` holds the transfer syntax and the context ID by abstract syntax; several where the peer accepted several.
    `waiting` is called about twice a second while a response is awaited.
    """

    def __init__(
        self,
        peer: Peer,
        settings: Settings,
        proposals: Sequence[Proposal],
        *,
        limits: Limits,
        scp_of: Sequence[str] = (),
        waiting: Callable[[], None] | None = None,
    ) -> None:
        """Connect and negotiate; `scp_of` are the classes that we propose to be the SCP of. Raises PeerFailure."""
        self.accepted: dict[str, dict[str, int]] = {}
        self.room = commands.room(0, MAX_PDU)
        self._limits = limits
        self._waiting = waiting
        self._buffer = bytearray()
        self._socket = _connected(peer, settings, limits)
        self._open = True
        try:
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)
            self.send([_request(peer.aet, settings.aet, proposals, scp_of)])
            until = monotonic() + limits.connect_seconds
            self._negotiated(*self._pdu(until, _NEGOTIATION_PDU), proposals)
        except BaseException:
            self.abort()
            raise

    def send(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send encoded PDUs, in pieces. Raises PeerFailure."""
        try:
            send_all(self._socket, pieces, self._limits.send_seconds)
        except TimeoutError as error:
            raise PeerFailure("too_slow") from error
        except OSError as error:
            raise PeerFailure("connection_lost") from error

    def response(self, message_id: int) -> commands.Response:
        """Wait for the response to a request. Raises PeerFailure."""
        until = monotonic() + self._limits.response_seconds
        response, data_follows = self._message(until)
        while data_follows:
            _, data_follows = self._message(until, data=True)
        if response is None or response.message_id != message_id:
            raise PeerFailure("protocol_error")
        return response

    def request(self, context_id: int, command: bytes, data_set: bytes = b"") -> None:
        """Send a message. Raises PeerFailure."""
        pieces = commands.pdus(context_id, command, self.room, command=True)
        self.send(pieces + commands.pdus(context_id, data_set, self.room))

    def release(self) -> None:
        """Release in order; whatever the peer makes of it, the connection is closed."""
        if not self._open:
            return
        with contextlib.suppress(PeerFailure):
            self.send([A_RELEASE_RQ(A_RELEASE()).encode()])
            until = monotonic() + _RELEASE_SECONDS
            while (kind := self._pdu(until, MAX_PDU)[0]) not in (_RELEASE_RP, _ABORT):
                if kind == _RELEASE_RQ:  # both released at once
                    answer = A_RELEASE()
                    answer.result = "affirmative"
                    self.send([A_RELEASE_RP(answer).encode()])
        self._close()

    def abort(self) -> None:
        """Abort as the service user, and close."""
        if not self._open:
            return
        pdu = A_ABORT_RQ()
        pdu.source, pdu.reason_diagnostic = 0, 0
        with contextlib.suppress(OSError):
            self._socket.settimeout(0.1)
            self._socket.sendall(pdu.encode())
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    def _close(self) -> None:
        self._open = False
        self._socket.close()

    def _negotiated(self, kind: int, pdu: bytes, proposals: Sequence[Proposal]) -> None:
        if kind == _REJECT:
            rejection = A_ASSOCIATE_RJ()
            with contextlib.suppress(ValueError, IndexError, struct.error):
                rejection.decode(pdu)
                numbers = (rejection.result, rejection.source, rejection.reason_diagnostic)
                raise PeerFailure("rejected", f"the peer rejected the association {numbers}")
            raise PeerFailure("rejected")
        if kind != _ACCEPT:
            raise PeerFailure("aborted" if kind == _ABORT else "protocol_error")
        accept = A_ASSOCIATE_AC()
        try:
            accept.decode(pdu)
            primitive = accept.to_primitive()
            results = primitive.presentation_context_definition_results_list
            self.room = commands.room(primitive.maximum_length_received, MAX_PDU)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, struct.error) as error:
            raise PeerFailure("protocol_error") from error
        if self.room < 2:
            raise PeerFailure("protocol_error")
        for context in results:
            position = ((context.context_id or 0) - 1) // 2
            if context.result == 0 and context.transfer_syntax and 0 <= position < len(proposals):
                abstract, syntaxes = proposals[position]
                if (chosen := str(context.transfer_syntax[0])) in syntaxes:
                    self.accepted.setdefault(abstract, {}).setdefault(chosen, 2 * position + 1)

    def _message(self, until: float, *, data: bool = False) -> tuple[commands.Response | None, bool]:
        """Read PDUs up to the end of a command set (or of a data set, which is dropped): the response, and whether a
        data set follows."""
        command = bytearray()
        while True:
            kind, pdu = self._pdu(until, MAX_PDU)
            if kind != _DATA:
                raise PeerFailure("aborted" if kind in (_ABORT, _RELEASE_RQ) else "protocol_error")
            response: commands.Response | None = None
            follows = data
            at = _HEADER.size
            while at < len(pdu):
                if at + _PDV.size > len(pdu):
                    raise PeerFailure("protocol_error")
                length, _, control = _PDV.unpack_from(pdu, at)
                if length < 2 or at + 4 + length > len(pdu):
                    raise PeerFailure("protocol_error")
                value = pdu[at + _PDV.size : at + 4 + length]
                at += 4 + length
                if not control & _COMMAND:
                    if control & _LAST:
                        return response, False
                    continue
                command += value
                if len(command) > self._limits.command_set:
                    raise PeerFailure("protocol_error")
                if control & _LAST:
                    try:
                        response = commands.response(bytes(command))
                    except ProtocolError as error:
                        raise PeerFailure("protocol_error") from error
                    follows = response.has_data_set
            if response is not None:
                return response, follows

    def _pdu(self, until: float, longest: int) -> tuple[int, bytes]:
        kind, length = _HEADER.unpack(self._read(_HEADER.size, until))
        if length > (longest if kind in (_ACCEPT, _DATA) else _SHORT_PDU):
            raise PeerFailure("protocol_error")
        size = _HEADER.size + length
        pdu = bytes(self._read(size, until))
        del self._buffer[:size]
        return kind, pdu

    def _read(self, size: int, until: float) -> memoryview | bytearray:
        """The first `size` bytes of what the peer sends, which stay in the buffer."""
        while len(self._buffer) < size:
            left = until - monotonic()
            if left <= 0:
                raise PeerFailure("too_slow")
            if not self._ready(min(left, _TICK)):
                if self._waiting is not None:
                    self._waiting()
                continue
            try:
                data = self._socket.recv(65_536)
            except OSError as error:
                raise PeerFailure("connection_lost") from error
            if not data:
                raise PeerFailure("connection_lost")
            self._buffer += data
        return self._buffer[:size]

    def _ready(self, seconds: float) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():  # decrypted already
            return True
        return bool(self._poll.poll(seconds * 1000))


def _connected(peer: Peer, settings: Settings, limits: Limits) -> socket.socket:
    """A connection to the peer, with TLS where it listens with that. Raises PeerFailure."""
    try:
        connection = socket.create_connection((peer.host, peer.port), timeout=limits.connect_seconds)
    except OSError as error:
        raise PeerFailure("unreachable") from error
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if peer.tls:
            connection = client_context(settings, peer).wrap_socket(connection, server_hostname=peer.host)
            verify(connection, peer)
    except (OSError, BadSettings) as error:  # of the handshake; ssl.SSLError is an OSError
        connection.close()
        raise PeerFailure("tls", f"no TLS connection to the peer: {type(error).__name__}") from error
    return connection


def _request(called: str, calling: str, proposals: Sequence[Proposal], scp_of: Sequence[str]) -> bytes:
    """An A-ASSOCIATE-RQ PDU (PS3.8 9.3.2); context IDs are 1, 3, 5 and so on."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(APPLICATION_CONTEXT_NAME)
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    contexts = []
    for position, (abstract, syntaxes) in enumerate(proposals):
        context = PresentationContext()
        context.context_id = 2 * position + 1
        context.abstract_syntax = UID(abstract)
        context.transfer_syntax = [UID(one) for one in syntaxes]
        contexts.append(context)
    primitive.presentation_context_definition_list = contexts
    length, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = MAX_PDU
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version.implementation_version_name = IMPLEMENTATION_VERSION
    roles = []
    for uid in scp_of:
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = UID(uid), False, True
        roles.append(role)
    primitive.user_information = [length, implementation, version, *roles]
    return A_ASSOCIATE_RQ(primitive).encode()
