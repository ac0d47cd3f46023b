"""PostgreSQL's standby takes over without the last transactions: what was acknowledged comes back from the objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import LiteralString

import psycopg
import pytest

from tests.faults.conftest import Yard
from tests.faults.test_backup_drill import send
from tests.faults.test_overload import until
from tests.parts import once, postgres
from tests.parts.ledger import Ledger, alive, make_piece, quiet, verify
from tests.parts.postgres import Postgres
from tests.parts.torture import record, size


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where PostgreSQL's own user may go."""
    with TemporaryDirectory(prefix="gantry-failover-") as name:
        made = Path(name)
        made.chmod(0o755)
        for part in ("primary", "standby"):
            (made / part).mkdir()
        yield made


def caught_up(primary: Postgres, follower: Postgres) -> bool:
    """Has the standby all that the primary has written?"""

    def ask(server: Postgres, what: LiteralString) -> str:
        with psycopg.connect(server.url("postgres", server.admin)) as connection:
            (found,) = connection.execute(what).fetchone() or ("",)
            return str(found)

    return ask(primary, "SELECT pg_current_wal_lsn()::text") == ask(follower, "SELECT pg_last_wal_replay_lsn()::text")


@pytest.mark.timeout(600)
def test_what_a_standby_lacks_comes_back_from_the_objects(yard: Yard, ledger: Ledger, folder: Path) -> None:
    """F-38, L1: the gateway notices that another server took over, sweeps nothing, and is reconciled."""
    before, after = ([make_piece(name, number) for number in range(size(8, 500))] for name in ("before", "after"))
    with postgres.run(folder / "primary") as primary:
        name = primary.database().rpartition("/")[2]
        gateway = yard.gateway(GANTRY_INDEX=primary.url(name))
        until(lambda: list((gateway.data / "objects").glob("high-water/*")) != [])
        send(ledger, gateway, before)
        with postgres.standby(primary, folder / "standby") as follower:
            until(lambda: caught_up(primary, follower))
        send(ledger, gateway, after)
        gateway.kill()
    with postgres.promoted(folder / "standby", primary.password) as server:
        yard.settings = {"GANTRY_INDEX": server.url(name)}
        gateway = yard.gateway()
        until(lambda: "index_behind" in {event["event"] for event in gateway.events()})
        ready = once.get(f"{gateway.http_url}/readyz", timeout=20)
        assert (ready.status_code, ready.json()["checks"]["history"]["reason"]) == (200, "index_behind")
        send(ledger, gateway, [make_piece("meanwhile", number) for number in range(2)])
        assert gateway.stop() == 0
        assert yard.deed("sweep_days", yard.place(), 3) == (0, "IndexBehind\n" * 3)
        assert yard.deed("reconcile", yard.place()) == (0, f"{len(after)}\n")
        gateway = yard.gateway()
        verify(ledger, gateway)
        alive(ledger, gateway, "promoted")
        quiet(gateway)
        assert gateway.stop() == 0
    record("a standby took over without the last transactions", lost_by_it=len(after), adopted=len(after), lost=0)
