"""The program of a role: the container `tensorflow` of its pod template, its volumes and its user."""

from collections.abc import Callable, Mapping, Sequence

from fovea_api.contract import environment, names
from fovea_api.v1alpha1.container import EnvFrom, EnvVar, Volume, VolumeMount

from .amounts import take_resources
from .draft import CONTAINER, Draft
from .fitting import field_names, fitted
from .source import Field

NAME = "tensorflow"
"""How a TFJob finds the container of the program."""
_PROBE = "Fovea judges a program by its exit code and its progress, not by probes."
DROPPED: Mapping[str, tuple[str, str]] = {
    "ports": ("Pods of Fovea declare no ports; TF_CONFIG names port 2222 of each pod.", ""),
    "livenessProbe": (_PROBE, ""),
    "readinessProbe": (_PROBE, ""),
    "startupProbe": (_PROBE, ""),
    "lifecycle": (
        "A program of Fovea gets SIGTERM and has no hooks.",
        "Let the program save a checkpoint at SIGTERM and end with exit code 75.",
    ),
    "stdin": ("A program of Fovea has no standard input.", ""),
    "stdinOnce": ("A program of Fovea has no standard input.", ""),
    "tty": ("A program of Fovea has no terminal.", ""),
    "terminationMessagePath": ("Fovea quotes the last lines of the program's log.", ""),
    "terminationMessagePolicy": ("Fovea quotes the last lines of the program's log.", ""),
    "volumeDevices": ("A TrainingJob mounts file systems, no block devices.", "Use a claim with a file system."),
    "resizePolicy": ("The resources of a training pod do not change.", ""),
    "restartPolicy": ("spec.runPolicy says how failures are retried.", ""),
}
"""Fields of a container that a TrainingJob has not: why, and what to do."""
_SAFE = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "seccompProfile": {"type": "RuntimeDefault"},
    "capabilities": {"drop": ["ALL"]},
}
"""What every program of Fovea has."""


def of(spec: Field) -> Field:
    """The container of the program. Of several ones it is the one that a TFJob takes."""
    containers = spec.get("containers")
    found = containers.entries() if containers else []
    named = [one for one in found if (name := one.get("name")) and name.value == NAME]
    if not found:
        raise spec.error(f"has no containers: write the program's container, named {NAME}")
    if len(named) > 1 or (len(found) > 1 and not named):
        raise Field((*spec.path, "containers"), None).error(
            f"holds {len(found)} containers, {len(named)} of them named {NAME}: name the container of the program {NAME}"
        )
    return (named or found)[0]


def take(container: Field, draft: Draft) -> None:
    """The program's own container."""
    for key, field in container.items():
        if key in DROPPED:
            draft.drop_unless_off(field, *DROPPED[key])
        elif key in TAKEN:
            TAKEN[key](field, draft)
    if (*CONTAINER, "image") not in draft.values:
        raise container.error("has no image: write the program's image")


def drop_others(spec: Field, container: Field, draft: Draft) -> None:
    """Containers beside the program's."""
    containers = spec.get("containers")
    for one in containers.entries() if containers else ():
        if one.path != container.path:
            draft.drop(
                one,
                "A pod of Fovea has one program and no sidecars of the user.",
                "Let the program do its work, or have a webhook add the container: Fovea does not wait for it at the end.",
            )


def mounted_volumes(container: Field) -> frozenset[str]:
    """Names of the volumes that the program mounts."""
    mounts = container.get("volumeMounts")
    fields = [one.get("name") for one in mounts.entries()] if mounts else []
    return frozenset(str(field.value) for field in fields if field)


def take_volumes(volumes: Field, mounted: frozenset[str], draft: Draft) -> None:
    """The volumes that the program mounts and that Fovea has a source for."""
    known = field_names(Volume)
    for field in volumes.entries():
        name = field.get("name")
        text = name.text() if name else ""
        sources = [key for key, _ in field.items() if key != "name"]
        if text not in mounted:
            draft.drop(field, "The program does not mount it.")
        elif not set(sources) & known:
            kind = ", ".join(sources) or "nothing"
            draft.drop(field, f"A TrainingJob has no volumes of {kind}.", _instead(sources))
        elif text.startswith("fovea-"):
            draft.drop(
                field, "Volumes named fovea-… are Fovea's own.", "Give the volume another name and import again."
            )
        elif _is_store_key(field.get("secret", "secretName")):
            draft.drop(field, *_STORE_KEY)
        elif (value := fitted(field, Volume, draft)) is not None:
            draft.take(field, *CONTAINER, "volumes", text, value=value)


def _instead(sources: Sequence[str]) -> str:
    if "hostPath" in sources:
        return (
            "Bring the data to the object store (fovea data upload) and name it in spec.inputs, or use a claim or NFS."
        )
    return "Use a persistentVolumeClaim, configMap, secret, emptyDir or nfs, or name the data in spec.inputs."


_STORE_KEY = (
    f"The Secret {names.OBJECT_STORE_SECRET} is for Fovea's agent only.",
    "Name the data in spec.inputs: Fovea fetches it.",
)


def _is_store_key(field: Field | None) -> bool:
    return field is not None and field.value == names.OBJECT_STORE_SECRET


def take_security(field: Field, draft: Draft) -> None:
    """Of a pod's or a container's security context the user; the rest is the same for every program of Fovea."""
    for key, one in field.items():
        if key == "runAsUser":
            if (*CONTAINER, "runAsUser") in draft.values:
                draft.drop(one, "The container has a runAsUser of its own, which counts.")
            elif one.whole():
                draft.take(one, *CONTAINER, "runAsUser", value=one.whole())
            else:
                draft.drop(
                    one,
                    "Pods of Fovea do not run as root.",
                    "Set spec.trainer.container.runAsUser to a user other than 0.",
                )
        elif key in _SAFE and one.value == _SAFE[key]:
            draft.keep(one, "Every program of Fovea runs so.")
        else:
            draft.drop(one, "Fovea sets the rights of a program itself (Pod Security Standard: restricted).")


def words(field: Field, *key: str, draft: Draft) -> None:
    """A command or arguments. Numbers and the like, which YAML may make of them, become texts."""
    found = [_word(entry) for entry in field.entries()]
    remote = [word for word in found if "gs://" in word]
    draft.take(field, *key, value=found, next=_upload(remote) if remote else "")


def _word(entry: Field) -> str:
    if isinstance(entry.value, bool):
        return str(entry.value).lower()
    if not isinstance(entry.value, str | int | float):
        raise entry.error(f"is {entry.value!r}, a text is expected: correct the file")
    return str(entry.value)


def _upload(remote: Sequence[str]) -> str:
    return (
        f"For {', '.join(remote)}, bring the data to the object store (fovea data upload), name it in spec.inputs, and let the "
        f"program read ${environment.INPUT_DIR}/NAME. Results belong into the folders that Fovea publishes."
    )


def _take_env(field: Field, draft: Draft) -> None:
    last = {name.text(): one.path for one in field.entries() if (name := one.get("name"))}
    for one in field.entries():
        name = one.get("name")
        text = name.text() if name else ""
        if text == environment.TF_CONFIG:
            draft.drop(one, "Fovea writes TF_CONFIG itself.")
        elif text.startswith("FOVEA_"):
            draft.drop(one, "Variables FOVEA_… are Fovea's own.", f"Let the program read another variable than {text}.")
        elif last.get(text) != one.path:
            draft.drop(one, f"{text} is set again below; the last one counts.")
        elif _is_store_key(one.get("valueFrom", "secretKeyRef", "name")):
            draft.drop(one, *_STORE_KEY)
        elif (source := one.get("valueFrom")) and not {key for key, _ in source.items()} & _ENV_SOURCES:
            kinds = ", ".join(key for key, _ in source.items()) or "nothing"
            draft.drop(one, f"A TrainingJob has no variables of {kinds}.", f"Set a value for {text}.")
        else:
            _take_variable(one, text, draft)


_ENV_SOURCES = frozenset({"secretKeyRef", "configMapKeyRef", "fieldRef"})


def _take_variable(one: Field, name: str, draft: Draft) -> None:
    value = one.get("value")
    if value and not isinstance(value.value, str):
        # YAML made a number of it; a variable is text.
        one = Field(one.path, one.value | {"value": _word(value)})
    if (fitting := fitted(one, EnvVar, draft)) is not None:
        draft.take(one, *CONTAINER, "env", name, value=fitting)


def _take_env_from(field: Field, draft: Draft) -> None:
    for one in field.entries():
        if _is_store_key(one.get("secretRef", "name")):
            draft.drop(one, *_STORE_KEY)
        elif not (one.get("secretRef") or one.get("configMapRef")):
            draft.drop(one, "It names neither a Secret nor a ConfigMap.")
        elif (value := fitted(one, EnvFrom, draft)) is not None:
            kind = "secretRef" if "secretRef" in value else "configMapRef"
            name = f"{value.get('prefix', '')}{kind} {value.get(kind, {}).get('name')}"
            draft.take(one, *CONTAINER, "envFrom", name, value=value)


_MOUNTS = {
    "subPathExpr": "All pods see the root of the volume there. Set subPath to one folder for all of them, or let the program choose "
    "a folder within the volume."
}
"""What to do about fields of a mount that Fovea does not have."""


def _take_mounts(field: Field, draft: Draft) -> None:
    for one in field.entries():
        name, path = one.get("name"), one.get("mountPath")
        volume = name.text() if name else ""
        where = path.text() if path else ""
        if (*CONTAINER, "volumes", volume) not in draft.values:
            draft.drop(one, f"The job has no volume {volume}.")
        elif f"{where}/".startswith((f"{environment.WORK_MOUNT}/", "/var/run/secrets/fovea")):
            draft.drop(
                one, f"{where} is Fovea's own folder.", "Mount the volume elsewhere, and let the program look there."
            )
        elif (value := fitted(one, VolumeMount, draft, _MOUNTS)) is not None:
            draft.take(one, *CONTAINER, "volumeMounts", where, value=value)


def _take_name(field: Field, draft: Draft) -> None:
    if field.value == NAME:
        draft.keep(field, f"Fovea calls the container of the program {names.TRAINER_CONTAINER}.")
    else:
        draft.drop(field, f"Fovea calls the container of the program {names.TRAINER_CONTAINER}.")


def _plain(name: str) -> Callable[[Field, Draft], None]:
    def take_it(field: Field, draft: Draft) -> None:
        draft.take(field, *CONTAINER, name, value=field.text())

    return take_it


def _words(name: str) -> Callable[[Field, Draft], None]:
    def take_them(field: Field, draft: Draft) -> None:
        words(field, *CONTAINER, name, draft=draft)

    return take_them


TAKEN: Mapping[str, Callable[[Field, Draft], None]] = {
    "name": _take_name,
    "image": _plain("image"),
    "imagePullPolicy": _plain("imagePullPolicy"),
    "command": _words("command"),
    "args": _words("args"),
    "workingDir": _plain("workingDir"),
    "env": _take_env,
    "envFrom": _take_env_from,
    "volumeMounts": _take_mounts,
    "resources": take_resources,
    "securityContext": take_security,
}
"""Fields of a container that have a place."""
