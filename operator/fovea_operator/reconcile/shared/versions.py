"""Which of a model's versions is meant."""

from collections.abc import Iterable

from fovea_api.v1alpha1 import ModelVersion

LATEST = "Latest"


def servable(version: ModelVersion) -> bool:
    """Whether its files are a SavedModel."""
    return version.spec.format != "Other"


def find(
    model: str, versions: Iterable[ModelVersion], number: int | None = None, *, to_serve: bool = False
) -> ModelVersion | None:
    """The version of a number, or the newest approved one; `to_serve`: only one that can be served."""
    of_model = [v for v in versions if v.spec.model == model and v.metadata.deletion_timestamp is None]
    if to_serve:
        of_model = [version for version in of_model if servable(version)]
    if number is not None:
        return next((version for version in of_model if version.spec.version == number), None)
    approved = [version for version in of_model if version.spec.approval == "Approved"]
    return max(approved, key=lambda version: version.spec.version, default=None)
