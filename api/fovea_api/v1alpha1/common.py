"""What every kind shares: the base model, CEL rules, bounds, and the Kubernetes pieces that a user's container may name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
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


def kept(field: str, *, optional: bool) -> str:
    """Expression: the field is the same as before."""
    same = f"self.{field} == oldSelf.{field}"
    return f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})" if optional else same


def immutable(
    required: tuple[str, ...], optional: tuple[str, ...], why: str, others: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The one rule of a spec on changes: these fields never change after creation.

    `others`: expressions that hold as well, by what the message says where they do not ("spec.x is …"), `why` behind it.
    One rule, since the API server evaluates every rule at every write, of a status too; the first comparison is then the only one.
    """
    held = {f"spec.{field} is immutable": kept(field, optional=False) for field in required}
    held |= {f"spec.{field} is immutable": kept(field, optional=True) for field in optional}
    held |= others
    # Of texts that it knows the API server can estimate the cost; a list that is joined it takes for too expensive.
    broken = " + ".join(f"({expression} ? '' : ', {said}')" for said, expression in held.items())
    return {
        "rule": f"self == oldSelf || ({' && '.join(f'({expression})' for expression in held.values())})",
        "message": f"immutable fields were changed: {why}",
        "messageExpression": f"({broken}).substring(2) + ': {why}'",
    }


class Model(BaseModel):
    """Base of all API types: camelCase on the wire, frozen, unknown fields ignored when reading the cluster."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    def dump(self) -> dict[str, Any]:
        """The object as Kubernetes takes it: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Status(Model):
    """Base of a status and of parts of it. What another version of Fovea wrote, and this one does not know, stays as it is when it is written again."""

    model_config = ConfigDict(extra="allow", json_schema_extra=lambda schema: schema.pop("additionalProperties", None))

    def stored(self) -> dict[str, Any]:
        """The fields that the object was read with: no defaults of absent ones."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


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
    Field(
        min_length=1,
        max_length=names.MAX_NAME,
        pattern=names.NAME_PATTERN,
        json_schema_extra={"x-fovea-words": "hold a-z, 0-9 and '-', starting with a letter"},
    ),
]
"""A name of ours: lower-case letters, digits and '-', starting with a letter, at most 40 characters."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""A name of a Kubernetes object."""

SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
QUALIFIED_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"

MachineTypeName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=names.MAX_NAME,
        pattern=rf"^{SUBDOMAIN}$",
    ),
]
"""Any name that Kubernetes gives an object, at most 40 characters: n1-standard-4, m5.2xlarge. Nothing is named after a machine type."""


def at_least_a_mebibyte(field: str, *, optional: bool) -> dict[str, str]:
    """Rule against amounts of memory and disk whose unit was forgotten: with so few bytes no program starts."""
    enough = f"quantity(string(self.{field})).compareTo(quantity('1Mi')) >= 0"
    return rule(
        f"!has(self.{field}) || {enough}" if optional else enough,
        f"{field} is less than 1Mi: a number without a unit is bytes, write for example 64Gi",
        field=f".{field}",
    )


def own_keys(field: str) -> dict[str, str]:
    """Rule: a map of labels or annotations has no key that Fovea sets itself."""
    own = " || ".join(
        [f"k.startsWith('{GROUP}/')", *(f"k == '{key}'" for key in (labels.MANAGED_BY, labels.COMPONENT))]
    )
    return rule(
        f"!has(self.{field}) || !self.{field}.exists(k, {own})",
        f"keys of {GROUP}, {labels.MANAGED_BY} and {labels.COMPONENT} are set by Fovea: choose other keys for {field}",
        field=f".{field}",
    )


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    Field(
        min_length=1,
        max_length=24,
        pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$",
        json_schema_extra={"x-kubernetes-int-or-string": True, "minimum": 0},
    ),
    BeforeValidator(_as_text),
]
"""A Kubernetes quantity such as 500m, 2, 4Gi: a string or, as in a pod, a whole number. Read as text."""

StoreUri = Annotated[str, Field(min_length=6, max_length=1024, pattern=r"^s3://[^/?#]+(/[^?#]*)?$")]
"""An address in the object store: s3://bucket/path."""

_LABEL_KEY = rf"({SUBDOMAIN}/)?{QUALIFIED_NAME}"
LabelKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        pattern=rf"^{_LABEL_KEY}$",
        json_schema_extra={
            "x-fovea-words": "hold letters, digits, '-', '_' and '.' between letters or digits, with a domain and '/' in front or not"
        },
    ),
]
"""A label's or taint's key: a name, with a domain in front or not."""
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
"""A label's or taint's value."""


class Toleration(Model):
    """A toleration, as in a pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.key != '' || self.operator == 'Exists'",
                "a toleration without key tolerates every taint and needs operator Exists: name the key or set operator: Exists",
                field=".key",
            ),
            rule(
                "self.value == '' || self.operator == 'Equal'",
                "a toleration with operator Exists has no value: remove value or set operator: Equal",
                field=".value",
            ),
            rule(
                "!has(self.tolerationSeconds) || self.effect == 'NoExecute'",
                "tolerationSeconds goes with effect NoExecute only: remove it or set effect: NoExecute",
                field=".tolerationSeconds",
            ),
        )
    )

    key: Annotated[str, Field(max_length=317, pattern=rf"^({_LABEL_KEY})?$")] = ""
    """Taint key. An empty key with operator Exists tolerates every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How key and value are compared."""
    value: LabelValue = ""
    """Taint value, for operator Equal."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Taint effect; empty means every effect."""
    toleration_seconds: Annotated[int | None, Field(ge=0, le=31_536_000)] = None
    """Seconds for which a NoExecute taint is tolerated. Absent: without end."""


class Condition(Model):
    """A condition, as in other Kubernetes objects."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """Kind of condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Reason in CamelCase, for programs."""
    message: Annotated[str, Field(max_length=32_768)]
    """Reason in a sentence, for people."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """Time at which status last changed."""
    observed_generation: int | None = None
    """Generation of the object that the condition is about."""


Conditions = Annotated[
    list[Condition],
    Field(
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]

NAME_RULE = rule(
    "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name must start with a letter, hold only a-z, 0-9 and '-', and have at most 40 characters: choose a shorter or plainer name",
)
"""For kinds whose name becomes a part of other names."""
