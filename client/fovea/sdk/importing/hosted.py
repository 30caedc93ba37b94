"""A training job of Cloud ML (AI Platform Training) as a TrainingJob: `trainingInput`, with or without the job around it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

from fovea_api.v1alpha1.roles import pods_by_role

from fovea.sdk.errors import InvalidError

from . import hosted_machines
from .draft import CONTAINER, MACHINE, RUN_POLICY, Draft
from .machines import Machine, together
from .naming import job_name
from .options import Options
from .program import words
from .result import Translation
from .shape import Shape, check_count
from .sharing import for_all_roles
from .source import Field
from .template import take_pairs
from .tfjob import EVALUATOR, RESULTS

_SERVICE = "The service wrote it about the job that ran there."
JOB_DROPPED: Mapping[str, str] = dict.fromkeys(
    ("state", "createTime", "startTime", "endTime", "errorMessage", "jobPosition", "trainingOutput", "etag"), _SERVICE
)
"""Fields of a Job that describe one that ran."""
_IMAGE = "Programs of a TrainingJob come in an image."
DROPPED: Mapping[str, tuple[str, str]] = {
    "region": ("A job runs where its cluster is.", ""),
    "packageUris": (_IMAGE, "Install the packages in the image."),
    "runtimeVersion": (_IMAGE, "Build the image with this version of TensorFlow, or with a newer one."),
    "pythonVersion": (_IMAGE, "Build the image with this version of Python, or with a newer one."),
    "hyperparameters": (
        "A TrainingJob is one run, and does not search.",
        "Give the program one value for each parameter in spec.args, or submit a job for each set of values.",
    ),
    "network": ("A job is in its cluster's network.", ""),
    "encryptionConfig": ("Encryption is a matter of the cluster's disks and of the object store.", ""),
    "serviceAccount": (
        "It is an account of Google Cloud, not of Kubernetes.",
        "If the program calls Google's APIs, set spec.pod.serviceAccountName to an account with workload identity.",
    ),
    "enableWebAccess": ("Fovea has no web shell.", "Look into a running pod with `kubectl exec`."),
}
"""Fields of a trainingInput that a TrainingJob has not: why, and what to do."""
REPLICAS = {"master": "chief", "worker": "worker", "parameterServer": "ps", "evaluator": "evaluator"}
"""Names in front of Type, Count and Config, and the roles that they become."""
TIERS = ("BASIC", "BASIC_GPU", "STANDARD_1", "PREMIUM_1")
_ONLY_CUSTOM = "It goes with scaleTier CUSTOM only."
_DURATION = re.compile(r"([0-9]{1,9})(\.[0-9]{1,9})?s?")


def translated(root: Field, options: Options) -> Translation:
    """The whole job."""
    job = Draft()
    source = root.get("trainingInput") or root
    _around(root, job, options)
    given = dict(source.items())
    _program(given, job, options)
    shape, machines = _roles(given, job, options)
    _scheduling(given.get("scheduling"), job)
    for key, why in DROPPED.items():
        if key in given:
            job.drop(given[key], *why)
    _chief_in_tf_config(given.get("useChiefInTfConfig"), job)
    steps = [
        "Pods of Fovea do not run as root: let the image have a USER other than root, or set spec.trainer.container.runAsUser."
    ]
    if shape.distribution != "Single":
        steps.append(
            "In TF_CONFIG the task of the master is chief 0: let the program take chief as the one that leads."
        )
    return Translation(job.values, job.lines, together(machines), shape, [*steps, RESULTS])


def _around(root: Field, job: Draft, options: Options) -> None:
    """The job around the training input: its name and labels."""
    given = dict(root.items()) if root.get("trainingInput") else {}
    name = given.get("jobId")
    plain = name.text().lower().replace("_", "-") if name else ""
    chosen = job_name(name, plain, options.name)
    job.values["metadata", "name"] = chosen
    if options.namespace:
        job.values["metadata", "namespace"] = options.namespace
    if name:
        why = (
            "--name"
            if options.name
            else ""
            if chosen == name.value
            else "Names in Kubernetes are in lower case, with '-'."
        )
        job.take(name, "metadata", "name", value=chosen, why=why)
    if labels := given.get("labels"):
        take_pairs(labels, ("metadata", "labels"), job)
    for key, why in JOB_DROPPED.items():
        if key in given:
            job.drop(given[key], why)


@dataclass(frozen=True)
class _Replicas:
    """What the input says of one of its roles."""

    role: str
    type: Field | None
    count: Field | None
    config: Field | None


def _roles(given: Mapping[str, Field], job: Draft, options: Options) -> tuple[Shape, list[Machine]]:
    replicas = {
        role: _Replicas(role, given.get(f"{name}Type"), given.get(f"{name}Count"), given.get(f"{name}Config"))
        for name, role in REPLICAS.items()
    }
    tier = given.get("scaleTier")
    custom = tier.value == "CUSTOM" if tier else replicas["chief"].type is not None
    if tier and not custom:
        return _of_tier(tier, replicas, job, options)
    if not custom:
        _drop_of_custom(replicas, job)
        return Shape(), _named_machines(options, ("chief",), job)
    if tier:
        job.keep(tier, "A TrainingJob with spec.roles is CUSTOM.")
    for role in ("worker", "ps"):
        check_count(role, replicas[role].count, _count(replicas[role]))
    shape = Shape(_count(replicas["worker"]), _count(replicas["ps"]), _evaluator(replicas["evaluator"], job))
    if not replicas["chief"].type:
        raise InvalidError("masterType is missing: scaleTier CUSTOM names the machine type of the master")
    machines = []
    for role in ("chief", "worker", "ps", "evaluator"):
        machines += _machine(replicas[role], job, options, used=role in shape.roles)
        if (field := replicas[role].count) and role == "evaluator" and shape.evaluator:
            job.keep(field, "A job has one evaluator.")
        elif field and role in shape.roles:
            job.take(field, "spec", "roles", role, "count", value=field.whole())
        elif field:
            job.drop(field, "The role has no pods.")
    job.values |= shape.values({role: machine.name for machine in machines for role in machine.roles})
    return shape, machines


def _count(replicas: _Replicas) -> int:
    return replicas.count.whole() if replicas.count else 0


def _of_tier(
    tier: Field, replicas: Mapping[str, _Replicas], job: Draft, options: Options
) -> tuple[Shape, list[Machine]]:
    """A scale tier, which Fovea has under the same name."""
    text = tier.text()
    if text not in TIERS:
        raise tier.error(
            f"is {text!r}: a TrainingJob has the tiers {', '.join(TIERS)} and CUSTOM; set scaleTier to CUSTOM and masterType to a "
            "machine type with the accelerators that you need"
        )
    if options.machine_types:
        raise InvalidError(
            f"--machine-type goes with scaleTier CUSTOM, the input has {text}: leave it out, or change the input"
        )
    job.take(tier, "spec", "scaleTier")
    large = text in ("STANDARD_1", "PREMIUM_1")
    if large:
        job.values["spec", "distribution"] = "ParameterServer"
    _drop_of_custom(replicas, job)
    pods = pods_by_role("ParameterServer" if large else "Single", text, None)  # type: ignore[arg-type]
    machines = [
        hosted_machines.machine(one.machine_type, role, one.machine_type.replace("-", "_"))
        for role, one in pods.items()
        if one.machine_type
    ]
    workers, servers = (pods[role].count if role in pods else 0 for role in ("worker", "ps"))
    return Shape(workers, servers), machines


def _drop_of_custom(replicas: Mapping[str, _Replicas], job: Draft) -> None:
    """What a job of another tier says of its roles, but for the master's program."""
    for one in replicas.values():
        for field in (one.type, one.count):
            if field:
                job.drop(field, _ONLY_CUSTOM)
        if one.config:
            _config(one.config, job, one.role)


def _named_machines(options: Options, roles: tuple[str, ...], job: Draft) -> list[Machine]:
    """MachineTypes that the user names, for an input without any."""
    found = [
        Machine(options.machine_types[role], (role,), None, exists=True)
        for role in roles
        if role in options.machine_types
    ]
    job.values |= {("spec", "roles", one.roles[0], "machineType"): one.name for one in found}
    return found


def _evaluator(replicas: _Replicas, job: Draft) -> bool:
    """Whether the job has one."""
    count = _count(replicas)
    if replicas.count and count > 1:
        raise replicas.count.error(f"is {count}: a job has at most one evaluator, set it to 1")
    if replicas.count and count:
        job.remark(replicas.count, *EVALUATOR)
    return bool(count)


def _machine(replicas: _Replicas, job: Draft, options: Options, *, used: bool) -> list[Machine]:
    """The MachineType of a role, and the lines of its type and configuration."""
    if not used:
        for field in (replicas.type, replicas.config):
            if field:
                job.drop(field, "The role has no pods.")
        return []
    if replicas.type is None:
        count = replicas.count
        raise InvalidError(f"{count} has no machine type beside it: add {str(count).removesuffix('Count')}Type")
    source = replicas.type.text()
    gpus, accelerator, disk = _hardware(replicas.config)
    name = options.machine_types.get(replicas.role) or hosted_machines.name_of(source, gpus, accelerator, disk)
    job.take(
        replicas.type,
        "spec",
        "roles",
        replicas.role,
        "machineType",
        value=name,
        why="" if name == source else _why_named(options, replicas.role),
    )
    if replicas.config:
        _config(replicas.config, job, replicas.role, machine=name)
    made = hosted_machines.machine(name, replicas.role, source, gpus, disk)
    return [replace(made, exists=replicas.role in options.machine_types)]


def _why_named(options: Options, role: str) -> str:
    if role in options.machine_types:
        return "--machine-type"
    return "A MachineType is a machine with its accelerators, and its name has '-' in place of '_'."


def _hardware(config: Field | None) -> tuple[int, str, int]:
    """Number and type of accelerators, and GB of disk."""
    if config is None:
        return 0, "", 0
    count, kind = config.get("acceleratorConfig", "count"), config.get("acceleratorConfig", "type")
    if kind and kind.text().startswith("TPU"):
        raise kind.error(f"is {kind.value!r}: Fovea trains on CPUs and GPUs, choose a GPU")
    disk = config.get("diskConfig", "bootDiskSizeGb")
    return count.whole() if count else 0, kind.text() if kind else "", disk.whole() if disk else 0


def _config(config: Field, job: Draft, role: str, machine: str = "") -> None:
    """masterConfig, workerConfig and the like, but for the program, which is the master's."""
    for path, part in (
        (("acceleratorConfig", "count"), ("gpus", "count")),
        (("acceleratorConfig", "type"), ()),
        (("diskConfig", "bootDiskSizeGb"), ("ephemeralStorage",)),
    ):
        field = config.get(*path)
        if field is None:
            continue
        if not machine:
            job.drop(field, _ONLY_CUSTOM)
        elif part:
            value = f"{field.whole()}G" if part[0] == "ephemeralStorage" else field.whole()
            job.take(field, MACHINE, machine, *part, value=value)
            job.values.pop((MACHINE, machine, *part))
        else:
            job.drop(
                field,
                "Which accelerators a MachineType has is said by its node selector.",
                f"Let the node selector of MachineType {machine} find nodes with {field.value}.",
            )
    if field := config.get("diskConfig", "bootDiskType"):
        job.drop(field, "Which disks a node has is the platform team's.")
    if field := config.get("tpuTfVersion"):
        job.drop(field, "Fovea trains on CPUs and GPUs.")
    if role != "chief":
        _other_program(config, job, role)


def _other_program(config: Field, job: Draft, role: str) -> None:
    """What a role other than the master's would run."""
    for key, part in PROGRAM.items():
        field = config.get(key)
        if field and field.value == job.values.get((*CONTAINER, part)):
            job.keep(field, "The roles of a TrainingJob share one container, the master's, which has the same.")
        elif field:
            job.drop(
                field,
                "The roles of a TrainingJob share one container, the master's.",
                for_all_roles("the master", role),
            )


PROGRAM = {"imageUri": "image", "containerCommand": "command", "containerArgs": "args"}
"""Fields of a configuration that say what runs, and what they become."""


def _program(given: Mapping[str, Field], job: Draft, options: Options) -> None:
    """The image, and what runs in it."""
    config, module = given.get("masterConfig"), given.get("pythonModule")
    image = config.get("imageUri") if config else None
    if not image and not options.image:
        raise InvalidError(_build(given))
    job.values[*CONTAINER, "image"] = options.image
    if image:
        job.take(
            image, *CONTAINER, "image", value=options.image or image.text(), why="--image" if options.image else ""
        )
    if config:
        for key, part in PROGRAM.items():
            if part != "image" and (field := config.get(key)):
                words(field, *CONTAINER, part, draft=job)
    if module and image:
        job.drop(module, "The image has its own program: masterConfig.imageUri counts.")
    elif module:
        job.take(module, *CONTAINER, "command", value=["python3", "-m", module.text()])
    if field := given.get("args"):
        if (*CONTAINER, "args") in job.values:
            job.drop(field, "masterConfig.containerArgs counts.")
        else:
            words(field, *CONTAINER, "args", draft=job)
    if field := given.get("jobDir"):
        _job_dir(field, job)


def _job_dir(field: Field, job: Draft) -> None:
    before = job.values.get((*CONTAINER, "args"), [])
    job.take(
        field,
        *CONTAINER,
        "args",
        value=[*before, "--job-dir=$(FOVEA_OUTPUT_DIR)"],
        why="What the program writes to the folder $FOVEA_OUTPUT_DIR, Fovea publishes at the end of the job.",
        next="Let the program write checkpoints to $FOVEA_CHECKPOINT_DIR, not below --job-dir: else an attempt that is interrupted begins again.",
    )


def _build(given: Mapping[str, Field]) -> str:
    """What to do about a program that has no image."""
    module, version = given.get("pythonModule"), given.get("runtimeVersion")
    packages = given.get("packageUris")
    files = ", ".join(str(one.value) for one in packages.entries()) if packages else "your packages"
    base = f"tensorflow/tensorflow:{version.value}.0" if version and version.value else "tensorflow/tensorflow"
    program = f"the module {module.value}" if module else "the program"
    return (
        f"{program} has no image, and a TrainingJob runs one: build an image FROM {base} (or a newer version) with {files} "
        "installed by pip and a USER other than root, push it, and pass it by --image IMAGE. docs/how-to/move-from-tfjob.md has the Dockerfile"
    )


def _scheduling(scheduling: Field | None, job: Draft) -> None:
    if scheduling is None:
        return
    if field := scheduling.get("maxRunningTime"):
        job.take(field, *RUN_POLICY, "maxRunningSeconds", value=_seconds(field))
    if field := scheduling.get("maxWaitTime"):
        job.take(field, *RUN_POLICY, "maxWaitSeconds", value=_seconds(field))
    if field := scheduling.get("priority"):
        if field.whole():
            job.drop(
                field,
                "Priorities of a cluster are classes, not numbers.",
                "Ask the platform team for a PriorityClass, and set spec.pod.priorityClassName.",
            )
        else:
            job.keep(field, "A job without a priority class has the cluster's default priority.")


def _seconds(field: Field) -> int:
    """A duration as Google's APIs write it: 3600s, 1.5s."""
    found = _DURATION.fullmatch(str(field.value))
    if not found or isinstance(field.value, bool):
        raise field.error(f"is {field.value!r}, a duration is expected, for example 3600s: correct the value")
    return max(1, min(ceil(float(found[1] + (found[2] or ""))), 31_536_000))


def _chief_in_tf_config(field: Field | None, job: Draft) -> None:
    if field is None:
        return
    if field.true():
        job.keep(field, "TF_CONFIG always says chief.")
    else:
        job.drop(field, "TF_CONFIG always says chief, never master.")
