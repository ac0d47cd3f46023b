"""Signing in at the page with a real OpenID provider: code flow with PKCE, a session in a cookie, and its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway import ohif as installer
from tests.gateway.ui.conftest import stow
from tests.gateway.ui.phantom import ct_torso
from tests.gateway.ui.test_signin import TOKEN
from tests.gateway.ui.test_viewer_ohif import NO_TOUR, wait_for_contrast
from tests.parts import ohif, once
from tests.parts.datasets import ct_slice, part10_bytes, uid
from tests.parts.fix_browser import artifact
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import cannot_run, free_port
from tests.parts.provider import provider
from tests.parts.waiting import until

ROLES = """
[[roles]]
name = "radiology"
claims = { groups = ["radiology"] }
may = ["search", "read", "delete"]
studies = [{ StudyDescription = "Study signed*" }]
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with two studies, where people sign in with the provider."""
    folder = tmp_path_factory.mktemp("oidc")
    port = free_port()
    with provider(folder, f"http://127.0.0.1:{port}/signin/callback") as issuer:
        settings = f"""
[oidc]
issuer = "{issuer}"
audience = "urn:gantry"
client_id = "page"
client_secret = "page-secret"
scope = "openid profile dicom.search dicom.read dicom.delete"
{ROLES}"""
        config = folder / "gantry.toml"
        config.write_text(settings)
        arguments = ["--config", str(config), "--http", f"127.0.0.1:{port}"]
        with GatewayProcess(folder / "data", arguments=arguments, environment={"GANTRY_TOKEN": TOKEN}) as started:
            stow(started, [*ct_torso("signed", slices=3, size=64), *ct_torso("other", slices=1, size=64)], TOKEN)
            yield started


@pytest.fixture
def window(browser: Browser) -> Iterator[Page]:
    """A window with nothing remembered."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield page
    context.close()


def sign_in(page: Page, gateway: GatewayProcess, name: str, where: str = "") -> None:
    page.goto(f"{gateway.http_url}/{where}")
    box = page.get_by_role("dialog", name="Sign in to Gantry")
    expect(box).to_be_visible()
    page.screenshot(path=artifact("page-sign-in-provider.png"))
    box.get_by_role("link", name="Sign in with your organisation").click()
    at_the_provider(page, gateway, name)


def at_the_provider(page: Page, gateway: GatewayProcess, name: str) -> None:
    """Fill in its forms, until it sends the browser back."""
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("any")
    page.locator("button[type=submit]").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{gateway.http_url}/**")


def events(gateway: GatewayProcess, action: str) -> list[dict[str, object]]:
    """Events of signing in and out, the newest first."""
    url = f"{gateway.http_url}/audit?action={action}"
    for _ in range(100):
        answer = once.get(url, headers={"Authorization": f"Bearer {TOKEN}"})
        if found := [one for one in answer.json()["events"] if "/sign" in str(one["operation"])]:
            return found
        time.sleep(0.1)
    raise AssertionError(f"no event of {action}")


def test_people_sign_in_see_what_roles_give_them_and_sign_out(gateway: GatewayProcess, window: Page) -> None:
    """AUD-12, S-62: the session is in a cookie that scripts cannot see; what it permits is what its roles say."""
    asked: list[str] = []
    window.on("request", lambda request: asked.append(request.url))
    sign_in(window, gateway, "radiologist", f"#/studies/{uid('study', 'signed')}")
    expect(window.locator("#bar-title h1")).to_contain_text("Test, signed")  # where one was before
    assert window.evaluate("[document.cookie, sessionStorage.length, localStorage.length]") == ["", 0, 0]
    (cookie,) = [one for one in window.context.cookies() if one["name"].startswith("gantry")]
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (
        *("gantry-session", True),
        *("Lax", "/"),
    )
    (sent,) = [parse_qs(urlsplit(url).query) for url in asked if "code_challenge=" in url and "/auth?" in url]
    assert sent["code_challenge_method"] == ["S256"]
    assert all(len(sent[name][0]) == 43 for name in ("state", "nonce", "code_challenge"))
    window.goto(f"{gateway.http_url}/")
    expect(window.locator(".row")).to_have_count(1)
    until(lambda: "success" in {str(one["outcome"]) for one in events(gateway, "login")})

    # The cookie permits nothing to a page of another site, nor to a request that does not say whose it is.
    study = f"{gateway.dicomweb_url}/studies/{uid('study', 'signed')}"
    cookies = {"Cookie": f"gantry-session={cookie['value']}"}
    assert once.get(f"{study}/metadata", headers=cookies).status_code == 200
    other = f"{gateway.dicomweb_url}/studies/{uid('study', 'other')}"
    assert once.get(f"{other}/metadata", headers=cookies).status_code == 404
    for more in (
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": gateway.http_url},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert once.delete(study, headers={**cookies, **more}).status_code == 403, more
    body = part10_bytes(ct_slice("forged"))
    kind = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
    for more, reason in (({}, "cross_site"), ({"Origin": gateway.http_url}, "forbidden")):
        answer = once.post(f"{gateway.dicomweb_url}/studies", content=body, headers={**cookies, **kind, **more})
        assert (answer.status_code, answer.json()["type"]) == (403, f"urn:gantry:problem:{reason}")
    # It is no bearer token.
    as_token = {"Authorization": f"Bearer {cookie['value']}"}
    assert once.get(f"{study}/metadata", headers=as_token).status_code == 401

    window.get_by_role("button", name="Sign out").click()
    window.get_by_role("button", name="Yes, sign me out").click()  # the provider asks for itself
    expect(window.get_by_role("dialog", name="Sign in to Gantry")).to_be_visible()
    window.get_by_role("link", name="Sign in with your organisation").click()
    expect(window.locator("input[name=login]")).to_be_visible()  # it does not remember who it was
    assert once.get(f"{study}/metadata", headers=cookies).status_code == 401
    assert events(gateway, "logout")[0]["outcome"] == "success"


@pytest.mark.timeout(300)
def test_ohif_is_used_by_who_signed_in(gateway: GatewayProcess, window: Page) -> None:
    """IHE-07: OHIF sends a stranger to the page to sign in with the provider, who comes back to it; its list shows what
    the roles permit, and pictures appear, by the session's cookie alone.
    """
    try:
        installer.install(ohif.fetch(), gateway.data)
    except ohif.NotFetched as error:
        cannot_run(str(error))
    window.context.add_init_script(NO_TOUR)
    window.goto(f"{gateway.http_url}/viewer/")
    window.get_by_role("link", name="Sign in with your organisation").click()
    at_the_provider(window, gateway, "radiologist")
    window.wait_for_url(f"{gateway.http_url}/viewer/**")
    expect(window.get_by_text("ID-signed").first).to_be_visible(timeout=60_000)
    expect(window.get_by_text("ID-other")).to_have_count(0)
    window.screenshot(path=artifact("ohif-signed-in-list.png"))
    statuses: list[int] = []
    window.on("response", lambda answer: statuses.append(answer.status))
    window.goto(f"{gateway.http_url}/viewer/viewer?StudyInstanceUIDs={uid('study', 'signed')}")
    wait_for_contrast(window)
    window.screenshot(path=artifact("ohif-signed-in.png"))
    assert statuses and max(statuses) < 400
    assert window.evaluate("sessionStorage.getItem('gantry.token')") is None


def test_who_has_no_role_sees_nothing(gateway: GatewayProcess, window: Page) -> None:
    sign_in(window, gateway, "porter")
    expect(window.get_by_role("alert")).to_contain_text("do not permit to search")
    answer = window.request.get(f"{gateway.http_url}/session")
    assert answer.json() == {"name": "porter", "may": [], "link_days": 7.0, "signed_in": True}


def test_a_sign_in_that_was_begun_elsewhere_is_refused(gateway: GatewayProcess, window: Page) -> None:
    """State, verifier and nonce are those of this browser's own attempt."""
    begun = once.get(f"{gateway.http_url}/signin")
    assert begun.status_code == 303
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    back = f"{gateway.http_url}/signin/callback"
    flow = begun.headers["set-cookie"].partition(";")[0]
    assert flow.startswith("gantry-sign-in=")
    assert "HttpOnly" in begun.headers["set-cookie"]
    for query, cookie in (
        ({"code": "stolen", "state": state}, ""),  # no attempt in this browser
        ({"code": "stolen", "state": "another"}, flow),
        ({"code": "invented", "state": state}, flow),
        ({"error": "access_denied", "state": state}, flow),
        ({"code": "x" * 5000, "state": state}, flow),
        ({"code": "stolen", "state": state, "iss": "https://evil.example"}, flow),
        ({}, "gantry-sign-in=a.b.c"),
    ):
        answer = once.get(back, params=query, headers={"Cookie": cookie} if cookie else {})
        assert answer.status_code == 303
        assert answer.headers["location"] == f"{gateway.http_url}/#/sign-in-failed"
        assert "gantry-session" not in answer.headers["set-cookie"]
    until(lambda: "refused" in {str(one["outcome"]) for one in events(gateway, "login")})
    window.goto(f"{gateway.http_url}/#/sign-in-failed")
    expect(window.get_by_text("Signing in did not succeed.")).to_be_visible()


def test_secrets_of_sessions_stand_in_no_log(gateway: GatewayProcess) -> None:
    """S-71: neither the audit nor the index's credentials hold what lets somebody in."""
    text = "".join(path.read_text() for path in (gateway.data / "audit").iterdir())
    assert "login" in text
    assert "gantry_" not in text
    assert TOKEN not in text


def test_behind_tls_cookies_belong_to_this_host_alone(gateway: GatewayProcess, tmp_path: Path) -> None:
    """S-62: `__Host-`, Secure; the provider is told the public address."""
    arguments = ["--config", str(gateway.data.parent / "gantry.toml")]
    public = {"GANTRY_TOKEN": TOKEN, "GANTRY_PUBLIC_URL": "https://imaging.example"}
    with GatewayProcess(tmp_path / "data", arguments=arguments, environment=public) as behind:
        begun = once.get(f"{behind.http_url}/signin")
        cookie = begun.headers["set-cookie"]
        assert cookie.startswith("__Host-gantry-sign-in=")
        assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
        asked = parse_qs(urlsplit(begun.headers["location"]).query)
        assert asked["redirect_uri"] == ["https://imaging.example/signin/callback"]
