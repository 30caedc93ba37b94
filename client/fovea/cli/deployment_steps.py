"""What to try next with a ModelDeployment, and what a verb did to its rollout. Pure; golden files hold them."""

from collections.abc import Iterator

from fovea_api.v1alpha1 import ModelDeployment
from fovea_api.v1alpha1.model_deployment_status import Place, PlaceRole, PlaceStep
from fovea_api.v1alpha1.rollout import Rollout

from fovea.sdk.deployments import Changed


def next_steps(deployment: ModelDeployment) -> list[str]:
    """Commands to try next, each with what it does."""
    steps = list(_commands(deployment))
    width = max((len(command) for command, does in steps if does), default=0)
    return [f"{command.ljust(width)}  # {does}" if does else command for command, does in steps]


def _commands(deployment: ModelDeployment) -> Iterator[tuple[str, str]]:
    status = deployment.status
    namespace = deployment.metadata.namespace
    name = deployment.metadata.name + (f" -n {namespace}" if namespace else "")
    if status.candidate and status.stable:
        for verb, does in _of_candidate(deployment, status.candidate, status.stable):
            yield f"fovea deployments {verb} {name}", does
    elif status.failed:
        if deployment.spec.rollout.promoted_version != status.failed.version:
            does = f"try version {status.failed.version} again: it gets all requests, without steps"
            yield f"fovea deployments promote {name}", does
        yield f"kubectl edit modeldeployment {name}", _edit(deployment.spec.rollout, status.failed)
    elif status.stable:
        yield f"fovea predict --model {deployment.spec.model}{f' -n {namespace}' if namespace else ''} IMAGE…", ""
    else:
        yield f"kubectl describe modeldeployment {name}", "see its Events"
    if status.history:
        yield f"fovea deployments history {name}", ""


def _of_candidate(deployment: ModelDeployment, candidate: Place, stable: Place) -> Iterator[tuple[str, str]]:
    rollout, version = deployment.spec.rollout, candidate.version
    if rollout.needs_gateway and rollout.promoted_version != version:
        goes_on = ("resume", f"let version {version} go on")
        yield goes_on if rollout.paused else ("pause", f"keep version {version} at its step")
        has_all = candidate.step == PlaceStep.BAKING
        now = f"give version {version} all requests now, without steps"
        yield "promote", f"make version {version} the stable version now" if has_all else now
    yield "abort", f"version {version} gets no requests any more; version {stable.version} gets all"


def _edit(rollout: Rollout, failed: Place) -> str:
    change = "change spec.rollout"
    if rollout.promoted_version == failed.version:
        change = "remove spec.rollout.promotedVersion"
    if rollout.aborted_version == failed.version:
        change = "remove spec.rollout.abortedVersion"
    steps = ", step by step" if rollout.strategy == "Canary" else ""
    return f"{change}: version {failed.version} is tried again{steps}"


def paused(change: Changed) -> str:
    """What `pause` did."""
    what = f"the rollout of ModelDeployment {change.deployment.metadata.name}"
    said = f"Paused {what}" if change.changed else f"{what[0].upper()}{what[1:]} is paused already"
    return f"{said}: {_held(change)}"


def _held(change: Changed) -> str:
    rollout, place = change.deployment.spec.rollout, change.place
    if not rollout.needs_gateway:
        return (
            f"a new version has no step to stay at, because of strategy {rollout.strategy} without bakeSeconds. It gets all "
            "requests as soon as its pods are ready."
        )
    if place is None:
        return "no version is being rolled out. The next one will stay at its first step."
    if rollout.promoted_version == place.version:
        return f"version {place.version} gets all requests all the same, because it is promoted."
    if place.shift is None:
        return f"version {place.version} is starting, and will stay at its first step."
    return (
        f"version {place.version} stays at {place.shift.weight} % of the requests. It is still rolled back if it fails."
    )


def resumed(change: Changed) -> str:
    """What `resume` did."""
    what = f"the rollout of ModelDeployment {change.deployment.metadata.name}"
    said = f"Resumed {what}" if change.changed else f"{what[0].upper()}{what[1:]} is not paused"
    place = change.place
    if place is None:
        return f"{said}: no version is being rolled out."
    if place.shift is None:
        return f"{said}: version {place.version} is starting."
    goes_on = "goes on from" if change.changed else "is at"
    return f"{said}: version {place.version} {goes_on} step {place.shift.step} of {place.shift.steps}."


def promoted(change: Changed) -> str:
    """What `promote` did."""
    name, place = change.deployment.metadata.name, _place(change)
    subject = f"ersion {place.version} of ModelDeployment {name}"
    if not change.changed:
        said = f"V{subject} is promoted already"
    else:
        said = f"Trying v{subject} again" if place.role == PlaceRole.FAILED else f"Promoting v{subject}"
    more = " The rollout is not paused any more." if change.before.spec.rollout.paused else ""
    return f"{said}: it gets all requests as soon as its pods are ready, without steps and analysis.{more}"


def aborted(change: Changed) -> str:
    """What `abort` did."""
    name, place, stable = change.deployment.metadata.name, _place(change), change.deployment.status.stable
    subject = f"ersion {place.version} of ModelDeployment {name}"
    said = f"Aborting v{subject}" if change.changed else f"V{subject} is aborted already"
    if stable is None:
        return f"{said}: no other version serves. If it answers requests already, it stays."
    return f"{said}: version {stable.version} gets all requests."


def _place(change: Changed) -> Place:
    assert change.place is not None  # noqa: S101 - the SDK promotes and aborts nothing else
    return change.place
