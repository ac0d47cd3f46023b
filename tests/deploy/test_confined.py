"""The gateway as the container runs it: another user, no capabilities, nothing writable but its data and /tmp."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import JPEG2000Lossless

from tests.end_to_end.doors import Doors
from tests.parts.datasets import ct_slice, part10_bytes
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import cannot_run, need

ROOT = Path(__file__).resolve().parents[2]
USER = 10001
CONFINE = """
set -e
mount --make-rprivate /
number=0
for path in $NEEDED; do  # kept where it can be reached, should it lie below what is somebody's own
  number=$((number + 1))
  mkdir -p "$3/$number"
  mount --bind "$path" "$3/$number"
done
for path in $CLOSED; do
  mount -t tmpfs -o mode=755 tmpfs "$path"
done
number=0
for path in $NEEDED; do
  number=$((number + 1))
  mkdir -p "$path"
  mount --bind "$3/$number" "$path"
done
for path in $CLOSED; do
  mount -o remount,ro "$path"
done
mount --bind "$1" "$1"
mount -o remount,bind,ro /
mount -t tmpfs -o mode=1777,nosuid,nodev,noexec tmpfs "$2"
shift 3
exec setpriv --reuid=10001 --regid=10001 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
"""


@pytest.fixture
def confined() -> Iterator[tuple[Path, list[str]]]:
    """A data folder, and what to put before a command that shall write nowhere else but there and below `TMPDIR`."""
    unshare, sh = need("unshare"), need("sh")
    need("setpriv")
    folder = Path(tempfile.mkdtemp(prefix="gantry-confined-", dir="/var/tmp"))
    try:
        data, scratch = folder / "data", folder / "tmp"
        for path in (data, scratch):
            path.mkdir()
            path.chmod(0o700)
        folder.chmod(0o755)
        needed = {ROOT, Path(sys.prefix), Path(sys.base_prefix)}
        closed = {path for one in needed for path in one.parents if not path.stat().st_mode & 0o001}
        about = [
            f"NEEDED={' '.join(map(str, needed))}" if closed else "NEEDED=",
            f"CLOSED={' '.join(map(str, closed))}",
        ]
        places = (str(data), str(scratch), str(folder / "kept"))
        prefix = ["env", *about, unshare, "--mount", sh, "-c", CONFINE, "sh", *places]
        try:
            os.chown(data, USER, USER)
            subprocess.run([*prefix, "true"], check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.CalledProcessError):
            cannot_run("no file systems of its own can be mounted here")
        yield data, prefix
    finally:
        shutil.rmtree(folder)


def test_it_needs_no_more_than_the_container_gives_it(confined: tuple[Path, list[str]]) -> None:
    """S-85: uid 10001, a root that cannot be written, no capabilities; stores, searches, decodes, renders, deletes."""
    data, prefix = confined
    environment = {"TMPDIR": str(data.parent / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    with GatewayProcess(data, network=prefix, environment=environment, workers=None) as gateway:
        about = Path(f"/proc/{gateway.pid}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in about.splitlines() if ":\t" in line)
        assert facts["Uid"].split() == [str(USER)] * 4
        assert {int(facts[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd")} == {0}
        assert facts["NoNewPrivs"] == "1"
        mounts = [line.split() for line in Path(f"/proc/{gateway.pid}/mountinfo").read_text().splitlines()]
        writable = {one[4] for one in mounts if one[4] in ("/", str(data)) and "rw" in one[5].split(",")}
        assert writable == {str(data)}
        files = [part10_bytes(ct_slice("confined", 1)), part10_bytes(ct_slice("confined", 2), JPEG2000Lossless)]
        with Doors(gateway) as doors:
            assert doors.c_store(files[:1]) == [0]
            assert doors.stow(files[1]).status == 200
            (study,) = doors.qido("/studies", PatientID="ID-confined")
            assert len(doors.retrieve(study["StudyInstanceUID"])) == 2
            picture = doors.get(f"/studies/{study['StudyInstanceUID']}/rendered")
            assert picture.status_code == 200, gateway.log()
            assert doors.delete(study["StudyInstanceUID"]) == 204
        assert gateway.stop() == 0
