"""Models: not objects of their own, but a name that versions and deployments share."""

from dataclasses import dataclass

from fovea_api.v1alpha1 import ModelDeployment, ModelVersion, model_deployment, model_version

from .cluster import Cluster
from .errors import NotFoundError
from .resources import Kinds


@dataclass(frozen=True)
class Model:
    """One model: its versions, newest first, and its deployments."""

    name: str
    versions: tuple[ModelVersion, ...]
    deployments: tuple[ModelDeployment, ...]

    @property
    def latest(self) -> ModelVersion | None:
        """The newest approved version."""
        return next((version for version in self.versions if version.spec.approval == "Approved"), None)


class Models:
    """The models of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._versions: Kinds[ModelVersion] = Kinds(cluster, model_version.KIND, ModelVersion)
        self._deployments: Kinds[ModelDeployment] = Kinds(cluster, model_deployment.KIND, ModelDeployment)

    def list(self) -> "ModelList":
        """All models by name: those that have a version or a deployment."""
        versions = [self._versions.read(document) for document in self._versions.list()]
        deployments = [self._deployments.read(document) for document in self._deployments.list()]
        return collect(versions, deployments)

    def get(self, name: str) -> Model:
        """One model; raises NotFoundError when nothing bears its name."""
        for model in self.list():
            if model.name == name:
                return model
        raise NotFoundError(
            f"model {name} has neither a version nor a deployment in namespace {self._cluster.namespace}: "
            f"`fovea models list -n {self._cluster.namespace}` shows what there is"
        )


def collect(versions: list[ModelVersion], deployments: list[ModelDeployment]) -> list[Model]:
    """Versions and deployments by model, models in order of name."""
    found = {version.spec.model for version in versions} | {deployment.spec.model for deployment in deployments}
    return [
        Model(
            name,
            tuple(sorted((v for v in versions if v.spec.model == name), key=lambda version: -version.spec.version)),
            tuple(sorted((d for d in deployments if d.spec.model == name), key=lambda item: item.metadata.name)),
        )
        for name in sorted(found)
    ]


ModelList = list[Model]
