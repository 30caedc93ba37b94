"""Why a trainer stops early, and the exit code by which the operator decides about a retry.

TrainerError            1   permanent: the same run would fail again
├── FlagError           2   the command line
├── DataError           1   the pictures, tables or texts that were given
├── WeightsError        1   the file of pretrained weights that was given
├── CheckpointError     1   a checkpoint that does not fit this run
├── NonFiniteLoss       1   the training diverged
├── CheckpointDamaged  75   no undamaged checkpoint is here: the next attempt begins with one before them
├── CpuImage            1   GPUs, and a TensorFlow that cannot use any
├── NoGpu              75   a machine type with GPUs, and none found: another node may have some
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
    """Loss or weights became NaN or infinite."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(
            f"{what} became non-finite at step {step}: the training diverged. Lower --learning-rate (a tenth is a good "
            "first try) or choose --optimizer=adam; the checkpoints before this step are intact"
        )


class CpuImage(TrainerError):
    """TensorFlow is built without CUDA, but the machine type has GPUs."""


class NoGpu(TrainerError):
    """TensorFlow finds no GPU, but the machine type has some."""

    exit_code = exit_codes.RESTART


class Interrupted(TrainerError):
    """Asked to stop; everything up to the last step is in a checkpoint."""

    exit_code = exit_codes.RESTART


class PeerLost(TrainerError):
    """Another process of the job has died, or does not answer."""

    exit_code = exit_codes.RESTART


class Released(TrainerError):
    """The chief is done: what is left to do of a recipe is the chief's alone."""

    exit_code = exit_codes.OK
