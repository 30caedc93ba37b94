"""Where a trainer reads and writes: the directories of the contract, or `./fovea-out/` on a laptop."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fovea_api.contract import environment, streams

from fovea_trainers.errors import DataError, FlagError, WeightsError

LOCAL = Path("fovea-out")
WEIGHTS = "weights"
"""The input that holds pretrained weights."""
UNLABELLED = "unlabelled"
"""The input that holds examples without a label, which the trained model is asked about."""
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
    """What other jobs with the same `cache:` may use: written by one at a time, kept at its success or when it is whole."""
    logs: Path
    progress: Path
    read_only_cache: Path | None = None
    """Of a process that does not write the cache: what is there of it, of an earlier attempt or another job."""
    reads_checkpoints: bool = False
    """Whether the checkpoints, and the markers of a run, are another process's."""
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

    def scratch(self, folder: Path, *, own_progress: bool = False) -> Self:
        """The same inputs and the cache as it is; everything that is written goes below `folder`, which is not read.

        `own_progress`: the file of progress is this process's own, so it stays.
        """
        return dataclasses.replace(
            self,
            read_only_cache=self.cache,
            checkpoints=folder / "checkpoints",
            model=folder / "model",
            output=folder / "output",
            cache=folder / "cache",
            logs=folder / "logs",
            progress=self.progress if own_progress else folder / "progress.jsonl",
        )

    def evaluating(self, folder: Path) -> Self:
        """For the evaluator: checkpoints are read, output and logs are its own. It exports nothing, and the cache stays as it is."""
        return dataclasses.replace(
            self, read_only_cache=self.cache, model=folder / "model", cache=folder / "cache", reads_checkpoints=True
        )

    def prepare(self) -> None:
        """Make the directories and take an earlier run's markers away."""
        for folder in (self.checkpoints, self.model, self.output, self.cache, self.logs, self.progress.parent):
            folder.mkdir(parents=True, exist_ok=True)
        for marker in () if self.reads_checkpoints else (environment.SUCCESS_MARKER, environment.CACHE_MARKER):
            (self.output / marker).unlink(missing_ok=True)

    def cache_changes(self) -> None:
        """The cache is about to be changed: it is not to be published as it is."""
        (self.output / environment.CACHE_MARKER).unlink(missing_ok=True)

    def cache_is_whole(self) -> None:
        """What is in the cache is worth publishing now: a pod that is lost later has not worked on it in vain."""
        (self.output / environment.CACHE_MARKER).touch()

    def data(self, given: str, *, streamed: bool = False) -> Path:
        """The training data: what `--data` says, else the input named `data`, else the only input beside `weights`, `unlabelled`.

        Raises DataError for a streamed input, unless the caller reads those.
        """
        path = Path(given) if given else self._data()
        if not streamed and (found := streams.input_of(path, self.inputs)):
            raise DataError(
                f"input {found[0]} is streamed, and this recipe needs all of its data at once: take the input out of "
                "spec.inputModes, so that it is fetched before the program starts"
            )
        return path

    def _data(self) -> Path:
        names = _visible(self.inputs)
        names = [name for name in names if name not in (WEIGHTS, UNLABELLED)] or names
        if "data" in names or len(names) == 1:
            return self.inputs / ("data" if "data" in names else names[0])
        found = f"has several inputs and none is named data: {', '.join(names)}" if names else "has no inputs"
        raise DataError(f"no training data: {self.inputs} {found}; give --data=DIR, or the job an input named data")

    def unlabelled(self, given: str, data: Path) -> Path | None:
        """Examples without a label: what `--unlabelled` says, within `data` or elsewhere; else the input of that name.

        None without either. Raises DataError for a folder that is not there.
        """
        places = [data / given, Path(given)] if given else [self.inputs / UNLABELLED]
        for place in places:
            if place.is_dir():
                return place
        if given:
            raise DataError(f"--unlabelled={given}: there is no such folder in {data}, and none that is named {given}")
        return None

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
