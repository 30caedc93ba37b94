"""Everything that goes wrong has a name here, and what the queue's boundary does with it.

FoveaError
├── InvalidSpec          an object cannot be read or can never work  → condition on it, no retry until it changes
├── LeaseLost            another instance leads                      → the process ends
├── BackInTime           the API server's store was restored         → the process ends, and starts with an empty cache
└── ApiError             the API server's answer
    ├── Transient        no answer, 401, 408, 410, 429, 5xx          → back-off (`retry_after` at least)
    ├── Conflict         409: a precondition (uid, version) failed   → the decision is dropped, back-off, decided again
    │   └── Overtaken    what changed meanwhile is now known            → the decision is dropped, decided again at once
    ├── AlreadyExists    409: the name is taken                      → ours: fine; otherwise `NotOurs`
    ├── Gone             404 of an API server: the object or its namespace is not there any more
    └── Refused          other 4xx, a webhook that denies or is away → a child: `observed.refused`, back-off; else: logged
        └── NotOurs      the name is taken by an object that is not ours

Anything else at the boundary is a defect: logged with its traceback, condition reason InternalError, back-off.
"""

import re

HTTP_BAD_REQUEST = 400
HTTP_UNAUTHORIZED = 401
HTTP_NOT_FOUND = 404
HTTP_TIMEOUT = 408
HTTP_CONFLICT = 409
HTTP_GONE = 410
HTTP_TOO_LARGE = 413
HTTP_INVALID = 422
HTTP_TOO_MANY = 429
HTTP_SERVER_ERRORS = 500


_TOO_LARGE = "etcdserver: request is too large"
_OF_OTHERS = re.compile(
    r"failed calling webhook|failed to allocate (an? )?(service)?(IP|nodePort|node port)", re.IGNORECASE
)
"""What the API server needs of others for a write and does not get (500). It may take days: who waits for it has to learn of it."""

_DENIED = re.compile(r'admission webhook "[^"]*" denied the request')
"""A webhook denies with any code: 500 where it fails itself, 404 or 409 where it passes on what it was answered."""

_PASSING = frozenset({HTTP_UNAUTHORIZED, HTTP_TIMEOUT, HTTP_GONE, HTTP_TOO_MANY})
"""With 410 a long list lost its place: it has to start again."""

OF_CONTENT = frozenset({HTTP_BAD_REQUEST, HTTP_TOO_LARGE, HTTP_INVALID})
"""Refusals of what stands in a body. Another body may be taken; the same one never is."""


class FoveaError(Exception):
    """Root of the tree."""


class InvalidSpec(FoveaError):
    """An object cannot be read: names the field, the value and the remedy."""

    def __init__(self, message: str, *, in_status: bool = False) -> None:
        super().__init__(message)
        self.in_status = in_status
        """Whether it is the status: a newer Fovea wrote it, and the object's user can correct nothing."""


class LeaseLost(FoveaError):
    """This instance led and does not any more: it must not write again."""


class BackInTime(FoveaError):
    """The API server knows less than it did: what is cached may be of a time that never was."""


class ApiError(FoveaError):
    """An answer of the API server that is no success."""

    def __init__(self, message: str, *, code: int = 0, reason: str = "", retry_after: float = 0) -> None:
        super().__init__(message)
        self.code = code
        """HTTP status; 0 when no answer came."""
        self.reason = reason
        """The Status object's reason, e.g. AlreadyExists."""
        self.retry_after = retry_after
        """Seconds that the server asks to wait."""


class Transient(ApiError):
    """It may work the next time: no answer, too many requests, the server's own failure."""


class Conflict(ApiError):
    """What was decided on is out of date."""


class Overtaken(Conflict):
    """What was decided on is out of date, and what made it so is in the cache by now."""


class AlreadyExists(ApiError):
    """An object of this name is there."""


class Gone(ApiError):
    """The object, or the namespace around it, is not there."""


class Refused(ApiError):
    """The API server understood and said no."""


class NotOurs(Refused):
    """The name of a child is taken by an object of someone else."""


def of_answer(code: int, reason: str, message: str, retry_after: float = 0) -> ApiError:
    """The error that an HTTP answer stands for: the one place that maps codes."""
    kind: type[ApiError] = Refused
    if code >= HTTP_SERVER_ERRORS and _TOO_LARGE in message:
        code = HTTP_TOO_LARGE  # the API server passes etcd's word on as a failure of its own
    if _DENIED.search(message) or (code >= HTTP_SERVER_ERRORS and _OF_OTHERS.search(message)):
        kind = Refused
    elif code in _PASSING or code >= HTTP_SERVER_ERRORS or code == 0:
        kind = Transient
    elif code == HTTP_NOT_FOUND:
        kind = Gone
    elif code == HTTP_CONFLICT:
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
    return kind(message, code=code, reason=reason, retry_after=retry_after)
