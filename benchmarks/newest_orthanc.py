"""A newer Orthanc than this Debian has, in a folder of its own: `sudo python benchmarks/newest_orthanc.py DIR`.

Needs root and Debian's package `debootstrap`; takes 700 MB and some minutes. `make bench ARGS="--newest DIR"` then
measures it beside Debian's own. The folder can be deleted at any time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("orthanc", "orthanc-dicomweb")


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suite", default="sid", help="of Debian, such as trixie (sid)")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian")
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    if os.geteuid():
        sys.exit("only root can make a system in a folder")
    if shutil.which("debootstrap") is None:
        sys.exit("missing: debootstrap; as root: apt-get install debootstrap")
    subprocess.run(["debootstrap", "--variant=minbase", asked.suite, str(folder), asked.mirror], check=True)
    # nothing is started in there
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    inside = ["chroot", str(folder), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"]
    subprocess.run([*inside, "--no-install-recommends", "install", *PACKAGES], check=True)
    subprocess.run(["chroot", str(folder), "Orthanc", "--version"], check=True)


if __name__ == "__main__":
    main()
