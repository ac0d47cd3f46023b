"""Access tokens through the HTTP door: who is let in, and sixty ways not to be."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from gateway.policy import Oidc
from tests.gateway.dicomweb.service import Service, serve
from tests.parts.issuer import AUDIENCE, Issuer, rsa_key

STUDIES = "/studies"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


@pytest.fixture(scope="module")
def service(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("tokens"), oidc=oidc(issuer)) as started:
        yield started


def oidc(issuer: Issuer, **more: Any) -> Oidc:
    return Oidc(issuer=issuer.url, audience=(AUDIENCE,), **more)


def status(service: Service, token: str, path: str = STUDIES) -> int:
    return int(service.client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code)


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_of_the_provider_is_let_in_and_verified_once(service: Service, issuer: Issuer) -> None:
    """IHE-07, AUTHZ-01: signature, issuer, audience, end; keys are fetched once."""
    token = issuer.token()
    assert [status(service, token) for _ in range(3)] == [204, 204, 204]
    assert issuer.asked["/jwks"] == 1


def test_a_token_does_what_its_scopes_say_and_nothing_else(service: Service, issuer: Issuer) -> None:
    """S-69: 403 names the action that is not permitted."""
    token = issuer.token(scope="dicom.read")
    answer = service.client.get(STUDIES, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:gantry:problem:forbidden"
    assert "search" in answer.json()["detail"]
    assert status(service, token, f"{STUDIES}/1.2.3/metadata") == 404


Forger = Callable[[Issuer], str]
OTHER = rsa_key("first")
EC = ECKey.generate_key("P-256", {"kid": "first"})


def hmac_with_public_key(issuer: Issuer, form: str) -> str:
    """Key confusion: the public key as the secret of an HMAC."""
    public = issuer.key.as_pem(private=False) if form == "pem" else json.dumps(issuer.keys[0]).encode()
    signed = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(issuer.claims())}"
    return f"{signed}.{part(hmac.digest(public, signed.encode(), 'sha256'))}"


def with_header(**more: Any) -> Forger:
    return lambda issuer: issuer.token(header=more)


def with_claims(**more: Any) -> Forger:
    return lambda issuer: issuer.token(**more)


def unsigned(alg: object, signature: str = "") -> Forger:
    return lambda issuer: f"{part({'alg': alg, 'kid': 'first'})}.{part(issuer.claims())}.{signature}"


def mangled(change: Callable[[list[str]], list[str]]) -> Forger:
    return lambda issuer: ".".join(change(issuer.token().split(".")))


def embedded_key(issuer: Issuer) -> str:
    header = {"alg": "RS256", "kid": "mine", "jwk": OTHER.as_dict(private=False)}
    return jws.serialize_compact(header, json.dumps(issuer.claims()).encode(), OTHER)


NOW = int(time.time())
BAD: dict[str, Forger] = {
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "alg NONE": unsigned("NONE", "x"),
    "alg nOnE": unsigned("nOnE"),
    "alg empty": unsigned(""),
    "alg missing": lambda i: f"{part({'kid': 'first'})}.{part(i.claims())}.{part(b'x')}",
    "alg null": unsigned(None),
    "alg list": unsigned(["RS256"]),
    "alg unknown": unsigned("XS256", "AAAA"),
    "hmac with pem": lambda i: hmac_with_public_key(i, "pem"),
    "hmac with jwk": lambda i: hmac_with_public_key(i, "jwk"),
    "signed by another key": lambda i: i.token(OTHER),
    "another algorithm of the same key": lambda i: jwt.encode(
        {"alg": "RS512", "kid": "first"},
        i.claims(),
        RSAKey.import_key({**i.key.as_dict(private=True), "alg": "RS512"}),
        algorithms=["RS512"],
    ),
    "another kind of key": lambda i: jwt.encode({"alg": "ES256", "kid": "first"}, i.claims(), EC),
    "signature cut": mangled(lambda p: [p[0], p[1], p[2][:-8]]),
    "signature empty": mangled(lambda p: [p[0], p[1], ""]),
    "signature changed": mangled(lambda p: [p[0], p[1], p[2][:-4] + ("AAAA" if p[2][-4:] != "AAAA" else "BBBB")]),
    "claims changed": mangled(lambda p: [p[0], part({"sub": "admin"}), p[2]]),
    "header changed": mangled(lambda p: [part({"alg": "RS256", "kid": "first", "x": 1}), p[1], p[2]]),
    "two parts": mangled(lambda p: p[:2]),
    "four parts": mangled(lambda p: [*p, "x"]),
    "five parts, encrypted": lambda _: ".".join([part({"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF"}), *"abcd"]),
    "nothing but dots": lambda _: "..",
    "no base64": lambda _: "a!.b!.c!",
    "header no JSON": lambda _: f"{part(b'{')}.{part({})}.{part(b'x')}",
    "header a list": lambda _: f"{part([])}.{part({})}.{part(b'x')}",
    "header deep": lambda _: f"{part(b'[' * 3000)}.{part({})}.{part(b'x')}",
    "claims a list": lambda i: jws.serialize_compact({"alg": "RS256", "kid": "first"}, b"[]", i.key),
    "claims no JSON": lambda i: jws.serialize_compact({"alg": "RS256", "kid": "first"}, b"\xff{", i.key),
    "kid unknown": with_header(kid="second"),
    "kid a path": with_header(kid="../../../../dev/null"),
    "kid SQL": with_header(kid="first' OR '1'='1"),
    "kid a URL": with_header(kid="http://169.254.169.254/"),
    "kid a number": lambda i: f"{part({'alg': 'RS256', 'kid': 7})}.{part(i.claims())}.{part(b'x')}",
    "kid a list": lambda i: f"{part({'alg': 'RS256', 'kid': ['first']})}.{part(i.claims())}.{part(b'x')}",
    "kid long": with_header(kid="f" * 3000),
    "jku": lambda i: jws.serialize_compact(
        {"alg": "RS256", "kid": "mine", "jku": f"{i.url}/evil"}, json.dumps(i.claims()).encode(), OTHER
    ),
    "x5u": lambda i: jws.serialize_compact(
        {"alg": "RS256", "kid": "mine", "x5u": f"{i.url}/evil"}, json.dumps(i.claims()).encode(), OTHER
    ),
    "embedded key": embedded_key,
    "critical extension": lambda i: ".".join(
        [part({"alg": "RS256", "kid": "first", "crit": ["b64"], "b64": False}), *i.token().split(".")[1:]]
    ),
    "an id token by its type": with_header(typ="id+jwt"),
    "a logout token": with_header(typ="logout+jwt"),
    "issuer wrong": with_claims(iss="https://evil.example"),
    "issuer missing": with_claims(iss=None),
    "issuer with a slash": lambda i: i.token(iss=i.url + "/"),
    "issuer a list": lambda i: i.token(iss=[i.url]),
    "audience wrong": with_claims(aud="other"),
    "audience missing": with_claims(aud=None),
    "audience empty": with_claims(aud=[]),
    "audience nearly": with_claims(aud="gantry "),
    "audience a number": with_claims(aud=7),
    "expired": with_claims(exp=NOW - 3600),
    "expired in 1970": with_claims(exp=-1),
    "end missing": with_claims(exp=None),
    "end no number": with_claims(exp="tomorrow"),
    "end infinite": lambda i: i.token(exp=10**400),
    "not yet": with_claims(nbf=NOW + 3600),
    "issued in the future": with_claims(iat=NOW + 86_400),
    "subject missing": with_claims(sub=None),
    "subject a number": with_claims(sub=7),
    "subject empty": with_claims(sub=""),
    "a megabyte": with_claims(padding="x" * (1 << 15)),
    "an API key that is none": lambda _: "gantry_0000000000000000_" + "A" * 43,
    "an API key cut": lambda _: "gantry_",
    "an opaque token": lambda _: "2YotnFZFEjr1zCsicMWpAA",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_refused(service: Service, issuer: Issuer, name: str) -> None:
    """S-67: 401 with a challenge, and nothing is fetched that the token names."""
    answer = service.client.get(STUDIES, headers={"Authorization": f"Bearer {BAD[name](issuer)}"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="gantry", error="invalid_token"')
    assert answer.json()["detail"].isprintable() and issuer.url not in answer.text
    assert issuer.asked["/evil"] == 0


def test_invented_key_ids_do_not_make_the_gateway_ask_each_time(service: Service, issuer: Issuer) -> None:
    """S-68"""
    status(service, issuer.token())
    before = issuer.asked["/jwks"]
    for number in range(20):
        assert status(service, issuer.token(header={"kid": f"invented-{number}"})) == 401
    assert issuer.asked["/jwks"] <= before + 1


def test_keys_that_are_known_go_on_when_the_provider_is_down(tmp_path: Path) -> None:
    """S-68: and without any, nobody is let in, and nobody is told that the token is bad."""
    with Issuer() as issuer, serve(tmp_path, oidc=oidc(issuer)) as service:
        issuer.down = True
        assert status(service, issuer.token()) == 503
        issuer.down = False
    with Issuer() as issuer, serve(tmp_path / "again", oidc=oidc(issuer)) as service:
        assert status(service, issuer.token()) == 204
        issuer.down = True
        assert status(service, issuer.token(sub="another")) == 204


def test_a_new_key_is_found(tmp_path: Path) -> None:
    """S-68: keys rotate."""
    with Issuer() as issuer:
        second = rsa_key("second")
        issuer.keys = [*issuer.keys, second.as_dict(private=False)]
        with serve(tmp_path, oidc=oidc(issuer)) as service:
            assert status(service, issuer.token(second, {"kid": "second"})) == 204


def test_symmetric_and_foreign_keys_of_the_provider_are_not_used(tmp_path: Path) -> None:
    """S-67: nobody who can verify may be able to sign."""
    secret = OctKey.import_key({"kty": "oct", "k": part(b"0" * 32), "kid": "first", "alg": "HS256"})
    with Issuer() as issuer:
        issuer.keys = [secret.as_dict(private=True)]
        with serve(tmp_path, oidc=oidc(issuer)) as service:
            forged = jwt.encode({"alg": "HS256", "kid": "first"}, issuer.claims(), secret, algorithms=["HS256"])
            assert status(service, forged) in (401, 503)


def test_an_opaque_token_is_looked_up(tmp_path: Path) -> None:
    """RFC 7662: active, for us, and not over."""
    with Issuer() as issuer:
        good = {"active": True, "sub": "joe", "aud": AUDIENCE, "scope": "dicom.search", "exp": time.time() + 60}
        issuer.active = {
            "good": good,
            "for-others": {**good, "aud": "other"},
            "over": {**good, "exp": time.time() - 60},
            "of-another": {**good, "iss": "https://evil.example"},
            "nobody": {**good, "sub": None},
            "nearly": {**good, "active": "true"},
        }
        with serve(tmp_path, oidc=oidc(issuer, client_id="gantry", client_secret="s3cret")) as service:
            assert [status(service, "good") for _ in range(3)] == [204] * 3
            assert issuer.asked["/introspect"] == 1
            for token in (*list(issuer.active)[1:], "unknown"):
                assert status(service, token) == 401, token
