"""Who asks, by which door, from where, under which request id. Made by the wings, handed to every use case."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.rights import EVERYTHING, Rights
from gateway.trail import Trail


@dataclass(frozen=True, slots=True)
class Caller:
    """The one who asks.

    `name` is the AE title on DIMSE, the subject of the token on the web, `cli` for commands. `door` is `dimse`, `web`
    or `cli`. `address` is the peer's address. `request_id` stands on every log line of the request or association.
    `rights` are what the policy grants to the one who came in; the program's own work may do everything. `trail` is
    where use cases note what they touched.
    """

    name: str
    door: str
    address: str = ""
    request_id: str = ""
    rights: Rights = field(default=EVERYTHING, repr=False)
    trail: Trail = field(default_factory=Trail, repr=False, compare=False)
