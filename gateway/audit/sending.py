"""From the audit log to an audit record repository: syslog with TLS (RFC 5424, 5425), or FHIR.

The log is the spool: a mark says how far it was told. While a receiver is down nothing is lost, it is told later; after
a crash, or when a connection breaks, some events may be told twice.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import urllib3

from gateway import metrics
from gateway.audit.dicom import messages
from gateway.audit.fhir import audit_event
from gateway.logs import get_logger
from gateway.settings import Settings
from storage.chain import files

log = get_logger(__name__)

FACILITY_AUTHPRIV, SEVERITY_NOTICE = 10, 5
SECONDS = 10.0
LONGEST_PAUSE = 60.0
IDLE = 5.0
"""Seconds between two looks at the log, for what other processes wrote."""

TOGETHER = 200
MARK = ".mark"

Tell = Callable[[Mapping[str, Any]], None]
"""Tells one event. Raises OSError when it could not."""


class Sender:
    """Tells what is new in the log to one receiver, in a thread of its own; tries again with growing pauses."""

    def __init__(self, folder: Path, kind: str, tell: Tell) -> None:
        self._folder = folder
        self._kind = kind
        self._tell = tell
        self._mark_file = folder / f"{kind}{MARK}"
        self._mark: dict[str, int] = self._read_mark()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"audit-{kind}", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    def stop(self) -> None:
        """End soon; what is left is told after the next start."""
        self._stopping = True
        self._wake.set()
        self._thread.join(SECONDS + 5.0)

    def _run(self) -> None:
        pause = 1.0
        while True:
            self._wake.clear()
            try:
                while self._some():
                    pause = 1.0
                    if self._stopping:
                        return
            except (OSError, urllib3.exceptions.HTTPError) as error:
                log.warning("audit_not_told", kind=self._kind, error=type(error).__name__)
                if self._stopping:
                    return
                self._wake.wait(pause)  # an early wake costs one more try at most
                time.sleep(0.2)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if self._stopping:
                return
            self._wake.wait(IDLE)

    def _some(self) -> bool:
        """Tell some events that are new; False when there was none."""
        for path in files(self._folder):
            at = self._mark.get(path.name, 0)
            if path.stat().st_size <= at:
                continue
            told = 0
            with path.open("rb") as file:
                file.seek(at)
                for line in file:
                    if not line.endswith(b"\n") or told == TOGETHER:
                        break
                    try:
                        entry = json.loads(line)
                    except ValueError:
                        entry = None
                    if isinstance(entry, dict) and "operation" in entry:
                        self._tell(entry)
                    at += len(line)
                    told += 1
                    self._mark[path.name] = at
            if told:
                metrics.AUDIT_SENT.labels(kind=self._kind).inc(told)
                self._write_mark()
                return True
        return False

    def _read_mark(self) -> dict[str, int]:
        try:
            found = json.loads(self._mark_file.read_text())
        except (OSError, ValueError):
            return {}
        return {str(name): int(at) for name, at in found.items()} if isinstance(found, dict) else {}

    def _write_mark(self) -> None:
        there = {path.name for path in files(self._folder)}
        self._mark = {name: at for name, at in self._mark.items() if name in there}
        new = self._mark_file.with_suffix(".new")
        new.write_text(json.dumps(self._mark))
        new.replace(self._mark_file)


class Syslog:
    """Messages of DICOM over TCP, or TLS, each counted in bytes (RFC 5425 4.3)."""

    def __init__(self, url: str, ca: Path | None, certificate: Path | None, source: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or (6514 if parts.scheme == "tls" else 601)
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "tls":
            self._tls = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
            if certificate is not None:
                self._tls.load_cert_chain(certificate)
        self._source = source
        self._name = socket.gethostname()[:255] or "-"
        self._socket: socket.socket | None = None

    def __call__(self, entry: Mapping[str, Any]) -> None:
        """Tell one event. Raises OSError."""
        try:
            connection = self._connected()
            for message in messages(entry, self._source):
                connection.sendall(self._framed(message, float(entry.get("at", 0))))
        except OSError:
            self._close()
            raise

    def _connected(self) -> socket.socket:
        """The connection; another one where the receiver has closed it meanwhile."""
        if self._socket is not None:
            self._socket.setblocking(False)
            try:
                gone = self._socket.recv(1) == b""
            except (BlockingIOError, ssl.SSLWantReadError):
                gone = False
            except OSError:
                gone = True
            self._socket.settimeout(SECONDS)
            if gone:
                self._close()
        if self._socket is None:
            plain = socket.create_connection((self._host, self._port), SECONDS)
            try:
                self._socket = self._tls.wrap_socket(plain, server_hostname=self._host) if self._tls else plain
            except OSError:
                plain.close()
                raise
        return self._socket

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _framed(self, message: str, at: float) -> bytes:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"
        head = f"<{8 * FACILITY_AUTHPRIV + SEVERITY_NOTICE}>1 {stamp} {self._name} gantry {os.getpid()} IHE+DICOM - "
        data = head.encode("ascii", "replace") + b"\xef\xbb\xbf" + message.encode()
        return b"%d " % len(data) + data


class Fhir:
    """AuditEvents by POST."""

    def __init__(self, url: str, token: str | None, source: str) -> None:
        self._url, self._source = url, source
        self._headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._pool = urllib3.PoolManager(maxsize=1, retries=False, timeout=urllib3.Timeout(SECONDS))

    def __call__(self, entry: Mapping[str, Any]) -> None:
        """Tell one event. Raises OSError, HTTPError."""
        body = orjson.dumps(audit_event(entry, self._source))
        answer = self._pool.request("POST", self._url, body=body, headers=self._headers, redirect=False)
        if answer.status not in (200, 201, 202, 204):
            raise OSError(f"the FHIR server answered {answer.status}")


def senders(settings: Settings, folder: Path) -> list[Sender]:
    """Those that the settings want. Raises OSError for certificates that cannot be read."""
    found: list[Sender] = []
    if settings.audit_syslog:
        syslog = Syslog(settings.audit_syslog, settings.audit_syslog_ca, settings.audit_syslog_cert, settings.aet)
        found.append(Sender(folder, "syslog", syslog))
    if settings.audit_fhir:
        found.append(Sender(folder, "fhir", Fhir(settings.audit_fhir, settings.audit_fhir_token, settings.aet)))
    return found
