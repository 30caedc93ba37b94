"""Checkpoints: `$FOVEA_CHECKPOINT_DIR/<step>/` appears by rename, complete and flushed, and is never changed again.

Resume policy, in this order:
1. own checkpoint: the newest one was written by this run (same job, same data, same order of batches)
   → go on, bit by bit as if nothing had happened;
2. given checkpoint: the newest one comes from another run (the agent places it here for `checkpoint.from`; or the data
   has changed) → keep weights, optimizer state and step count, begin with epoch 0 (online learning);
3. scratch: there is none, or --train-from-scratch puts a given one aside.

A damaged checkpoint is passed over for the one before, and put aside. If only damaged ones are there, the run ends with
75; in a pod they are put aside then, too, by which the next attempt begins with the one before (ADR 112).
A disk that does not answer just now is no damage (`failures.py`).

A folder holds `variables.*` (tf.train.Checkpoint over plain lists of variables: that takes in the seeds of Dropout,
which tracking the Keras model would miss) and `state.json` (position and identity of the run).
"""

import json
import os
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from fovea_api.contract import environment

from fovea_trainers.errors import CheckpointDamaged, CheckpointError
from fovea_trainers.runtime import failures
from fovea_trainers.runtime.placement import io_device
from fovea_trainers.runtime.position import Position
from fovea_trainers.runtime.reasons import reason

STATE = "state.json"
VARIABLES = "variables"
FORMAT = 3
"""1 had no best weights and no unreadable examples, 2 other sums of the epoch."""
STAGING_PREFIX = ".staging-"
_SHOWN = 200
OTHER_PREFIX = ".other-"
"""Checkpoints that a run from scratch has put aside."""


@dataclass(frozen=True)
class Run:
    """Which run a checkpoint belongs to, and what its variables are."""

    identity: Mapping[str, Any]
    """Equal exactly when one process can go on where the other stopped: job, data, seed, batch size, split."""
    shape: Mapping[str, Any]
    """What the weights were made for (recipe, classes, image size): must be equal to restore them at all."""
    optimizer: str
    """What variables the optimizer has: must be equal to restore them (`optimizers.state`)."""


@dataclass(frozen=True)
class Resumed:
    """Where a run begins, and a line for the log that says why."""

    position: Position
    message: str


Variables = Mapping[str, Sequence[tf.Variable]]
"""Those of the `model`, the `optimizer`, as `running` the totals of the current epoch, as `best` the best weights.

The last ones only while early stopping is on.
"""


class Checkpoints:
    """Writes and restores the checkpoints in one directory; `job` is empty outside a cluster."""

    def __init__(self, directory: Path, *, keep: int, job: str = "") -> None:
        self.directory = directory
        self._keep = keep
        self._job = job

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return sorted(int(p.name) for p in self.directory.iterdir() if p.name.isdecimal() and p.is_dir())

    def save(self, position: Position, run: Run, variables: Variables) -> Path:
        """Write a checkpoint unless this step has one; drop the oldest beyond `keep`."""
        target = self.directory / str(position.step)
        if not target.exists():
            staging = self.directory / f"{STAGING_PREFIX}{position.step}-{os.getpid()}"
            staging.mkdir(parents=True)
            options = tf.train.CheckpointOptions(experimental_io_device=io_device(variables["model"]))
            tf.train.Checkpoint(**_plain_lists(variables)).write(str(staging / VARIABLES), options)
            state = {"format": FORMAT, "position": position.to_json(), "run": asdict(run)}
            (staging / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
            for path in (*staging.iterdir(), staging):
                _flush(path)
            staging.rename(target)
            _flush(self.directory)
        for step in self.steps()[: -self._keep]:
            # Renamed first: a reader of the directory sees a whole checkpoint or none.
            doomed = self.directory / f"{STAGING_PREFIX}old-{step}"
            (self.directory / str(step)).rename(doomed)
            shutil.rmtree(doomed)
        return target

    def read(self, step: int, run: Run, weights: Sequence[tf.Variable]) -> Position:
        """Restore only the weights of a step, which another process has written.

        Raises CheckpointDamaged for one that cannot be read, CheckpointError for one that does not fit.
        """
        path = self.directory / str(step)
        try:
            position, theirs, _ = self._read_state(path)
            if differences := _differences(theirs.shape, _plain(run).shape):
                raise CheckpointError(f"checkpoint {path} does not fit this run: {differences}")
            self._restore(path, {"model": weights})
        except _Damaged as error:
            raise CheckpointDamaged(f"checkpoint {path.name} is damaged ({error})") from error
        return position

    def resume(self, run: Run, variables: Variables, *, from_scratch: bool = False) -> Resumed:
        """Restore by the policy above; `from_scratch` puts given checkpoints aside, and outside a cluster all of them.

        Raises CheckpointError when the newest undamaged checkpoint cannot be used.
        """
        for leftover in self.directory.glob(f"{STAGING_PREFIX}*"):  # of a process that was killed while writing
            shutil.rmtree(leftover)
        if from_scratch:
            self._put_others_aside(run)
        problems: dict[Path, str] = {}
        for step in reversed(self.steps()):
            path = self.directory / str(step)
            try:
                resumed = self._resume_from(path, run, variables)
            except _Damaged as error:
                problems[path] = f"checkpoint {path.name} is damaged ({error})"
                continue
            self._put_aside(problems)  # their steps will be reached, and written, once more
            return Resumed(resumed.position, "; ".join([*problems.values(), resumed.message]))
        if problems:
            what = f"{'; '.join(problems.values())}, and there is no other one in {self.directory}"
            if not self._job:
                raise CheckpointDamaged(f"{what}: {self._remedy(min(problems))}")
            self._put_aside(problems)
            raise CheckpointDamaged(
                f"{what}: the next attempt begins with the one before it; if that is damaged, too, {self._remedy(min(problems))}"
            )
        return Resumed(Position(), "training from scratch")

    def _put_aside(self, damaged: Collection[Path]) -> None:
        """Kept for inspection: an error that only looks like damage must not delete all that was trained."""
        for path in damaged:
            path.rename(self.directory / f"{environment.DAMAGED_PREFIX}{path.name}-{time.time_ns()}")

    def _put_others_aside(self, run: Run) -> None:
        for step in self.steps():
            path = self.directory / str(step)
            if not self._job or not self._is_of(run, path):
                path.rename(self.directory / f"{OTHER_PREFIX}{step}-{time.time_ns()}")

    def _is_of(self, run: Run, path: Path) -> bool:
        try:
            return self._read_state(path)[1].identity == _plain(run).identity
        except _Damaged:
            return True  # passed over when it is restored
        except CheckpointError:
            return False

    def _resume_from(self, path: Path, run: Run, variables: Variables) -> Resumed:
        position, theirs, version = self._read_state(path)
        ours = _plain(run)
        if differences := _differences(theirs.shape, ours.shape):
            remedy = f"train with the old values, or begin with new weights (--train-from-scratch), or {self._remedy(self.directory)}"
            raise CheckpointError(f"checkpoint {path} does not fit this run: {differences}; {remedy}")
        same_optimizer = theirs.optimizer == ours.optimizer
        differences = _differences(theirs.identity, ours.identity)
        own = same_optimizer and not differences
        names = ["model", *(["optimizer"] if same_optimizer else [])]
        if own and version == FORMAT:  # else the metrics of this one epoch are those of its remaining steps
            names.append("running")
        if own and position.kept is not None and "best" in variables:
            names.append("best")
        else:
            position.kept = None
        self._restore(path, {name: variables[name] for name in names})
        if own:
            done = f"{position.epoch} epochs and {position.batch} batches are done"
            return Resumed(position, f"resumed own checkpoint {path.name}: {done}")
        why = differences or f"optimizer was {theirs.optimizer}, is {ours.optimizer}"
        message = f"continuing from given checkpoint {path.name} with new epochs ({why})"
        return Resumed(Position(step=position.step, start=position.step), message)

    def _read_state(self, path: Path) -> tuple[Position, Run, int]:
        try:
            state: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
            if state["format"] not in range(1, FORMAT + 1):
                raise CheckpointError(
                    f"checkpoint {path} has format {state['format']}, known is {FORMAT}: use a newer image of the "
                    f"trainers, or {self._remedy(path)}"
                )
            return Position.from_json(state["position"]), Run(**state["run"]), int(state["format"])
        except ValueError as error:
            raise _Damaged(f"{STATE}: {error}") from error
        except (FileNotFoundError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"checkpoint {path} was not written by a recipe of Fovea: {STATE}: {type(error).__name__}: {error}; "
                f"{self._remedy(path)}"
            ) from error

    def _restore(self, path: Path, variables: Variables) -> None:
        checkpoint = tf.train.Checkpoint(**_plain_lists(variables))
        try:
            options = tf.train.CheckpointOptions(experimental_io_device=io_device(variables["model"]))
            status = checkpoint.read(str(path / VARIABLES), options)
            status.assert_existing_objects_matched()
        except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
            why = reason(error) if isinstance(error, tf.errors.OpError) else str(error).splitlines()[0]
            if failures.is_damage(error):
                raise _Damaged(why) from error
            if isinstance(error, tf.errors.OpError) and not isinstance(error, tf.errors.InvalidArgumentError):
                raise  # of the surroundings: another attempt may read it
            raise CheckpointError(f"checkpoint {path} cannot be restored: {why}; {self._remedy(path)}") from error
        status.expect_partial()

    def _remedy(self, path: Path) -> str:
        """What to do about a checkpoint: a user cannot remove a file from a job's pod, which begins with an empty volume."""
        if self._job:
            return "name another job in spec.checkpoint.from, or drop it; if it is not set, submit the job again"
        return f"remove {path}"


class _Damaged(Exception):
    """What is wrong with the files of a checkpoint."""


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    if "recipe" in names:
        names = ["recipe"]  # all else differs by it
    return ", ".join(f"{name} was {_short(theirs.get(name))}, is {_short(ours.get(name))}" for name in names)


def _short(value: Any) -> str:
    """A value for a message: there may be a thousand classes."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _plain_lists(variables: Variables) -> dict[str, list[tf.Variable]]:
    return {name: list(part) for name, part in variables.items()}


def _plain(run: Run) -> Run:
    """As it comes back from JSON, so that tuples and lists compare equal."""
    return Run(**json.loads(json.dumps(asdict(run))))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
