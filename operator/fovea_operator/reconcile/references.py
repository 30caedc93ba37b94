"""What a TrainingJob names: other jobs and models. So the edges know what a decision needs to see."""

import re
from dataclasses import dataclass

from fovea_api.v1alpha1 import TrainingJob

_JOB_INPUT = re.compile(r"job://(?P<job>[^/]+)/(?P<part>output|model)")
_JOB = re.compile(r"job://(?P<job>[^/]+)")
_MODEL = re.compile(r"model://(?P<model>[^/]+)(/(?P<version>[0-9]+))?")


@dataclass(frozen=True)
class JobOutput:
    """An input job://NAME/output or job://NAME/model."""

    job: str
    part: str


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


def parse(uri: str) -> JobOutput | ModelFiles | None:
    """An input's address; None when it is one in the store."""
    if match := _JOB_INPUT.fullmatch(uri):
        return JobOutput(match["job"], match["part"])
    if match := _MODEL.fullmatch(uri):
        return ModelFiles(match["model"], int(match["version"]) if match["version"] else None)
    return None


def checkpoint_job(job: TrainingJob) -> str | None:
    """Name of the job whose checkpoint this one begins with."""
    match = _JOB.fullmatch((job.spec.checkpoint.from_ if job.spec.checkpoint else None) or "")
    return match["job"] if match else None


def needs(job: TrainingJob) -> References:
    """Everything a decision on this job must be shown beside its own pods."""
    named = [parse(uri) for uri in (job.spec.inputs or {}).values()]
    jobs = {reference.job for reference in named if isinstance(reference, JobOutput)}
    inputs = frozenset(reference.model for reference in named if isinstance(reference, ModelFiles))
    if continued := checkpoint_job(job):
        jobs.add(continued)
    registered = {job.spec.model.name} if job.spec.model else frozenset()
    return References(frozenset(jobs), inputs, inputs | registered)
