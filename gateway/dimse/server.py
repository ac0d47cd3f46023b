"""The DIMSE server: listens, makes associations, bounds their numbers, and stops in order.

A connection that has not negotiated takes none of the places for associations: see `lobby`.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from typing import Any

import pydicom.config
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.transport import AddressInformation

from gateway import metrics
from gateway.audit import Audit
from gateway.authentication import Authentication
from gateway.coerce import Coercer
from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from gateway.dimse.access import Access
from gateway.dimse.association import STOPPED, Acceptor
from gateway.dimse.c_find import negotiate
from gateway.dimse.c_store import Reception
from gateway.dimse.limits import MAX_PDU, Limits
from gateway.dimse.listener import Listener, bind
from gateway.dimse.lobby import Guest, Lobby
from gateway.dimse.negotiation import CONGESTED, LIMIT_EXCEEDED, Policy, Rejection
from gateway.dimse.places import Places, Seat
from gateway.dimse.rescue import Rescue
from gateway.dimse.services import Services
from gateway.errors import Unavailable
from gateway.logs import get_logger
from gateway.settings import BadSettings, Settings, is_loopback
from gateway.tls import Files, ServerTls
from storage.archive import Archive
from storage.errors import SpoolBusy

log = get_logger(__name__)

JOIN_SECONDS = 2.0

Sockets = tuple[socket.socket, socket.socket | None]
"""A listening socket, and one with TLS."""


class DimseServer:
    """Verification, Storage and Query as a service class provider.

    `start` binds and returns; `stop` finishes what is in flight. Both once, from one thread.
    """

    def __init__(
        self,
        archive: Archive,
        settings: Settings,
        limits: Limits | None = None,
        authentication: Authentication | None = None,
        seat: Seat | None = None,
        audit: Audit | None = None,
    ) -> None:
        self._archive = archive
        self._settings = settings
        self._limits = limits or Limits()
        self._audit = audit
        self._access = Access(settings, authentication or Authentication(settings, archive))
        self._services = Services(archive, settings, self._limits)
        self._coercer = Coercer.of(settings)
        self._lock = threading.Lock()
        self._lobby = Lobby(self._limits, self._associate)
        self._guests: dict[Acceptor, Guest] = {}
        self._established: set[Acceptor] = set()
        self._places = Places(settings.max_associations, seat)
        self._stopping = False
        self._stop_reader, self._stop_writer = os.pipe()
        self._tls = ServerTls(Files.of_dimse(settings)) if settings.dimse_tls else None
        self._listeners: list[Listener] = []
        self._rescue = Rescue(archive.stalls, self._established_now)

    def start(self, sockets: Sockets | None = None) -> tuple[str, int]:
        """Listen, on `sockets` where they were bound before; returns the address. Raises BadSettings."""
        _quieten_library()
        ae = AE(self._settings.aet)
        ae.maximum_pdu_size = MAX_PDU
        ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        ae.implementation_version_name = IMPLEMENTATION_VERSION
        room = self._lobby.make_room
        plain, secure = sockets or bind_both(self._settings)
        self._listeners = [Listener(ae, plain, self._policy(is_loopback(self._settings.dimse)), self._accept, room)]
        if secure is not None:
            trusted = self._settings.dimse_tls_ca is not None and self._settings.dimse_tls_clients == "required"
            policy = self._policy(trusted or is_loopback(self._settings.dimse_tls))
            self._listeners.append(Listener(ae, secure, policy, self._accept, room, self._tls))
        self._lobby.start()
        self._rescue.start()
        for listener in self._listeners:
            ae._servers.append(listener)  # type: ignore[arg-type]
            listener.start()
        return self._listeners[0].address

    @property
    def tls_address(self) -> tuple[str, int] | None:
        """Where the listener with TLS is bound; None when there is none, or before the start."""
        return self._listeners[1].address if len(self._listeners) > 1 else None

    def reload_soon(self) -> None:
        """Load the certificate again, soon; for signal handlers (F-70)."""
        if self._tls is not None:
            self._tls.reload_soon()

    def stop(self, grace_seconds: float = 30.0) -> None:
        """Reject new associations, end idle ones, finish operations in flight for at most `grace_seconds` (F-07)."""
        if not self._listeners:
            return
        with self._lock:
            self._stopping = True
        os.write(self._stop_writer, b"x")
        give_up = time.monotonic() + grace_seconds
        for association in self._established_now():
            association.join(max(0.0, give_up - time.monotonic()))
        for listener in self._listeners:
            listener.stop()
        self._lobby.stop()
        self._rescue.stop()
        rest = self._open()
        for association in rest:
            association.hang_up(STOPPED)
        for association in rest:
            association.join(JOIN_SECONDS)
        self._listeners = []
        if not self._open():
            os.close(self._stop_reader)
            os.close(self._stop_writer)

    def admit(self, association: Acceptor) -> Rejection | None:
        """Move an association to the established ones, unless there are too many or we stop."""
        try:
            self._archive.spool.check_budget()
            if self._audit is not None:
                self._audit.check()
        except (SpoolBusy, Unavailable):
            metrics.STORES_TURNED_AWAY.labels(door="dimse").inc()
            return CONGESTED
        with self._lock:
            if self._stopping:
                return CONGESTED
            if not self._places.take():
                return LIMIT_EXCEEDED
            self._established.add(association)
            guest = self._guests.pop(association)
        self._lobby.leave(guest)
        metrics.OPEN_ASSOCIATIONS.inc()
        return None

    def ended(self, association: Acceptor, outcome: str) -> None:
        """Free the place of an association."""
        with self._lock:
            guest = self._guests.pop(association, None)
            established = association in self._established
            if established:
                self._established.discard(association)
                self._places.give()
            elif guest is None:  # it was given up before
                return
        if guest is not None:
            self._lobby.leave(guest)
        if established:
            metrics.OPEN_ASSOCIATIONS.dec()
        metrics.ASSOCIATIONS.labels(outcome=outcome).inc()

    def _established_now(self) -> list[Acceptor]:
        with self._lock:
            return list(self._established)

    def _open(self) -> list[Acceptor]:
        with self._lock:
            return [*self._established, *self._guests]

    def _policy(self, trusted: bool) -> Policy:
        """What is accepted of peers that come by a listener; `trusted` is one that not everybody can reach."""
        settings = self._settings
        return Policy(
            settings.aet,
            settings.require_called_aet,
            _calling(settings, trusted),
            settings.accept_unknown_classes,
            {peer.aet: peer.certificate for peer in settings.peers if peer.certificate is not None},
            self._access,
            settings.user_identity == "ignore",
            {peer.aet: peer.host for peer in settings.peers} if settings.require_peer_host else {},
            self._audit,
        )

    def _accept(self, listener: Listener, accepted: socket.socket, address: tuple[Any, ...]) -> None:
        self._lobby.enter(listener, accepted, address[0])

    def _associate(self, guest: Guest) -> None:
        """Start an association on a connection. Raises OSError, RuntimeError."""
        listener, address, ours = guest.listener, guest.accepted.getpeername(), guest.accepted.getsockname()
        if listener.tls is not None:
            guest.accepted = listener.tls.wrap(guest.accepted)
        reception = Reception(
            self._archive,
            max_bytes=self._settings.max_object_bytes,
            accept_unknown_classes=self._settings.accept_unknown_classes,
            coercer=self._coercer,
        )
        association = Acceptor(
            listener.ae,
            guest.accepted,
            registry=self,
            reception=reception,
            services=self._services,
            policy=listener.policy,
            limits=self._limits,
            stop_signal=self._stop_reader,
            request_deadline=guest.deadline,
        )
        association.acceptor.maximum_length = MAX_PDU
        association.acceptor.ae_title = self._settings.aet
        association.acceptor.implementation_version_name = IMPLEMENTATION_VERSION
        association.acceptor.address_info = AddressInformation.from_tuple(ours)
        association.requestor.address_info = AddressInformation.from_tuple(address)
        association.bind(evt.EVT_SOP_EXTENDED, negotiate)
        guest.association = association
        with self._lock:
            self._guests[association] = guest
        try:
            association.start()
        except RuntimeError:  # no more threads
            with self._lock:
                del self._guests[association]
            raise


def bind_both(settings: Settings) -> Sockets:
    """The sockets of the settings, the second with TLS if there is to be one. Raises BadSettings."""
    plain = _bind("dimse", settings.dimse)
    try:
        return plain, _bind("dimse_tls", settings.dimse_tls) if settings.dimse_tls else None
    except BadSettings:
        plain.close()
        raise


def _bind(name: str, address: str) -> socket.socket:
    try:
        return bind(address)
    except OSError as error:
        raise BadSettings(f"{name}: {address} cannot be listened on: {error.strerror}") from error


def _calling(settings: Settings, trusted: bool) -> frozenset[str]:
    """The AE titles that may call; none means any, which is so on a trusted listener unless a list was set."""
    if not settings.calling_aets and (settings.insecure or trusted):
        return frozenset()
    return frozenset(settings.calling_aets) | {peer.aet for peer in settings.peers}


def _quieten_library() -> None:
    """No identifiers, no per-PDU handlers and no tracebacks of the libraries in any log (their settings are global).

    pydicom would warn about each malformed value it meets, and quote it; what to think of a value is decided by us.
    """
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
