"""Accepting or rejecting an association (PS3.8 7.1, PS3.7 Annex D), from tables made once.

pynetdicom copies all supported contexts for each association and compares them one by one; here the choice for a
presentation context is two dictionary look-ups. Everything else of the exchange is the library's.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.acse import ACSE
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation, UserIdentityNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from gateway.audit import Audit
from gateway.dicom.uids import (
    DEFLATED_LITTLE_ENDIAN,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    STORAGE_CLASSES,
    SYNTAXES,
)
from gateway.dimse.access import Access
from gateway.dimse.classes import SERVED
from gateway.dimse.provider import TRANSFER
from gateway.dimse.requests import Proposed
from gateway.errors import TooOften
from gateway.tls import Names, fits

if TYPE_CHECKING:
    from gateway.dimse.association import Acceptor

VERIFICATION = str(Verification)
PATIENT_ROOT_FIND = str(PatientRootQueryRetrieveInformationModelFind)
STUDY_ROOT_FIND = str(StudyRootQueryRetrieveInformationModelFind)
FIND_CLASSES = frozenset({PATIENT_ROOT_FIND, STUDY_ROOT_FIND})

ACCEPTED, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 3, 4
"""Results of a presentation context (PS3.8 Table 9-18)."""

Rejection = tuple[int, int, int]
CONTEXT_NAME_NOT_SUPPORTED: Rejection = (1, 1, 2)
NO_REASON_GIVEN: Rejection = (1, 1, 1)
CALLING_TITLE_UNKNOWN: Rejection = (1, 1, 3)
CALLED_TITLE_UNKNOWN: Rejection = (1, 1, 7)
IDENTITY_REFUSED: Rejection = (2, 2, 1)
CONGESTED: Rejection = (2, 3, 1)
LIMIT_EXCEEDED: Rejection = (2, 3, 2)
"""Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

PASSCODE, WEB_TOKEN = 2, 5
"""Types of User Identity that hold a secret (PS3.7 Table D.3-14): user name and passcode, JSON Web Token."""

SMALLEST_PDU = 128
"""A peer that takes less in one PDU cannot be answered in reasonable time (0 is no limit)."""


def _ranks(*groups: list[str]) -> Mapping[str, int]:
    return {uid: rank for rank, uid in enumerate(uid for group in groups for uid in group)}


_PLAIN = [EXPLICIT_LITTLE_ENDIAN, DEFLATED_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN]
_OTHER = [uid for uid in SYNTAXES if uid not in _PLAIN]

STORAGE_SYNTAXES: Mapping[str, int] = _ranks(
    [uid for uid in _OTHER if not SYNTAXES[uid].lossy], _PLAIN, [uid for uid in _OTHER if SYNTAXES[uid].lossy]
)
"""Transfer syntaxes of stored instances by preference: lossless as they are, so that no sender decompresses; then
uncompressed; lossy ones last, so that no sender compresses with loss for us what it has without."""

MESSAGE_SYNTAXES: Mapping[str, int] = _ranks([EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN])
"""Transfer syntaxes of identifiers and of Verification, by preference."""

RETURN_SYNTAXES: Mapping[str, int] = _ranks(
    [EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, DEFLATED_LITTLE_ENDIAN],
    [uid for uid in _OTHER if not SYNTAXES[uid].lossy],
    [uid for uid in _OTHER if SYNTAXES[uid].lossy],
)
"""Transfer syntaxes of instances that a peer gets on its own association (C-GET), by preference: first those that we
can make of anything that is stored."""

_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
_STANDARD_ROOT = "1.2.840.10008."


@dataclass(frozen=True, slots=True)
class Policy:
    """What we accept. `access` verifies a User Identity; `ignore_identity` accepts any.

    `calling` empty means any calling AE title. `accept_unknown_classes`: SOP classes that are
    private or newer than we are count as storage. `certificates` tells which TLS certificate has to come with a calling
    AE title, and `hosts` from where, where that counts."""

    aet: str
    require_called: bool = True
    calling: frozenset[str] = field(default_factory=frozenset)
    accept_unknown_classes: bool = True
    certificates: Mapping[str, str] = field(default_factory=dict)
    access: Access | None = None
    ignore_identity: bool = False
    hosts: Mapping[str, str] = field(default_factory=dict)
    audit: Audit | None = None

    def titles(self, called: str | None, calling: str | None) -> Rejection | None:
        """The rejection that these AE titles earn (NET-02, NET-10)."""
        if calling is None or (self.calling and calling not in self.calling):
            return CALLING_TITLE_UNKNOWN
        if called is None or (self.require_called and called != self.aet):
            return CALLED_TITLE_UNKNOWN
        return None

    def certified(self, calling: str | None, names: Names) -> Rejection | None:
        """The rejection of an AE title that is somebody's who would show another certificate (TLS-02)."""
        wanted = self.certificates.get(calling or "")
        return None if wanted is None or fits(names, wanted) else CALLING_TITLE_UNKNOWN

    def at_home(self, calling: str | None, address: str) -> Rejection | None:
        """The rejection of an AE title that calls from another address than its host's (S-08)."""
        host = self.hosts.get(calling or "")
        return None if host is None or _plain(address) in _addresses(host) else CALLING_TITLE_UNKNOWN

    def is_storage(self, abstract_syntax: str) -> bool:
        """Do we take C-STORE for this SOP class?"""
        return abstract_syntax in STORAGE_CLASSES or (self.accept_unknown_classes and _unknown(abstract_syntax))

    def syntaxes(self, abstract_syntax: str) -> Mapping[str, int] | None:
        """The transfer syntaxes we take for an abstract syntax, ranked; None when we do not support it."""
        if abstract_syntax == VERIFICATION or abstract_syntax in FIND_CLASSES or abstract_syntax in SERVED:
            return MESSAGE_SYNTAXES
        return STORAGE_SYNTAXES if self.is_storage(abstract_syntax) else None

    def choose(self, proposed: Proposed, returned: bool = False) -> PresentationContext:
        """The answer to one proposed presentation context (NET-03, NET-04); `returned`: the peer is to be the SCP."""
        ranks = self.syntaxes(proposed.abstract_syntax)
        if returned and ranks is STORAGE_SYNTAXES:
            ranks = RETURN_SYNTAXES
        known = [uid for uid in proposed.transfer_syntaxes if ranks is not None and uid in ranks]
        context = PresentationContext()
        context._context_id = proposed.context_id
        context._abstract_syntax = _as_uid(proposed.abstract_syntax)
        context._as_scu, context._as_scp = False, True
        if ranks is None:
            context.result = ABSTRACT_SYNTAX_NOT_SUPPORTED
        else:
            context.result = ACCEPTED if known else TRANSFER_SYNTAXES_NOT_SUPPORTED
        chosen = min(known, key=ranks.__getitem__) if ranks and known else proposed.transfer_syntaxes[0]
        context._transfer_syntax = [_as_uid(chosen)]
        return context


def _addresses(host: str) -> set[str]:
    """Those of a host, now; none when it has no such name."""
    try:
        return {_plain(str(info[4][0])) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def _plain(address: str) -> str:
    """An address in one form: IPv4 as it is, however a socket of IPv6 shows it."""
    return address.removeprefix("::ffff:").partition("%")[0]


def _unknown(uid: str) -> bool:
    """A private SOP class, or one of the standard's storage classes that is newer than our tables."""
    if uid.startswith(_STANDARD_ROOT):
        return uid.startswith(_STORAGE_ROOT) and uid not in UID_dictionary
    return True


@lru_cache(maxsize=4096)
def _as_uid(text: str) -> UID:
    return UID(text)


class Negotiation(ACSE):
    """The association control of an accepted association."""

    def __init__(self, assoc: Acceptor) -> None:
        super().__init__(assoc)
        self._acceptor = assoc

    def _negotiate_as_acceptor(self) -> None:
        """Answer the A-ASSOCIATE indication; afterwards the association is established, or rejected."""
        assoc, request = self._acceptor, self._acceptor.provider.request
        assert request is not None
        assert self.requestor.primitive is not None
        self.requestor.ae_title = self.requestor.primitive.calling_ae_title
        rejection = self._rejection()
        if rejection is None:
            rejection = self._identity() or assoc.admit()
        if rejection is not None:
            assoc.rejection = rejection
            self.send_reject(*rejection)
            evt.trigger(assoc, evt.EVT_REJECTED, {})
            return
        for item in self._check_sop_class_extended():
            self.acceptor.add_negotiation_item(item)
        for role in self._roles():
            self.acceptor.add_negotiation_item(role)
        # No item answers an asynchronous operations window: it then has its default, one operation at a time (PS3.7
        # D.3.3.3).
        contexts = [
            assoc.policy.choose(proposed, proposed.abstract_syntax in assoc.returned) for proposed in request.contexts
        ]
        assoc._accepted_cx = {cast(int, one.context_id): one for one in contexts if one.result == ACCEPTED}
        assoc._rejected_cx = [context for context in contexts if context.result != ACCEPTED]
        self.send_accept()
        if assoc.provider.state != TRANSFER:
            return
        assoc.is_established = True
        evt.trigger(assoc, evt.EVT_ACCEPTED, {})
        evt.trigger(assoc, evt.EVT_ESTABLISHED, {})

    def _identity(self) -> Rejection | None:
        """Verify or refuse a User Identity (PS3.7 D.3.3.7, S-16). Nothing of it is ever logged."""
        asked = self.requestor.user_identity
        if asked is None or self._acceptor.policy.ignore_identity:
            return None
        secret = {PASSCODE: asked.secondary_field, WEB_TOKEN: asked.primary_field}.get(asked.user_identity_type or 0)
        access = self._acceptor.policy.access
        place = (self.requestor.address or "", self.requestor.ae_title)
        try:
            self._acceptor.user = access.user(secret, *place) if access is not None else None
        except TooOften:
            return CONGESTED
        if self._acceptor.user is None:
            return IDENTITY_REFUSED
        if asked.positive_response_requested:
            answer = UserIdentityNegotiation()
            answer.server_response = b""
            self.acceptor.add_negotiation_item(answer)
        return None

    def _roles(self) -> list[SCP_SCU_RoleSelectionNegotiation]:
        """Let the peer be the SCP of storage classes, as it proposes for C-GET (NET-08, PS3.7 D.3.3.4).

        Without an answer the requestor is the SCU, so roles of other classes need none.
        """
        answers = []
        for uid, proposed in self.requestor.role_selection.items():
            if proposed.scp_role and self._acceptor.policy.is_storage(str(uid)):
                answer = SCP_SCU_RoleSelectionNegotiation()
                answer.sop_class_uid, answer.scu_role, answer.scp_role = uid, bool(proposed.scu_role), True
                answers.append(answer)
        self._acceptor.returned = frozenset(str(answer.sop_class_uid) for answer in answers)
        return answers

    def _rejection(self) -> Rejection | None:
        request = self._acceptor.provider.request
        assert request is not None
        if not request.application_context_known:
            return CONTEXT_NAME_NOT_SUPPORTED
        if 0 < (self.requestor.maximum_length or 0) < SMALLEST_PDU:
            return NO_REASON_GIVEN
        policy, connection = self._acceptor.policy, self._acceptor.provider.connection
        return (
            policy.titles(request.called, request.calling)
            or policy.certified(request.calling, connection.certificate_names)
            or policy.at_home(request.calling, self.requestor.address or "")
        )
