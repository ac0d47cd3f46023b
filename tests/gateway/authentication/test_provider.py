"""Programs with access tokens of a real OpenID provider, over HTTP and as User Identity over DIMSE."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from tests.parts import once
from tests.parts.datasets import ct_slice, part10_bytes
from tests.parts.gateway import GatewayProcess
from tests.parts.provider import access_token, provider

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
EVERYTHING = "dicom.search dicom.read dicom.store dicom.delete"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with provider(tmp_path_factory.mktemp("provider"), "http://127.0.0.1/unused") as url:
        yield url


@pytest.fixture(scope="module")
def gateway(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    settings = {"GANTRY_OIDC__ISSUER": issuer, "GANTRY_OIDC__AUDIENCE": '["urn:gantry"]'}
    with GatewayProcess(tmp_path_factory.mktemp("tokens") / "data", environment=settings) as started:
        yield started


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept": "application/dicom+json", "Content-Type": "application/dicom"}


def test_scopes_of_a_real_provider_are_what_a_program_may_do(issuer: str, gateway: GatewayProcess) -> None:
    """AUTHZ-01, IHE-07: a client finds the provider by the challenge (RFC 9728, RFC 8414);
    a modality stores and deletes, a viewer searches and reads, by what was granted.
    """
    ds = ct_slice("provided")
    studies = f"{gateway.dicomweb_url}/studies"
    challenge = once.get(studies).headers["www-authenticate"]
    metadata = f"{gateway.http_url}/.well-known/oauth-protected-resource"
    assert challenge == f'Bearer realm="gantry", resource_metadata="{metadata}"'
    told = once.get(metadata).json()
    assert (told["resource"], told["authorization_servers"]) == (gateway.http_url, [issuer])
    assert "dicom.read" in told["scopes_supported"]
    found = once.get(f"{gateway.http_url}/.well-known/oauth-authorization-server", follow_redirects=True).json()
    assert (found["issuer"], found["token_endpoint"]) == (issuer, f"{issuer}/token")
    modality, viewer = (
        bearer(access_token(issuer, "modality", EVERYTHING)),
        access_token(issuer, "viewer", "dicom.search"),
    )
    assert once.post(studies, content=part10_bytes(ds), headers=modality).status_code == 200
    assert once.get(studies, headers=bearer(viewer)).json()[0]["0020000D"]["Value"] == [ds.StudyInstanceUID]
    one = f"{studies}/{ds.StudyInstanceUID}"
    assert once.get(f"{one}/metadata", headers=bearer(viewer)).status_code == 403  # granted no more than asked for
    both = bearer(access_token(issuer, "viewer", "dicom.search dicom.read"))
    assert once.get(f"{one}/metadata", headers=both).status_code == 200
    assert once.post(studies, content=part10_bytes(ds), headers=both).status_code == 403
    assert once.delete(one, headers=both).status_code == 403
    head, body, signature = viewer.split(".")
    turned = f"{head}.{body}.{signature[:-4]}AAAA"
    assert once.get(studies, headers=bearer(turned)).status_code == 401
    assert once.delete(one, headers=modality).status_code == 204
    refused = once.post(
        f"{issuer}/token",
        data={"grant_type": "client_credentials", "scope": "dicom.delete"},
        auth=("viewer", "viewer-secret"),
    )
    assert refused.status_code == 400


def associated(gateway: GatewayProcess, token: str) -> Association:
    """An association with a token as User Identity of type 5 (PS3.7 D.3.3.7)."""
    ae = AE(ae_title="ANYONE")
    ae.requested_contexts = [
        build_context(STUDY_ROOT_FIND),
        build_context(CTImageStorage),
    ]
    identity = UserIdentityNegotiation()
    identity.user_identity_type = 5
    identity.primary_field = token.encode()
    return ae.associate(gateway.host, gateway.dimse_port, ae_title=gateway.aet, ext_neg=[identity])


def test_the_same_tokens_say_who_calls_over_dimse(issuer: str, gateway: GatewayProcess) -> None:
    """AUTHZ-01: a viewer searches and may not store; a forged token opens no association."""
    ds = dcmread(BytesIO(part10_bytes(ct_slice("by DIMSE"))))
    caller = associated(gateway, access_token(issuer, "modality", EVERYTHING))
    assert caller.is_established
    assert caller.send_c_store(ds).Status == 0
    caller.release()

    token = access_token(issuer, "viewer", "dicom.search dicom.read")
    caller = associated(gateway, token)
    assert caller.is_established
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", ds.StudyInstanceUID
    found = [status.Status for status, _ in caller.send_c_find(query, STUDY_ROOT_FIND)]
    assert found == [0xFF00, 0]
    assert caller.send_c_store(ds).Status == 0x0124
    caller.release()

    head, body, signature = token.split(".")
    assert associated(gateway, f"{head}.{body}.{signature[:-4]}AAAA").is_rejected
