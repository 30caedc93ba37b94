"""Where a trainer reads and writes: the directories of the contract, or `./fovea-out/` on a laptop."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fovea_api.contract import environment

from fovea_trainers.errors import DataError, FlagError, WeightsError

LOCAL = Path("fovea-out")
WEIGHTS = "weights"
"""The input that holds pretrained weights."""
OF_WEIGHTS = (".h5", ".hdf5", ".keras")
"""Suffixes by which a file of weights is found in a folder; what it holds is known by its content."""


@dataclass(frozen=True)
class Workspace:
    """Directories of one run; `job` is empty outside a cluster."""

    inputs: Path
    checkpoints: Path
    model: Path
    output: Path
    cache: Path
    """What other jobs with the same `cache:` may use: written by one at a time, kept at its success."""
    logs: Path
    progress: Path
    job: str = ""
    checkpoint_every_steps: int | None = None
    checkpoint_keep: int = 3
    gpus: int = 0
    """How many the machine type has."""

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Self:
        """Read the contract's variables; an absent one falls back to a folder of `./fovea-out/`."""

        def place(name: str, local: str) -> Path:
            return Path(variables.get(name) or LOCAL / local)

        return cls(
            inputs=place(environment.INPUT_DIR, "inputs"),
            checkpoints=place(environment.CHECKPOINT_DIR, "checkpoints"),
            model=place(environment.MODEL_DIR, "model"),
            output=place(environment.OUTPUT_DIR, "output"),
            cache=place(environment.CACHE_DIR, "cache"),
            logs=place(environment.LOG_DIR, "logs"),
            progress=place(environment.PROGRESS_FILE, "progress.jsonl"),
            job=variables.get(environment.CLOUD_ML_JOB, ""),
            checkpoint_every_steps=count(variables, environment.CHECKPOINT_EVERY_STEPS),
            checkpoint_keep=count(variables, environment.CHECKPOINT_KEEP) or 3,
            gpus=count(variables, environment.GPUS) or 0,
        )

    def scratch(self, folder: Path) -> Self:
        """The same inputs; everything that is written goes below `folder`, which is not read."""
        return dataclasses.replace(
            self,
            checkpoints=folder / "checkpoints",
            model=folder / "model",
            output=folder / "output",
            cache=folder / "cache",
            logs=folder / "logs",
            progress=folder / "progress.jsonl",
        )

    def prepare(self) -> None:
        """Make the directories and take an earlier run's success marker away."""
        for folder in (self.checkpoints, self.model, self.output, self.cache, self.logs, self.progress.parent):
            folder.mkdir(parents=True, exist_ok=True)
        (self.output / environment.SUCCESS_MARKER).unlink(missing_ok=True)

    def data(self, given: str) -> Path:
        """The training data: what `--data` says, else the input named `data`, else the only input beside `weights`."""
        if given:
            return Path(given)
        names = _visible(self.inputs)
        if len(names) > 1 and WEIGHTS in names:
            names.remove(WEIGHTS)
        if "data" in names or len(names) == 1:
            return self.inputs / ("data" if "data" in names else names[0])
        found = f"has several inputs and none is named data: {', '.join(names)}" if names else "has no inputs"
        raise DataError(f"no training data: {self.inputs} {found}; give --data=DIR, or the job an input named data")

    def weights(self, given: str) -> Path | None:
        """The file of pretrained weights: what `--weights` says, else the input named `weights`; None without either.

        In the place of a folder it is the only file of weights in it. Raises WeightsError for a file that is not there,
        and for a folder with none or several.
        """
        path = Path(given) if given else self.inputs / WEIGHTS
        if path.is_dir():
            return _only_file(path)
        if path.is_file():
            return path
        if given:
            raise WeightsError(f"--weights={given}: there is no such file")
        return None


def _visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []


def _only_file(folder: Path) -> Path:
    names = _visible(folder)
    found = [name for name in names if name.lower().endswith(OF_WEIGHTS)]
    if len(found) == 1:
        return folder / found[0]
    if found:
        raise WeightsError(
            f"folder {folder} has {len(found)} files of weights: {', '.join(found)}; name one: --weights={folder / found[0]}"
        )
    raise WeightsError(
        f"folder {folder} has no file of weights ({', '.join(OF_WEIGHTS)}), but {', '.join(names) or 'nothing'}: name the "
        "file with --weights=FILE"
    )


def count(variables: Mapping[str, str], name: str) -> int | None:
    """A whole number of the environment; None when it is not set. Raises FlagError for anything else."""
    text = variables.get(name)
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise FlagError(f"environment variable {name} is {text!r}: it must be a whole number of at least 1")
    return int(text)
