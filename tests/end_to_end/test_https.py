"""HTTP with TLS: the profile, certificates that are exchanged while it runs, clients known by theirs, and commands."""

from __future__ import annotations

import shutil
import socket
import ssl
import time
from pathlib import Path

import httpx
import pytest

from tests.parts import once
from tests.parts.certificates import Authority, Certificate
from tests.parts.command import gantry
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess

TOKEN = "the-token-that-may-do-everything"
ROLES = """
[[roles]]
name = "the viewer"
certificates = ["viewer.example"]
may = ["search"]
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def trusting(authority: Authority, own: Certificate | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def shown(gateway: GatewayProcess, context: ssl.SSLContext) -> bytes:
    """The certificate that a new connection is shown."""
    host, port = address(gateway)
    with socket.create_connection((host, port), 30) as plain, context.wrap_socket(plain, server_hostname=host) as tls:
        return tls.getpeercert(binary_form=True) or b""


def address(gateway: GatewayProcess) -> tuple[str, int]:
    host, _, port = gateway.http_url.removeprefix("https://").rpartition(":")
    return host, int(port)


def test_the_web_is_spoken_with_tls_and_a_new_certificate_is_taken_into_use(
    start_gateway: StartGateway, authority: Authority, tmp_path: Path
) -> None:
    """S-88, F-70, F-71: TLS 1.2 at least; no plain HTTP, which browsers are told (HSTS); a broken file changes nothing;
    commands find their way.
    """
    first, second = authority.issue("first"), authority.issue("second")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(first.certificate, certificate)
    shutil.copy(first.key, key)
    environment = {"GANTRY_TOKEN": TOKEN, "GANTRY_HTTP_TLS_CERT": str(certificate), "GANTRY_HTTP_TLS_KEY": str(key)}
    gateway = start_gateway(environment=environment)
    assert gateway.http_url.startswith("https://")
    context = trusting(authority)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with once.client(base_url=gateway.http_url, verify=context, headers=headers) as client:
        answer = client.get("/dicomweb/studies")
        assert (answer.status_code, answer.headers["strict-transport-security"]) == (204, "max-age=15552000")
        assert "strict-transport-security" in client.get("/nowhere").headers
        before = shown(gateway, context)
        assert before == ssl.PEM_cert_to_DER_cert(first.certificate.read_text())
        certificate.write_text("nonsense")
        time.sleep(2.5)
        assert shown(gateway, context) == before
        key.write_text(second.key.read_text())
        certificate.write_text(second.certificate.read_text())
        deadline = time.monotonic() + 30
        while shown(gateway, context) == before and time.monotonic() < deadline:
            time.sleep(0.2)
        assert shown(gateway, context) == ssl.PEM_cert_to_DER_cert(second.certificate.read_text())
        assert client.get("/dicomweb/studies").status_code == 204  # the connection that was open
    old = trusting(authority)
    with pytest.deprecated_call():
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        shown(gateway, old)
    with socket.create_connection(address(gateway), 30) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(100).startswith(b"HTTP/1.1 200")
    done = gantry("queue", "list", "--data", gateway.data)
    assert done.returncode == 0, done.stderr


def test_a_client_is_known_by_its_certificate(
    start_gateway: StartGateway, authority: Authority, tmp_path: Path
) -> None:
    """S-88, S-69: it may what roles say of it, and nothing without one; strangers' certificates are refused."""
    ours, viewer, other = (authority.issue(name) for name in ("gantry", "viewer", "other"))
    (tmp_path / "elsewhere").mkdir()
    stranger = Authority(tmp_path / "elsewhere", "stranger").issue("viewer")
    roles = tmp_path / "gantry.toml"
    roles.write_text(ROLES)
    environment = {
        "GANTRY_HTTP_TLS_CERT": str(ours.certificate),
        "GANTRY_HTTP_TLS_KEY": str(ours.key),
        "GANTRY_HTTP_TLS_CA": str(authority.certificate),
    }
    gateway = start_gateway(environment=environment, arguments=["--config", str(roles)])

    def status(own: Certificate | None, path: str = "/dicomweb/studies") -> int:
        with once.client(verify=trusting(authority, own)) as client:
            return client.get(gateway.http_url + path).status_code

    assert status(viewer) == 204
    assert status(viewer, "/dicomweb/studies/1.2.3/metadata") == 403
    assert status(other) == 403
    assert status(None) == 401
    assert status(None, "/healthz") == 200
    with pytest.raises(httpx.HTTPError):
        status(stranger)
