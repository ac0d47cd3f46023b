"""What a peer may do, by the settings, at the DIMSE door."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import dcmread
from pynetdicom import AE, build_context, build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gateway.settings import Peer
from tests.gateway.dimse.conftest import Door, OpenDoor
from tests.gateway.dimse.peers import keep
from tests.gateway.dimse.test_get import identifier
from tests.gateway.dimse.wire import CT, EXPLICIT
from tests.parts.datasets import ct_slice, part10_bytes, uid

NOT_AUTHORISED = 0x0124
FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{last}" for last in (1, 2, 3))


@pytest.fixture
def door(open_door: OpenDoor) -> Door:
    """A server with a study, and peers that may do one thing each."""
    peers = [
        Peer(aet=action.upper(), host="127.0.0.1", port=104, may=[action]) for action in ("search", "read", "store")
    ]
    opened = open_door(peers=tuple(peers))
    keep(opened, ct_slice("there"))
    return opened


def statuses(door: Door, aet: str) -> dict[str, int]:
    """The final status of each operation that the peer tries on one association."""
    ae = AE(aet)
    contexts = [build_context(sop_class) for sop_class in (Verification, FIND, MOVE, GET)]
    association: Association = ae.associate(
        *door.address,
        contexts=[*contexts, build_context(CT, EXPLICIT)],
        ae_title="GANTRY",
        ext_neg=[build_role(CT, scp_role=True, scu_role=True)],
    )
    assert association.is_established
    wanted = identifier("STUDY", StudyInstanceUID=uid("study", "there"))
    sent = ct_slice(aet)
    found = {
        "echo": association.send_c_echo().Status,
        "find": list(association.send_c_find(wanted, FIND))[-1][0].Status,
        "move": list(association.send_c_move(wanted, "READ", MOVE))[-1][0].Status,
        "get": list(association.send_c_get(wanted, GET))[-1][0].Status,
        "store": association.send_c_store(dcmread(BytesIO(part10_bytes(sent)))).Status,
    }
    association.release()
    assert (door.archive.find(sent.SOPInstanceUID) is not None) == (found["store"] == 0)
    return {name: int(status) for name, status in found.items()}


def test_each_operation_asks_for_its_own_right(door: Door) -> None:
    """STORE-07, S-69: 0124H for what a peer may not; C-ECHO is anybody's who may associate."""
    refused = {"find": NOT_AUTHORISED, "move": NOT_AUTHORISED, "get": NOT_AUTHORISED, "store": NOT_AUTHORISED}
    assert statuses(door, "SEARCH") == {**refused, "echo": 0, "find": 0}
    assert statuses(door, "STORE") == {**refused, "echo": 0, "store": 0}
    read = statuses(door, "READ")
    assert (read["echo"], read["find"], read["store"]) == (0, NOT_AUTHORISED, NOT_AUTHORISED)
    assert NOT_AUTHORISED not in (read["move"], read["get"])
