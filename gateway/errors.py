"""What the gateway refuses, in the standard's words.

GatewayError
 +-- Refused                  an instance was not stored; carries the DICOM failure code that C-STORE and STOW-RS share
 |    +-- NotUnderstood         C000  no DICOM file, truncated, malformed, missing or bad UIDs    PS3.4 B.2.3
 |    +-- ClassMismatch         A900  the data set is not what the command or the URI says
 |    +-- ClassNotSupported     0122
 |    +-- SyntaxNotSupported    C122  transfer syntax                                        PS3.18 I.2.2
 |    +-- InvalidInstance       0117  malformed SOP Instance UID in the command
 |    +-- Duplicate             0111  other bytes are stored under this UID
 |    +-- OutOfResources        A700  no space, too busy, store or index down: a retry may succeed
 |    +-- TooLarge              A700  larger than the limit
 |    +-- NotAuthorized         0124  the caller may not store this instance                    PS3.7 C.5.17
 |    +-- ProcessingFailure     0110
 +-- NotFound                 no such study, series, instance, frame or bulk value
 |    +-- Gone                  there was one; it was deleted
 +-- Unauthenticated          the credentials are missing, or are not valid
 +-- Forbidden                the caller may not do this at all; what it may not see is NotFound
 +-- BadRequest               a parameter is wrong; names it
 +-- TooOften                 asked, or guessed wrong, more often than one may; says when to try again
 +-- TooBroad                 a search that would have to read too much; says how to narrow it
 +-- NotAcceptable            nothing on offer is acceptable; lists the offers
 +-- NotRenderable            the instance has no picture, or its pixels cannot be decoded
 +-- Damaged                  stored bytes are not what was received: never served as good
 +-- Unavailable              store or index down; a retry may succeed
      +-- TooSlow               a search took longer than it may; says how to narrow it

The wings map these to a DIMSE status (`gateway/dimse/statuses.py`) and an HTTP status (`gateway/http/failures.py`);
a test walks every subclass and fails on one that a table misses. Messages hold no patient data.
"""

from __future__ import annotations

from collections.abc import Sequence


class GatewayError(Exception):
    """Base of all errors of this package. `reason` is a stable word for logs and metrics."""

    reason = "error"


class Refused(GatewayError):
    """An instance was not stored. `code` is the DIMSE status and the STOW-RS Failure Reason (PS3.18 I.2.2).

    `tag` is the offending element's, where there is one; `sop_uid` and `sop_class_uid` are those of the instance,
    where they could be read.
    """

    code = 0x0110
    reason = "refused"

    def __init__(self, message: str, tag: int | None = None) -> None:
        super().__init__(message)
        self.tag = tag
        self.sop_uid: str | None = None
        self.sop_class_uid: str | None = None


class NotUnderstood(Refused):
    """The data set cannot be understood: no DICOM, truncated, malformed, or without its UIDs."""

    code = 0xC000
    reason = "not_understood"


class ClassMismatch(Refused):
    """The data set does not agree with the SOP Class, instance or study named outside it."""

    code = 0xA900
    reason = "mismatch"


class ClassNotSupported(Refused):
    """SOP Class not supported."""

    code = 0x0122
    reason = "class_not_supported"


class SyntaxNotSupported(Refused):
    """Transfer syntax not supported."""

    code = 0xC122
    reason = "syntax_not_supported"


class InvalidInstance(Refused):
    """The SOP Instance UID in the command is malformed."""

    code = 0x0117
    reason = "invalid_instance"


class Duplicate(Refused):
    """Other bytes are stored under this SOP Instance UID, or it belongs to another study."""

    code = 0x0111
    reason = "duplicate"


class OutOfResources(Refused):
    """No space, too busy, or a dependency is down: the sender may retry. `full` says that space ran out."""

    code = 0xA700
    reason = "out_of_resources"

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


class TooLarge(Refused):
    """Larger than the limit set for one object."""

    code = 0xA700
    reason = "too_large"


class NotAuthorized(Refused):
    """The caller may not store this instance: its study is not one that the policy lets it store into."""

    code = 0x0124
    reason = "not_authorized"


class ProcessingFailure(Refused):
    """Something failed inside the gateway."""

    code = 0x0110
    reason = "processing_failure"


class NotFound(GatewayError):
    """No such resource."""

    reason = "not_found"


class Gone(NotFound):
    """There was such a resource; it was deleted."""

    reason = "gone"


class Unauthenticated(GatewayError):
    """The credentials are not valid. The message tells nothing of why that would help to forge better ones."""

    reason = "unauthorized"


class Forbidden(GatewayError):
    """The caller is known, and may not do this. `action` is the word of the policy for what was to be done."""

    reason = "forbidden"

    def __init__(self, action: str) -> None:
        super().__init__(f"these credentials do not permit to {action}")
        self.action = action


class BadRequest(GatewayError):
    """A parameter is wrong. `parameter` names it; the message says what would be right."""

    reason = "bad_request"

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class TooOften(GatewayError):
    """Asked, or guessed wrong, more often than one may; `seconds` says after how long to try again."""

    reason = "too_many_requests"

    def __init__(self, seconds: float, message: str) -> None:
        super().__init__(message)
        self.seconds = seconds


class TooBroad(GatewayError):
    """A search would have to read more data sets than is allowed. The message says how to narrow it."""

    reason = "too_broad"


class NotAcceptable(GatewayError):
    """Nothing on offer is acceptable. `offered` lists media types; `stored` is the stored transfer syntax UID."""

    reason = "not_acceptable"

    def __init__(self, message: str, offered: Sequence[str] = (), stored: str | None = None) -> None:
        super().__init__(message)
        self.offered = tuple(offered)
        self.stored = stored


class NotRenderable(GatewayError):
    """The instance has no picture, or its pixels cannot be decoded."""

    reason = "not_renderable"


class Damaged(GatewayError):
    """Stored bytes are missing or are not what was received."""

    reason = "damaged"


class Unavailable(GatewayError):
    """The object store or the index is down or full; a retry may succeed."""

    reason = "unavailable"


class TooSlow(Unavailable):
    """A search took longer than it may (S-56); a narrower one will not."""

    reason = "too_slow"
