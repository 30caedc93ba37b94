"""What a TrainingJob names: other jobs and models. So the edges know what a decision needs to see."""

import re
from dataclasses import dataclass

from fovea_api.v1alpha1 import TrainingJob

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


def parse(uri: str) -> JobReference | ModelFiles | None:
    """An input's address; None when it is one in the store."""
    if match := _JOB.fullmatch(uri):
        return JobReference(match["job"], match["which"] or "", match["part"] or "")
    if match := _MODEL.fullmatch(uri):
        return ModelFiles(match["model"], int(match["version"]) if match["version"] else None)
    return None


def checkpoint_job(job: TrainingJob) -> JobReference | None:
    """The job whose checkpoint this one begins with."""
    found = parse((job.spec.checkpoint.from_ if job.spec.checkpoint else None) or "")
    return found if isinstance(found, JobReference) else None


def needs(job: TrainingJob) -> References:
    """Everything a decision on this job must be shown beside its own pods."""
    named = [checkpoint_job(job), *(parse(uri) for uri in (job.spec.inputs or {}).values())]
    # What is looked for in the store alone depends on no job of the cluster.
    jobs = frozenset(r.job for r in named if isinstance(r, JobReference) and r.which != LATEST)
    inputs = frozenset(reference.model for reference in named if isinstance(reference, ModelFiles))
    registered = {job.spec.model.name} if job.spec.model else frozenset()
    return References(jobs, inputs, inputs | registered)
