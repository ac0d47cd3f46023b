"""The listener with TLS: profile, client certificates, silent clients, exchange of the certificate."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from gateway.dimse.limits import Limits
from gateway.settings import BadSettings, Peer, Settings, check_exposure
from gateway.tls import client_context, verify
from tests.gateway.dimse.conftest import Door, OpenDoor, doors
from tests.gateway.dimse.wire import (
    ABORT,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    IMPLICIT,
    P_DATA,
    VERIFICATION,
    Wire,
    associate_request,
    echo_command,
    pdu,
    pdv,
)
from tests.parts.certificates import Authority, Certificate
from tests.parts.datasets import ct_slice, write_all
from tests.parts.fix_gateway import StartGateway
from tests.parts.machine import need

ECHO = (1, VERIFICATION, (IMPLICIT,))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that the gateway trusts."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Certificate:
    """The gateway's."""
    return authority.issue("gateway")


@pytest.fixture(scope="module")
def modality(authority: Authority) -> Certificate:
    """Of a peer."""
    return authority.issue("modality")


@pytest.fixture(scope="module")
def other(authority: Authority) -> Certificate:
    """Of another peer."""
    return authority.issue("other")


def tls_settings(authority: Authority, ours: Certificate, **more: object) -> dict[str, object]:
    """Settings of a listener with TLS that wants certificates."""
    files = {"dimse_tls_cert": ours.certificate, "dimse_tls_key": ours.key, "dimse_tls_ca": authority.certificate}
    return {"dimse_tls": "127.0.0.1:0", **files, **more}


@pytest.fixture(scope="module")
def door(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, ours: Certificate, modality: Certificate
) -> Iterator[Door]:
    """A server with TLS that knows the certificates of two peers, one by name and one by fingerprint."""
    peers = (
        Peer(aet="MODALITY", host="127.0.0.1", port=104, certificate="modality"),
        Peer(aet="PRINTED", host="127.0.0.1", port=104, certificate=colons(modality.fingerprint)),
    )
    with doors(tmp_path_factory.mktemp("doors")) as start:
        yield start(limits=Limits(handshake_seconds=1.0), peers=peers, **tls_settings(authority, ours))


def colons(fingerprint: str) -> str:
    """As `openssl x509 -fingerprint` prints it."""
    return ":".join(fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()


def secure(door: Door) -> tuple[str, int]:
    """Address of the listener with TLS."""
    address = door.server.tls_address
    assert address is not None
    return address


def context(authority: Authority, shown: Certificate | None) -> ssl.SSLContext:
    """A client that trusts `authority` and shows a certificate."""
    made = ssl.create_default_context(cafile=authority.certificate)
    if shown is not None:
        made.load_cert_chain(shown.certificate, shown.key)
    return made


def answer(door: Door, tls: ssl.SSLContext | None, calling: bytes) -> tuple[int, ...]:
    """Type of the answer to an association request, and for a rejection its result, source and reason."""
    with Wire(secure(door) if tls else door.address, tls=tls) as wire:
        wire.send(ASSOCIATE_RQ, associate_request([ECHO], calling=calling))
        kind, body = wire.receive()
        return (kind, *body[1:4]) if kind == ASSOCIATE_RJ else (kind,)


def dcmtk(program: str, door: Door, authority: Authority, shown: Certificate, *more: object) -> int:
    """Exit status of one of dcmtk's programs over TLS, with the profile that it uses unless told otherwise."""
    host, port = secure(door)
    tls = ["+tls", shown.key, shown.certificate, "+cf", authority.certificate]
    command = [need(program), *tls, "-aec", "GANTRY", host, str(port), *more]
    return subprocess.run([str(part) for part in command], capture_output=True, timeout=30).returncode


def test_dcmtk_verifies_and_stores(door: Door, authority: Authority, modality: Certificate, tmp_path: Path) -> None:
    """TLS-01, TLS-02: with certificates on both sides."""
    slices = [ct_slice(number=number) for number in range(1, 4)]
    write_all(tmp_path, slices)
    assert dcmtk("echoscu", door, authority, modality) == 0
    assert dcmtk("storescu", door, authority, modality, "+sd", tmp_path) == 0
    assert all(door.archive.find(ds.SOPInstanceUID) is not None for ds in slices)


S_CLIENT = [
    (("-tls1_2",), True),
    (("-tls1_3",), True),
    (("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"), True),
    (("-tls1", "-cipher", "DEFAULT@SECLEVEL=0"), False),
    (("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"), False),
    (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"), False),
    (("-tls1_2", "-cipher", "AES256-GCM-SHA384"), False),
    (("-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384"), False),
    (("-tls1_2", "-cipher", "NULL@SECLEVEL=0"), False),
]


@pytest.mark.parametrize(("arguments", "accepted"), S_CLIENT, ids=[" ".join(one) for one, _ in S_CLIENT])
def test_what_is_spoken(
    door: Door, authority: Authority, modality: Certificate, arguments: tuple[str, ...], accepted: bool
) -> None:
    """S-88, TLS-01: TLS 1.2 and 1.3, suites with forward secrecy and authenticated encryption, nothing older."""
    host, port = secure(door)
    files = ["-cert", modality.certificate, "-key", modality.key, "-CAfile", authority.certificate]
    client = [need("openssl"), "s_client", "-connect", f"{host}:{port}", "-verify_return_error", "-brief"]
    done = subprocess.run(
        [str(part) for part in (*client, *files, *arguments)], input=b"", capture_output=True, timeout=20
    )
    assert (b"CONNECTION ESTABLISHED" in done.stderr) is accepted


def refused(address: tuple[str, int], tls: ssl.SSLContext) -> bool:
    """Is a client with TLS turned away, at the latest when it wants an answer?"""
    try:
        with Wire(address, tls=tls) as wire:
            wire.send(ASSOCIATE_RQ, associate_request([ECHO]))
            return wire.receive() == (0, b"")
    except (ssl.SSLError, ConnectionError):
        return True


def test_a_certificate_of_somebody_we_trust_is_required(
    door: Door, authority: Authority, modality: Certificate, tmp_path: Path
) -> None:
    """TLS-02: none and one of a stranger are refused in the handshake; a lawful one is not."""
    stranger = Authority(tmp_path, "stranger").issue("modality")
    assert refused(secure(door), context(authority, None))
    assert refused(secure(door), context(authority, stranger))
    assert not refused(secure(door), context(authority, modality))


def test_certificates_may_be_left_to_the_peers(open_door: OpenDoor, authority: Authority, ours: Certificate) -> None:
    """TLS-02: `optional` takes peers without one, and still refuses a stranger's."""
    door = open_door(**tls_settings(authority, ours, dimse_tls_clients="optional"))
    assert answer(door, context(authority, None), b"WIRE") == (2,)


def test_a_title_is_its_owners(door: Door, authority: Authority, modality: Certificate, other: Certificate) -> None:
    """TLS-02, S-08: RJ 1,1,3 for whoever calls with it and has not its certificate, with TLS and without."""
    known, unknown = context(authority, modality), context(authority, other)
    assert answer(door, known, b"MODALITY") == answer(door, known, b"PRINTED") == (2,)
    assert answer(door, unknown, b"MODALITY") == answer(door, unknown, b"PRINTED") == (ASSOCIATE_RJ, 1, 1, 3)
    assert answer(door, None, b"MODALITY") == (ASSOCIATE_RJ, 1, 1, 3)
    assert answer(door, unknown, b"ELSE") == (2,)


def test_silent_and_strange_clients_hold_nobody_up(door: Door, authority: Authority, modality: Certificate) -> None:
    """S-03: peers that begin no handshake, or speak something else, cost nobody a second, and are gone at the
    deadline."""
    strange = [b"", b"\x16", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", pdu(ASSOCIATE_RQ, associate_request([ECHO]))]
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(socket.create_connection(secure(door), 10)) for _ in range(12)]
        for number, peer in enumerate(peers):
            peer.sendall(strange[number % len(strange)])
        started = time.monotonic()
        with Wire(secure(door), tls=context(authority, modality)) as wire:
            wire.associate()
            assert wire.echo() == 0
            assert time.monotonic() - started < 0.9
        for peer in peers:
            with contextlib.suppress(ConnectionError):
                while peer.recv(4096):
                    pass
        assert time.monotonic() - started < 4


def test_tls_on_the_plain_port_is_cut(door: Door, authority: Authority, modality: Certificate) -> None:
    """TLS-02: the ports are never shared."""
    assert refused(door.address, context(authority, modality))
    assert door.is_alive()


def test_two_requests_in_one_record_are_both_answered(door: Door, authority: Authority, modality: Certificate) -> None:
    """What TLS has decrypted already is no longer seen by the operating system."""
    with Wire(secure(door), tls=context(authority, modality)) as wire:
        wire.associate()
        wire.socket.sendall(pdu(P_DATA, pdv(1, 3, echo_command(1))) + pdu(P_DATA, pdv(1, 3, echo_command(2))))
        assert [wire.status(), wire.status()] == [0, 0]
        wire.release()


def shown_by(door: Door, authority: Authority, modality: Certificate) -> bytes | None:
    """The certificate that the listener shows now."""
    with Wire(secure(door), tls=context(authority, modality)) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        return wire.socket.getpeercert(binary_form=True)


def copy(source: Certificate, target: Certificate) -> None:
    """Put another certificate into the place of one, as a tool that renews them does."""
    for one, place in ((source.certificate, target.certificate), (source.key, target.key)):
        shutil.copyfile(one, place.with_suffix(".new"))
        place.with_suffix(".new").replace(place)


def expiry() -> float:
    """When the certificate in use expires, as the metric tells it."""
    return REGISTRY.get_sample_value("gantry_certificate_expiry_seconds", {"door": "dimse"}) or 0.0


def test_the_certificate_is_exchanged_while_associations_live_on(
    open_door: OpenDoor, authority: Authority, ours: Certificate, modality: Certificate, tmp_path: Path
) -> None:
    """F-70, F-71: new files are seen without being told; files that are no good change nothing; the metric follows."""
    used = Certificate(tmp_path / "used.pem", tmp_path / "used.key")
    copy(ours, used)
    door = open_door(**tls_settings(authority, used))
    assert 29 * 86400 < expiry() - time.time() < 31 * 86400
    with Wire(secure(door), tls=context(authority, modality)) as wire:
        wire.associate()
        first = shown_by(door, authority, modality)
        renewed = authority.issue("renewed", days=90)
        copy(renewed, used)
        end = time.monotonic() + 5
        while shown_by(door, authority, modality) == first and time.monotonic() < end:
            time.sleep(0.05)
        second = shown_by(door, authority, modality)
        assert second not in (first, None)
        assert 89 * 86400 < expiry() - time.time() < 91 * 86400
        used.certificate.write_text("no certificate")
        time.sleep(0.5)
        assert shown_by(door, authority, modality) == second
        assert wire.echo() == 0
        wire.release()


def test_sighup_loads_the_certificate(
    start_gateway: StartGateway, authority: Authority, ours: Certificate, modality: Certificate, tmp_path: Path
) -> None:
    """F-70: by the signal; the gateway goes on, and so does an association."""
    environment = {f"GANTRY_{key.upper()}": str(value) for key, value in tls_settings(authority, ours).items()}
    process = start_gateway(environment=environment)
    address = (process.host, process.dimse_tls_port)
    with Wire(address, tls=context(authority, modality)) as wire:
        wire.associate()
        process.signal(signal.SIGHUP)
        end = time.monotonic() + 10
        while "certificate_loaded" not in process.log() and time.monotonic() < end:
            time.sleep(0.05)
        assert "certificate_loaded" in process.log()
        assert wire.echo() == 0
        wire.release()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"dimse_tls_cert": None}, "dimse_tls_cert"),
        ({"dimse_tls_cert": Path("/nowhere.pem")}, "dimse_tls_cert"),
        ({"dimse_tls_ca": Path("/nowhere.pem")}, "dimse_tls_ca"),
    ],
    ids=["no certificate", "no certificate file", "no authorities"],
)
def test_what_cannot_be_used_stops_the_start(
    open_door: OpenDoor, authority: Authority, ours: Certificate, change: dict[str, object], key: str
) -> None:
    """S-88: the message names the setting."""
    with pytest.raises((BadSettings, ValueError), match=key):
        open_door(**tls_settings(authority, ours) | change)


def test_a_key_of_another_certificate_stops_the_start(
    open_door: OpenDoor, authority: Authority, ours: Certificate, other: Certificate
) -> None:
    """S-88."""
    with pytest.raises(BadSettings, match="dimse_tls_cert"):
        open_door(**tls_settings(authority, ours, dimse_tls_key=other.key))


def test_tls_alone_is_no_authentication(authority: Authority, ours: Certificate) -> None:
    """S-70, S-88: beyond this machine, certificates have to be asked for, or AE titles to be listed."""
    check_exposure(Settings(**tls_settings(authority, ours, dimse_tls="0.0.0.0:2762")))  # type: ignore[arg-type]
    with pytest.raises(BadSettings, match="dimse_tls_ca"):
        settings = tls_settings(authority, ours, dimse_tls="0.0.0.0:2762", dimse_tls_ca=None)
        check_exposure(Settings(**settings))  # type: ignore[arg-type]


def test_we_look_at_the_certificates_of_those_we_call(
    door: Door, authority: Authority, ours: Certificate, modality: Certificate
) -> None:
    """TLS-02, as the requestor: by host name, or by what the peer's setting says."""
    settings = Settings(**tls_settings(authority, modality))  # type: ignore[arg-type]
    host, port = secure(door)
    for certificate, right in ((None, True), ("gateway", True), (ours.fingerprint, True), ("somebody else", False)):
        peer = Peer(aet="GANTRY", host=host, port=port, tls=True, certificate=certificate)
        with (
            socket.create_connection((host, port), 10) as plain,
            client_context(settings, peer).wrap_socket(plain, server_hostname=peer.host) as connected,
            contextlib.nullcontext() if right else pytest.raises(ssl.SSLCertVerificationError),
        ):
            verify(connected, peer)
    elsewhere = Peer(aet="GANTRY", host="elsewhere.example", port=port, tls=True)
    with socket.create_connection((host, port), 10) as plain, pytest.raises(ssl.SSLCertVerificationError):
        client_context(settings, elsewhere).wrap_socket(plain, server_hostname=elsewhere.host)


def test_an_abort_is_encrypted_as_well(open_door: OpenDoor, authority: Authority, ours: Certificate) -> None:
    """A stop hangs up from another thread; the peer still gets its A-ABORT, in TLS."""
    door = open_door(**tls_settings(authority, ours))
    with Wire(secure(door), tls=context(authority, ours)) as wire:
        wire.associate()
        door.server.stop(0)
        assert wire.receive()[0] == ABORT
