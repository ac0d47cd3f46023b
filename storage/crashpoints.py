"""Places where tests let the process die: in the middle of a store, a delete, a sweep, a migration.

`GANTRY_CRASHPOINT=P5:3` kills the process when it comes to P5 for the third time; `P6:1:stop` stops it there, until
it is told to go on (SIGCONT). Nothing else is ever done here, and without the variable a point costs a look at a name.

P1 spool file made, P2 a piece of it written, P3 its bytes on the disk, P4 the object has its name (in S3: a part was
sent), P5 the object is durable, P6 transaction begun, P7 before its commit, P8 after it, P9 half of the response sent,
P10 all of it.
D1 before a delete, D2 its tomb is kept, D3 before its commit, D4 after it.
G1 garbage claimed, G2 its object removed, G3 its row removed; G4 an orphan noted, G5 removed, G6 forgotten;
G7 a rebuild has cleared the index, G8 has entered an instance (a reconcile too), G9 has noted how far it came;
G10 the scrubber has taken a slice, G11 has looked at an instance; G12 a reconcile has removed what left, G13 is done
but for saying so.
M1 before the schema is migrated, M2 before the commit of that, M3 after it; M4 a new store has its mark, M5 the index.
"""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import dataclass, field

VARIABLE = "GANTRY_CRASHPOINT"


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    at: int
    what: signal.Signals
    count: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


_plan: _Plan | None = None


def arm(text: str | None) -> None:
    """Say where to die: `name:n` or `name:n:stop`; None or nothing: nowhere. Raises ValueError."""
    global _plan
    name, _, rest = (text or "").partition(":")
    number, _, what = rest.partition(":")
    _plan = _Plan(name, int(number or 1), signal.SIGSTOP if what == "stop" else signal.SIGKILL) if name else None


def armed(name: str) -> bool:
    """Whether the process is to die at this point; for what has to be done in halves then."""
    return _plan is not None and _plan.name == name


def reached(name: str) -> None:
    """Die here, when it was said so."""
    if _plan is not None and _plan.name == name and next(_plan.count) == _plan.at:
        os.kill(os.getpid(), _plan.what)


arm(os.environ.get(VARIABLE))
