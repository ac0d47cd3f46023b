"""Work in child processes: what comes back, and what becomes of those that crash, spin, hang or take too much."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from gateway.errors import NotRenderable, Unavailable
from gateway.isolated import Limits, Pool, Work
from tests.gateway.isolated import works

DATA = b"codestream"


@pytest.fixture(scope="module")
def shared() -> Iterator[Pool]:
    """One child, with little of everything."""
    pool = Pool(Limits(processes=1, memory=64 << 20, seconds=1, clock=60))
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def hasty() -> Iterator[Pool]:
    """One child, and five seconds on the clock."""
    pool = Pool(Limits(processes=1, clock=5))
    yield pool
    pool.close()


def killed(reason: str) -> float:
    return REGISTRY.get_sample_value("gantry_decoder_killed_total", {"reason": reason}) or 0.0


def child(pool: Pool) -> int:
    """The process that does the work now."""
    pid: int = pool.call(works.mirror, b"", {}, 0)[0]["pid"]
    return pid


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("size", [0, 1, 100, 5 << 20])
def test_bytes_and_facts_go_both_ways(shared: Pool, size: int) -> None:
    data = (b"0123456789" * (size // 10 + 1))[:size]
    facts, result = shared.call(works.mirror, data, {"frame": 3, "words": ["a", "ü"]}, size)
    assert facts["said"] == {"frame": 3, "words": ["a", "ü"]}
    assert bytes(result) == data[::-1]


def test_work_is_done_elsewhere_and_by_the_same_process_again(shared: Pool) -> None:
    first = child(shared)
    assert first != os.getpid()
    assert child(shared) == first


@pytest.mark.parametrize(
    ("work", "reason", "words"),
    [
        (works.crash, "crash", "crashed"),
        (works.killed, "oom", "stopped by the system"),
        (works.spin, "cpu", "computing time"),
        (works.hang, "timeout", "takes longer"),
        (works.hog, "oom", "more memory"),
    ],
    ids=["crash", "killed", "spin", "hang", "hog"],
)
def test_what_stops_a_child_ends_one_call_and_is_not_tried_again(
    shared: Pool, hasty: Pool, work: Work, reason: str, words: str
) -> None:
    """F-08, S-32, S-44: it is counted, the child replaced, and its input refused without another try."""
    pool = hasty if work is works.hang else shared
    before, pid = killed(reason), child(pool)
    with pytest.raises(NotRenderable, match=words):
        pool.call(work, DATA, {}, 0)
    assert killed(reason) == before + 1
    assert child(pool) != pid
    with pytest.raises(NotRenderable, match="a short while ago"):
        pool.call(work, DATA, {}, 0)
    assert killed(reason) == before + 1
    assert bytes(pool.call(works.mirror, DATA, {}, 10)[1]) == DATA[::-1]


def test_an_error_of_the_work_is_the_callers_and_the_child_goes_on(shared: Pool) -> None:
    pid = child(shared)
    with pytest.raises(NotRenderable, match="the frame is blue"):
        shared.call(works.fail, DATA, {}, 0)
    with pytest.raises(NotRenderable, match=r"^the work failed: ZeroDivisionError$"):
        shared.call(works.stumble, DATA, {}, 0)
    assert child(shared) == pid


def test_more_than_was_announced_is_not_taken(shared: Pool) -> None:
    """S-31: the size is known before anything is decoded."""
    assert len(shared.call(works.flood, DATA, {"size": 5000}, 5000)[1]) == 5000
    with pytest.raises(NotRenderable):
        shared.call(works.flood, DATA, {"size": 5001}, 5000)


def test_a_child_that_the_system_took_while_idle_costs_nobody_a_picture(shared: Pool) -> None:
    """F-08."""
    pid = child(shared)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    assert child(shared) != pid


def test_children_see_no_secrets_and_no_files(shared: Pool, tmp_path: Path) -> None:
    with (tmp_path / "secret").open("wb"):
        script = (
            "import os, sys\n"
            "os.environ |= {'GANTRY_TOKEN': 'secret', 'AWS_SECRET_ACCESS_KEY': 'secret'}\n"
            "from gateway.isolated import Limits, Pool\n"
            "from tests.gateway.isolated import works\n"
            "pool = Pool(Limits(processes=1))\n"
            "facts = pool.call(works.surroundings, b'', {}, 0)[0]\n"
            "pool.close()\n"
            "assert 'secret' not in str(facts['environment']), facts\n"
            "assert len(facts['files']) <= 5, facts\n"  # three standard streams, the socket, and the listing itself
        )
        subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3], timeout=60)


def test_who_waits_too_long_for_a_child_is_sent_away() -> None:
    pool = Pool(Limits(processes=1, clock=5, patience=0.05))

    def occupy() -> None:
        with pytest.raises(NotRenderable):
            pool.call(works.hang, b"", {}, 0)

    thread = threading.Thread(target=occupy)
    thread.start()
    try:
        until = time.monotonic() + 30
        with pytest.raises(Unavailable):
            while time.monotonic() < until:
                child(pool)
    finally:
        thread.join()
        pool.close()


def test_children_end_with_their_parent() -> None:
    script = (
        "import os, signal\n"
        "from gateway.isolated import Limits, Pool\n"
        "from tests.gateway.isolated import works\n"
        "print(Pool(Limits(processes=1)).call(works.mirror, b'', {}, 0)[0]['pid'], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    wait_until_gone(int(done.stdout))
