"""Where pynetdicom is replaced: what the replacement was written against.

When one of these fails after an upgrade, read the library's function again, see that `gateway.dimse` still fits it,
and note its new digest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from pynetdicom import acse, association, dimse, dimse_messages, dsutils, dul, fsm, pdu, service_class, transport

WRITTEN_AGAINST: list[tuple[Callable[..., Any], str]] = [
    (association.Association.__init__, "eb07516b8009"),
    (association.Association._abort_blocking, "10b43ef8c63c"),
    (association.Association.run_reactor, "ed8bbbe3b3d6"),
    (acse.ACSE._negotiate_as_acceptor, "fffd360957c4"),
    (acse.ACSE._check_sop_class_extended, "159f1a819108"),
    (acse.ACSE.send_accept, "c03855deabef"),
    (acse.ACSE.send_reject, "700998293bbc"),
    (acse.ACSE.send_release, "28eaf9df836c"),
    (dul.DULServiceProvider.__init__, "c82dafa9438d"),
    (dul.DULServiceProvider._decode_pdu, "fc71dd1bf853"),
    (dul.DULServiceProvider._process_recv_primitive, "4c0ebbb3e646"),
    (dul.DULServiceProvider._send, "a850a7919e68"),
    (dul.DULServiceProvider.kill_dul, "5ceccf8dd01c"),
    (dul.DULServiceProvider.receive_pdu, "fa67339834ca"),
    (dul.DULServiceProvider.send_pdu, "7cbce5da8594"),
    (dimse.DIMSEServiceProvider.__init__, "bbecd186810e"),
    (dimse.DIMSEServiceProvider.receive_primitive, "5f99c86b14a1"),
    (dimse.DIMSEServiceProvider.send_msg, "a839cf2fb469"),
    (dimse_messages.DIMSEMessage.__init__, "b9c44307ebf2"),
    (dimse_messages.DIMSEMessage.encode_msg, "73000c902c52"),
    (dimse_messages.DIMSEMessage.message_to_primitive, "f8f43d34e434"),
    (dimse_messages.DIMSEMessage.primitive_to_message, "71fd61d5997f"),
    (fsm.StateMachine.do_action, "9a883f44c7f3"),
    (fsm.AE_5, "35e8617fcc8d"),
    (fsm.AE_6, "385d595ed494"),
    (fsm.AE_7, "c62284735836"),
    (fsm.AE_8, "9fc96fcfe2e1"),
    (fsm.AR_2, "2cf6aeb89062"),
    (fsm.AR_4, "33a12cf6208e"),
    (fsm.AA_2, "a58069d82991"),
    (fsm.AA_3, "de64452e828d"),
    (fsm.AA_4, "de72d40c80b0"),
    (service_class.ServiceClass.is_cancelled, "fb9acf44b9bd"),
    (service_class.ServiceClass.validate_status, "4c92e97ae31a"),
    (transport.AssociationSocket.__init__, "1f0325fdef2c"),
    (transport.AssociationSocket.close, "c726c8db5381"),
    (transport.AssociationServer.__init__, "edacb98bdfb7"),
    (transport.AssociationServer.server_bind, "cf69278a05a5"),
    (transport.AssociationServer.shutdown, "e8e2c3a41009"),
    (pdu.PDU.decode, "07098f2d8a4d"),
    (pdu.PDU.encode, "21d920a756d9"),
    (pdu.A_ASSOCIATE_RQ.from_primitive, "3812564a6c7e"),
    (pdu.A_ASSOCIATE_AC.to_primitive, "b6c8dec23fa7"),
    (dsutils.encode, "0d29ffd5d358"),
]


@pytest.mark.parametrize(("function", "digest"), WRITTEN_AGAINST, ids=lambda value: getattr(value, "__qualname__", ""))
def test_the_library_is_as_it_was_when_its_parts_were_replaced(function: Callable[..., Any], digest: str) -> None:
    """Each is overridden, called, or stood in for by `gateway.dimse`."""
    assert sha256(inspect.getsource(function).encode()).hexdigest()[:12] == digest
