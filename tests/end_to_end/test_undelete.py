"""Ransom-style: a valid user deletes what it may; it is held up, and an administrator has all of it back."""

from __future__ import annotations

import os
from typing import Any

from tests.end_to_end.doors import Doors
from tests.parts import once
from tests.parts.command import gantry
from tests.parts.datasets import ct_slice, part10_bytes, uid
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess
from tests.parts.waiting import until

TOKEN = "the-token-that-may-do-everything"
STUDIES = int(os.environ.get("GANTRY_DELETED_STUDIES", "6"))
"""Of ten instances each: 1000 of them are the ten thousand of S-91."""


def told(gateway: GatewayProcess, *arguments: str) -> tuple[int, str]:
    """A command on its data: the exit status, and what it said."""
    done = gantry(*arguments, "--data", gateway.data, seconds=900)
    return done.returncode, done.stdout + done.stderr


def test_who_deletes_all_is_held_up_and_all_of_it_comes_back(start_gateway: StartGateway) -> None:
    """S-91: 429 beyond `delete_rate`; `gantry undelete` brings every byte back, in the running gateway and without one;
    a rebuild of the index keeps it.
    """
    environment = {"GANTRY_TOKEN": TOKEN, "GANTRY_API_KEYS": "true", "GANTRY_DELETE_RATE": str(STUDIES - 1)}
    gateway = start_gateway(environment=environment)
    admin = {"Authorization": f"Bearer {TOKEN}"}
    made = once.post(f"{gateway.http_url}/tokens", json={"name": "x", "may": ["delete"]}, headers=admin).json()
    intruder = {"Authorization": f"Bearer {made['secret']}"}
    names = [uid("study", f"s{number}") for number in range(STUDIES)]
    with Doors(gateway) as doors:
        doors.web.headers.update(admin)
        for number in range(STUDIES):
            files = [part10_bytes(ct_slice(f"s{number}", one, rows=8, columns=8)) for one in range(1, 11)]
            assert doors.stow(*files).status == 200
        before = {name: doors.retrieve(name) for name in names}
        answers = [once.delete(f"{gateway.dicomweb_url}/studies/{name}", headers=intruder) for name in names]
        assert [answer.status_code for answer in answers[:-1]] == [204] * (STUDIES - 1)
        assert answers[-1].status_code == 429 and int(answers[-1].headers["retry-after"]) > 0
        assert doors.retrieve(names[-1]) == before[names[-1]]
        restore = f"{gateway.http_url}/deleted/restore"
        assert once.post(restore, json={"hours": 1}, headers=intruder).status_code == 403
        for body in ({}, {"study": "x"}, {"hours": -1}, {"hours": True, "before": "x"}):
            assert once.post(restore, json=body, headers=admin).status_code == 400, body
        found = told(gateway, "undelete", "--hours", "1", "--list")[1]
        assert f"{names[0]} 10 instances" in found
        assert f"{10 * (STUDIES - 1)} instances of {STUDIES - 1} studies can be brought back" in found
        # one while it runs, the others without it; one instance was stored again meanwhile, with other bytes
        other = ct_slice("s1", 1, rows=8, columns=8, StudyDescription="another")
        assert doors.stow(part10_bytes(other)).status == 200
        assert told(gateway, "undelete", "--study", names[0])[0] == 0
        assert doors.retrieve(names[0]) == before[names[0]]
        assert doors.get(f"/studies/{names[2]}/metadata").status_code == 410
        headers = {**admin, "Accept": "application/json"}

        def restored() -> list[dict[str, Any]]:
            events = once.get(f"{gateway.http_url}/audit?action=admin", headers=headers).json()["events"]
            return [one for one in events if (one["operation"], one["outcome"]) == ("POST /deleted/restore", "success")]

        (event,) = until(restored)  # what is audited is written behind the answer
        assert [one["study"] for one in event["studies"]] == [names[0]] and event["count"] == 10
    assert gateway.stop() == 0
    code, said = told(gateway, "undelete", "--hours", "1")
    assert code == 0 and f"{10 * (STUDIES - 2) - 1} instances are back" in said, said
    assert told(gateway, "undelete", "--hours", "1")[1].startswith("0 instances are back")
    code, said = told(gateway, "index", "verify", "--deep")
    assert code == 0 and said.startswith(f"{10 * STUDIES} instances, 0 damaged"), said
    assert told(gateway, "index", "rebuild")[0] == 0
    again = start_gateway(data=gateway.data, environment=environment)
    with Doors(again) as doors:
        doors.web.headers.update(admin)
        for name in names:
            assert (
                doors.retrieve(name) == before[name]
                if name != names[1]
                else doors.retrieve(name)[1:] == before[name][1:]
            )
