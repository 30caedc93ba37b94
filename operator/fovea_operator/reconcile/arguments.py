"""Recipe arguments against the flag catalogue."""

import re

from fovea_api import catalogue
from fovea_api.v1alpha1 import MachineType, TrainingJob

from fovea_operator.settings import Settings

_RELEASE = re.compile(r"v?(?P<release>[0-9]+\.[0-9]+\.[0-9]+)(-[a-z].*)?")


def problems(job: TrainingJob) -> list[str]:
    """What is wrong with the recipe's name and arguments, one sentence each; nothing for a container."""
    recipe = job.spec.trainer.recipe
    return catalogue.check(recipe, job.spec.args or {}) if recipe else []


def binding(settings: Settings, machine: MachineType | None) -> bool:
    """Whether the catalogue speaks for the trainer image: not when the image's tag is another release.

    Any other tag (a digest, a build's hash) says nothing; then the image is taken to be of this operator's build.
    """
    image = (settings.trainer_gpu_image if machine and machine.spec.gpus else "") or settings.trainer_image
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    match = _RELEASE.fullmatch(tag)
    return match is None or match["release"] == catalogue.load().version
