"""How an agent ends when it cannot do its work: one class per remedy, with the reason and exit code the operator reads.

AgentError
├── Misconfigured      78  the plan, an environment variable, a key file or the bucket's name is wrong
├── KeyRefused         77  the store does not accept the key, or not for this place
│   ├── KeyMissing     77  the namespace has no key at all
│   ├── KeyUnknown     77  the store does not know the key, or not with this secret, at whatever place
│   │   └── KeyAbsent  77  it does not know the key, whatever the secret
│   └── KeyWithdrawn   75  the store accepted the key before: it is being replaced, and the pod is tried again
├── StoreUnreachable   75  no answer for longer than our patience: the pod is tried again
│   └── GraceExceeded  75  the store answers, but the pod's time to publish is over
├── Missing            66  something named by the resource is not in the store
├── Changed            75  an object is no longer the one that was listed
├── Replaced           65  an object is no longer the one that the job began with
├── Corrupt            65  a digest does not match
├── TooNew             78  what the store holds was written by a newer Fovea, in a format that is not known here
├── Fenced             76  a newer attempt of the job writes now
├── Conflict           75  this attempt has published something else before
└── VolumeProblem      74  the pod's working volume cannot be read or written
    ├── Vanished       74  a file went away, or changed, while it was published
    ├── Odd            74  a checkpoint holds something that is no file
    └── Unreadable     74  the program left files that the agent may not read
"""

from fovea_api.contract import exit_codes
from fovea_api.contract.report import Termination


class AgentError(Exception):
    """A failure with a reason (CamelCase) for the condition, a plain sentence with the remedy, and an exit code."""

    reason = "InternalError"
    exit_code = exit_codes.INTERNAL

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        if reason:
            self.reason = reason

    def termination(self) -> Termination:
        """Say it to the operator."""
        return Termination(reason=self.reason, message=self.message)


class Misconfigured(AgentError):
    """The plan, an environment variable, a key file or the store's address is missing or malformed."""

    reason = "Misconfigured"
    exit_code = exit_codes.CONFIGURATION


class KeyRefused(AgentError):
    """The store refused the key, or refused it this place."""

    reason = "KeyRefused"
    exit_code = exit_codes.KEY_REFUSED


class KeyMissing(KeyRefused):
    """The namespace has no Secret with a key of the object store."""

    reason = "KeyMissing"


class KeyUnknown(KeyRefused):
    """The store does not know the key: it is wrong, or its successor is not mounted yet."""


class KeyAbsent(KeyUnknown):
    """The store has no key of this name."""


class KeyWithdrawn(KeyRefused):
    """The store accepted the key before; its successor did not arrive in time."""

    exit_code = exit_codes.RESTART


class StoreUnreachable(AgentError):
    """The store did not answer, or answered that it cannot at the moment."""

    reason = "StoreUnreachable"
    exit_code = exit_codes.RESTART


class GraceExceeded(StoreUnreachable):
    """The pod's grace period ended before everything was published."""

    reason = "GracePeriodExceeded"


class Missing(AgentError):
    """An object, input, checkpoint or model is not in the store."""

    reason = "InputMissing"
    exit_code = exit_codes.INPUT_MISSING


class Changed(AgentError):
    """An object changed after it was listed; another attempt lists it again."""

    reason = "InputChanged"
    exit_code = exit_codes.RESTART


class Replaced(AgentError):
    """An input is no longer what the job's first attempt read; no further attempt can read it."""

    reason = "InputReplaced"
    exit_code = exit_codes.DATA_CORRUPT


class Corrupt(AgentError):
    """What the store holds is not what was published."""

    reason = "InputCorrupt"
    exit_code = exit_codes.DATA_CORRUPT


class TooNew(AgentError):
    """Written by a newer Fovea in a format that this one does not know: nothing is wrong with it, and it is left alone."""

    reason = "FormatTooNew"
    exit_code = exit_codes.CONFIGURATION


class Fenced(AgentError):
    """A newer attempt of the same job has started."""

    reason = "Fenced"
    exit_code = exit_codes.FENCED


class Conflict(AgentError):
    """This attempt's place already holds another publication; the next attempt has a place of its own."""

    reason = "PublicationConflict"
    exit_code = exit_codes.RESTART


class VolumeProblem(AgentError):
    """The pod's working volume is full, or a file in it cannot be read."""

    reason = "VolumeProblem"
    exit_code = exit_codes.VOLUME


class Vanished(VolumeProblem):
    """A file was removed or changed while it was published: a checkpoint that the trainer pruned."""


class Odd(VolumeProblem):
    """Something that must be whole holds what cannot be published: a named pipe, a link to elsewhere."""


class Unreadable(VolumeProblem):
    """The program left files that the agent's user may not read: running it again would leave the same."""

    reason = "FileUnreadable"


class Postponed(Exception):
    """Something else is to be published first; what was sent stays, and the next try goes on with it."""
