"""What can go wrong, for people: each message names the object, the field, the value and the next step.

FoveaError
├── InvalidError            the object or an argument is not acceptable (422, 400, a malformed file)
├── NotFoundError           no such object
│   └── JobGoneError        it has ended and is deleted; the Event of its end tells how
├── AlreadyExistsError      the name is taken
├── ConflictError           changed by somebody else meanwhile
├── ForbiddenError          not allowed, or not logged in
├── NotInstalledError       the cluster has no Fovea, or this machine no fovea-trainers
├── UnreachableError        no answer from the API server, the store or the model server
├── StoreError              the object store refused or lost something
├── PredictionError         the model server answered with an error
└── WaitTimeoutError        what was waited for did not happen in time
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fovea_api.v1alpha1 import JobState


class FoveaError(Exception):
    """Base of the SDK's errors."""


class InvalidError(FoveaError):
    """An object or an argument is not acceptable."""


class NotFoundError(FoveaError):
    """There is no such object."""


class JobGoneError(NotFoundError):
    """The job has ended and is deleted; `state` is the one in which it ended."""

    def __init__(self, message: str, state: "JobState") -> None:
        super().__init__(message)
        self.state = state


class AlreadyExistsError(FoveaError):
    """An object of that name exists."""


class ConflictError(FoveaError):
    """The object was changed by somebody else meanwhile."""


class ForbiddenError(FoveaError):
    """The user may not do this, or is not logged in."""


class NotInstalledError(FoveaError):
    """The cluster does not know Fovea's kinds."""


class UnreachableError(FoveaError):
    """No answer over the network."""


class StoreError(FoveaError):
    """The object store refused or lost something."""


class PredictionError(FoveaError):
    """The model server answered with an error; `code` is its gRPC status code."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class WaitTimeoutError(FoveaError):
    """What was waited for did not happen in time."""
