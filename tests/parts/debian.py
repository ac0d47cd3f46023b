"""The programs that the tests need from Debian's (or Ubuntu's) packages: what is missing, and installing it.

Run as a script by `make test`, on a machine with nothing but Python: it uses the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = {
    "Orthanc": "orthanc",
    "ceph": "ceph-common",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "chromium": "chromium",
    "chromium-headless-shell": "chromium-headless-shell",
    "curl": "curl",
    "gdcmconv": "libgdcm-tools",
    "gcc": "gcc",
    "gencat": "libc6-dev",
    "haproxy": "haproxy",
    "initdb": "postgresql",
    "nginx": "nginx",
    "node": "nodejs",
    "npm": "npm",
    "openssl": "openssl",
    "radosgw": "radosgw",
    "rsyslogd": "rsyslog",
    "storescu": "dcmtk",
}
"""Package by the program that tells whether it is there."""

LIBRARIES = {"libatomic.so.1": "libatomic1"}
"""Package by shared library: what Playwright's wheel takes for granted."""

MODULES = {"rsyslog/lmnsd_gtls.so": "rsyslog-gnutls"}
"""Package by a file of it below the folder of libraries."""

# Debian's postgresql starts a server on port 5432 when it is installed, unless this file says otherwise.
CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.conf")

# Debian's orthanc starts a server for the whole network when it is installed, and at each start of the machine.
ORTHANC_UNIT = Path("/etc/systemd/system/orthanc.service")
POLICY = Path("/usr/sbin/policy-rc.d")


def find(program: str) -> str | None:
    """Where the program lies, outside of any virtual environment: pynetdicom has commands named as dcmtk's are."""
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    folders = [folder for folder in folders if not (Path(folder).parent / "pyvenv.cfg").exists()]
    folders += ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders += map(str, sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True))
    return shutil.which(program, path=os.pathsep.join(folders))


def missing() -> list[str]:
    """The packages that are not there."""
    programs = [package for program, package in PACKAGES.items() if find(program) is None]
    modules = [package for name, package in MODULES.items() if not list(Path("/usr/lib").glob(f"*/{name}"))]
    return sorted(programs + modules + [package for library, package in LIBRARIES.items() if not loads(library)])


def loads(library: str) -> bool:
    """Whether the shared library is there."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def may_install() -> list[str] | None:
    """What to put before `apt-get`: nothing for root, `sudo` where it asks no password; None where we may not."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ["sudo", "-n"] if asked.returncode == 0 else None


def install(packages: list[str], prefix: list[str]) -> bool:
    """Install the packages, quietly; whether that went well. Waits for another apt that is at work."""
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"]
    if "postgresql" in packages and not CLUSTER_SETTINGS.exists():
        subprocess.run([*prefix, "mkdir", "-p", str(CLUSTER_SETTINGS.parent)], check=True)
        write = [*prefix, "tee", str(CLUSTER_SETTINGS)]
        subprocess.run(write, input=b"create_main_cluster = false\n", stdout=subprocess.DEVNULL, check=True)
    if "orthanc" in packages and not ORTHANC_UNIT.exists():
        subprocess.run([*prefix, "mkdir", "-p", str(ORTHANC_UNIT.parent)], check=True)
        subprocess.run([*prefix, "ln", "-s", "/dev/null", str(ORTHANC_UNIT)], check=True)
    with no_services(prefix):
        return fetch(packages, command)


@contextmanager
def no_services(prefix: list[str]) -> Iterator[None]:
    """Packages that are installed meanwhile start no server (Debian Policy 9.3.3.1), unless the machine has a say."""
    if POLICY.exists():
        yield
        return
    subprocess.run([*prefix, "tee", str(POLICY)], input=b"#!/bin/sh\nexit 101\n", stdout=subprocess.DEVNULL, check=True)
    subprocess.run([*prefix, "chmod", "755", str(POLICY)], check=True)
    try:
        yield
    finally:
        subprocess.run([*prefix, "rm", "-f", str(POLICY)], check=True)


def fetch(packages: list[str], command: list[str]) -> bool:
    """Have `command`, an apt-get, install the packages; three attempts."""
    options = ["-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]
    output = ""
    for attempt in range(3):
        if attempt:
            time.sleep(5 * attempt)
        # An update that fails for one source may still have brought what we need.
        subprocess.run([*command, "update", "-qq"], capture_output=True, check=False)
        done = subprocess.run(
            [*command, "install", *options, *packages],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == 0:
            return True
        output = done.stdout
    print(output[-4000:], file=sys.stderr)
    return False


def main() -> int:
    """Install what is missing where we may; 0 when nothing is missing in the end."""
    packages = missing()
    if not packages:
        return 0
    prefix = may_install()
    if prefix is not None:
        print("installing Debian packages:", " ".join(packages), flush=True)
        install(packages, prefix)
    packages = missing()
    if not packages:
        return 0
    print("Some tests need Debian packages that are missing and could not be installed. As root:", file=sys.stderr)
    print("    apt-get install --no-install-recommends", " ".join(packages), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
