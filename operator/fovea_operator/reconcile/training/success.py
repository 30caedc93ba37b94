"""What follows when the output of a job is published: its model is registered, then the job has SUCCEEDED.

What happens to the model is a ModelVersion, and a ModelDeployment that serves it if the job asks for one. The version's
number is the newest plus one, where a deleted version that a status still names counts too, and those that other jobs are
about to register. The name is made of it, so a version that a user registers by hand at the same time collides in the API
server: the job sees that version and takes the next number. A version remembers its job's uid, so a crash never makes two.
"""

from dataclasses import dataclass

from fovea_api.contract import names
from fovea_api.contract.report import Published
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason
from fovea_api.v1alpha1.training_job_status import CheckpointStatus, PublicationStatus

from fovea_operator.desired.model import model_deployment, model_version
from fovea_operator.reconcile.shared.decision import Child, Write
from fovea_operator.reconcile.training import disruption, members, outcome, progress
from fovea_operator.reconcile.training.answer import ACCEPTED, Answer, Changes, Ends, GoesOn, pods_seen
from fovea_operator.reconcile.training.outcome import Success
from fovea_operator.reconcile.training.view import View

_EXPORT = "Write a SavedModel directly into that folder, for example with model.export(os.environ['FOVEA_MODEL_DIR'])"


def end(view: View) -> Answer | None:
    """End a job whose output is published; None while there is no success to believe."""
    success = outcome.of_member(view, view.chief)
    if not isinstance(success, Success):
        return None
    if not _believed(view, success):
        return None
    published = _published(view, success)
    if view.spec.model is None:
        return _succeed(view, success, "Succeeded: the output is published.", published)
    model, files = view.spec.model.name, success.termination.model
    if files is None:
        message = (
            f"Failed: the program ended with 0 but left no SavedModel in $FOVEA_MODEL_DIR for model {model}. "
            f"{_EXPORT}, or remove spec.model, and submit a new job."
        )
        return Ends(JobState.FAILED, JobReason.MODEL_MISSING, message, published)
    if (problem := success.termination.model_problem) and view.spec.model.deploy:
        message = (
            f"Failed: the program ended with 0, but model {model} cannot be served, as spec.model.deploy asks for: {problem}. "
            f"What it wrote is published. {_EXPORT}, or set spec.model.deploy to false to register files of any format; "
            "then submit a new job."
        )
        return Ends(JobState.FAILED, JobReason.MODEL_MISSING, message, published)
    if view.observed.refused:
        return _registration_refused(view, published)
    registered = _register(view, success, model, files)
    message = f"Succeeded: model version {registered.name} is registered. {registered.next_step}"
    return _succeed(view, success, message, published | Changes(model_version=registered.name), registered.children)


def _believed(view: View, success: Success) -> bool:
    """A program may answer SIGTERM with 0 long before it is done: then 0 is success only with its own word for it."""
    if success.already or view.succeeded:
        return True
    if view.status.state == JobState.CANCELLING:
        return False
    return success.termination.complete or not _told_to_end(view, success)


def _told_to_end(view: View, success: Success) -> bool:
    pod = view.chief.pod
    if pod is None or view.suspending:
        return view.suspending
    told_before = disruption.told_before(pod, success.termination)
    return told_before or (disruption.disturbed(pod) and not view.chief.had_ended)


def _succeed(view: View, success: Success, message: str, changes: Changes, children: tuple[Child, ...] = ()) -> Answer:
    reason = JobReason.ALREADY_COMPLETE if success.already else JobReason.PUBLISHED
    message += members.without_evaluator(view) + progress.left_out(
        success.termination.progress or view.observed.progress
    )
    return Ends(JobState.SUCCEEDED, reason, message, changes, children=children)


def _registration_refused(view: View, published: Changes) -> Answer:
    said = view.observed.refused.rstrip(".")
    if view.cancel_wanted:
        message = (
            "Cancelled as asked: the program has succeeded and its output is published, but its model is not registered, "
            f"since the API server refuses that: {said}."
        )
        return Ends(JobState.CANCELLED, JobReason.CANCELLED, message, published)
    message = (
        f"The program has succeeded, but the API server refuses to register its model: {said}. Fovea tries again; free the "
        "quota or correct the policy, or cancel the job: what it published stays."
    )
    # The memory of the success: the pod may be gone, and its sidecar's words with it, when it can be registered.
    changes = published | pods_seen(view, running_seconds=view.seconds_run)
    return GoesOn(JobState.RUNNING, JobReason.REGISTRATION_REFUSED, message, ACCEPTED, changes)


@dataclass(frozen=True)
class _Registration:
    """Name of the version, what has to be created for it, and what comes next for its users."""

    name: str
    children: tuple[Child, ...]
    next_step: str


def _register(view: View, success: Success, model: str, published: Published) -> _Registration:
    """Reuse this job's version, or make the next one; make the deployment if it is asked for and absent."""
    own = view.observed.versions[model].of_job(view.job.metadata.uid)
    children: list[Child] = []
    if own is not None:
        name = own.metadata.name
    else:
        number = view.observed.next_number
        name = names.model_version(model, number)
        main = success.termination.main_metric
        metrics, _ = progress.kept(success.termination.metrics, first=main)
        attempt = None if success.already else view.chief.attempt
        servable = not success.termination.model_problem
        manifest, plainer = (
            model_version(view.job, model, number, attempt, published, measured, main_metric=main, servable=servable)
            for measured in (metrics, {})
        )
        children.append(Child(Write.CREATE, manifest, plainer if metrics else None))
    deploy = view.spec.model is not None and view.spec.model.deploy
    if deploy and model not in view.observed.model_deployments:
        children.append(Child(Write.CREATE, model_deployment(view.job, model, view.settings)))
    return _Registration(name, tuple(children), _next_step(view, success, model, name, deploy=deploy))


def _next_step(view: View, success: Success, model: str, name: str, *, deploy: bool) -> str:
    if problem := success.termination.model_problem:
        number = name.rpartition("-v")[2]
        return f"It is never served, since {problem}. Jobs take it as the input model://{model}/{number}."
    if not deploy:
        return f"Serve it with a ModelDeployment of model {model}."
    there = view.observed.model_deployments.get(model)
    if there is not None and there.spec.model != model:
        return (
            f"It is not served: ModelDeployment {model} already serves model {there.spec.model}. "
            f"Serve it with a ModelDeployment of model {model} under another name."
        )
    return f"If it takes pictures, ask it with: fovea predict --model {model} IMAGE"


def _published(view: View, success: Success) -> Changes:
    said = success.termination
    metrics, left_out = progress.kept(said.metrics, said.metrics_left_out, first=said.main_metric)
    changes = Changes(
        output=_publication(success.output),
        model=_publication(said.model) if said.model else None,
        model_problem=said.model_problem or None,
        metrics=metrics or None,
        metrics_left_out=left_out or None,
        main_metric=said.main_metric if said.main_metric in metrics else None,
    )
    changes = {**changes, **progress.fields(said.progress or view.observed.progress), **view.best}
    newest = changes.get("checkpoint", view.status.checkpoint)
    if said.checkpoint_step is not None and (newest is None or newest.step != said.checkpoint_step):
        changes["checkpoint"] = CheckpointStatus(step=said.checkpoint_step)
    return changes


def _publication(published: Published) -> PublicationStatus:
    return PublicationStatus(uri=published.uri, digest=published.digest, bytes=published.size, files=published.files)
