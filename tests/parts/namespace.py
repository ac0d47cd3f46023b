"""A network of its own for servers that cannot be told to listen on loopback alone: nothing gets in or out.

Where the kernel lets us make none (inside many containers), the machine's own network has to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.parts.debian import find

_HOLD = """
import fcntl, socket, struct, sys
with socket.socket() as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sH14x", b"lo", 0x41))  # SIOCSIFFLAGS: up and running
print("up", flush=True)
sys.stdin.read()
"""


@contextmanager
def private_network() -> Iterator[Sequence[str]]:
    """What to put before a command so that it runs in a network that has nothing but loopback, while this lasts."""
    unshare, enter = find("unshare"), find("nsenter")
    if unshare is None or enter is None:
        yield ()
        return
    more = () if os.geteuid() == 0 else ("--map-root-user",)
    command = [unshare, "--net", *more, sys.executable, "-c", _HOLD]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"up\n":
            yield ()
            return
        user = () if os.geteuid() == 0 else ("--preserve-credentials", f"--user=/proc/{holder.pid}/ns/user")
        yield (enter, *user, f"--net=/proc/{holder.pid}/ns/net", "--")
