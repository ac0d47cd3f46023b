"""What children are asked to do in the tests: things that decoders have done."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from gateway.errors import NotRenderable
from gateway.isolated import Facts


def mirror(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    return {"said": facts, "pid": os.getpid()}, bytes(data)[::-1]


def crash(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    os.abort()


def killed(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    os.kill(os.getpid(), 9)
    return {}, b""


def spin(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    while True:
        pass


def hang(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    time.sleep(3600)
    return {}, b""


def hog(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    return {}, bytearray(1 << 34)


def fail(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    raise NotRenderable("the frame is blue")


def stumble(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    raise ZeroDivisionError("with words that are nobody's business")


def flood(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    return {}, bytes(int(facts["size"]))


def surroundings(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    return {"environment": dict(os.environ), "files": [path.name for path in Path("/proc/self/fd").iterdir()]}, b""
