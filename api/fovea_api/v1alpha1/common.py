"""What every kind shares: the base model, CEL rules, bounds, and the Kubernetes pieces that a user's container may name."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fovea_api.contract import labels, names

GROUP = labels.GROUP
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


def rule(expression: str, message: str, *, field: str = "") -> dict[str, str]:
    """One CEL rule: an expression over `self` (and `oldSelf`), the message a user sees, the field it is about."""
    validation = {"rule": expression, "message": message}
    if field:
        validation["fieldPath"] = field
    return validation


def rules(*validations: dict[str, str]) -> dict[str, Any]:
    """CEL rules as pydantic's json_schema_extra."""
    return {"x-kubernetes-validations": list(validations)}


def immutable(field: str, *, optional: bool, why: str) -> dict[str, str]:
    """Rule of a spec by which a field never changes after creation."""
    same = f"self.{field} == oldSelf.{field}"
    if optional:
        same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})"
    return rule(same, f"spec.{field} is immutable: {why}", field=f".{field}")


class Model(BaseModel):
    """Base of all API types: camelCase on the wire, frozen, unknown fields ignored when reading the cluster."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    def dump(self) -> dict[str, Any]:
        """The object as Kubernetes takes it: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Column(Model):
    """One printer column of `kubectl get`."""

    name: str
    type: str
    json_path: str
    priority: int = 0
    description: str = ""


class Kind:
    """What a CRD needs beside the schema; one instance per kind, collected by `fovea_api.v1alpha1.KINDS`."""

    def __init__(
        self,
        *,
        kind: str,
        plural: str,
        short: str,
        scope: Literal["Namespaced", "Cluster"],
        model: type["Resource"],
        columns: tuple[Column, ...],
        subresources: dict[str, Any] | None = None,
        root_rules: tuple[dict[str, str], ...] = (),
    ) -> None:
        self.kind, self.plural, self.short, self.scope, self.model = kind, plural, short, scope, model
        self.columns, self.subresources, self.root_rules = columns, subresources or {}, root_rules

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


class Metadata(Model):
    """The part of ObjectMeta that Fovea reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Resource(Model):
    """Base of the kinds."""

    KIND: ClassVar[str]
    api_version: str = API_VERSION
    kind: str
    metadata: Metadata


Name = Annotated[
    str,
    Field(min_length=1, max_length=names.MAX_NAME, pattern=names.NAME_PATTERN),
]
"""A name of ours: lower-case letters, digits and '-', starting with a letter, at most 40 characters."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""A name of a Kubernetes object."""

Quantity = Annotated[
    str, Field(min_length=1, max_length=24, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$")
]
"""A Kubernetes quantity such as 500m, 2, 4Gi. Written as a string."""

StoreUri = Annotated[str, Field(min_length=6, max_length=1024, pattern=r"^s3://[^/?#]+(/[^?#]*)?$")]
"""An address in the object store: s3://bucket/path."""

LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]


class Toleration(Model):
    """A toleration, as in a pod."""

    key: Annotated[str, Field(max_length=317)] = ""
    """Taint key; empty with operator Exists tolerates every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How key and value are compared."""
    value: Annotated[str, Field(max_length=63)] = ""
    """Taint value, for operator Equal."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Taint effect; empty means every effect."""
    toleration_seconds: Annotated[int | None, Field(ge=0, le=31_536_000)] = None
    """Seconds that a NoExecute taint is tolerated; absent: for ever."""


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
    """Put before each key."""
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
            )
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


class Condition(Model):
    """A condition, as in metav1: type, status, reason, message and since when."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """Kind of condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """CamelCase word for programs."""
    message: Annotated[str, Field(max_length=32_768)]
    """Sentence for people."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When status changed last."""
    observed_generation: int | None = None
    """The generation of the object that this was said of."""


Conditions = Annotated[
    list[Condition],
    Field(
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]
