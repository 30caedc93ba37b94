"""ModelDeployments: where their rollouts stand, and how people hold, shorten and end one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fovea_api.v1alpha1 import ModelDeployment
from fovea_api.v1alpha1.model_deployment import KIND
from fovea_api.v1alpha1.model_deployment_status import Place, PlaceRole

from .cluster import Cluster
from .errors import InvalidError
from .resources import Kinds


@dataclass(frozen=True)
class Changed:
    """A ModelDeployment before and after a verb."""

    before: ModelDeployment
    deployment: ModelDeployment
    """As it is now. Its status is the one of before: the operator acts on the change later."""
    place: Place | None = None
    """The version that the verb is about, as it stood before. None: of pause and resume, where no version is being rolled out."""

    @property
    def changed(self) -> bool:
        """Whether the verb changed spec.rollout. False: it was already that way."""
        return self.before.spec.rollout != self.deployment.spec.rollout


class Deployments:
    """The ModelDeployments of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self.kinds: Kinds[ModelDeployment] = Kinds(cluster, KIND, ModelDeployment)

    def list(self) -> "DeploymentList":
        """All ModelDeployments by name."""
        found = [self.kinds.read(document) for document in self.kinds.list()]
        return sorted(found, key=lambda deployment: deployment.metadata.name)

    def get(self, name: str) -> ModelDeployment:
        """One ModelDeployment."""
        return self.kinds.read(self.kinds.get(name))

    def raw(self, name: str) -> dict[str, Any]:
        """As `get`, as it is in the cluster."""
        return self.kinds.get(name)

    def pause(self, name: str) -> Changed:
        """Keep the rollout at its present step. The new version is still rolled back if it fails."""
        found = self.get(name)
        return self._set(found, found.status.candidate, {"paused": True})

    def resume(self, name: str) -> Changed:
        """Let a paused rollout go on."""
        found = self.get(name)
        return self._set(found, found.status.candidate, {"paused": False})

    def promote(self, name: str, version: int | None = None) -> Changed:
        """Give all requests to the version that is being rolled out, or that was given up, as soon as its pods are ready.

        There are no more steps, and nothing is analysed. A paused rollout is resumed. InvalidError when there is no such
        version, when `version` is another one, and when the version was given up in spite of being promoted.
        """
        found = self.get(name)
        place = found.status.candidate or found.status.failed
        if place is None:
            raise self._nothing(found, "promote")
        if version not in (None, place.version):
            which = "was given up" if place.role == PlaceRole.FAILED else "is being rolled out"
            raise InvalidError(
                f"{self._target(found)} cannot promote version {version}, only version {place.version}, which {which}: "
                f"`fovea deployments promote {name} --version {place.version} -n {self.kinds.namespace}` promotes that one"
            )
        rollout = found.spec.rollout
        is_named = rollout.promoted_version == place.version
        is_aborted = rollout.aborted_version == place.version
        if place.role == PlaceRole.FAILED and is_named and not is_aborted and _is_seen(found):
            raise self._in_vain(found, place)
        more = {"abortedVersion": None} if is_aborted else {}
        return self._set(found, place, {"promotedVersion": place.version, "paused": False, **more})

    def abort(self, name: str) -> Changed:
        """End the rollout of the new version: it gets no requests any more. InvalidError when there is none."""
        found = self.get(name)
        place = found.status.candidate
        if place is None:
            raise self._nothing(found, "abort")
        more = {"promotedVersion": None} if found.spec.rollout.promoted_version == place.version else {}
        return self._set(found, place, {"abortedVersion": place.version, **more})

    def _set(self, found: ModelDeployment, place: Place | None, rollout: Mapping[str, Any]) -> Changed:
        present = found.spec.rollout.dump()
        if all(present.get(field) == value for field, value in rollout.items()):
            return Changed(found, found, place)
        # With its uid: the API server refuses it for another ModelDeployment that has taken the name since.
        body = {"metadata": {"uid": found.metadata.uid}, "spec": {"rollout": dict(rollout)}}
        return Changed(found, self.kinds.read(self.kinds.patch(found.metadata.name, body)), place)

    def _target(self, found: ModelDeployment) -> str:
        return str(self.kinds.target("patch", found.metadata.name))

    def _describe(self, found: ModelDeployment) -> str:
        return f"`fovea deployments describe {found.metadata.name} -n {self.kinds.namespace}`"

    def _nothing(self, found: ModelDeployment, verb: str) -> InvalidError:
        status = found.status
        serves = f"version {status.stable.version} serves" if status.stable else "no version serves"
        failed = status.failed
        given_up = f", version {failed.version} was given up already ({failed.reason})" if failed else ""
        return InvalidError(
            f"{self._target(found)} has nothing to {verb}: {serves}{given_up}, and no version is being rolled out. "
            f"{self._describe(found)} shows more"
        )

    def _in_vain(self, found: ModelDeployment, place: Place) -> InvalidError:
        why = f" ({place.message.rstrip('.')})" if place.message else ""
        return InvalidError(
            f"{self._target(found)}: version {place.version} was promoted already (spec.rollout.promotedVersion) and was given "
            f"up{why}: remove the cause, then remove that field or change another one of spec.rollout, and Fovea tries the "
            f"version again. {self._describe(found)} shows more"
        )


def _is_seen(found: ModelDeployment) -> bool:
    """Whether the status is about the present spec: the operator has looked at the last change."""
    return (found.status.observed_generation or 0) >= found.metadata.generation


DeploymentList = list[ModelDeployment]
