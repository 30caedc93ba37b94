"""What happens to a trained model: a ModelVersion, and a ModelDeployment that serves it.

The number is the newest plus one, where a deleted version that a status still names counts too, and those that other
jobs are about to register. The name is made of it, so a version that a user registers by hand at the same time collides
in the API server: the job sees that version and takes the next number. A version remembers its job's uid, so a crash
never makes two.
"""

from dataclasses import dataclass

from fovea_api.contract import names
from fovea_api.contract.report import Published

from fovea_operator.desired.model_deployment import model_deployment
from fovea_operator.desired.model_version import model_version
from fovea_operator.reconcile.shared.decision import Child, Write
from fovea_operator.reconcile.training.outcome import Success
from fovea_operator.reconcile.training.progress import kept
from fovea_operator.reconcile.training.view import View


@dataclass(frozen=True)
class Registration:
    """Name of the version, what has to be created for it, and what comes next for its users."""

    name: str
    children: tuple[Child, ...]
    next_step: str


def register(view: View, success: Success, model: str, published: Published) -> Registration:
    """Reuse this job's version, or make the next one; make the deployment if it is asked for and absent."""
    own = view.observed.versions[model].of_job(view.job.metadata.uid)
    children: list[Child] = []
    if own is not None:
        name = own.metadata.name
    else:
        number = view.observed.next_number
        name = names.model_version(model, number)
        metrics, _ = kept(success.termination.metrics)
        attempt = None if success.already else view.chief.attempt
        servable = not success.termination.model_problem
        manifest, plainer = (
            model_version(view.job, model, number, attempt, published, measured, servable=servable)
            for measured in (metrics, {})
        )
        children.append(Child(Write.CREATE, manifest, plainer if metrics else None))
    deploy = view.spec.model is not None and view.spec.model.deploy
    if deploy and model not in view.observed.model_deployments:
        children.append(Child(Write.CREATE, model_deployment(view.job, model, view.settings)))
    return Registration(name, tuple(children), _next_step(view, success, model, name, deploy=deploy))


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
    return f"Ask it with: fovea predict --model {model} IMAGE"
