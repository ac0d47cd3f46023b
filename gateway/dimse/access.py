"""What a peer may do: by its AE title, and by the user whose identity it proved (PS3.7 D.3.3.7)."""

from __future__ import annotations

from gateway.authentication import Authentication
from gateway.errors import TooOften, Unauthenticated, Unavailable
from gateway.limiter import Guesses
from gateway.logs import get_logger
from gateway.policy import Policy, Who
from gateway.rights import EVERYTHING, Rights
from gateway.settings import Settings

log = get_logger(__name__)


class Access:
    """The rights of associations; shared by all of them."""

    def __init__(self, settings: Settings, authentication: Authentication) -> None:
        self._authentication = authentication
        self._guesses = Guesses(settings.failed_sign_ins)
        self._policy = Policy(settings.roles)
        self._limits = {peer.aet: Rights.to(peer.may) for peer in settings.peers if peer.may is not None}

    def user(self, secret: bytes | None, address: str, aet: str) -> Who | None:
        """Who proves an identity with a passcode or a JSON Web Token; None: nobody whom we know.

        After too many wrong ones under this AE title from this address they are not looked at: raises TooOften (S-79).
        """
        if early := self._guesses.wait(address, aet):
            raise TooOften(early, "too many wrong user identities")
        try:
            return self._authentication.verify(secret) if secret else None
        except Unauthenticated:
            self._guesses.wrong_for(address, aet)
            self._guesses.wrong_from(address)
            return None
        except Unavailable as error:  # no answer is no proof
            log.warning("identity_not_verified", reason=error.reason)
            return None

    def rights(self, aet: str, user: Who | None) -> Rights:
        """What a peer with this AE title may do, for this user where it named one: what both may."""
        rights = self._policy.rights(Who(aet, aet=aet, limits=self._limits.get(aet, EVERYTHING)))
        return rights if user is None else rights & self._policy.rights(user)
