"""The policy, as data: who has which rights (`[[roles]]` of the settings), and what the scopes of a token mean.

A caller is described by what its door could verify (`Who`). A role fits a caller by its AE title, the name of its API
key, its subject, or claims of its token; it permits actions, on all studies or on those that fit one of its patterns.
A token's scopes never widen what roles give: both have to permit.
"""

from __future__ import annotations

import datetime
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from gateway.rights import EVERYTHING, NOTHING, Action, Rights
from storage.attributes import BY_KEYWORD, Attribute, Level
from storage.errors import QueryRefused
from storage.query import Between, Condition, Within, condition, one_of

NEWER = "newer_than_days"
"""The key of a study pattern that is about the age of the study instead of an attribute."""

_CLAIM = re.compile(r"\{([A-Za-z0-9_.:/-]+)\}")
_PLAIN = re.compile(r"dicom\.(search|read|store|delete|share|admin|monitor)")
_SMART = re.compile(r"(patient|user|system)/(?:ImagingStudy|\*)\.(read|write|\*|c?r?u?d?s?)")
_LETTERS = {
    "c": (Action.STORE,),
    "r": (Action.READ,),
    "u": (Action.STORE,),
    "d": (Action.DELETE,),
    "s": (Action.SEARCH,),
}
_WORDS = {"read": "rs", "write": "cud", "*": "cruds"}

Texts = tuple[str, ...]
Pattern = Mapping[str, Texts | int]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _patterns(value: Any) -> Any:
    """Each study pattern with lists of values."""
    if not isinstance(value, list | tuple):
        return value
    return tuple(
        {key: held if key == NEWER else _listed(held) for key, held in one.items()} if isinstance(one, dict) else one
        for one in value
    )


class Limits(BaseModel):
    """Actions, and the studies that they are permitted for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    may: frozenset[Action] = Field(description="Actions: search, read, store, delete, share, admin, monitor.")
    studies: Annotated[tuple[Pattern, ...], BeforeValidator(_patterns)] = Field(
        (), description="Patterns of studies, by attributes of the index; empty: all studies."
    )

    @field_validator("studies")
    @classmethod
    def _known(cls, value: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
        for one in value:
            if not one:
                raise ValueError("a pattern of studies needs a key; without `studies` all of them are meant")
            for key, held in one.items():
                _check(key, held)
        return value

    def rights(self, who: Who, today: datetime.date | None = None) -> Rights:
        """What is permitted to a caller, whose claims fill in the patterns."""
        if not self.studies:
            return Rights.to(self.may)
        day = today or datetime.datetime.now(datetime.UTC).date()
        found = (_alternative(pattern, who, day) for pattern in self.studies)
        return Rights.to(self.may, tuple(one for one in found if one is not None))


class Role(Limits):
    """A role: whom it fits, what it permits, and with which studies.

    It fits a caller when everything that it names fits; one value of each list is enough.
    """

    name: str = Field(min_length=1, description="Name of the role, for logs.")
    aets: Annotated[Texts, BeforeValidator(_listed)] = Field((), description="Calling AE titles that it fits.")
    keys: Annotated[Texts, BeforeValidator(_listed)] = Field((), description="Names of API keys and users it fits.")
    certificates: Annotated[Texts, BeforeValidator(_listed)] = Field(
        (), description="Client certificates over HTTP that it fits: SHA-256 fingerprints, or names in them."
    )
    subjects: Annotated[Texts, BeforeValidator(_listed)] = Field((), description="Subjects of tokens that it fits.")
    claims: Mapping[str, Annotated[Texts, BeforeValidator(_listed)]] = Field(
        default_factory=dict, description="Claims of tokens: each has to have one of the values."
    )

    def fits(self, who: Who) -> bool:
        """Is this caller one of those that the role is for?"""
        named = ((self.aets, who.aet), (self.keys, who.key), (self.subjects, who.subject))
        asked: list[tuple[Texts, Texts]] = [(wanted, (value,)) for wanted, value in named if wanted]
        if self.certificates:
            asked.append((tuple(map(plain, self.certificates)), tuple(who.certificate)))
        asked += [(wanted, _held(who.claims, name)) for name, wanted in self.claims.items()]
        return bool(asked) and all(not set(wanted).isdisjoint(held) for wanted, held in asked)


class Oidc(BaseModel):
    """The OpenID provider whose access tokens are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    issuer: str = Field(min_length=1, description="Its issuer, exactly as its tokens have it.")
    audience: Annotated[Texts, BeforeValidator(_listed)] = Field(
        min_length=1, description="Our name as the audience of tokens; one of several will do."
    )
    jwks_url: str | None = Field(None, description="Where its keys are; else its discovery document says it.")
    algorithms: tuple[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"], ...
    ] = Field(("RS256", "PS256", "ES256", "ES384", "EdDSA"), min_length=1, description="Signatures that are taken.")
    leeway: float = Field(30.0, ge=0, le=300, description="Seconds that its clock and ours may differ.")
    subject_claim: str = Field("sub", min_length=1, description="The claim that names the caller.")
    client_id: str = Field("", description="Our client id, for signing in at the page and for introspection.")
    client_secret: str | None = Field(None, repr=False, description="The secret that goes with client_id.")
    introspection_url: str | None = Field(None, description="Where opaque tokens are looked up; else as discovered.")
    scope: str = Field("openid profile", description="Scopes that signing in at the page asks for.")
    sign_out_at_provider: bool = Field(
        True, description="Does signing out at the page sign out of the provider too, where it can?"
    )
    session_hours: float = Field(8.0, gt=0, le=168, description="Hours after which one has to sign in again.")

    @field_validator("issuer", "jwks_url", "introspection_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https://|http://(127\.|localhost|\[::1\])", value):
            raise ValueError("an https URL is needed (http on this machine only)")
        return value


@dataclass(frozen=True, slots=True)
class Who:
    """What a door has verified of a caller; `limits` are rights that its credentials are bound to from the start.

    `scopes` are those of an access token; None when the credentials are of a kind that has none. `certificate` holds
    the names in a client certificate: nothing is permitted to it but by roles.
    """

    name: str
    aet: str = ""
    key: str = ""
    subject: str = ""
    claims: Mapping[str, object] = field(default_factory=dict, repr=False)
    scopes: Texts | None = None
    certificate: frozenset[str] = frozenset()
    limits: Rights = EVERYTHING


MOST_KNOWN = 1000
"""Callers whose rights are remembered."""


class Policy:
    """Turns who somebody is into what they may do."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._roles = tuple(roles)
        self._known: OrderedDict[int, tuple[Who, datetime.date, Rights]] = OrderedDict()

    def rights(self, who: Who, today: datetime.date | None = None) -> Rights:
        """The rights of a caller: what its roles permit (all, where no role is set up for its kind of credentials),
        cut down to its scopes and to the limits of its credentials.

        They depend on nothing but `who`, the day and the roles. So those of the very same value, as doors have it for
        as long as they remember credentials, are not worked out again on the same day.
        """
        day = today or datetime.datetime.now(datetime.UTC).date()
        known = self._known.get(id(who))
        if known is not None and known[0] is who and known[1] == day:
            return known[2]
        found = self._rights(who, day)
        self._known[id(who)] = who, day, found  # it holds `who`, whose id is nobody else's meanwhile
        with suppress(KeyError):  # another thread was quicker
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return found

    def _rights(self, who: Who, today: datetime.date) -> Rights:
        granted = who.limits
        if who.scopes is not None:
            granted = granted & of_scopes(who.scopes, who.claims)
        if not self._ruled(who):
            return granted
        permitted = NOTHING
        for role in self._roles:
            if role.fits(who):
                permitted = permitted | role.rights(who, today)
        return granted & permitted

    def _ruled(self, who: Who) -> bool:
        """Is there a role about this kind of credentials? Then what no role permits is not permitted."""
        return bool(who.certificate) or any(
            (role.aets and who.aet) or (role.keys and who.key) or ((role.subjects or role.claims) and who.subject)
            for role in self._roles
        )


def plain(certificate: str) -> str:
    """A name or fingerprint of a certificate in the form that `Who.certificate` has."""
    text = certificate.strip().lower()
    digits = text.replace(":", "")
    return digits if re.fullmatch(r"[0-9a-f]{64}", digits) else text


def of_scopes(scopes: Iterable[str], claims: Mapping[str, object]) -> Rights:
    """What OAuth scopes permit: `dicom.read` and its like, and SMART's for ImagingStudy, of both versions.

    `patient/` scopes see the studies of the patient whose ID the claim `patient` holds, and none without it.
    """
    found = NOTHING
    for scope in scopes:
        if match := _PLAIN.fullmatch(scope):
            found = found | Rights.to([Action(match[1])])
        elif match := _SMART.fullmatch(scope):
            letters = _WORDS.get(match[2], match[2])
            actions = [action for letter in letters for action in _LETTERS[letter]]
            found = found | Rights.to(actions, _of_patient(claims) if match[1] == "patient" else None)
    return found


def _of_patient(claims: Mapping[str, object]) -> Within:
    known = (
        condition(BY_KEYWORD["PatientID"], _literal(one)) if (one := next(iter(_held(claims, "patient")), "")) else None
    )
    return ((known,),) if known is not None else ()


def _held(claims: Mapping[str, object], name: str) -> Texts:
    """The texts of a claim: its value, the members of its list, the words of its scope. Dots lead into objects."""
    value: object = claims
    if name in claims:
        value = claims[name]
    else:
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(one for one in value if isinstance(one, str))
    return ()


def _literal(text: str) -> str:
    """Text of a claim as a key: nothing in it may act as a wild card, or the key matches nothing."""
    return "" if set(text) & set("*?\\") else text


def _attribute(key: str) -> Attribute:
    found = BY_KEYWORD.get("ModalitiesInStudy" if key == "Modality" else key)
    if found is None or found.level > Level.SERIES or found.sequence:
        raise ValueError(f"{key} is no indexed attribute of patients, studies or series")
    return found


def _check(key: str, held: Texts | int) -> None:
    """Raises ValueError for a pattern that means nothing, at start rather than when somebody comes."""
    if key == NEWER:
        if not isinstance(held, int) or not 0 < held < 100_000:
            raise ValueError(f"{NEWER} is a number of days")
        return
    attribute = _attribute(key)
    if isinstance(held, int) or not held:
        raise ValueError(f"{key} needs a text, or a list of texts")
    try:
        if any(len(_CLAIM.findall(text)) > 1 for text in held):
            raise ValueError(f"{key}: one claim in a text, not several")
        if one_of(attribute, [_CLAIM.sub("1", text) for text in held]) is None:
            raise ValueError(f"{key} matches everything; leave it out")
    except QueryRefused as refused:
        raise ValueError(str(refused)) from refused


def _alternative(pattern: Pattern, who: Who, today: datetime.date) -> tuple[Condition, ...] | None:
    """One pattern as conditions, claims filled in; None when a claim is missing: then it fits no study."""
    found: list[Condition] = []
    for key, held in pattern.items():
        if isinstance(held, int):
            first = today - datetime.timedelta(days=held)
            found.append(Between(BY_KEYWORD["StudyDate"], first.strftime("%Y%m%d"), None))
            continue
        texts = [filled for text in held for filled in _filled(text, who)]
        single = one_of(_attribute(key), texts) if texts else None
        if single is None:
            return None
        found.append(single)
    return tuple(found)


def _filled(text: str, who: Who) -> Iterable[str]:
    """A text with its claim in place; one text for each value of the claim, none where there is none."""
    match = _CLAIM.search(text)
    if match is None:
        return (text,)
    values = (literal for one in _held(who.claims, match[1]) if (literal := _literal(one)))
    return tuple(text[: match.start()] + one + text[match.end() :] for one in values)
