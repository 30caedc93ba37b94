"""The entry: which source a document is, and what an import makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fovea_api.v1alpha1 import API_VERSION, TrainingJob
from fovea_api.v1alpha1.training_job import TrainingJobSpec
from pydantic import ValidationError

from fovea.sdk.errors import InvalidError

from . import hosted, scheduling, tfjob
from .draft import Key, Line, account, assembled
from .fitting import ordered
from .machines import Machine
from .options import Options
from .result import Translation
from .source import Field, leaves

TFJOB, HOSTED = "TFJob", "trainingInput"


@dataclass(frozen=True)
class Imported:
    """A TrainingJob, and what became of each field of the source."""

    source: str
    """What the document is: TFJob or trainingInput."""
    manifest: dict[str, Any]
    lines: tuple[Line, ...]
    """In the order of the source. Each field of it is in a line, or below a field that is."""
    machines: tuple[Machine, ...]
    """MachineTypes that have to exist."""
    shape: str
    """The pods in words."""
    steps: tuple[str, ...] = field(default=())
    """What the user must do next."""


def imported(document: Any, options: Options = Options()) -> Imported:  # noqa: B008 - frozen
    """A TFJob or a training job of Cloud ML as a TrainingJob; InvalidError says why another document is none."""
    root = Field((), document)
    if not isinstance(document, dict):
        raise InvalidError(f"it holds a {type(document).__name__}, not a TFJob or a trainingInput")
    for _ in leaves(root):  # refuses what holds itself
        pass
    kind = _kind(root)
    made = tfjob.translated(root, options) if kind == TFJOB else hosted.translated(root, options)
    scheduling.settle(made)
    values: dict[Key, Any] = {("apiVersion",): API_VERSION, ("kind",): TrainingJob.KIND, **made.values}
    manifest = assembled(values)
    _check(manifest)
    manifest = {**manifest, "spec": ordered(manifest["spec"], TrainingJobSpec)}
    lines = tuple(account(made.lines, root))
    return Imported(kind, manifest, lines, tuple(made.machines), str(made.shape), _steps(lines, made))


def _kind(root: Field) -> str:
    """TFJob or trainingInput; InvalidError names what else it is."""
    kind, version = root.get("kind"), root.get("apiVersion")
    if kind or version:
        found = f"kind {kind.value if kind else '(none)'} of {version.value if version else '(no apiVersion)'}"
        group = str(version.value).partition("/")[0] if version else ""
        if kind and kind.value == "TrainingJob":
            raise InvalidError(f"it holds {found} already: submit it with `fovea jobs submit`")
        if not kind or kind.value != TFJOB or group != "kubeflow.org":
            raise InvalidError(
                f"it holds {found}: TFJobs of kubeflow.org/v1 and training inputs of Cloud ML can be imported; write a TrainingJob "
                "with spec.trainer.container for another program (docs/how-to/own-program.md)"
            )
        if version and version.value != "kubeflow.org/v1":
            raise InvalidError(f"it holds {found}: only kubeflow.org/v1 is known, convert it to v1 first")
        return TFJOB
    if root.get("predictionInput"):
        raise InvalidError("predictionInput is a batch prediction of Cloud ML: only training jobs can be imported")
    if root.get("trainingInput") or root.get("scaleTier"):
        return HOSTED
    raise InvalidError(
        "it is neither a TFJob (kind: TFJob, apiVersion: kubeflow.org/v1) nor a training job of Cloud ML (trainingInput: …)"
    )


def _check(manifest: Mapping[str, Any]) -> None:
    """What is beyond a bound of the API's types, such as 200 arguments."""
    try:
        TrainingJob.model_validate(manifest)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise InvalidError(
            f"the TrainingJob would not be valid: {path}: {first['msg']}: shorten or correct it"
        ) from error


def _steps(lines: tuple[Line, ...], made: Translation) -> tuple[str, ...]:
    """What to do, each with the field that it is about, then what is to do for every import."""
    fields: dict[str, list[str]] = {}
    for line in lines:
        if line.next:
            fields.setdefault(line.next, []).append(line.field)
    about = [f"{of[0]}{f' and {len(of) - 1} more' if len(of) > 1 else ''}: {step}" for step, of in fields.items()]
    return (*about, *made.steps)
