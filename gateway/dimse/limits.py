"""What a peer may take of us: sizes and times of the upper layer, none of them left to the library's defaults."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PDU = 131_072
"""Maximum length of a P-DATA-TF PDU that we announce, in bytes of its variable field (PS3.8 D.1): larger ones gain
nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one association and on all of them.

    `request_pdu`, `command_set`, `identifier` and `action` (the data set of an N-ACTION) are in bytes.
    `handshake_seconds` is for all of a TLS handshake. `request_seconds` is the ARTIM timer: from the connection to a
    whole A-ASSOCIATE-RQ (PS3.8 9.1.5). `pdu_seconds` is
    from the first byte of a PDU to its last, and between two PDUs of one message. `idle_seconds` is between messages,
    `send_seconds` for the peer to take what we send, `connect_seconds` for a peer to accept a connection of ours and
    then an association on it, `response_seconds` for its answer to a request of ours, `linger_seconds` for it to close
    after a release, rejection or abort. `waiting` and `waiting_per_address` bound the connections that have not
    negotiated yet; the oldest makes room.
    """

    request_pdu: int = 1 << 20
    command_set: int = 65_536
    identifier: int = 1 << 20
    action: int = 1 << 20
    handshake_seconds: float = 5.0
    request_seconds: float = 5.0
    pdu_seconds: float = 30.0
    idle_seconds: float = 300.0
    send_seconds: float = 30.0
    connect_seconds: float = 5.0
    response_seconds: float = 60.0
    linger_seconds: float = 1.0
    waiting: int = 512
    waiting_per_address: int = 32
