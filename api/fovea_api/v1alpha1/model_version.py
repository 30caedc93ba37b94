"""ModelVersion: the immutable record of one trained model: where it is, what it contains, how good it is, where it comes from."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from .common import Column, Kind, Model, Name, Resource, StoreUri, immutable, rule, rules

_FIXED = "register a new version instead (only approval can be changed)"


class Lineage(Model):
    """Origin of a model."""

    job: Annotated[str, Field(max_length=253)] = ""
    """Name of the TrainingJob."""
    job_uid: Annotated[str, Field(max_length=64)] = ""
    """Uid of the TrainingJob. A job registers one version, however many attempts it has."""
    attempt: Annotated[int | None, Field(ge=0)] = None
    """Number of the attempt that published the model."""
    source: Annotated[str, Field(max_length=1024)] = ""
    """For a model that no job trained: its origin, in the user's words."""


class MainMetric(Model):
    """The metric that stands for a version."""

    name: Annotated[str, Field(max_length=128)]
    """Name of the metric."""
    value: float
    """Its value."""


class ModelVersionSpec(Model):
    """Record of a version. Only approval can be changed."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            immutable(
                ("model", "version", "uri", "digest"), ("bytes", "format", "metrics", "mainMetric", "lineage"), _FIXED
            ),
        )
    )

    model: Name
    """Name of the model."""
    version: Annotated[int, Field(ge=1, le=999_999_999)]
    """Number of the version: 1, 2, …"""
    uri: StoreUri
    """Address of the files in the object store (a prefix)."""
    digest: Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
    """Digest of the files. Before a version is served, Fovea checks its files against this digest."""
    bytes: Annotated[int | None, Field(ge=0)] = None
    """Total size of the files, in bytes."""
    format: Literal["SavedModel", "Other"] | None = None
    """Format of the files. Absent: SavedModel. Files of format Other can be the input of a job (model://), but are never served."""
    metrics: Annotated[dict[Annotated[str, Field(max_length=128)], float] | None, Field(max_length=64)] = None
    """Evaluation metrics by name."""
    main_metric: MainMetric | None = None
    """The metric that stands for the version, for example accuracy: the columns METRIC and VALUE of kubectl get."""
    lineage: Lineage | None = None
    """Origin of the model."""
    approval: Literal["Approved", "Rejected"] = "Approved"
    """Approved: a ModelDeployment with version Latest may serve this version. Rejected: it does not. A ModelDeployment that
    names the number of the version serves it in both cases."""


class ModelVersion(Resource):
    """One version of a model: an immutable record of where its files are, their digest, its metrics and lineage."""

    KIND: ClassVar[str] = "ModelVersion"
    kind: Literal["ModelVersion"] = "ModelVersion"
    spec: ModelVersionSpec
    """The record."""


KIND = Kind(
    kind="ModelVersion",
    plural="modelversions",
    short="mv",
    scope="Namespaced",
    model=ModelVersion,
    root_rules=(
        rule(
            # Written as prefix and rest: a sum of strings has no estimated cost.
            "self.metadata.name.startsWith(self.spec.model + '-v') && "
            "self.metadata.name.substring(self.spec.model.size() + 2) == string(self.spec.version)",
            "metadata.name must be <spec.model>-v<spec.version>, for example digits-v3: correct the name",
        ),
    ),
    columns=(
        Column(name="Model", type="string", json_path=".spec.model"),
        Column(name="Version", type="integer", json_path=".spec.version"),
        Column(name="Metric", type="string", json_path=".spec.mainMetric.name"),
        Column(name="Value", type="number", json_path=".spec.mainMetric.value"),
        Column(name="Approval", type="string", json_path=".spec.approval"),
        Column(name="Job", type="string", json_path=".spec.lineage.job"),
        Column(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ),
)
