"""The training pod: `fovea-fetch` (init container, where there is something to fetch) -> `fovea-sync` (native sidecar) -> `trainer`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fovea_api.contract import environment, expansion, labels, names
from fovea_api.contract.cluster_spec import ClusterSpec
from fovea_api.contract.plan import Input, TrainingPlan
from fovea_api.v1alpha1 import MachineType, TrainingJob
from fovea_api.v1alpha1.container import Container

from fovea_operator.desired import containers, owner, pod_options
from fovea_operator.desired.members import Member, cluster_spec, together
from fovea_operator.desired.mounts import AGENT, REPORT, TMP, WORK, report_volume
from fovea_operator.settings import Settings

RECIPE_COMMAND = "fovea-train"

_SHARED_MEMORY = {"name": "fovea-shared-memory", "mountPath": "/dev/shm"}  # noqa: S108 - a mount path
_LISTENING = ["sh", "-c", f"until [ -e {environment.SYNC_READY} ]; do sleep 0.05; done"]
"""The program starts when the sidecar says so (`environment.SYNC_READY`). One that ended earlier would end the pod without a publication."""
_END_BEGINS = ["sh", "-c", f"[ -e {environment.END_BEGAN} ] || cat /proc/uptime > {environment.END_BEGAN}"]
"""Runs when the pod begins to end; SIGTERM comes to a native sidecar only after the program has ended."""


@dataclass(frozen=True)
class Sources:
    """Where the agent fetches from: inputs and the job whose newest checkpoint to begin with, as store addresses."""

    inputs: tuple[Input, ...] = ()
    checkpoint_from: str = ""


def training_pod(
    job: TrainingJob,
    member: Member,
    attempt: int,
    machine_type: MachineType,
    sources: Sources,
    settings: Settings,
    members: Sequence[Member] = (Member(),),
) -> dict[str, Any]:
    """The pod of one attempt of a job's member, which is one of `members`."""
    container = job.spec.trainer.container
    name = job.metadata.name
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "hostname": names.training_host(name, member.role, member.index),
        **({"subdomain": names.pods_service(name)} if len(together(members)) > 1 and not member.follows else {}),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds(job, settings),
        "securityContext": containers.pod_security(),
        "initContainers": _agents(job, member, attempt, machine_type, sources, settings),
        "containers": [_trainer(job, machine_type, settings, cluster_spec(job, members, member))],
        "volumes": [*_volumes(container, machine_type, settings), *pod_options.account_volumes(job)],
        **pod_options.placement(job, machine_type),
    }
    secrets = [{"name": secret} for secret in settings.image_pull_secrets]
    secrets += [secret.dump() for secret in (container.image_pull_secrets if container else None) or ()]
    if secrets:
        spec["imagePullSecrets"] = secrets
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.training_pod(name, member.role, member.index, attempt),
            "namespace": job.metadata.namespace,
            **pod_options.metadata(
                job,
                machine_type,
                labels.of_training_pod(name, member.role, member.index, attempt),
                {"kubectl.kubernetes.io/default-container": names.TRAINER_CONTAINER},
            ),
            "ownerReferences": [owner.reference(job)],
        },
        "spec": spec,
    }


def grace_seconds(job: TrainingJob, settings: Settings) -> int:
    """Seconds from the beginning of a pod's end to its kill: for the last checkpoint and the publication."""
    return job.spec.run_policy.publish_seconds or settings.grace_seconds


def needs_fetch(job: TrainingJob, member: Member, attempt: int, sources: Sources) -> bool:
    """Whether a member's pod gets a container that fetches: where there may be something to fetch, which can take hours.

    In any other pod the sidecar does the rest of it (`sync --fetch`): it makes the folders and looks whether the job is complete.
    It would also restore a checkpoint, which a first attempt has only if an earlier pod of it was lost before the status named it.
    """
    return member.reads and bool(attempt or sources.inputs or sources.checkpoint_from or job.spec.cache)


def _agents(
    job: TrainingJob, member: Member, attempt: int, machine_type: MachineType, sources: Sources, settings: Settings
) -> list[dict[str, Any]]:
    checkpoint = job.spec.checkpoint
    plan = TrainingPlan(
        namespace=job.metadata.namespace,
        job=job.metadata.name,
        uid=job.metadata.uid,
        attempt=attempt,
        role=member.role,
        index=member.index,
        inputs=sources.inputs if member.reads else (),
        checkpoint_from=sources.checkpoint_from if member.reads and not member.follows else "",
        cache=job.spec.cache.name if job.spec.cache and member.reads else "",
        restore=member.reads and not member.follows,
        publish=member.publishes,
        report_url=settings.report_url,
        **({"checkpoint_keep": checkpoint.keep} if checkpoint else {}),
    ).to_json()
    # The agents run as the program's own user where that is known: other users may not be able to read its files.
    user = job.spec.trainer.container.run_as_user if job.spec.trainer.container else None
    mounts: list[dict[str, Any]] = [WORK, AGENT]
    before, command = [], ["sync", f"--grace-period={grace_seconds(job, settings)}"]
    if needs_fetch(job, member, attempt, sources):
        before = [containers.agent(names.FETCH_CONTAINER, ["fetch"], plan, mounts, machine_type, settings, user)]
    else:
        command.append("--fetch")
    mounts = [*mounts, REPORT] if settings.report_url else mounts
    sync = containers.agent(names.SYNC_CONTAINER, command, plan, mounts, machine_type, settings, user)
    lifecycle = {"postStart": {"exec": {"command": _LISTENING}}, "preStop": {"exec": {"command": _END_BEGINS}}}
    return [*before, sync | {"restartPolicy": "Always", "lifecycle": lifecycle}]


def _trainer(
    job: TrainingJob, machine_type: MachineType, settings: Settings, cluster: ClusterSpec | None
) -> dict[str, Any]:
    container = job.spec.trainer.container
    built = _recipe(job, machine_type, settings) if container is None else _own(container, job)
    checkpoint = job.spec.checkpoint
    variables = environment.of_trainer(
        job.metadata.name,
        checkpoint_every_steps=checkpoint.every_steps if checkpoint else None,
        checkpoint_keep=checkpoint.keep if checkpoint else None,
        gpus=containers.gpus(machine_type),
        cluster=cluster,
        sync=job.spec.sync,
    )
    own = [variable.dump() for variable in (container.env if container else None) or ()]
    taken = {variable["name"] for variable in own}
    built["env"] = [{"name": n, "value": expansion.escaped(v)} for n, v in variables.items() if n not in taken] + own
    built["resources"] = containers.resources(machine_type)
    built["volumeMounts"] = [dict(WORK), *built.pop("volumeMounts", ()), *pod_options.account_mounts(job)]
    if _shared_memory(container, machine_type):
        built["volumeMounts"].append(dict(_SHARED_MEMORY))
    # A program that says nothing in its termination message is quoted with its last lines.
    return {"name": names.TRAINER_CONTAINER, **built, "terminationMessagePolicy": "FallbackToLogsOnError"}


def _recipe(job: TrainingJob, machine_type: MachineType, settings: Settings) -> dict[str, Any]:
    gpu_image = settings.trainer_gpu_image if machine_type.spec.gpus else ""
    return {
        "image": gpu_image or settings.trainer_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [RECIPE_COMMAND],
        "args": [expansion.escaped(str(job.spec.trainer.recipe)), *containers.flags(job.spec.args)],
        "securityContext": containers.own_security(),
        "volumeMounts": [dict(TMP)],
    }


def _own(container: Container, job: TrainingJob) -> dict[str, Any]:
    built: dict[str, Any] = {
        "image": container.image,
        "securityContext": containers.user_security(container.run_as_user),
        "volumeMounts": [mount.dump() for mount in container.volume_mounts or ()],
    }
    given = container.dump()
    built |= {key: given[key] for key in ("imagePullPolicy", "command", "workingDir", "envFrom") if key in given}
    arguments = [*(container.args or ()), *containers.flags(job.spec.args)]
    return built | ({"args": arguments} if arguments else {})


def _shared_memory(container: Container | None, machine_type: MachineType) -> str | None:
    mounts = (container.volume_mounts if container else None) or ()
    if any(mount.mount_path.rstrip("/") == _SHARED_MEMORY["mountPath"] for mount in mounts):
        return None  # the program brings its own
    return (container.shared_memory if container else None) or machine_type.spec.shared_memory


def _volumes(container: Container | None, machine_type: MachineType, settings: Settings) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": WORK["name"], "emptyDir": {}},
        {"name": AGENT["name"], "emptyDir": {}},
        containers.store_volume(),
    ]
    if settings.report_url:
        volumes.append(report_volume())
    if container is None:
        volumes.append({"name": TMP["name"], "emptyDir": {}})
    if size := _shared_memory(container, machine_type):
        volumes.append({"name": _SHARED_MEMORY["name"], "emptyDir": {"medium": "Memory", "sizeLimit": size}})
    return volumes + [volume.dump() for volume in (container.volumes if container else None) or ()]
