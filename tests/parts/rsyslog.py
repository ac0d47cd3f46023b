"""rsyslog of Debian as an audit record repository: syslog over TLS into a file (RFC 5425)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.parts.certificates import Authority
from tests.parts.machine import free_port, need
from tests.parts.processes import background, wait_until

CONFIGURATION = """
global(workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="raw" type="string" string="%rawmsg%\\n")
action(type="omfile" file="{folder}/received.log" template="raw" flushOnTXEnd="on")
"""


@contextmanager
def receiver(folder: Path, authority: Authority, port: int = 0) -> Iterator[tuple[int, Path]]:
    """The port that it listens on, and the file that received messages are in, one a line.

    It takes senders with a certificate of the authority only.
    """
    folder.mkdir(exist_ok=True)
    issued = authority.issue("receiver")
    port = port or free_port()
    values = {"folder": folder, "ca": authority.certificate, "cert": issued.certificate, "key": issued.key}
    configuration = folder / "rsyslog.conf"
    configuration.write_text(CONFIGURATION.format(port=port, **values))
    command = [need("rsyslogd", "rsyslog"), "-n", "-f", str(configuration), "-i", str(folder / "pid")]

    def listens() -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with background(command, folder / "rsyslog.log", patience=3.0) as process:
        wait_until(listens, "rsyslog", process, folder / "rsyslog.log")
        yield port, folder / "received.log"
