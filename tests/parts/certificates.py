"""A certificate authority for the tests, by the `openssl` program."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.parts.machine import need


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()


class Authority:
    """Signs certificates; its own is `certificate`. All files lie in `folder`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self._own = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl(
            *("req", "-x509", *_NEW_KEY, self._own.key, "-out", self._own.certificate),
            *("-subj", f"/CN={name}", "-days", "3650"),
        )

    @property
    def certificate(self) -> Path:
        """The authority's own."""
        return self._own.certificate

    def issue(self, name: str, *, days: int = 30) -> Certificate:
        """A certificate with the common name `name`, for 127.0.0.1 and localhost."""
        issued = Certificate(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        request = self.folder / f"{name}.csr"
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:{name}.example\n")
        _openssl("req", "-new", *_NEW_KEY, issued.key, "-out", request, "-subj", f"/CN={name}")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self._own.certificate, "-CAkey", self._own.key),
            *("-CAcreateserial", "-out", issued.certificate, "-days", str(days), "-extfile", extensions),
        )
        return issued


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run([need("openssl"), *arguments], check=True, capture_output=True, timeout=30)
