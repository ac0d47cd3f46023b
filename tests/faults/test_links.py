"""The lines to S3 and PostgreSQL: cut, held, slow, lying; and PostgreSQL that crashes, is locked or may not write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from storage import open_objects
from storage.objects.s3 import S3Store
from tests.end_to_end.doors import Doors
from tests.faults.conftest import SEAWEEDFS, Yard
from tests.parts import ledger as books
from tests.parts import once
from tests.parts import postgres as postgres_part
from tests.parts.gateway import GatewayProcess
from tests.parts.ledger import Ledger, Piece, make_piece
from tests.parts.link import Link, Passage, Reply
from tests.parts.postgres import Postgres
from tests.parts.torture import is_large, record, size

OUT_OF_RESOURCES = 0xA700
PATIENCE = "10" if is_large() else "2"


@dataclass
class Wired:
    """A gateway whose lines to S3 and PostgreSQL go through proxies."""

    gateway: GatewayProcess
    s3: Link
    index: Link

    def address(self) -> tuple[str, int]:
        """Where its DIMSE listener is."""
        return self.gateway.host, self.gateway.dimse_port


@contextmanager
def wired(yard: Yard, name: str = "data", **environment: str) -> Iterator[Wired]:
    """A gateway with lines that can be harmed; it is stopped at the end, which goes without a traceback."""
    settings = yard.settings
    with Link(settings["GANTRY_S3_ENDPOINT"]) as s3, Link(settings["GANTRY_INDEX"]) as index:
        lines = {"GANTRY_S3_ENDPOINT": s3.url, "GANTRY_INDEX": index.url, "GANTRY_PATIENCE": PATIENCE}
        gateway = yard.gateway(name=name, **{**lines, **environment})
        yield Wired(gateway, s3, index)
        books.quiet(gateway)
        gateway.kill()


@pytest.fixture
def line(yard: Yard) -> Iterator[Wired]:
    """One."""
    with wired(yard) as made:
        yield made


ON_S3 = pytest.mark.parametrize("yard", [SEAWEEDFS], indirect=True)


def ready(gateway: GatewayProcess) -> dict[str, str]:
    """How each dependency is."""
    found = once.get(f"{gateway.http_url}/readyz", timeout=90).json()
    return {name: check["status"] for name, check in found["checks"].items()}


def recovered(gateway: GatewayProcess, seconds: float = 60.0) -> float:
    """Wait until it is ready; how long that took."""
    begun = time.monotonic()
    while once.get(f"{gateway.http_url}/readyz", timeout=90).status_code != 200:
        assert time.monotonic() - begun < seconds
        time.sleep(0.1)
    return time.monotonic() - begun


@ON_S3
@pytest.mark.timeout(7200)
def test_without_its_objects_it_refuses_stores_and_answers_searches(line: Wired, ledger: Ledger) -> None:
    """F-65, F-21, F-22, L2, L3, A: the line to S3 held, then refused; PostgreSQL within reach."""
    books.by_c_store(ledger, line.address(), [make_piece("before", number) for number in range(3)])
    line.s3.held = True
    began = time.monotonic()
    sending = threading.Thread(target=books.by_c_store, args=(ledger, line.address(), [make_piece("held", 1)], 60))
    sending.start()
    with Doors(line.gateway) as doors:
        assert len(doors.qido(f"/studies/{make_piece('before', 0).study_uid}/instances")) == 3
        assert books.stow(ledger, doors, [make_piece("held", 2)]) == 503
    sending.join(60)
    assert time.monotonic() - began < 50  # before a sender gives up
    assert {ledger.answers[make_piece("held", number).sop_uid] for number in (1, 2)} == {OUT_OF_RESOURCES}
    assert [ready(line.gateway)[name] for name in ("objects", "index")] == ["failing", "ok"]
    line.s3.refused, line.s3.held = True, False
    line.s3.cut()
    with Doors(line.gateway) as doors:
        assert books.stow(ledger, doors, [make_piece("refused", 1)]) == 503
    if seconds := size(0, 600):
        time.sleep(seconds)
    line.s3.refused = False
    back = recovered(line.gateway)
    books.alive(ledger, line.gateway, "objects")
    assert books.resend(ledger, line.gateway) == 3
    books.verify(ledger, line.gateway)
    record("S3 out of reach", seconds=seconds, recovery_seconds=round(back, 1), **ledger.counts())


@ON_S3
@pytest.mark.timeout(7200)
def test_without_its_index_it_refuses_and_comes_back(line: Wired, ledger: Ledger) -> None:
    """F-65, F-36, L2, L3, A: the line to PostgreSQL held, where nothing ends and nothing answers, with many at work;
    then cut."""
    pieces = [make_piece("before", number) for number in range(3)]
    books.by_c_store(ledger, line.address(), pieces)
    line.index.held = True
    began = time.monotonic()
    crowd = [
        threading.Thread(target=books.by_c_store, args=(ledger, line.address(), [make_piece("held", n)], 90))
        for n in range(size(6, 64))
    ]
    for thread in crowd:
        thread.start()
    assert once.get(f"{line.gateway.http_url}/healthz", timeout=5).status_code == 200
    for thread in crowd:
        thread.join(90)
    assert time.monotonic() - began < 80
    assert {ledger.answers[make_piece("held", n).sop_uid] for n in range(len(crowd))} == {OUT_OF_RESOURCES}
    assert ready(line.gateway)["index"] == "failing"
    line.index.held = False
    line.index.cut()
    back = recovered(line.gateway)
    books.alive(ledger, line.gateway, "index")
    assert books.resend(ledger, line.gateway) == len(crowd)
    books.verify(ledger, line.gateway)
    record("PostgreSQL silent", recovery_seconds=round(back, 1), **ledger.counts())


class AtCommit(Passage):
    """Cuts the connection at every n-th COMMIT of all: before it has passed, or before its answer has."""

    commits = 0

    def __init__(self, every: int, *, passes: bool) -> None:
        self.every, self.passes, self.doomed = every, passes, False

    def upload(self, data: bytes) -> bytes | None:
        """See Passage."""
        if b"COMMIT" in data:
            AtCommit.commits += 1
            if AtCommit.commits % self.every == 0:
                self.doomed = True
                return data if self.passes else None
        return data

    def download(self, data: bytes) -> bytes | None:
        """See Passage."""
        return None if self.doomed else data


@ON_S3
@pytest.mark.parametrize("passes", [True, False], ids=["answer lost", "commit lost"])
def test_a_commit_whose_answer_was_lost_is_looked_up(line: Wired, ledger: Ledger, passes: bool) -> None:
    """F-34, L1: found or done again; what was told to the sender is true, and nothing is told twice in the feed."""
    line.index.passage = lambda: AtCommit(4, passes=passes)
    line.index.cut()
    with books.senders(ledger, line.gateway, passes, most=size(8, 500)) as join:
        join()
    assert ledger.counts() == {"ok": len(ledger.pieces), "failed": 0, "unknown": 0}
    books.verify(ledger, line.gateway)
    line.index.passage = Passage
    assert line.gateway.stop() == 0
    record(f"{'answer to COMMIT' if passes else 'COMMIT'} lost", **ledger.counts())


@ON_S3
def test_a_commit_whose_answer_was_lost_is_in_the_feed_once(yard: Yard, ledger: Ledger) -> None:
    """F-34, L1, L4, L5."""
    with wired(yard) as line:
        line.index.passage = lambda: AtCommit(3, passes=True)
        line.index.cut()
        books.by_c_store(ledger, line.address(), [make_piece("feed", number) for number in range(10)])
    assert len(ledger.acknowledged()) == 10
    books.check_archive(ledger, yard.archive())


def http_error(status: int, code: str) -> Reply:
    """An answer of S3."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>so it is</Message></Error>".encode()
    head = f"HTTP/1.1 {status} so\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return Reply(head.encode() + b"Connection: close\r\n\r\n" + body)


class Sometimes(Passage):
    """Answers every n-th PUT of an instance itself."""

    puts = 0
    answered = 0

    def __init__(self, every: int, status: int, code: str) -> None:
        self.every, self.reply = every, http_error(status, code)

    def upload(self, data: bytes) -> bytes | None:
        """See Passage."""
        if data.startswith(b"PUT ") and b"/obj/" in data[:200]:
            Sometimes.puts += 1
            if Sometimes.puts % self.every == 0:
                Sometimes.answered += 1
                return self.reply
        return data


@ON_S3
@pytest.mark.parametrize(
    ("every", "status", "code"),
    [(5, 503, "SlowDown"), (3, 409, "ConditionalRequestConflict")],
    ids=["busy", "conflict"],
)
def test_an_s3_server_that_refuses_now_and_then_is_asked_again(
    line: Wired, ledger: Ledger, every: int, status: int, code: str
) -> None:
    """F-23, F-25, L1: retried within the budget, without a storm of retries."""
    Sometimes.puts = Sometimes.answered = 0
    line.s3.passage = lambda: Sometimes(every, status, code)
    line.s3.cut()
    pieces = [make_piece(code, number) for number in range(size(10, 1000))]
    books.by_c_store(ledger, line.address(), pieces)
    assert ledger.counts()["ok"] == len(pieces)
    assert Sometimes.answered > 0
    assert Sometimes.puts / len(pieces) < 1.6
    books.verify(ledger, line.gateway)
    record(f"S3 answers {status} {code}", attempts_per_put=round(Sometimes.puts / len(pieces), 2), **ledger.counts())


@ON_S3
def test_a_clock_that_is_wrong_is_told_apart(line: Wired, ledger: Ledger) -> None:
    """F-31: the log names the clocks; stores are refused and then work."""
    line.s3.passage = lambda: Sometimes(1, 403, "RequestTimeTooSkewed")
    line.s3.cut()
    books.by_c_store(ledger, line.address(), [make_piece("clock", 1)])
    assert ledger.answers[make_piece("clock", 1).sop_uid] == OUT_OF_RESOURCES
    line.s3.passage = Passage
    line.s3.cut()
    recovered(line.gateway)
    assert books.resend(ledger, line.gateway) == 1


@ON_S3
def test_slow_lines_are_only_slow(line: Wired, ledger: Ledger) -> None:
    """F-73 in small, L1: each piece of data 10 ms later on both lines."""
    line.s3.delay = line.index.delay = 0.01
    with books.senders(ledger, line.gateway, "slow", most=size(3, 100)) as join:
        join()
    assert ledger.counts() == {"ok": len(ledger.pieces), "failed": 0, "unknown": 0}
    books.verify(ledger, line.gateway)


@ON_S3
def test_parts_of_an_upload_that_a_crash_left_are_removed(yard: Yard) -> None:
    """F-28: killed after the second part; the parts are found and given up."""
    assert yard.deed("put_large", yard.place(), 66, crash="P4:2")[0] == -9
    store = open_objects(yard.settings["GANTRY_OBJECTS"], endpoint=yard.settings["GANTRY_S3_ENDPOINT"])
    assert isinstance(store, S3Store)
    try:
        assert list(store.keys("obj/")) == []
        assert store.tidy(older_than=-60.0) == 1
        assert store.tidy(older_than=-60.0) == 0
    finally:
        store.close()


# ---------------------------------------------------------------- PostgreSQL itself


@pytest.fixture
def own_postgres() -> Iterator[tuple[Postgres, Path]]:
    """A server that keeps what it answered when it crashes, and its folder."""
    with TemporaryDirectory(prefix="gantry-own-pg-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with postgres_part.run(folder, synchronous_commit="on", full_page_writes="on") as server:
            yield server, folder
            postgres_part.restart(folder)  # so that what is stopped is known, restarted before or not
            postgres_part.stop(folder)


@pytest.mark.timeout(7200)
def test_a_database_that_crashes_again_and_again_loses_nothing(
    yard: Yard, ledger: Ledger, own_postgres: tuple[Postgres, Path]
) -> None:
    """F-33, L1 to L5: restarted at once in the middle of transactions; stores are retried or refused, never lost."""
    server, folder = own_postgres
    yard.settings = {"GANTRY_INDEX": server.database()}
    gateway = yard.gateway()
    times = size(2, 100)
    with books.senders(ledger, gateway, "crashes") as join:
        for _ in range(times):
            ledger.wait_for(len(ledger.acknowledged()) + 20)
            time.sleep(size(0, 2))
            postgres_part.restart(folder)
        ledger.wait_for(len(ledger.acknowledged()) + 20)
    join()
    back = recovered(gateway)
    books.alive(ledger, gateway, "crashes")
    counts = ledger.counts()
    books.resend(ledger, gateway)
    books.verify(ledger, gateway)
    books.quiet(gateway)
    assert gateway.stop() == 0
    books.check_archive(ledger, yard.archive())
    record("PostgreSQL crashes", times=times, recovery_seconds=round(back, 1), lost=0, **counts)


@pytest.fixture
def database(yard: Yard, postgres: Postgres) -> str:
    """The name of the test's database."""
    return yard.settings["GANTRY_INDEX"].rpartition("/")[2]


@ON_S3
def test_a_database_that_may_not_write_is_read(yard: Yard, ledger: Ledger, postgres: Postgres, database: str) -> None:
    """F-37, L2, L3: A700 and 503; searches and retrieves go on; then it may write again."""
    gateway = yard.gateway()
    books.by_c_store(ledger, (gateway.host, gateway.dimse_port), [make_piece("before", 1)])

    def only(reading: LiteralString) -> None:
        writing = "-c default_transaction_read_only=off"
        with psycopg.connect(postgres.url(database, postgres.admin), autocommit=True, options=writing) as admin:
            setting = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
            admin.execute(setting.format(sql.Identifier(database), sql.SQL(reading)))
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [database],
            )

    only("on")
    try:
        with Doors(gateway) as doors:
            assert books.stow(ledger, doors, [make_piece("read only", 1)]) == 503
            books.by_c_store(ledger, (gateway.host, gateway.dimse_port), [make_piece("read only", 2)])
            assert ledger.answers[make_piece("read only", 2).sop_uid] == OUT_OF_RESOURCES
            books.verify(ledger, gateway, [make_piece("before", 1).study_uid])
    finally:
        only("off")
    books.alive(ledger, gateway, "writes")
    assert books.resend(ledger, gateway) == 2
    books.verify(ledger, gateway)
    books.quiet(gateway)


@ON_S3
def test_a_study_that_somebody_has_locked_holds_only_itself_up(
    yard: Yard, ledger: Ledger, postgres: Postgres, database: str
) -> None:
    """F-39, A: a store into it is refused within seconds; others go in; afterwards it is as before."""
    gateway = yard.gateway()
    locked, other = make_piece("locked", 1), make_piece("other", 1)
    books.by_c_store(ledger, (gateway.host, gateway.dimse_port), [locked])
    with psycopg.connect(postgres.url(database)) as holder:
        holder.execute("SELECT 1 FROM study WHERE study_instance_uid = %s FOR UPDATE", [locked.study_uid])
        began = time.monotonic()
        senders: list[tuple[Callable[..., None], Piece]] = [
            (books.by_c_store, make_piece("locked", 2)), (books.by_c_store, other)
        ]  # fmt: skip
        threads = [
            threading.Thread(target=send, args=(ledger, (gateway.host, gateway.dimse_port), [piece]))
            for send, piece in senders
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert time.monotonic() - began < 40
        assert ledger.answers[other.sop_uid] == 0
        assert ledger.answers[make_piece("locked", 2).sop_uid] == OUT_OF_RESOURCES
        books.alive(ledger, gateway, "locked")
    assert books.resend(ledger, gateway) == 1
    books.verify(ledger, gateway)
    books.quiet(gateway)
