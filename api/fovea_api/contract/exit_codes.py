"""Exit codes and what they mean for a retry: 0 done, 1-127 permanent except 75, 128 and above (and a lost node) retryable.

The agent's codes follow BSD sysexits where it has a word.
"""

from enum import Enum

OK = 0
DATA_CORRUPT = 65
"""A digest did not match: what the store holds is not what was published."""
INPUT_MISSING = 66
"""An input, checkpoint or model named by the resource is not in the store."""
INTERNAL = 70
"""An agent met an error it has no word for: a defect, with a traceback in its log."""
VOLUME = 74
"""The pod's working volume is full, or a file in it cannot be read."""
RESTART = 75
"""A trainer asks for a restart from its last checkpoint (preemption, lost peer); an agent could not reach the store."""
FENCED = 76
"""A newer attempt of the same job has started; this one must not write any more."""
KEY_REFUSED = 77
"""The store refused the namespace's key, or the namespace has none."""
CONFIGURATION = 78
"""The plan, an environment variable or a key file handed to the agent is missing or malformed."""
ALREADY_COMPLETE = 79
"""`fetch` found this job's finished output in the store: success, nothing reruns."""

FIRST_RETRYABLE = 128


class Outcome(Enum):
    """What an exit code says about the attempt."""

    DONE = "done"
    PERMANENT = "permanent"
    RETRYABLE = "retryable"


def outcome(code: int) -> Outcome:
    """Classify a container's exit code."""
    if code == OK:
        return Outcome.DONE
    if code == RESTART or code >= FIRST_RETRYABLE or code < 0:
        return Outcome.RETRYABLE
    return Outcome.PERMANENT
