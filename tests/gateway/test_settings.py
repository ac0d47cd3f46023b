"""Settings: what wins, what is refused, and that all of them are documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.settings import BadSettings, Settings, check_exposure, is_loopback, load

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the settings of whoever runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GANTRY_{name.upper()}", raising=False)


def test_flags_win_over_environment_and_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gantry.toml"
    file.write_text('aet = "FILE"\nhttp = "127.0.0.1:1"\ndimse = "127.0.0.1:2"\nmax_associations = 7\n')
    monkeypatch.setenv("GANTRY_HTTP", "127.0.0.1:3")
    monkeypatch.setenv("GANTRY_DIMSE", "127.0.0.1:4")
    settings = load({"dimse": "127.0.0.1:5", "aet": None}, file)
    assert (settings.aet, settings.http, settings.dimse) == ("FILE", "127.0.0.1:3", "127.0.0.1:5")
    assert settings.max_associations == 7


def test_lists_are_separated_by_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_CORS_ORIGINS", "https://a.example, https://b.example")
    monkeypatch.setenv("GANTRY_CALLING_AETS", "CT1,MR1")
    settings = load()
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.calling_aets == ("CT1", "MR1")


def test_peers_come_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gantry.toml"
    file.write_text('[[peers]]\naet = "PACS"\nhost = "pacs.example"\nport = 104\n')
    (peer,) = load(config=file).peers
    assert (peer.aet, peer.host, peer.port) == ("PACS", "pacs.example", 104)


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        ({"http": "8080"}, "http"),
        ({"http": "127.0.0.1:99999"}, "http"),
        ({"dimse": ":11112"}, "dimse"),
        ({"aet": "A" * 17}, "aet"),
        ({"aet": "back\\slash"}, "aet"),
        ({"workers": 0}, "workers"),
        ({"token": "short"}, "token"),
        ({"duplicates": "sometimes"}, "duplicates"),
        ({"no_such_setting": 1}, "no_such_setting"),
    ],
)
def test_a_bad_value_names_its_key_and_not_its_value(flags: dict[str, object], key: str) -> None:
    """S-71"""
    with pytest.raises(BadSettings, match=key) as refused:
        load(flags)
    assert "short" not in str(refused.value).replace("String should", "")


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="config"):
        load(config=tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("aet = [")
    with pytest.raises(BadSettings, match="config"):
        load(config=broken)


def test_the_token_is_not_shown() -> None:
    """S-71"""
    assert "secret" not in repr(load({"token": "secret-secret-secret"}))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("127.9.9.9:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.1.2:1", False),
        ("gantry.example:1", False),
    ],
)
def test_loopback_is_told_from_everything_else(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_listening_beyond_loopback_wants_authentication() -> None:
    """S-70"""
    check_exposure(load())
    with pytest.raises(BadSettings, match="GANTRY_TOKEN"):
        check_exposure(load({"http": "0.0.0.0:8080"}))
    with pytest.raises(BadSettings, match="GANTRY_CALLING_AETS"):
        check_exposure(load({"dimse": "0.0.0.0:104"}))
    open_ = {"http": "0.0.0.0:8080", "dimse": "0.0.0.0:104"}
    check_exposure(load({**open_, "insecure": True}))
    check_exposure(load({**open_, "token": "x" * 16, "calling_aets": "CT1"}))


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|([^\n]*)\|$", DOCS.read_text(), re.MULTILINE))
    assert rows.keys() == Settings.model_fields.keys()
    in_file = {"peers", "forward", "webhooks", "coerce", "roles"}
    for name, field in Settings.model_fields.items():
        assert field.description and field.description in rows[name], name
        assert f"GANTRY_{name.upper()}" in rows[name] or name in in_file, name
