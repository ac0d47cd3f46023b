"""Networks of their own: for servers that cannot be told to listen on loopback alone, and for cables to be pulled.

Where the kernel lets us make none (inside many containers), the machine's own network has to do.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from tests.parts.debian import find

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_HOLD = """
import fcntl, socket, struct, sys
with socket.socket() as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sH14x", b"lo", 0x41))  # SIOCSIFFLAGS: up and running
print("up", flush=True)
sys.stdin.read()
"""


@contextmanager
def _network() -> Iterator[int | None]:
    """The process that holds a new network with nothing but loopback; None where none can be made."""
    unshare = find("unshare")
    if unshare is None:
        yield None
        return
    more = () if os.geteuid() == 0 else ("--map-root-user",)
    command = [unshare, "--net", *more, sys.executable, "-c", _HOLD]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as holder:
        assert holder.stdout is not None
        yield holder.pid if holder.stdout.readline() == b"up\n" else None


@contextmanager
def private_network() -> Iterator[Sequence[str]]:
    """What to put before a command so that it runs in a network that has nothing but loopback, while this lasts."""
    enter = find("nsenter")
    with _network() as holder:
        if holder is None or enter is None:
            yield ()
            return
        user = () if os.geteuid() == 0 else ("--preserve-credentials", f"--user=/proc/{holder}/ns/user")
        yield (enter, *user, f"--net=/proc/{holder}/ns/net", "--")


class Cables:
    """Two networks of their own, one for a gateway and one for its servers, and the cables between them.

    What is called `in_gateway` or `in_servers` runs in a thread of that network, and so does what it starts. Nothing of
    it is seen in the machine's own network.
    """

    def __init__(self, gateway: int, servers: int, running: ExitStack) -> None:
        self._holders = {"gateway": gateway, "servers": servers}
        self._count = 0
        self._threads = {
            name: running.enter_context(ThreadPoolExecutor(1, initializer=_enter, initargs=(holder,)))
            for name, holder in self._holders.items()
        }

    def in_gateway(self, work: Callable[[], T]) -> T:
        """Do it in the gateway's network."""
        return self._threads["gateway"].submit(work).result()

    def in_servers(self, work: Callable[[], T]) -> T:
        """Do it in the servers' network."""
        return self._threads["servers"].submit(work).result()

    def plug(self) -> tuple[str, str]:
        """A new cable: its name, and the address of its end at the servers."""
        self._count += 1
        here, there = f"cable{self._count}", f"end{self._count}"
        pid = self._holders["gateway"]
        self._ip("servers", "link", "add", here, "type", "veth", "peer", "name", there, "netns", str(pid))
        for name, device, last in (("servers", here, 1), ("gateway", there, 2)):
            self._ip(name, "address", "add", f"10.77.{self._count}.{last}/30", "dev", device)
            self._ip(name, "link", "set", device, "up")
        return here, f"10.77.{self._count}.1"

    def pull(self, cable: str) -> None:
        """Pull a cable out: nothing passes, and nobody is told."""
        self._ip("servers", "link", "set", cable, "down")

    def put_back(self, cable: str) -> None:
        """Put it back in."""
        self._ip("servers", "link", "set", cable, "up")

    def _ip(self, network: str, *arguments: str) -> None:
        enter, ip = find("nsenter"), find("ip")
        assert enter is not None and ip is not None
        command = [enter, f"--net=/proc/{self._holders[network]}/ns/net", "--", ip, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=20)


def _enter(holder: int) -> None:
    """Bring this thread into another network."""
    with Path(f"/proc/{holder}/ns/net").open("rb") as network:
        if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def cables() -> Iterator[Cables | None]:
    """The two networks; None where the machine lets us make none."""
    with ExitStack() as running:
        holders = [running.enter_context(_network()) for _ in range(2)]
        if os.geteuid() or None in holders or find("ip") is None or find("nsenter") is None:
            yield None
            return
        gateway, servers = (one for one in holders if one is not None)
        made = Cables(gateway, servers, running)
        try:
            made.pull(made.plug()[0])
        except subprocess.CalledProcessError:  # no such devices here
            yield None
            return
        yield made
