"""Two gateways of which one sends on to the other; the queue from the command line and over HTTP; crashes."""

from __future__ import annotations

from pathlib import Path

from tests.parts import once
from tests.parts.command import gantry
from tests.parts.datasets import ct_slice, mr_slice, series_of, uid, write_all
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import free_port
from tests.parts.waiting import until

TOKEN = "a token of the tests, long enough"


def instances(gateway: GatewayProcess, token: str = "") -> set[str]:
    """SOP Instance UIDs of all that it has."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = once.get(f"{gateway.dicomweb_url}/instances", headers=headers)
    return {one["00080018"]["Value"][0] for one in answer.json()} if answer.status_code == 200 else set()


def config(folder: Path, text: str) -> list[str]:
    """Arguments that name a settings file."""
    file = folder / "gantry.toml"
    file.write_text(text)
    return ["--config", str(file)]


def test_what_comes_is_sent_on_by_both_doors(start_gateway: StartGateway, tmp_path: Path) -> None:
    """By STOW-RS with a token, and by C-STORE; and again by hand, which changes nothing."""
    behind = start_gateway(aet="BEHIND", environment={"GANTRY_TOKEN": TOKEN})
    arguments = config(
        tmp_path,
        f"""
        [[peers]]
        aet = "BEHIND"
        host = "127.0.0.1"
        port = {behind.dimse_port}
        [[forward]]
        to = "{behind.dicomweb_url}"
        modality = ["CT"]
        token = "{TOKEN}"
        [[forward]]
        to = "BEHIND"
        modality = ["MR"]
        """,
    )
    front = start_gateway(arguments=arguments)
    files = tmp_path / "files"
    files.mkdir()
    datasets = [*series_of(5, "one"), mr_slice("two")]
    write_all(files, datasets[:3])
    (files / "implicit").mkdir()
    write_all(files / "implicit", datasets[3:], "1.2.840.10008.1.2")
    assert gantry("import", files, "--data", front.data).returncode == 0
    expected = {one.SOPInstanceUID for one in datasets}
    until(lambda: instances(behind, TOKEN) == expected)
    queue = f"{front.http_url}/queue"
    until(lambda: once.get(queue).json() == {"counts": [], "tasks": []})

    told = gantry("send", uid("study", "two"), "--to", "BEHIND", "--data", front.data, *arguments)
    assert (told.returncode, told.stdout) == (0, "1 instances queued for BEHIND; see `gantry queue list`\n")
    until(lambda: not once.get(queue).json()["tasks"])
    assert instances(behind, TOKEN) == expected
    metrics = once.get(f"{front.http_url}/metrics").text
    assert 'gantry_tasks_done_total{kind="forward",outcome="done"} 7.0' in metrics

    refused = gantry("send", uid("study", "one"), "--to", "ELSEWHERE", "--data", front.data, *arguments)
    assert refused.returncode == 1 and "no such peer" in refused.stderr
    body = {"to": "BEHIND", "study": "1.2.3"}
    assert once.post(f"{queue}/send", json=body).status_code == 404


def test_the_queue_outlives_a_crash(start_gateway: StartGateway, tmp_path: Path) -> None:
    """F-62: nothing is lost by SIGKILL; `gantry queue` shows, retries and drops."""
    port = free_port()
    arguments = config(
        tmp_path, f'[[peers]]\naet = "BEHIND"\nhost = "127.0.0.1"\nport = {port}\n[[forward]]\nto = "BEHIND"\n'
    )
    front = start_gateway(arguments=arguments)
    files = tmp_path / "files"
    files.mkdir()
    datasets = series_of(4, "one")
    write_all(files, datasets)
    assert gantry("import", files, "--data", front.data).returncode == 0
    until(lambda: [one["error"] for one in once.get(f"{front.http_url}/queue").json()["tasks"]] == ["unreachable"] * 4)
    front.kill()
    listed = gantry("queue", "list", "--data", front.data, *arguments).stdout
    assert listed.count("unreachable") == listed.count("BEHIND") == 4
    first = listed.splitlines()[-1].split()[0]
    assert gantry("queue", "retry", first, "--data", front.data).stdout == "1 tasks are due again\n"

    behind = start_gateway(aet="BEHIND", arguments=["--dimse", f"127.0.0.1:{port}"])
    again = start_gateway(data=front.data, arguments=arguments)
    until(lambda: instances(behind) == {one.SOPInstanceUID for one in datasets})
    until(lambda: not once.get(f"{again.http_url}/queue").json()["tasks"])
    assert gantry("queue", "list", "--data", front.data).stdout == "nothing waits\n"


def test_without_a_running_gateway_a_study_is_sent_at_once(start_gateway: StartGateway, tmp_path: Path) -> None:
    """What fails is kept, and the exit status says so."""
    behind = start_gateway(aet="BEHIND")
    arguments = config(
        tmp_path,
        f'[[peers]]\naet = "BEHIND"\nhost = "127.0.0.1"\nport = {behind.dimse_port}\n'
        f'[[peers]]\naet = "AWAY"\nhost = "127.0.0.1"\nport = {free_port()}\n',
    )
    data, files = tmp_path / "data", tmp_path / "files"
    files.mkdir()
    write_all(files, [*series_of(3, "one"), ct_slice("one", 2)])
    assert gantry("import", files, "--data", data).returncode == 0
    series = ("--series", uid("series", "one", 2))
    told = gantry("send", uid("study", "one"), "--to", "BEHIND", "--data", data, *series, *arguments)
    assert (told.returncode, told.stdout) == (0, "1 instances sent, 0 failed\n")
    assert instances(behind) == {ct_slice("one", 2).SOPInstanceUID}
    told = gantry("send", uid("study", "one"), "--to", "AWAY", "--data", data, *arguments)
    assert (told.returncode, told.stdout) == (1, "0 instances sent, 4 failed\n")
    ids = [row.split()[0] for row in gantry("queue", "list", "--data", data).stdout.splitlines() if "AWAY" in row]
    assert gantry("queue", "drop", *ids, "--data", data).stdout == "4 tasks dropped\n"


def test_the_queue_is_not_open_to_pages_of_others(start_gateway: StartGateway) -> None:
    """A form of another origin cannot make the gateway send; bad bodies are told."""
    gateway = start_gateway(environment={"GANTRY_TOKEN": TOKEN})
    url = f"{gateway.http_url}/queue"
    assert once.get(url).status_code == 401
    with once.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        assert client.post(f"{url}/drop", data={"ids": "1"}).status_code == 415
        assert client.post(f"{url}/drop", content=b"[", headers={"Content-Type": "application/json"}).status_code == 400
        assert client.post(f"{url}/drop", json={"ids": ["1"]}).status_code == 400
        assert client.post(f"{url}/retry", json={"ids": [2**63]}).status_code == 400
        assert client.post(f"{url}/retry", json={}).json() == {"count": 0}
        assert client.post(f"{url}/send", json={"to": "X", "study": "no uid"}).status_code == 400
        assert client.post(f"{url}/send", json={"to": "X", "study": "1.2"}).status_code == 400
        assert client.post(f"{url}/drop", json={"ids": [1] * 40_000}).status_code == 413
        assert client.get(f"{url}?after=x").status_code == 400
