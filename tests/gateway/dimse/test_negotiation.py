"""Association negotiation over real sockets."""

from __future__ import annotations

import subprocess
import time

import pytest
from pydicom.uid import UID
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from gateway.dicom.uids import STORAGE_CLASSES, SYNTAXES
from gateway.settings import Peer
from tests.gateway.dimse.conftest import Door, OpenDoor
from tests.gateway.dimse.wire import ASSOCIATE_AC, ASSOCIATE_RJ, ASSOCIATE_RQ, associate_request
from tests.parts.machine import need

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
WORKLIST_FIND = "1.2.840.10008.5.1.4.31"
IMPLICIT, EXPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99"))
JPEG, JPEG_LOSSLESS, J2K_LOSSLESS = (f"1.2.840.10008.1.2.4.{end}" for end in ("50", "70", "90"))


@pytest.fixture(scope="module")
def door(module_door: Door) -> Door:
    """One server for all: the tests leave it as it was."""
    return module_door


def rejection(door: Door, **request: object) -> tuple[int, ...]:
    """Result, source and reason of the rejection that a request earns."""
    with door.wire() as wire:
        contexts = [(1, VERIFICATION, (IMPLICIT,))]
        wire.send(ASSOCIATE_RQ, associate_request(contexts, **request))  # type: ignore[arg-type]
        kind, body = wire.receive()
        assert kind == ASSOCIATE_RJ
        assert wire.ended()
        return tuple(body[1:4])


def propose(door: Door, *contexts: tuple[str, list[str]]) -> list[tuple[int, str]]:
    """Result and transfer syntax of each proposed presentation context."""
    ae = AE("SCU")
    association = ae.associate(
        *door.address, contexts=[build_context(*context) for context in contexts], ae_title="GANTRY"
    )
    assert association.is_established
    answered = {one.context_id: one for one in association.accepted_contexts + association.rejected_contexts}
    association.release()
    return [(int(one.result or 0), str(one.transfer_syntax[0])) for _, one in sorted(answered.items())]


def test_echo_with_dcmtk(door: Door) -> None:
    """NET-01."""
    host, port = door.address
    subprocess.run([need("echoscu"), "-aec", "GANTRY", host, str(port)], check=True, capture_output=True, timeout=20)


def test_an_unknown_called_title_is_rejected(door: Door) -> None:
    """NET-02: 1,1,7."""
    assert rejection(door, called=b"OTHER") == (1, 1, 7)


def test_any_called_title_will_do_when_set_so(open_door: OpenDoor) -> None:
    """NET-02."""
    door = open_door(require_called_aet=False)
    with door.wire() as wire:
        wire.send(ASSOCIATE_RQ, associate_request([(1, VERIFICATION, (IMPLICIT,))], called=b"OTHER"))
        assert wire.receive()[0] == ASSOCIATE_AC
        assert wire.echo() == 0


def test_an_unknown_calling_title_is_rejected(open_door: OpenDoor) -> None:
    """NET-02, S-08: 1,1,3; the peers may call as well."""
    door = open_door(calling_aets=("MODALITY",), peers=(Peer(aet="PACS", host="127.0.0.1", port=104),))
    assert rejection(door, calling=b"STRANGER") == (1, 1, 3)
    assert rejection(door, calling=b"modality") == (1, 1, 3)
    for title in (b"MODALITY", b" MODALITY ", b"PACS"):
        with door.wire() as wire:
            wire.send(ASSOCIATE_RQ, associate_request([(1, VERIFICATION, (IMPLICIT,))], calling=title))
            assert wire.receive()[0] == ASSOCIATE_AC


def test_a_peer_that_calls_from_elsewhere_is_rejected(open_door: OpenDoor) -> None:
    """S-08: 1,1,3 for a peer's title from another address than its host's, where that is asked for; by name as well."""
    peers = (
        Peer(aet="HERE", host="127.0.0.1", port=104),
        Peer(aet="NAMED", host="localhost", port=104),
        Peer(aet="THERE", host="192.0.2.1", port=104),
        Peer(aet="NOWHERE", host="nowhere.invalid", port=104),
    )
    strict, lax = open_door(peers=peers, require_peer_host=True), open_door(peers=peers)
    for title in (b"THERE", b"NOWHERE"):
        assert rejection(strict, calling=title) == (1, 1, 3)
    for door, title in ((strict, b"HERE"), (strict, b"NAMED"), (lax, b"THERE")):
        with door.wire() as wire:
            wire.send(ASSOCIATE_RQ, associate_request([(1, VERIFICATION, (IMPLICIT,))], calling=title))
            assert wire.receive()[0] == ASSOCIATE_AC


@pytest.mark.parametrize("title", [b"", b"A\\B", b"A\x1bB", b"\xc4\xd6", b"A\nB"])
def test_a_calling_title_that_is_none_is_rejected(door: Door, title: bytes) -> None:
    """S-07, NET-10."""
    assert rejection(door, calling=title) == (1, 1, 3)


def test_another_application_context_is_rejected(door: Door) -> None:
    """PS3.8 Table 9-21: 1,1,2."""
    assert rejection(door, application="1.2.3") == (1, 1, 2)


def test_one_association_too_many_is_rejected_at_once(open_door: OpenDoor) -> None:
    """NET-02, F-60: 2,3,2, in less than 100 ms (here with room for a slow machine); a place becomes free again."""
    door = open_door(max_associations=2)
    with door.wire((1, VERIFICATION, (IMPLICIT,))) as one, door.wire((1, VERIFICATION, (IMPLICIT,))) as two:
        started = time.monotonic()
        assert rejection(door) == (2, 3, 2)
        assert time.monotonic() - started < 1
        assert one.echo() == two.echo() == 0
        one.release()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                assert door.is_alive()
                break
            except AssertionError:
                time.sleep(0.02)
        else:
            pytest.fail("the place did not become free")


def test_every_storage_class_is_accepted(door: Door) -> None:
    """NET-03: all of the standard's, in as many associations as 128 contexts each need."""
    classes = sorted(STORAGE_CLASSES)
    for start in range(0, len(classes), 128):
        some = [(uid, [IMPLICIT, EXPLICIT]) for uid in classes[start : start + 128]]
        assert set(propose(door, *some)) == {(0, EXPLICIT)}


def test_every_transfer_syntax_is_accepted_for_storage(door: Door) -> None:
    """HTJ2K, JPEG XL and video too."""
    assert {f"1.2.840.10008.1.2.4.{end}" for end in ("201", "202", "203", "110", "111", "112", "102")} <= set(SYNTAXES)
    assert propose(door, *[(CT, [uid]) for uid in SYNTAXES]) == [(0, uid) for uid in SYNTAXES]


@pytest.mark.parametrize(
    ("proposed", "chosen"),
    [
        ([IMPLICIT, EXPLICIT], EXPLICIT),
        ([BIG, IMPLICIT], IMPLICIT),
        ([EXPLICIT, JPEG_LOSSLESS], JPEG_LOSSLESS),
        ([IMPLICIT, J2K_LOSSLESS, EXPLICIT], J2K_LOSSLESS),
        ([JPEG, EXPLICIT], EXPLICIT),
        ([JPEG], JPEG),
        (["1.2.3.4", IMPLICIT], IMPLICIT),
        ([DEFLATED, IMPLICIT], DEFLATED),
    ],
)
def test_a_syntax_is_chosen_by_our_preference(door: Door, proposed: list[str], chosen: str) -> None:
    """NET-04: what is lossless and as it is, then uncompressed, then lossy."""
    assert propose(door, (CT, proposed)) == [(0, chosen)]


def test_an_unknown_syntax_is_refused(door: Door) -> None:
    """NET-03: result 4."""
    assert propose(door, (CT, [EXPLICIT]), (CT, ["1.2.3.4"]))[1][0] == 4


def test_other_services_are_refused(door: Door) -> None:
    """NET-03: result 3 for services of the standard that are not ours, whatever is said of unknown classes."""
    assert propose(door, (VERIFICATION, [IMPLICIT]), (WORKLIST_FIND, [IMPLICIT]), (STUDY_MOVE, [IMPLICIT])) == [
        (0, IMPLICIT),
        (3, IMPLICIT),
        (0, IMPLICIT),
    ]


def test_private_and_newer_classes_are_storage_unless_set_otherwise(open_door: OpenDoor) -> None:
    """S-17."""
    unknown = [("1.2.826.0.1.3680043.9.1", [EXPLICIT]), ("1.2.840.10008.5.1.4.1.1.999.1", [EXPLICIT])]
    assert [result for result, _ in propose(open_door(), *unknown)] == [0, 0]
    door = open_door(accept_unknown_classes=False)
    assert [result for result, _ in propose(door, (CT, [EXPLICIT]), *unknown)] == [0, 3, 3]


def test_deflated_is_not_for_identifiers(door: Door) -> None:
    """NET-01: Implicit and Explicit VR for Query."""
    assert propose(door, (STUDY_FIND, [DEFLATED, IMPLICIT]), (VERIFICATION, [EXPLICIT, IMPLICIT])) == [
        (0, IMPLICIT),
        (0, EXPLICIT),
    ]


def negotiated(door: Door, information: bytes) -> bytes | None:
    """Our answer to the extended negotiation of Study Root Find."""
    proposal = SOPClassExtendedNegotiation()
    proposal.sop_class_uid = UID(STUDY_FIND)
    proposal.service_class_application_information = information
    ae = AE("SCU")
    association: Association = ae.associate(
        *door.address, contexts=[build_context(STUDY_FIND, IMPLICIT)], ae_title="GANTRY", ext_neg=[proposal]
    )
    assert association.is_established
    answer = association.acceptor.sop_class_extended.get(UID(STUDY_FIND))
    association.release()
    return answer


def test_extended_negotiation_promises_what_is_done(door: Door) -> None:
    """NET-09: relational queries and combined date and time; no fuzzy names, no time zones, nothing unasked."""
    assert negotiated(door, b"\x01\x01\x01\x01\x01\x01\x01") == b"\x01\x01\x00\x00\x00\x00\x00"
    assert negotiated(door, b"\x01\x00") == b"\x01\x00"
    assert negotiated(door, b"\x00") == b"\x00"


def test_no_asynchronous_operations_are_negotiated(door: Door) -> None:
    """NET-07: no item in the answer, so that one operation at a time holds."""
    window = b"\x53\x00\x00\x04\x00\x05\x00\x05"
    with door.wire() as wire:
        wire.send(ASSOCIATE_RQ, associate_request([(1, VERIFICATION, (IMPLICIT,))], user_items=window))
        kind, body = wire.receive()
        assert kind == ASSOCIATE_AC
        assert b"\x53\x00\x00\x04" not in body


def test_unknown_user_items_are_ignored(door: Door) -> None:
    """PS3.8 9.3.1."""
    with door.wire() as wire:
        wire.send(ASSOCIATE_RQ, associate_request([(1, VERIFICATION, (IMPLICIT,))], user_items=b"\x7a\x00\x00\x02zz"))
        assert wire.receive()[0] == ASSOCIATE_AC
        assert wire.echo() == 0


def test_the_largest_pdu_is_announced(door: Door) -> None:
    """NET-06."""
    with door.wire() as wire:
        wire.send(ASSOCIATE_RQ, associate_request([(1, VERIFICATION, (IMPLICIT,))], max_pdu=0))
        _, body = wire.receive()
        assert b"\x51\x00\x00\x04" + (131072).to_bytes(4, "big") in body
        assert wire.echo() == 0
