"""Commands of `gantry`, run to their end."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.parts import forge
from tests.parts.gateway import Launch, clean_environment


def gantry(
    *arguments: object, environment: Mapping[str, str] | None = None, seconds: float = 60, launch: Launch | None = None
) -> subprocess.CompletedProcess[str]:
    """What a command printed, and how it ended. It is forked, unless `launch` starts it another way."""
    command = [sys.executable, "-m", "gateway", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = Path(folder) / "out", Path(folder) / "err"
        start = launch or forge.shared().launch
        started = start(command, clean_environment(environment), Path.cwd(), stdout, stderr)
        try:
            status = started.wait(seconds)
        except subprocess.TimeoutExpired:
            started.send_signal(9)
            raise
        return subprocess.CompletedProcess(command, status, stdout.read_text(), stderr.read_text())
