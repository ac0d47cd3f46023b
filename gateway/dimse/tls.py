"""TLS of the DIMSE wing: the BCP 195 profile (PS3.15 B.12; RFC 8996, RFC 9325), and whose certificate is whose.

TLS 1.2 at least, authenticated encryption with forward secrecy only. A listener's certificate can be exchanged while it
runs: connections that are open keep theirs.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from socket import socket
from typing import Any

from gateway import metrics
from gateway.logs import get_logger
from gateway.settings import BadSettings, Peer, Settings

log = get_logger(__name__)

SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2 (RFC 9325 4.2); those of TLS 1.3 are all sound."""

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the module has no name for
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_NAMES = frozenset({"commonName", "DNS", "IP Address", "URI"})


class ServerTls:
    """The certificate and the rules of a TLS listener. Raises BadSettings when it cannot be used as it is.

    `expires` is when the certificate does, in seconds since the epoch.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
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

    def _load(self) -> ssl.SSLContext:
        settings = self._settings
        context = _context(ssl.PROTOCOL_TLS_SERVER)
        _present(context, settings)
        if settings.dimse_tls_ca is not None:
            _trust(context, settings.dimse_tls_ca)
            required = settings.dimse_tls_clients == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        assert settings.dimse_tls_cert is not None
        self.expires = _try_out(context, settings.dimse_tls_cert)
        metrics.CERTIFICATE_EXPIRY.set(self.expires)
        return context

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        settings = self._settings
        return tuple(_facts(file) for file in (settings.dimse_tls_cert, settings.dimse_tls_key, settings.dimse_tls_ca))


def client_context(settings: Settings, peer: Peer) -> ssl.SSLContext:
    """For associations that we request of `peer`: our own certificate is shown when there is one.

    The peer's has to be of an authority in `dimse_tls_ca` (of the system's, when that is not set) and for its host
    name; or, for a peer with `certificate`, for that name or fingerprint: see `verify`. Raises BadSettings.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = peer.certificate is None
    if settings.dimse_tls_cert is not None:
        _present(context, settings)
    if settings.dimse_tls_ca is not None:
        _trust(context, settings.dimse_tls_ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def verify(connected: ssl.SSLSocket, peer: Peer) -> None:
    """After the handshake with `peer`: is it the one whose certificate we know? Raises ssl.SSLCertVerificationError."""
    if peer.certificate is not None and not fits(peer_certificate(connected), peer.certificate):
        raise ssl.SSLCertVerificationError("the certificate is not that of the peer")


Names = frozenset[str]
"""What a certificate calls its holder, in lower case: fingerprint (SHA-256, hex), common name, alternative names."""


def peer_certificate(connected: ssl.SSLSocket) -> Names:
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
    plain = wanted.strip().lower()
    digits = plain.replace(":", "")
    return (digits if _FINGERPRINT.fullmatch(digits) else plain) in names


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def _present(context: ssl.SSLContext, settings: Settings) -> None:
    assert settings.dimse_tls_cert is not None
    try:
        context.load_cert_chain(settings.dimse_tls_cert, settings.dimse_tls_key, _no_password)
    except OSError as error:  # ssl.SSLError is one
        raise BadSettings(f"dimse_tls_cert: certificate and key cannot be used: {_reason(error)}") from error


def _trust(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(file)
    except OSError as error:
        raise BadSettings(f"dimse_tls_ca: {file.name} cannot be used: {_reason(error)}") from error


def _no_password() -> str:
    raise BadSettings("dimse_tls_key: the key is encrypted; nobody is there to be asked for the password")


def _try_out(context: ssl.SSLContext, certificate: Path) -> float:
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
        raise BadSettings(f"dimse_tls_cert: the certificate cannot be used by a server: {_reason(error)}") from error
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
