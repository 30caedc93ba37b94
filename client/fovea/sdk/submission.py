"""A TrainingJob's manifest from a file, a mapping or the command line's words. Pure but for reading the file."""

import re
import sys
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fovea_api import catalogue
from fovea_api.contract import names
from fovea_api.v1alpha1 import API_VERSION, BatchPrediction, TrainingJob

from . import object_names
from .errors import InvalidError

S = TypeVar("S", TrainingJob, BatchPrediction)
Value = str | int | float | bool

_SECTIONS_OF_ALL = ("metadata", "metadata.labels", "spec")
_SECTIONS = (
    *_SECTIONS_OF_ALL,
    "spec.trainer",
    "spec.trainer.container",
    "spec.args",
    "spec.inputs",
    "spec.inputModes",
    "spec.roles",
    "spec.checkpoint",
    "spec.model",
    "spec.runPolicy",
)
"""Fields that are mappings and that flags are merged into or that are looked into here."""

_SERVERS_METADATA = frozenset(
    {
        "uid",
        "resourceVersion",
        "generation",
        "generateName",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "ownerReferences",
        "finalizers",
        "managedFields",
        "selfLink",
    }
)
"""What a job read from a cluster has and a new one must not: all of an object's metadata but the user's own four. Another
word is misspelt, and the API server says so."""
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class Submission:
    """What `fovea jobs submit NAME …` can say. What is left empty is not written; what is set wins over `base`."""

    name: str
    namespace: str = ""
    base: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: Mapping[str, Value] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    input_modes: Mapping[str, str] = field(default_factory=dict)
    scale_tier: str = ""
    machine_type: str = ""
    distribution: str = ""
    sync: bool = False
    workers: int | None = None
    worker_machine_type: str = ""
    parameter_servers: int | None = None
    parameter_server_machine_type: str = ""
    evaluator: bool = False
    evaluator_machine_type: str = ""
    queue: str = ""
    queue_priority: str = ""
    model: str = ""
    deploy: bool = False
    cache: str = ""
    checkpoint_from: str = ""
    train_from_scratch: bool = False
    checkpoint_every_steps: int | None = None
    backoff_limit: int | None = None
    max_running_seconds: int | None = None
    max_wait_seconds: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    suspend: bool = False

    def manifest(self) -> dict[str, Any]:
        """The object to send; the API server checks it."""
        object_names.new("job", self.name)
        document = deepcopy(dict(self.base))
        # A cancelled job that another one starts from would have that cancelled at once.
        spec = _section(document, "spec")
        spec.pop("cancel", None)
        metadata = {**_section(document, "metadata"), "name": self.name}
        if self.namespace:
            metadata["namespace"] = self.namespace
        _merge(metadata, "labels", self.labels)
        return {
            "apiVersion": API_VERSION,
            "kind": TrainingJob.KIND,
            "metadata": metadata,
            "spec": self._spec(spec),
        }

    def _spec(self, spec: dict[str, Any]) -> dict[str, Any]:
        spec["trainer"] = self._trainer(_section(spec, "trainer"))
        recipe = spec["trainer"].get("recipe")
        _merge(spec, "args", _negated(self.args, recipe) if isinstance(recipe, str) else self.args)
        _merge(spec, "inputs", self.inputs)
        _merge(spec, "inputModes", self.input_modes)
        if self.scale_tier:
            spec["scaleTier"] = self.scale_tier
        if self.distribution:
            spec["distribution"] = self.distribution
        if self.sync:
            spec["sync"] = True
        if roles := self._roles(_section(spec, "roles")):
            spec["roles"] = roles
        _merge(spec, "scheduling", _given({"queue": self.queue, "priority": self.queue_priority}))
        if checkpoint := self._checkpoint(_section(spec, "checkpoint")):
            spec["checkpoint"] = checkpoint
        if self.cache:
            spec["cache"] = {"name": self.cache}
        _merge(spec, "model", _given({"name": self.model, "deploy": self.deploy or None}))
        if self.deploy and not spec["model"].get("name"):
            raise InvalidError("--deploy needs --model NAME: the model that is registered and served")
        limits = {
            "backoffLimit": self.backoff_limit,
            "maxRunningSeconds": self.max_running_seconds,
            "maxWaitSeconds": self.max_wait_seconds,
        }
        _merge(spec, "runPolicy", _given(limits))
        if self.suspend:
            spec["suspend"] = True
        return spec

    def _checkpoint(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        if self.checkpoint_from:  # whoever names one wants it
            checkpoint.pop("trainFromScratch", None)
        scratch = self.train_from_scratch or None
        given = {"from": self.checkpoint_from, "everySteps": self.checkpoint_every_steps, "trainFromScratch": scratch}
        return checkpoint | _given(given)

    def _roles(self, roles: dict[str, Any]) -> dict[str, Any]:
        """Those of the file, with what is given of each."""
        given = {
            "chief": _given({"machineType": self.machine_type}),
            "worker": _given({"count": self.workers, "machineType": self.worker_machine_type}),
            "ps": _given({"count": self.parameter_servers, "machineType": self.parameter_server_machine_type}),
        }
        for role, fields in given.items():
            _merge(roles, role, fields)
        if self.evaluator or self.evaluator_machine_type:
            roles["evaluator"] = _section(roles, "evaluator") | _given({"machineType": self.evaluator_machine_type})
        return roles

    def _trainer(self, trainer: dict[str, Any]) -> dict[str, Any]:
        if self.recipe:
            return self._without_command({"recipe": self.recipe})
        container = _section(trainer, "container") | _given({"image": self.image})
        if not container:
            return self._without_command(trainer)
        if self.command:
            container["command"] = list(self.command)
        return {"container": container} if self.image else {**trainer, "container": container}

    def _without_command(self, trainer: dict[str, Any]) -> dict[str, Any]:
        if self.command:
            raise InvalidError(
                "--command needs a container, by --image IMAGE or by the file's trainer.container: "
                "a recipe has a program of its own"
            )
        return trainer


def clone(
    job: Mapping[str, Any],
    name: str,
    *,
    args: Mapping[str, Value],
    checkpoint_from: str = "",
    train_from_scratch: bool = False,
) -> dict[str, Any]:
    """A new job with the spec of another one, but for being suspended or cancelled; `args` win over its own."""
    begin = {"checkpoint_from": checkpoint_from, "train_from_scratch": train_from_scratch}
    document = Submission(name=name, base=checked(job, "the job"), args=args, **begin).manifest()  # type: ignore[arg-type]
    document["spec"].pop("suspend", None)
    return document


def next_name(name: str, number: int) -> str:
    """The name of a clone: digits -> digits-2, digits-2 -> digits-3; `number` is added to that, for where it is taken."""
    stem, count = name, 1
    if match := re.fullmatch(r"(.*[a-z0-9])-([0-9]{1,6})", name):
        stem, count = match[1], int(match[2])
    ending = f"-{count + 1 + number}"
    return stem[: names.MAX_NAME - len(ending)].rstrip("-") + ending


def load(source: str | Path, kind: str = TrainingJob.KIND) -> list[dict[str, Any]]:
    """The objects of one kind of a YAML or JSON file (`-`: standard input); InvalidError names the file and what is wrong."""
    import yaml

    shown = "standard input" if str(source) == "-" else source
    try:
        text = sys.stdin.read() if str(source) == "-" else Path(source).read_text(encoding="utf-8")
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except OSError as error:
        raise InvalidError(f"cannot read {shown}: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that no calendar has
        raise InvalidError(f"{shown} is no YAML: {error}") from error
    if not documents:
        raise InvalidError(f"{shown} is empty: it must hold a {kind}")
    return [checked(document, str(source), kind) for document in documents]


def manifest_of(given: S | Mapping[str, Any] | str | Path, model: type[S], noun: str) -> Mapping[str, Any]:
    """What a typed object, a manifest or the path of a YAML file with one object is sent as; `noun` is what one is called."""
    if isinstance(given, (str, Path)):
        documents = load(given, model.KIND)
        if len(documents) != 1:
            raise InvalidError(f"{given} holds {len(documents)} {noun}s: submit them one by one")
        return documents[0]
    if isinstance(given, (TrainingJob, BatchPrediction)):
        manifest = given.dump()
        known = {key: manifest["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
        manifest["metadata"] = {key: value for key, value in known.items() if value}
        manifest.pop("status", None)
        return manifest
    return checked(given, "the manifest", model.KIND)


def checked(document: Any, source: str, wanted: str = TrainingJob.KIND) -> dict[str, Any]:
    """The document if it is of the wanted kind and has a name, as one that is not in a cluster yet.

    So what `fovea jobs describe --format yaml` and kubectl print can be submitted again. The rest the API server checks.
    """
    if not isinstance(document, Mapping):
        raise InvalidError(f"{source} holds a {type(document).__name__}, not a {wanted}")
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind != wanted:
        raise InvalidError(
            f"{source} holds kind {kind}, not {wanted}: apply other kinds with `kubectl apply -f {source}`"
        )
    if version != API_VERSION:
        raise InvalidError(f"{source} has apiVersion {version}: this client knows {API_VERSION}")
    _check_sections(document, source, wanted)
    name = _section(document, "metadata").get("name")
    if not isinstance(name, str) or not name:
        raise InvalidError(f"{source}: metadata.name is missing: give it a name")
    return _unborn(document)


def _unborn(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without what the cluster and kubectl wrote into it; owners of a job that no cluster had are the user's."""
    metadata = dict(document["metadata"])
    if metadata.keys() & {"uid", "resourceVersion"}:
        metadata = {key: value for key, value in metadata.items() if key not in _SERVERS_METADATA}
    if isinstance(metadata.get("annotations"), Mapping):
        metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key != _APPLIED}
    return {key: value for key, value in document.items() if key != "status"} | {"metadata": metadata}


def _check_sections(document: Mapping[str, Any], source: str, kind: str) -> None:
    """Raise InvalidError for a section that is no mapping. An empty one is the API server's to judge."""
    for path in _SECTIONS if kind == TrainingJob.KIND else _SECTIONS_OF_ALL:
        value: Any = document
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None and not isinstance(value, Mapping):
            raise InvalidError(
                f"{source}: {path} is {value!r}, not a mapping of names to values: "
                f"`kubectl explain {kind.lower()}.{path}` says what it holds"
            )


def warnings(manifest: Mapping[str, Any]) -> list[str]:
    """What this client's flag catalogue has against a recipe's arguments. The cluster's may be newer and decides."""
    spec = _section(manifest, "spec")
    recipe = _section(spec, "trainer").get("recipe")
    # What is no flag at all, a list for example, the API server refuses.
    flags = {k: v for k, v in _section(spec, "args").items() if isinstance(k, str) and isinstance(v, Value)}
    return catalogue.check(recipe, flags) if isinstance(recipe, str) else []


def scalar(text: str) -> Value:
    """A word of the command line as YAML would hold it: true, 10 and 0.5 typed, else a text."""
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,14})", text):
        return int(text)
    if re.fullmatch(r"-?[0-9]+\.[0-9]+", text) and str(float(text)) == text:
        return float(text)
    return text


def arguments(words: Iterable[str]) -> dict[str, Value]:
    """User arguments after `--`: --epochs=10, --epochs 10, --verbose (true) or epochs=10; else InvalidError."""
    result: dict[str, Value] = {}
    pending = ""
    for word in words:
        if pending and not word.startswith("--"):
            result[pending], pending = scalar(word), ""
            continue
        if pending:
            result[pending], pending = True, ""
        name, equals, value = word.removeprefix("--").partition("=")
        if not re.fullmatch(r"[A-Za-z0-9][-_.A-Za-z0-9]*", name) or not (equals or word.startswith("--")):
            raise InvalidError(f"argument {word!r} after -- is not --name=value, --name value or name=value")
        if equals:
            result[name] = scalar(value)
        else:
            pending = name
    if pending:
        result[pending] = True
    return result


def _negated(args: Mapping[str, Value], recipe: str) -> dict[str, Value]:
    """The arguments with `--no-augment` said as the recipe's help says it, `augment: false` as the job holds it."""
    known = catalogue.load().recipes.get(recipe)
    flags = known.flags if known else {}
    result = dict(args)
    for name, value in args.items():
        flag = flags.get(name.removeprefix("no-"))
        if value is True and name not in flags and flag is not None and flag.type == "bool":
            del result[name]
            result[name.removeprefix("no-")] = False
    return result


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "")}


def _section(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A copy of a section; in YAML one without content is null."""
    return dict(document.get(key) or {})


def _merge(document: dict[str, Any], key: str, values: Mapping[str, Any]) -> None:
    if values:
        document[key] = _section(document, key) | dict(values)
