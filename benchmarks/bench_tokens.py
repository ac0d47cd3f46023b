"""What credentials cost: requests with access tokens of an OpenID provider beside requests without any.

Two gateways with the same study, one open and one behind a provider, are asked for the same metadata in turns, 500
times a second in all; what counts is the computing time of each gateway for each request, from /proc.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.parts.datasets import ct_slice, part10_bytes
from tests.parts.gateway import GatewayProcess
from tests.parts.issuer import Issuer
from tests.parts.machine import family

RATE = 500
SECONDS = {"small": 4, "full": 20}
PEOPLE = 50
TURN = 50
"""Requests to one gateway before it is the other's turn."""


def computing(gateway: GatewayProcess) -> float:
    """Seconds of computing time that the gateway has used."""
    ticks = 0
    for pid in family(gateway.pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SECONDS, default="full")
    size = parser.parse_known_args()[0].size
    body, ds = part10_bytes(ct_slice("tokens")), ct_slice("tokens")
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        issuer = running.enter_context(Issuer())
        closed_by = {"GANTRY_OIDC__ISSUER": issuer.url, "GANTRY_OIDC__AUDIENCE": '["gantry"]'}
        both = [
            running.enter_context(GatewayProcess(folder / name, environment=environment))
            for name, environment in (("open", {}), ("closed", closed_by))
        ]
        scope = "dicom.read dicom.store"
        tokens = [issuer.token(sub=f"person {number}", scope=scope) for number in range(PEOPLE)]
        headers = [{}, *({"Authorization": f"Bearer {token}"} for token in tokens)]
        clients = [running.enter_context(httpx.Client(base_url=one.dicomweb_url)) for one in both]
        kind = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
        for client, who in zip(clients, (headers[0], headers[1]), strict=True):
            client.post("/studies", content=body, headers={**kind, **who}).raise_for_status()
        path = f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}/metadata"
        used: list[list[float]] = [[], []]
        turns = RATE * SECONDS[size] // TURN // 2
        begun = time.monotonic()
        for turn in range(turns + 2):
            for which, client in enumerate(clients):
                before = computing(both[which])
                for number in range(TURN):
                    who = headers[1 + (turn * TURN + number) % PEOPLE] if which else headers[0]
                    client.get(path, headers=who).raise_for_status()
                if turn >= 2:  # the first ones warm both up
                    used[which].append((computing(both[which]) - before) / TURN)
            time.sleep(max(0.0, begun + (turn + 1) * 2 * TURN / RATE - time.monotonic()))
        rate = (turns + 2) * 2 * TURN / (time.monotonic() - begun)
    without, with_token = (statistics.mean(one) * 1e3 for one in used)
    print(f"requests a second: {rate:.0f}; computing time for each: open {without:.3f} ms, token {with_token:.3f} ms")
    print(f"a token costs {100 * (with_token / without - 1):+.1f} %")


if __name__ == "__main__":
    main()
