"""Why a trainer stops early, and the exit code by which the operator decides about a retry.

TrainerError            1   permanent: the same run would fail again
├── FlagError           2   the command line
├── DataError           1   the pictures, tables or texts that were given
├── WeightsError        1   the file of pretrained weights that was given
├── CheckpointError     1   a checkpoint that does not fit this run
├── NonFiniteLoss       1   the training diverged
├── CheckpointDamaged  75   no undamaged checkpoint is here: the next attempt begins with one before them
├── CpuImage            1   GPUs, and a TensorFlow that cannot use any
├── HiddenGpus          1   GPUs, some of which a variable of the job hides
├── NoGpu              75   a machine type with GPUs, and too few found: another node may have them
├── InputFailed         *  a shard of a streamed input will not come; the code is the agent's
├── InputSilent        75  the sidecar, which fetches shards, shows no sign of life
├── PeerLost           75   another process of the job has died or does not answer
├── Interrupted        75   SIGTERM: a checkpoint is written, start me again
└── Released            0   a worker or parameter server whose chief is done

Errors of TensorFlow and of the operating system: runtime/failures.py.
"""

from fovea_api.contract import exit_codes


class TrainerError(Exception):
    """Ends the program with its message and `exit_code`, without a stack trace."""

    exit_code = 1


class FlagError(TrainerError):
    """An unknown recipe or flag, or a value that a flag does not take."""

    exit_code = 2


class DataError(TrainerError):
    """The data cannot be trained on; the message names folder or file and the next step."""


class WeightsError(TrainerError):
    """A file of pretrained weights that is none, or does not fit the network; the message names the file."""


class CheckpointError(TrainerError):
    """A checkpoint that cannot be restored into this run."""


class CheckpointDamaged(TrainerError):
    """All checkpoints that are here are damaged."""

    exit_code = exit_codes.RESTART


class NonFiniteLoss(TrainerError):
    """The loss, a weight, or what an optimizer keeps, became NaN or infinite."""

    def __init__(self, what: str, step: int, *, first: int | None = None) -> None:
        """It was seen after `step`, and happened there or, with `first`, in one of the steps from `first` on."""
        one = first is None or first == step
        when, before = (f"at step {step}", "this step") if one else (f"in steps {first} to {step}", f"step {first}")
        super().__init__(
            f"{what} became non-finite {when}: the training diverged. Lower --learning-rate (a tenth is a good first try) or "
            f"choose --optimizer=adam; the checkpoints before {before} are intact"
        )


class CpuImage(TrainerError):
    """TensorFlow is built without CUDA, but the machine type has GPUs."""


class HiddenGpus(TrainerError):
    """CUDA_VISIBLE_DEVICES has fewer GPUs than the machine type."""


class NoGpu(TrainerError):
    """TensorFlow finds fewer GPUs than the machine type has."""

    exit_code = exit_codes.RESTART


class Interrupted(TrainerError):
    """Asked to stop; everything up to the last step is in a checkpoint."""

    exit_code = exit_codes.RESTART


class InputFailed(TrainerError):
    """A shard of a streamed input will not come; the message is the agent's, and so is the exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class InputSilent(TrainerError):
    """The sidecar, which fetches the shards of a streamed input, shows no sign of life."""

    exit_code = exit_codes.RESTART


class PeerLost(TrainerError):
    """Another process of the job has died, or does not answer."""

    exit_code = exit_codes.RESTART


class Released(TrainerError):
    """The chief is done: what is left to do of a recipe is the chief's alone."""

    exit_code = exit_codes.OK
