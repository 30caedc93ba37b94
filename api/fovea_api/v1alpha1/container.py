"""A container of the user's own: image, command, environment, volumes, pull secrets, shared memory."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fovea_api.contract import names

from .common import Model, ObjectName, Quantity, at_least_a_mebibyte, rule, rules


class KeyReference(Model):
    """One key of a Secret or ConfigMap of the job's namespace."""

    name: ObjectName
    """Name of the Secret or ConfigMap."""
    key: Annotated[str, Field(min_length=1, max_length=253)]
    """Key in its data."""
    optional: bool | None = None
    """Whether the program may start without it."""


class FieldReference(Model):
    """A field of the pod."""

    field_path: Annotated[str, Field(min_length=1, max_length=253)]
    """For example metadata.name, spec.nodeName, status.podIP."""


_NO_STORE_KEY = (
    f"the Secret {names.OBJECT_STORE_SECRET} holds the object store's key and is mounted by Fovea's agent only; "
    "name inputs in spec.inputs and Fovea brings them to $FOVEA_INPUT_DIR"
)


class EnvSource(Model):
    """Where the value of an environment variable comes from: exactly one."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)].filter(x, x).size() == 1",
                "valueFrom needs exactly one of secretKeyRef, configMapKeyRef, fieldRef",
            ),
            rule(
                f"!has(self.secretKeyRef) || self.secretKeyRef.name != '{names.OBJECT_STORE_SECRET}'",
                _NO_STORE_KEY,
                field=".secretKeyRef",
            ),
        )
    )

    secret_key_ref: KeyReference | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyReference | None = None
    """A key of a ConfigMap."""
    field_ref: FieldReference | None = None
    """A field of the pod."""


class EnvVar(Model):
    """An environment variable."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!(has(self.value) && has(self.valueFrom))", "an env entry has either value or valueFrom, not both"),
            rule(
                "!self.name.startsWith('FOVEA_') && self.name != 'TF_CONFIG'",
                "env names starting with FOVEA_ and TF_CONFIG are set by Fovea; choose another name",
                field=".name",
            ),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")]
    """Name of the variable."""
    value: Annotated[str | None, Field(max_length=32_768)] = None
    """Its value."""
    value_from: EnvSource | None = None
    """Where its value comes from."""


class NamedSource(Model):
    """A Secret or ConfigMap, whole."""

    name: ObjectName
    """Its name."""
    optional: bool | None = None
    """Whether the program may start without it."""


class EnvFrom(Model):
    """All keys of a Secret or ConfigMap as environment variables."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.secretRef) != has(self.configMapRef)", "envFrom needs exactly one of secretRef, configMapRef"
            ),
            rule(
                f"!has(self.secretRef) || self.secretRef.name != '{names.OBJECT_STORE_SECRET}'",
                _NO_STORE_KEY,
                field=".secretRef",
            ),
        )
    )

    prefix: Annotated[str | None, Field(max_length=64)] = None
    """Text in front of each key."""
    secret_ref: NamedSource | None = None
    """A Secret."""
    config_map_ref: NamedSource | None = None
    """A ConfigMap."""


class LocalReference(Model):
    """Name of an object in the same namespace."""

    name: ObjectName
    """Its name."""


class ClaimVolume(Model):
    """A PersistentVolumeClaim of the job's namespace."""

    claim_name: ObjectName
    """Its name."""
    read_only: bool | None = None
    """Mount it read-only."""


class KeyToPath(Model):
    """A key and the file it becomes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!self.path.startsWith('/') && !self.path.startsWith('..') && !self.path.matches('/[.][.](/|$)')",
                "path is relative and leads nowhere up: write it without a leading / and without .., for example config/a.json",
                field=".path",
            )
        )
    )

    key: Annotated[str, Field(min_length=1, max_length=253)]
    """The key."""
    path: Annotated[str, Field(min_length=1, max_length=1024)]
    """Relative path of the file."""


class ConfigMapVolume(Model):
    """A ConfigMap as files."""

    name: ObjectName
    """Its name."""
    items: Annotated[list[KeyToPath] | None, Field(max_length=64)] = None
    """Keys to take; absent: all."""
    optional: bool | None = None
    """Whether the pod may start without it."""


class SecretVolume(Model):
    """A Secret as files."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(f"self.secretName != '{names.OBJECT_STORE_SECRET}'", _NO_STORE_KEY, field=".secretName")
        )
    )

    secret_name: ObjectName
    """Its name."""
    items: Annotated[list[KeyToPath] | None, Field(max_length=64)] = None
    """Keys to take; absent: all."""
    optional: bool | None = None
    """Whether the pod may start without it."""


class EmptyDirVolume(Model):
    """An empty folder that lives as long as the pod."""

    medium: Literal["", "Memory"] = ""
    """Memory for a RAM disk."""
    size_limit: Quantity | None = None
    """Largest size."""


class NfsVolume(Model):
    """A folder of an NFS server."""

    server: Annotated[str, Field(min_length=1, max_length=253)]
    """Host name or address."""
    path: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/")]
    """Exported path."""
    read_only: bool | None = None
    """Mount it read-only."""


class Volume(Model):
    """A volume of a training pod: a name and exactly one source. Host paths are not offered: a job must not reach the node."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "[has(self.persistentVolumeClaim), has(self.configMap), has(self.secret), has(self.emptyDir), "
                "has(self.nfs)].filter(x, x).size() == 1",
                "a volume needs exactly one of persistentVolumeClaim, configMap, secret, emptyDir, nfs",
            ),
            rule(
                "!self.name.startsWith('fovea-')",
                "volume names starting with fovea- are Fovea's own; choose another name",
                field=".name",
            ),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """Name that volumeMounts refer to."""
    persistent_volume_claim: ClaimVolume | None = None
    """A claim."""
    config_map: ConfigMapVolume | None = None
    """A ConfigMap as files."""
    secret: SecretVolume | None = None
    """A Secret as files."""
    empty_dir: EmptyDirVolume | None = None
    """Scratch space."""
    nfs: NfsVolume | None = None
    """An NFS folder."""


class VolumeMount(Model):
    """Where a volume appears in the container."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.mountPath != '/fovea' && !self.mountPath.startsWith('/fovea/') && "
                "!self.mountPath.startsWith('/var/run/secrets/fovea')",
                "/fovea and /var/run/secrets/fovea are Fovea's own; mount the volume elsewhere",
                field=".mountPath",
            ),
            rule(
                "self.mountPath != '/' && !self.mountPath.matches('//|/[.][.]?(/|$)')",
                "mountPath is a folder without //, /. and /.. in it: write the plain path, for example /data",
                field=".mountPath",
            ),
            rule(
                "!has(self.subPath) || !self.subPath.startsWith('/') && !self.subPath.matches('(^|/)[.][.](/|$)')",
                "subPath is a folder within the volume: write it without a leading / and without .., for example sets/digits",
                field=".subPath",
            ),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of one of spec.trainer.container.volumes."""
    mount_path: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/[^:]*$")]
    """Absolute path in the container."""
    sub_path: Annotated[str | None, Field(max_length=1024)] = None
    """Folder of the volume to mount; absent: its root."""
    read_only: bool | None = None
    """Mount it read-only."""


Word = Annotated[str, Field(max_length=4096)]


class Container(Model):
    """Any program of any framework, in an image of the user's own. It reads the directories named by the FOVEA_ environment variables."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) && "
                "self.volumes.exists(v, v.name == m.name))",
                "every volumeMounts[].name must be the name of one of volumes: add the volume or correct the name",
                field=".volumeMounts",
            ),
            rule(
                "!has(self.sharedMemory) || !has(self.volumeMounts) || "
                "!self.volumeMounts.exists(m, m.mountPath == '/dev/shm' || m.mountPath == '/dev/shm/')",
                "sharedMemory is mounted at /dev/shm, where volumeMounts have a volume already: remove one of them",
                field=".sharedMemory",
            ),
            at_least_a_mebibyte("sharedMemory", optional=True),
        )
    )

    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
    """Image reference, with a tag or digest."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the kubelet pulls; absent: Kubernetes' default for the tag."""
    image_pull_secrets: Annotated[list[LocalReference] | None, Field(max_length=8)] = None
    """Secrets with registry credentials."""
    command: Annotated[list[Word] | None, Field(max_length=64)] = None
    """Entry point; absent: the image's."""
    args: Annotated[list[Word] | None, Field(max_length=128)] = None
    """Arguments; those of spec.args follow as --name=value."""
    working_dir: Annotated[str | None, Field(max_length=1024)] = None
    """Working folder; absent: the image's."""
    env: Annotated[
        list[EnvVar] | None,
        Field(
            max_length=128, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = None
    """Environment variables."""
    env_from: Annotated[list[EnvFrom] | None, Field(max_length=16)] = None
    """Environment variables from whole Secrets and ConfigMaps."""
    volumes: Annotated[
        list[Volume] | None,
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = None
    """Volumes of the pod."""
    volume_mounts: Annotated[
        list[VolumeMount] | None,
        Field(
            max_length=32,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["mountPath"]},
        ),
    ] = None
    """Where the volumes appear."""
    shared_memory: Quantity | None = None
    """Size of /dev/shm; absent: the machine type's."""
    run_as_user: Annotated[int | None, Field(ge=1, le=2_147_483_647)] = None
    """User id of the program; absent: the image's, which must not be root."""
