"""The inputs of a job by name (job://…, model://…), and the checkpoint that it begins with.

They become addresses in the store, with the digest that the agent checks. They are looked up once, for the first pod.
What they stood for is written in its plan and, from the first status after it, in `status.resolvedInputs`: every later
attempt takes the same, whatever became of the objects meanwhile.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fovea_api.contract import storage
from fovea_api.contract.plan import INPUT_JOB_MODEL, INPUT_JOB_OUTPUT, INPUT_PUBLICATION, Input
from fovea_api.v1alpha1 import JobState, ModelVersion, TrainingJob
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.training_job_status import ResolvedInput

from fovea_operator.desired import containers
from fovea_operator.desired.pod import Sources
from fovea_operator.reconcile.shared.observed import JobObserved
from fovea_operator.settings import Settings

_JOB = re.compile(r"job://(?P<job>[^/@]+)(@(?P<which>[^/@]+))?(/(?P<part>output|model))?")
_MODEL = re.compile(r"model://(?P<model>[^/]+)(/(?P<version>[0-9]+))?")
LATEST = "latest"


@dataclass(frozen=True)
class JobReference:
    """job://NAME (the job of that name in the cluster), job://NAME@UID (that very job, deleted or not) or job://NAME@latest
    (the newest of that name that left something in the store); for an input with /output or /model.
    """

    job: str
    which: str = ""
    part: str = ""

    def __str__(self) -> str:
        return f"job://{self.job}{self.which and '@'}{self.which}{self.part and '/'}{self.part}"


@dataclass(frozen=True)
class ModelFiles:
    """An input model://NAME (version None: the newest approved) or model://NAME/N."""

    model: str
    version: int | None


@dataclass(frozen=True)
class References:
    """What a job names."""

    jobs: frozenset[str]
    """Other jobs: inputs and the checkpoint that it begins with."""
    inputs: frozenset[str]
    """Models of whose versions it reads one: it waits for them."""
    models: frozenset[str]
    """These, and the model that it registers a version of."""


def _parse(uri: str) -> JobReference | ModelFiles | None:
    """An input's address; None when it is one in the store."""
    if match := _JOB.fullmatch(uri):
        return JobReference(match["job"], match["which"] or "", match["part"] or "")
    if match := _MODEL.fullmatch(uri):
        return ModelFiles(match["model"], int(match["version"]) if match["version"] else None)
    return None


def _begins_with(job: TrainingJob) -> JobReference | ModelFiles | None:
    """The job, or the version by the job that trained it, whose checkpoint this one begins with."""
    checkpoint = job.spec.checkpoint
    return _parse(checkpoint.from_ or "") if checkpoint and not checkpoint.train_from_scratch else None


def needs(job: TrainingJob) -> References:
    """Everything a decision on this job must be shown beside its own pods."""
    named = [_begins_with(job), *(_parse(uri) for uri in (job.spec.inputs or {}).values())]
    # What is looked for in the store alone depends on no job of the cluster.
    jobs = frozenset(r.job for r in named if isinstance(r, JobReference) and r.which != LATEST)
    inputs = frozenset(reference.model for reference in named if isinstance(reference, ModelFiles))
    registered = {job.spec.model.name} if job.spec.model else frozenset()
    return References(jobs, inputs, inputs | registered)


@dataclass(frozen=True)
class Unresolved:
    """An input that is not there: `final` when it will never be."""

    reason: JobReason
    message: str
    final: bool


CHECKPOINT = "checkpoint.from"
"""Name of the job to continue among the resolved inputs; no input can have it, since names hold no dot."""


def resolved(observed: JobObserved) -> tuple[ResolvedInput, ...]:
    """What names stood for, by the status and by the newest pod that got addresses: it has them before the status does."""
    known = {item.name: item for item in observed.job.status.resolved_inputs or ()}
    informed = [pod for pod in observed.pods if pod.publications or pod.checkpoint_from]
    if informed:
        newest = max(informed, key=lambda pod: (pod.created, pod.name))
        known |= {item.name: item for item in of_sources(Sources(newest.publications, newest.checkpoint_from))}
    return tuple(known.values())


def of_sources(sources: Sources) -> tuple[ResolvedInput, ...]:
    """What of a pod's sources other objects stood for."""
    found = [
        ResolvedInput(name=item.name, uri=item.uri, digest=item.digest)
        for item in sources.inputs
        if item.kind == INPUT_PUBLICATION
    ]
    if sources.checkpoint_from:
        found.append(ResolvedInput(name=CHECKPOINT, uri=sources.checkpoint_from))
    return tuple(found)


def resolve(
    observed: JobObserved, resolved_before: Iterable[ResolvedInput], settings: Settings
) -> Sources | Unresolved:
    """All inputs and the checkpoint to begin with, or the first of them that is not there."""
    known = {item.name: item for item in resolved_before}
    inputs: list[Input] = []
    for name, uri in (observed.job.spec.inputs or {}).items():
        reference = _parse(uri)
        found: Input | Unresolved
        if reference is not None and name in known:
            found = Input(name, known[name].uri, INPUT_PUBLICATION, known[name].digest)
        elif isinstance(reference, JobReference):
            found = _of_job(f"spec.inputs.{name}", name, reference, observed, settings)
        elif isinstance(reference, ModelFiles):
            found = _of_model(f"spec.inputs.{name}", name, uri, reference, observed)
        else:
            found = Input(name, uri, room=_room(observed.job, name, settings))
        if isinstance(found, Unresolved):
            return found
        inputs.append(found)
    begin = known[CHECKPOINT].uri if CHECKPOINT in known else _checkpoint(observed, settings)
    return begin if isinstance(begin, Unresolved) else Sources(tuple(inputs), begin)


def _room(job: TrainingJob, name: str, settings: Settings) -> int:
    """Bytes of shards that a pod holds of a streamed input at once; 0 for an input that is fetched whole."""
    mode = (job.spec.input_modes or {}).get(name)
    return max(1, int(containers.number(settings.stream_room))) if mode == "Stream" else 0


def _of_job(
    field: str, name: str, reference: JobReference, observed: JobObserved, settings: Settings
) -> Input | Unresolved:
    other = _other(field, reference, observed)
    if isinstance(other, Unresolved):
        return other
    if other is None or (reference.which and other.status.state != JobState.SUCCEEDED):
        kind = INPUT_JOB_MODEL if reference.part == "model" else INPUT_JOB_OUTPUT
        return Input(name, _left(reference, observed, settings), kind)
    if other.status.state != JobState.SUCCEEDED:
        return _missing(
            f"{field}: {reference} does not exist, since job {reference.job} ended {other.status.state}; "
            "correct that job and submit both again."
        )
    published = other.status.model if reference.part == "model" else other.status.output
    if published is None:
        return _missing(f"{field}: job {reference.job} published no {reference.part}; name another input.")
    return Input(name, published.uri, INPUT_PUBLICATION, published.digest)


def _other(field: str, reference: JobReference, observed: JobObserved) -> TrainingJob | Unresolved | None:
    """The other job, ended; None when only the store knows of it."""
    if reference.which == LATEST:
        return None
    own = observed.job.metadata
    if reference.which in ("", own.uid) and reference.job == own.name:
        earlier = replace(reference, which=LATEST)
        message = (
            f"{field}: {reference} is this job itself; name another job, or {earlier} for the results of a deleted job of this "
            "name, and submit again."
        )
        return Unresolved(JobReason.INVALID_SPEC, message, final=True)
    other = observed.jobs.get(reference.job)
    if reference.which and (other is None or other.metadata.uid != reference.which):
        return None
    if other is None:
        return _pending(
            f"{field}: waiting for job {reference.job}, which does not exist: submit it. If it was deleted, its results are at "
            f"{replace(reference, which=LATEST)}: cancel this job, and submit it again with this address."
        )
    if other.status.state is None or not other.status.state.ended:
        return _pending(
            f"{field}: waiting for job {reference.job} to end; it is {other.status.state or JobState.QUEUED} now."
        )
    return other


def _left(reference: JobReference, observed: JobObserved, settings: Settings) -> str:
    """Where in the store a job left something that may be deleted by now; the agent looks what there is."""
    namespace = observed.job.metadata.namespace
    named = storage.jobs(namespace, reference.job)
    prefix = named if reference.which == LATEST else storage.job(namespace, reference.job, reference.which)
    return str(storage.Location(settings.bucket, prefix))


def _of_model(field: str, name: str, uri: str, reference: ModelFiles, observed: JobObserved) -> Input | Unresolved:
    found = _version(field, uri, reference, observed)
    if isinstance(found, Unresolved):
        return found
    return Input(name, found.spec.uri, INPUT_PUBLICATION, found.spec.digest)


def _version(field: str, uri: str, reference: ModelFiles, observed: JobObserved) -> ModelVersion | Unresolved:
    found = observed.versions[reference.model].find(reference.version)
    if found is None:
        what = f"version {reference.version}" if reference.version else "an approved version"
        return _pending(
            f"{field}: waiting for {what} of model {reference.model} ({uri}): register it, or cancel this job."
        )
    return found


def _checkpoint(observed: JobObserved, settings: Settings) -> str | Unresolved:
    """Address of the job whose checkpoints are to be continued; empty: none."""
    reference = _begins_with(observed.job)
    if reference is None or observed.job.status.checkpoint is not None:
        return ""  # with a checkpoint of its own a job needs no other
    if isinstance(reference, ModelFiles):
        return _of_trainer(reference, observed)
    other = _other("spec.checkpoint.from", reference, observed)
    if isinstance(other, Unresolved):
        return other
    if other is None:
        return _left(reference, observed, settings)
    prefix = storage.job(other.metadata.namespace, reference.job, other.metadata.uid)
    return str(storage.Location(_bucket(other, settings), prefix))


def _of_trainer(reference: ModelFiles, observed: JobObserved) -> str | Unresolved:
    """Address of the job that trained a version, by its lineage. That job may be deleted: its checkpoints are in the store."""
    field, uri = (
        "spec.checkpoint.from",
        f"model://{reference.model}{f'/{reference.version}' if reference.version else ''}",
    )
    version = _version(field, uri, reference, observed)
    if isinstance(version, Unresolved):
        return version
    lineage = version.spec.lineage
    if lineage is None or not lineage.job or not lineage.job_uid:
        return _missing(
            f"{field}: version {version.spec.version} of model {reference.model} was trained by no job of Fovea, so it has no "
            "checkpoint; name a version that a job trained, or remove the field, and submit again."
        )
    prefix = storage.job(observed.job.metadata.namespace, lineage.job, lineage.job_uid)
    return str(storage.Location(storage.Location.parse(version.spec.uri).bucket, prefix))


def _bucket(job: TrainingJob, settings: Settings) -> str:
    for published in (job.status.output, job.status.model):
        try:
            if published is not None:
                return storage.Location.parse(published.uri).bucket
        except ValueError:
            continue
    return settings.bucket


def _pending(message: str) -> Unresolved:
    return Unresolved(JobReason.INPUT_PENDING, message, final=False)


def _missing(message: str) -> Unresolved:
    return Unresolved(JobReason.INPUT_MISSING, message, final=True)
