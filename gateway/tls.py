"""TLS of all doors: the BCP 195 profile (PS3.15 B.12; RFC 8996, RFC 9325), and whose certificate is whose.

TLS 1.2 at least, authenticated encryption with forward secrecy only. A listener's certificate can be exchanged while it
runs: connections that are open keep theirs.
"""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

from gateway import metrics
from gateway.logs import get_logger
from gateway.policy import plain
from gateway.settings import BadSettings, Peer, Settings

log = get_logger(__name__)

SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2 (RFC 9325 4.2); those of TLS 1.3 are all sound."""

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the module has no name for
_NAMES = frozenset({"commonName", "DNS", "IP Address", "URI"})


@dataclass(frozen=True, slots=True)
class Files:
    """PEM files of a listener: its certificate and chain, its key, the authorities of those who call; `door` is how the
    settings of these files begin.
    """

    door: str
    certificate: Path
    key: Path | None
    authorities: Path | None
    required: bool

    @classmethod
    def of_dimse(cls, settings: Settings) -> Files:
        """Those of the DIMSE listener with TLS."""
        assert settings.dimse_tls_cert is not None
        required = settings.dimse_tls_clients == "required"
        return cls("dimse_tls", settings.dimse_tls_cert, settings.dimse_tls_key, settings.dimse_tls_ca, required)

    @classmethod
    def of_http(cls, settings: Settings) -> Files:
        """Those of the HTTP listener."""
        assert settings.http_tls_cert is not None
        required = settings.http_tls_clients == "required"
        return cls("http_tls", settings.http_tls_cert, settings.http_tls_key, settings.http_tls_ca, required)


class ServerTls:
    """The certificate and the rules of a TLS listener. Raises BadSettings when it cannot be used as it is.

    `expires` is when the certificate does, in seconds since the epoch.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._guard = threading.Lock()
        self._seen = self._signature()
        self._context = self._load()
        self._asked = False

    def wrap(self, accepted: socket) -> ssl.SSLSocket:
        """A TLS connection whose handshake is still to be made, on the thread that serves it. Raises OSError."""
        return self._context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)

    def reload_soon(self) -> None:
        """Have the next `refresh` load the files again; for signal handlers."""
        self._asked = True

    def refresh(self) -> None:
        """Load certificate, key and authorities again where a file changed; what is no good leaves things as they are.

        Call it from time to time. Connections made before keep what they have.
        """
        with self._guard:
            signature = self._signature()
            if signature == self._seen and not self._asked:
                return
            self._seen, self._asked = signature, False
            try:
                self._context = self._load()
            except BadSettings as error:
                log.error("certificate_kept", reason=str(error))
            else:
                log.info("certificate_loaded")

    @property
    def context(self) -> ssl.SSLContext:
        """The context to make the next connection with."""
        return self._context

    def _load(self) -> ssl.SSLContext:
        files = self._files
        context = _context(ssl.PROTOCOL_TLS_SERVER)
        _present(context, files.door, files.certificate, files.key)
        if files.authorities is not None:
            _trust(context, files.door, files.authorities)
            context.verify_mode = ssl.CERT_REQUIRED if files.required else ssl.CERT_OPTIONAL
        self.expires = _try_out(context, files.door, files.certificate)
        metrics.CERTIFICATE_EXPIRY.labels(door=files.door.removesuffix("_tls")).set(self.expires)
        return context

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        files = self._files
        return tuple(_facts(file) for file in (files.certificate, files.key, files.authorities))


def client_context(settings: Settings, peer: Peer) -> ssl.SSLContext:
    """For associations that we request of `peer`: our own certificate is shown when there is one.

    The peer's has to be of an authority in `dimse_tls_ca` (of the system's, when that is not set) and for its host
    name; or, for a peer with `certificate`, for that name or fingerprint: see `verify`. Raises BadSettings.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = peer.certificate is None
    if settings.dimse_tls_cert is not None:
        _present(context, "dimse_tls", settings.dimse_tls_cert, settings.dimse_tls_key)
    if settings.dimse_tls_ca is not None:
        _trust(context, "dimse_tls", settings.dimse_tls_ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def verify(connected: ssl.SSLSocket, peer: Peer) -> None:
    """After the handshake with `peer`: is it the one whose certificate we know? Raises ssl.SSLCertVerificationError."""
    if peer.certificate is not None and not fits(peer_certificate(connected), peer.certificate):
        raise ssl.SSLCertVerificationError("the certificate is not that of the peer")


Names = frozenset[str]
"""What a certificate calls its holder, in lower case: fingerprint (SHA-256, hex), common name, alternative names."""


def peer_certificate(connected: ssl.SSLSocket | ssl.SSLObject) -> Names:
    """The names in the certificate that the peer has shown and that was verified; empty when there is none."""
    encoded = connected.getpeercert(binary_form=True)
    if not encoded:
        return frozenset()
    shown: Mapping[str, Any] = connected.getpeercert() or {}
    pairs = [pair for part in shown.get("subject", ()) for pair in part] + list(shown.get("subjectAltName", ()))
    names = {str(value).lower() for kind, value in pairs if kind in _NAMES}
    return frozenset({hashlib.sha256(encoded).hexdigest(), *names})


def fits(names: Names, wanted: str) -> bool:
    """Is it the certificate that `wanted` means: a SHA-256 fingerprint (hex, colons allowed), or a name in it?"""
    return plain(wanted) in names


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def _present(context: ssl.SSLContext, door: str, certificate: Path, key: Path | None) -> None:
    def no_password() -> str:
        raise BadSettings(f"{door}_key: the key is encrypted; nobody is there to be asked for the password")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except OSError as error:  # ssl.SSLError is one
        raise BadSettings(f"{door}_cert: certificate and key cannot be used: {_reason(error)}") from error


def _trust(context: ssl.SSLContext, door: str, file: Path) -> None:
    try:
        context.load_verify_locations(file)
    except OSError as error:
        raise BadSettings(f"{door}_ca: {file.name} cannot be used: {_reason(error)}") from error


def _try_out(context: ssl.SSLContext, door: str, certificate: Path) -> float:
    """Shake hands with ourselves: does the certificate serve, and when does it expire (seconds since the epoch)?"""
    client = _context(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    client.load_verify_locations(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    try:
        for side in (theirs, ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
        found = theirs.getpeercert()
    except (ssl.SSLError, ValueError) as error:
        raise BadSettings(f"{door}_cert: the certificate cannot be used by a server: {_reason(error)}") from error
    assert found is not None
    return float(ssl.cert_time_to_seconds(str(found["notAfter"])))


def _facts(file: Path | None) -> tuple[int, int, int] | None:
    try:
        facts = file.stat() if file is not None else None
    except OSError:
        return None
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns) if facts is not None else None


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)


def _first(chain: str) -> str:
    """The first certificate of a PEM file, whatever else is in it."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return begin + chain.partition(begin)[2].partition(end)[0] + end


class WebTls:
    """TLS for a server that keeps one context: a new certificate is put into it."""

    def __init__(self, settings: Settings) -> None:
        self._files = Files.of_http(settings)
        self._tls = ServerTls(self._files)
        self.context = self._loaded = self._tls.context

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(_first(self._files.certificate.read_text()))).hexdigest()

    def reload_soon(self) -> None:
        """See ServerTls."""
        self._tls.reload_soon()

    def refresh(self) -> bool:
        """See ServerTls; True when there is another certificate. Authorities that left their file stay until
        the next start.
        """
        self._tls.refresh()
        changed = self._tls.context is not self._loaded
        if changed:
            self._loaded = self._tls.context
            _present(self.context, self._files.door, self._files.certificate, self._files.key)
            if self._files.authorities is not None:
                _trust(self.context, self._files.door, self._files.authorities)
        return changed
