"""A TFJob of kubeflow.org/v1 as a TrainingJob."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fovea.sdk.errors import InvalidError

from . import run_policy, template
from .draft import CONTAINER, RUN_POLICY, Draft, on_machine
from .machines import of_values, together
from .naming import job_name
from .options import Options
from .result import Translation
from .shape import Shape, check_count
from .sharing import share
from .source import Field

ROLES = {"chief": "chief", "master": "chief", "worker": "worker", "ps": "ps", "evaluator": "evaluator"}
"""Replica types of a TFJob, in lower case, and the roles that they become."""
_SERVER = "The cluster wrote it."
METADATA_DROPPED: Mapping[str, str] = {
    "generateName": "A TrainingJob has a name.",
    "uid": _SERVER,
    "resourceVersion": _SERVER,
    "generation": _SERVER,
    "creationTimestamp": _SERVER,
    "deletionTimestamp": _SERVER,
    "deletionGracePeriodSeconds": _SERVER,
    "managedFields": _SERVER,
    "selfLink": _SERVER,
    "ownerReferences": "The owner owns the TFJob, not the job that is made of it.",
    "finalizers": "They are about the TFJob, not about the job that is made of it.",
}
AS_CHIEF = (
    "In TF_CONFIG its task is chief 0, not {was}: where the program compares the type of its task, let it take chief as the one "
    "that leads. Only the chief's pod publishes checkpoints, model and output."
)
_RETRIED = "Fovea retries after exit code 75, and after codes from 128, which signals leave; after another code the job has failed."


@dataclass(frozen=True)
class Replicas:
    """One entry of spec.tfReplicaSpecs."""

    name: str
    """As the file writes it."""
    role: str
    field: Field
    count: int


def translated(root: Field, options: Options) -> Translation:
    """The whole TFJob."""
    job = Draft()
    spec = root.get("spec")
    specs = spec.get("tfReplicaSpecs") if spec else None
    if spec is None or specs is None:
        raise InvalidError("spec.tfReplicaSpecs is missing: a TFJob names the pods of its roles there")
    for key in ("apiVersion", "kind"):
        if field := root.get(key):
            job.take(field, key, value={"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob"}[key])
    _metadata(root.get("metadata"), job, options)
    if status := root.get("status"):
        job.drop(status, "It is the state of the TFJob.")
    replicas = _replicas(specs, job)
    shape = _shape(replicas, specs, job)
    made = _pods(replicas, job, options, shape)
    run_policy.take(spec, job, shape.pods)
    _restarts(replicas, job)
    _rest(spec, job)
    job.values |= shape.values({role: machine.name for machine in made.machines for role in machine.roles})
    return replace(made, values=job.values, lines=job.lines)


def _metadata(metadata: Field | None, job: Draft, options: Options) -> None:
    given = dict(metadata.items()) if metadata else {}
    name = given.get("name")
    chosen = job_name(name, name.text() if name else "", options.name)
    if name:
        job.take(name, "metadata", "name", value=chosen, why="" if chosen == name.value else "--name")
    job.values["metadata", "name"] = chosen
    namespace = given.get("namespace")
    wanted = options.namespace or (namespace.text() if namespace else "")
    if namespace:
        job.take(
            namespace, "metadata", "namespace", value=wanted, why="" if wanted == namespace.value else "--namespace"
        )
    if wanted:
        job.values["metadata", "namespace"] = wanted
    for key in ("labels", "annotations"):
        if key in given:
            template.take_pairs(given[key], ("metadata", key), job)
    for key, why in METADATA_DROPPED.items():
        if key in given:
            job.drop(given[key], why)


def _replicas(specs: Field, job: Draft) -> list[Replicas]:
    """The roles that have pods; those without any are dropped."""
    found: dict[str, Replicas] = {}
    for name, field in specs.items():
        role = ROLES.get(name.casefold())
        if role is None:
            raise field.error(
                "is no role of a TFJob: Chief, Master, Worker, PS and Evaluator are known, remove or rename it"
            )
        if role in found:
            raise field.error(
                f"and {found[role].name} are the same role, {role}: a job has one of them, remove the other"
            )
        count = field.get("replicas")
        found[role] = Replicas(name, role, field, count.whole() if count else 1)
    for role in ("chief", "evaluator"):
        if role in found and found[role].count > 1:
            count = Field((*found[role].field.path, "replicas"), found[role].count)
            raise count.error(f"is {count.value}: a job has at most one {role}, set replicas to 1")
    for one in found.values():
        if not one.count:
            job.drop(one.field, "It has 0 replicas: the role has no pods.")
        elif one.role == "evaluator":
            job.remark(one.field, *EVALUATOR)
            if count := one.field.get("replicas"):
                job.keep(count, "A job has one evaluator.")
    return [one for one in found.values() if one.count]


EVALUATOR = (
    "Fovea brings the job's newest checkpoint into $FOVEA_CHECKPOINT_DIR of its pod, one at a time. The job does not wait for it.",
    "Let the evaluator leave a folder $FOVEA_OUTPUT_DIR/STEP for each checkpoint: then the next one comes (docs/how-to/evaluator.md).",
)


def _shape(replicas: list[Replicas], specs: Field, job: Draft) -> Shape:
    """The roles as a TrainingJob has them: one of them is always the chief."""
    by_role = {one.role: one for one in replicas}
    worker, servers = by_role.get("worker"), by_role.get("ps")
    chief = by_role.get("chief")
    if not chief and not worker:
        raise specs.error("has neither Chief nor Worker with pods: one of them trains, add it")
    count = worker.count if worker else 0
    if chief:
        _chief(chief, job)
    elif worker:
        count -= 1
        if servers and not count:
            count = 1
            job.remark(
                worker.field,
                "The job has one training pod more than before: with parameter servers it has a chief and at least one worker.",
                AS_CHIEF.format(was="worker 0"),
            )
        elif count or servers:
            job.remark(worker.field, "The first worker becomes the chief.", AS_CHIEF.format(was="worker 0"))
        else:
            job.remark(worker.field, "The only worker becomes the chief of a job with one pod.")
    if worker and (field := worker.field.get("replicas")):
        check_count("worker", field, count)
        if count:
            why = "" if count == worker.count else "One worker is the chief."
            job.take(field, "spec", "roles", "worker", "count", value=count, why=why)
        else:
            job.keep(field, "A job has one chief.")
    if servers and (field := servers.field.get("replicas")):
        check_count("ps", field, servers.count)
        job.take(field, "spec", "roles", "ps", "count", value=servers.count)
    return Shape(count, servers.count if servers else 0, "evaluator" in by_role)


def _chief(chief: Replicas, job: Draft) -> None:
    if field := chief.field.get("replicas"):
        job.keep(field, "A job has one chief.")
    if chief.name.casefold() == "master":
        job.remark(chief.field, "The master becomes the chief.", AS_CHIEF.format(was="master 0"))


def _pods(replicas: list[Replicas], job: Draft, options: Options, shape: Shape) -> Translation:
    """The pod templates: those of the chief, or else of the workers, make the container; each role has its machine."""
    ordered = sorted(replicas, key=lambda one: ("chief", "worker", "ps", "evaluator").index(one.role))
    base: Draft | None = None
    machines = []
    for one in ordered:
        made = Draft()
        pods = one.field.get("template")
        if pods is None:
            raise one.field.error("has no template: write the pod template of the role")
        template.translate(pods, made)
        if options.image:
            _other_image(made, options.image)
        roles = [one.role] if one.role in shape.roles else []
        roles = ["chief", *roles] if base is None and one.role == "worker" else roles
        needed = [machine for role in roles if (machine := of_values(made.values, role, options.machine_types))]
        lines = made.lines if base is None else share(base, ordered[0].name, made, one.name, pods)
        job.lines += on_machine(lines, needed[-1].name if needed else "")
        machines += needed
        if base is None:
            base = made
            job.values |= {key: value for key, value in made.values.items() if key[0] != "MachineType"}
    return Translation({}, [], together(machines), shape, _last_steps(job))


def _other_image(made: Draft, image: str) -> None:
    key = (*CONTAINER, "image")
    made.values[key] = image
    made.lines = [
        replace(line, action="changed", became=image, why="--image") if line.key == key else line for line in made.lines
    ]


def _last_steps(job: Draft) -> list[str]:
    steps = []
    if (*CONTAINER, "runAsUser") not in job.values:
        steps.append(
            "If the image runs as root, set spec.trainer.container.runAsUser: pods of Fovea do not run as root."
        )
    return [*steps, RESULTS]


RESULTS = (
    "Let the program write checkpoints to $FOVEA_CHECKPOINT_DIR and its model to $FOVEA_MODEL_DIR: what stands elsewhere is lost with "
    "the pod, unless it is on a volume. Then add spec.model.name to register the model."
)


def _restarts(replicas: list[Replicas], job: Draft) -> None:
    """The restart policies of the roles. Never of all of them is a job without retries."""
    given = [(one, field) for one in replicas if (field := one.field.get("restartPolicy"))]
    limit = (*RUN_POLICY, "backoffLimit")
    limited = limit in job.values
    never = len(given) == len(replicas) and all(field.value == "Never" for _, field in given)
    for _, field in given:
        text = field.text()
        if text == "ExitCode":
            job.keep(field, f"{_RETRIED} spec.runPolicy.backoffLimit limits the retries.")
        elif text == "Never" and never and not limited:
            job.take(field, *limit, value=0, why="No failure is retried. A drain or a lost node is: it is no failure.")
        elif text == "Never":
            job.drop(field, "spec.runPolicy.backoffLimit says how many failures are retried, for all roles.")
        elif text in ("Always", "OnFailure"):
            job.drop(
                field,
                f"{_RETRIED} spec.runPolicy.backoffLimit limits the retries.",
                "Let the program end with exit code 75 where a new attempt can help.",
            )
        else:
            raise field.error(f"is {text!r}, one of Always, OnFailure, Never, ExitCode is expected: correct the value")


def _rest(spec: Field, job: Draft) -> None:
    """What else a TFJob has beside roles and run policy."""
    if field := spec.get("successPolicy"):
        if field.value in ("", "Default"):
            job.keep(field, "A job has succeeded when its chief has.")
        else:
            job.drop(
                field,
                "A job has succeeded when its chief has; the other pods are stopped then.",
                "If the workers' ends matter, let the chief wait for them.",
            )
    if field := spec.get("enableDynamicWorker"):
        if field.true():
            job.drop(
                field,
                "The number of workers does not change while a job runs, and TF_CONFIG names all tasks to each of them.",
                "Set the number of workers that you need. With parameter servers, workers that are lost come back while the others go on.",
            )
        else:
            job.keep(field, "The number of workers does not change while a job runs.")
