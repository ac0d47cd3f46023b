"""What a process that is to be killed does to an archive, without the doors: run by `tests.parts.forge`."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from gateway.caller import Caller
from gateway.delete import delete as delete_instances
from gateway.errors import Duplicate, GatewayError, NotFound
from gateway.integrity import Scrubber, begin_cycle
from gateway.rebuild import rebuild as rebuild_index
from gateway.reconcile import reconcile as bring_up_to_date
from gateway.recover import recover
from gateway.store import receive, store
from storage import Archive, open_archive, open_index
from storage.errors import StorageError
from tests.parts import shim
from tests.parts.ledger import make_piece, sweep
from tests.parts.received import received
from tests.parts.torture import patience

MOST = 1 << 20
CALLER = Caller("deeds", "tests")


@contextmanager
def opened(place: dict[str, Any]) -> Iterator[Archive]:
    """The archive at a place: `objects`, `index`, `spool` and other arguments of `open_archive`."""
    archive = open_archive(**{**place, "spool": Path(place["spool"])})
    try:
        with redirect_stdout(sys.stderr):  # what it has to say is no answer of a deed
            recover(archive)
        yield archive
    finally:
        archive.close()


def put(archive: Archive, study: object, number: object, content: int = 0) -> str:
    """Store one piece; the outcome."""
    piece = make_piece(study, number, content=content)
    with receive(archive, max_bytes=MOST) as incoming:
        incoming.write(piece.file())
        return store(archive, incoming, CALLER).outcome


def store_some(place: dict[str, Any], study: object, count: int, first: int = 0) -> None:
    """Store pieces, and print the number of each when it is acknowledged."""
    with opened(place) as archive:
        for number in range(first, first + count):
            put(archive, study, number)
            print(number, flush=True)


def delete(place: dict[str, Any], study_uid: str, sop_uid: str | None = None) -> None:
    """Delete a study, or one of its instances."""
    with opened(place) as archive:
        series = archive.find(sop_uid).series_uid if sop_uid else None  # type: ignore[union-attr]
        print(delete_instances(archive, CALLER, study_uid, series, sop_uid), flush=True)


def collect(place: dict[str, Any], later: float = 1e6) -> None:
    """Remove garbage, as if `later` seconds had passed."""
    with opened(place) as archive:
        print(archive.collect(time.time() + later, 1000), flush=True)


def sweep_days(place: dict[str, Any], days: int) -> None:
    """The sweeps of so many days; prints how many objects went, or the name of the error."""
    with opened(place) as archive:
        for day in range(1, days + 1):
            try:
                print(archive.sweep(time.time() + day * 86_401.0), flush=True)
            except StorageError as error:
                print(type(error).__name__, flush=True)


def sweep_all(place: dict[str, Any]) -> None:
    """Remove orphans and garbage."""
    with opened(place) as archive:
        sweep(archive)


def rebuild(place: dict[str, Any]) -> None:
    """Make the index again."""
    with opened(place) as archive:
        report = rebuild_index(archive)
        print(json.dumps([report.instances, report.conflicts, report.unreadable]), flush=True)


def scrub(place: dict[str, Any]) -> None:
    """One cycle of the scrubber, from the beginning; prints the damaged instances that are known then."""
    with opened(place) as archive:
        begin_cycle(archive)
        scrubber, never = Scrubber(archive, 30.0, 1 << 40), threading.Event()
        while scrubber.step(never) == 0.0:
            continue
        print(json.dumps([one.instance.sop_uid for one in archive.damaged()]), flush=True)


def forget(place: dict[str, Any], study_uid: str) -> None:
    """Let the index lose a study, as one from a backup has, and know that it is behind."""
    with opened(place) as archive:
        rows = archive.locate(study_uid)
        archive.index.delete(study_uid, [row.version for row in rows], cleanup_after=0.0)
        for row in rows:
            archive.index.collected(row.version)
        archive.high_water.doubt(time.time())


def reconcile(place: dict[str, Any]) -> None:
    """Bring the index up to its objects; prints how many instances were adopted."""
    with opened(place) as archive:
        print(bring_up_to_date(archive).instances, flush=True)


def workload(place: dict[str, Any], acks: str, count: int, threads: int = 3) -> None:
    """Store and delete, some at a time; each line of `acks` stands there before the next step of its thread.

    `? study number` is about to be stored, `+ study number` is; `! study number` is about to be deleted, `- ...` is.
    """
    # made by whoever set the stage, so that its own name is no part of the play
    book = os.open(acks, os.O_WRONLY | os.O_APPEND)

    def say(sign: str, study: str, number: int) -> None:
        os.write(book, f"{sign} {study} {number}\n".encode())

    def work(archive: Archive, study: str) -> None:
        for number in range(count):
            say("?", study, number)
            put(archive, study, number)
            say("+", study, number)
            if number % 5 == 4:
                archive.settle()
            if number % 7 == 6:
                gone = make_piece(study, number - 3)
                say("!", study, number - 3)
                delete_instances(archive, CALLER, gone.study_uid, gone.series_uid, gone.sop_uid)
                say("-", study, number - 3)

    with opened(place) as archive, ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda thread: work(archive, f"play{thread}"), range(threads)))
    os.close(book)


def suffer(place: dict[str, Any], call: str, error: str, first: int, step: int, lasting: bool) -> None:
    """One store and one delete after the other, the n-th call of each pair fails: for each n from `first` on.

    Prints a line of JSON for each: what became of the store, of the delete, and of a store after the fault was over.
    """
    for n in range(first, 1000, step):
        with opened(place) as archive:
            put(archive, f"gone {n}", 1)
            os.environ["SHIM_FAULT"] = f"{call}:{n}:{error}:{0 if lasting else 1}"
            shim.begin()
            stored = attempt(lambda: put(archive, f"hit {n}", 1))  # noqa: B023
            piece = make_piece(f"gone {n}", 1)
            deleted = attempt(lambda: delete_instances(archive, CALLER, piece.study_uid))  # noqa: B023
            seen = shim.seen()
            del os.environ["SHIM_FAULT"]
            shim.begin()
            after = attempt(lambda: put(archive, f"after {n}", 1))  # noqa: B023
            left = len(received(archive.spool.folder))
            readable = all(archive.read(row) for row in archive.locate(make_piece("before", 0).study_uid))
        facts = {"n": n, "stored": stored, "deleted": deleted, "after": after, "left": left, "readable": readable}
        print(json.dumps(facts), flush=True)
        if seen < n:
            return


def meet(folder: Path, name: str, others: int) -> None:
    """Wait until as many processes have come to the same place, less those that have died."""
    everybody, here = folder / "everybody", folder / name
    for place in (everybody, here):
        place.mkdir(exist_ok=True)
        (place / str(os.getpid())).touch()
    end = time.monotonic() + 60.0 * patience()
    while time.monotonic() < end:
        came = {path.name for path in here.iterdir()}
        missing = others - len(came)
        if missing <= 0 or missing <= sum(is_dead(int(p.name)) for p in everybody.iterdir() if p.name not in came):
            return
        time.sleep(0.002)
    raise AssertionError(f"some never came to {name}")


def is_dead(process: int) -> bool:
    """Has it ended, even where nobody has asked for its status yet?"""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def race(
    place: dict[str, Any], meeting: str, me: int, processes: int, threads: int, rounds: int, contents: int
) -> None:
    """In each round all threads of all processes store one instance at once, in one of so many contents.

    Prints a line for each attempt: round, content, outcome.
    """
    with opened(place) as archive, ThreadPoolExecutor(threads) as pool:
        for number in range(rounds):
            meet(Path(meeting), str(number), processes)

            def work(thread: int) -> str:
                content = (me * threads + thread) % contents
                try:
                    return f"{number} {content} {put(archive, 'race', number, content)}"  # noqa: B023
                except (GatewayError, StorageError) as error:
                    return f"{number} {content} {type(error).__name__}"  # noqa: B023

            for line in pool.map(work, range(threads)):
                print(line, flush=True)


def history(
    place: dict[str, Any], meeting: str, me: int, processes: int, threads: int, rounds: int, chance: int
) -> None:
    """Random steps on a few instances, of several threads at once; a round has instances of its own.

    Prints a line before each step and one after it: round, instance, thread, moment, and step or answer.
    """
    dice = random.Random(chance * 1000 + me)

    def work(archive: Archive, number: int, thread: int, seed: int) -> None:
        own = random.Random(seed)
        for _ in range(own.randrange(3, 7)):
            key, content = own.randrange(2), own.randrange(1, 4)
            kind = own.choice(["put", "put", "put", "delete", "read"])
            who = f"{number} {key} {me}.{thread}"
            say(f"{who} {time.monotonic_ns()} call {kind} {content}")
            answer = take(archive, kind, f"round {chance} {number}", key, content)
            say(f"{who} {time.monotonic_ns()} answer {answer}")

    with opened(place) as archive, ThreadPoolExecutor(threads) as pool:
        for number in range(rounds):
            meet(Path(meeting), str(number), processes)
            seeds = [dice.randrange(1 << 30) for _ in range(threads)]
            list(pool.map(lambda thread: work(archive, number, thread, seeds[thread]), range(threads)))  # noqa: B023


def say(line: str) -> None:
    """A line, in one piece."""
    os.write(1, f"{line}\n".encode())


def take(archive: Archive, kind: str, study: str, key: object, content: int) -> str:
    """One step of a history; what `history` calls its answer, `unknown` where that may be anything."""
    piece = make_piece(study, key)
    try:
        if kind == "put":
            return put(archive, study, key, content)
        if kind == "delete":
            delete_instances(archive, CALLER, piece.study_uid, piece.series_uid, piece.sop_uid)
            return "deleted"
        row = archive.find(piece.sop_uid)
        return "absent" if row is None else str(int.from_bytes(archive.read(row)[-8:], "little"))
    except Duplicate:
        return "refused"
    except NotFound:
        return "absent"
    except (GatewayError, StorageError):
        return "unknown"


def flood(place: dict[str, Any], meeting: str, me: int, processes: int, threads: int, count: int) -> None:
    """Many threads of many processes store into one study at once."""
    with opened(place) as archive, ThreadPoolExecutor(threads) as pool:
        meet(Path(meeting), "flood", processes)

        def work(thread: int) -> None:
            for number in range(count):
                say(take(archive, "put", "flood", f"{me}.{thread}.{number}", 1))

        list(pool.map(work, range(threads)))


def gather(place: dict[str, Any], meeting: str, me: int, processes: int, later: float) -> None:
    """Collect garbage as often as there is some; prints how much each time."""
    with opened(place) as archive:
        meet(Path(meeting), "gather", processes)
        while count := archive.collect(time.time() + later, 5):
            say(str(count))


def leave_orphan(place: dict[str, Any], study: object) -> None:
    """An object that no row names."""
    piece = make_piece(study, 0)
    with opened(place) as archive:
        path = archive.spool.folder / "orphan"
        path.write_bytes(piece.file())
        digest = hashlib.sha256(piece.file()).hexdigest()
        archive.objects.put(archive.key(piece.sop_uid, archive.new_version()), path, sha256=digest)


def put_large(place: dict[str, Any], megabytes: int) -> None:
    """Store an object that goes to S3 in parts."""
    with opened(place) as archive:
        path = archive.spool.folder / "large"
        path.write_bytes(bytes(megabytes << 20))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        archive.objects.put(archive.key("1.2.3", archive.new_version()), path, sha256=digest)


def crowd(place: dict[str, Any], meeting: str, me: int, processes: int, rounds: int) -> None:
    """In each round some store into a study while others delete it."""
    with opened(place) as archive:
        for number in range(rounds):
            meet(Path(meeting), str(number), processes)
            for step in range(6):
                if me % 2:
                    take(archive, "put", "crowd", me * 100 + step, number + 1)
                else:
                    attempt(lambda: delete_instances(archive, CALLER, make_piece("crowd", 0).study_uid))


def attempt(work: Callable[[], object]) -> str:
    """What came of it: `ok`, or the name of the error; `full` where that says so."""
    try:
        work()
    except (GatewayError, StorageError) as error:
        return "full" if getattr(error, "full", False) else type(error).__name__
    return "ok"


def migrate(url: str) -> None:
    """Bring an index to its schema."""
    open_index(url).close()
