"""Affinity, as in a pod: which nodes are wanted, and which other pods are wanted near or far."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .common import LabelValue, Model, rule, rules

_Key = Annotated[str, Field(min_length=1, max_length=317)]
_Values = Annotated[list[LabelValue] | None, Field(max_length=64)]
_Weight = Annotated[int, Field(ge=1, le=100)]
_MATCHES = rules(
    rule(
        "(has(self.values) && self.values.size() > 0) == !(self.operator in ['Exists', 'DoesNotExist'])",
        "operators Exists and DoesNotExist have no values, all others need some: add or remove values",
        field=".values",
    )
)


class NodeRequirement(Model):
    """What a node's label must be."""

    model_config = ConfigDict(json_schema_extra=_MATCHES)

    key: _Key
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How its value is compared with `values`."""
    values: _Values = None
    """What it is compared with."""


class NodeTerm(Model):
    """Requirements that a node meets all of."""

    match_expressions: Annotated[list[NodeRequirement], Field(min_length=1, max_length=16)]
    """The requirements."""


class NodeTerms(Model):
    """Terms of which a node meets at least one."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=8)]
    """The terms."""


class PreferredNodes(Model):
    """Nodes that are better than others."""

    weight: _Weight
    """How much better."""
    preference: NodeTerm
    """Which nodes."""


class NodeAffinity(Model):
    """Nodes that are wanted."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = None
    """Nodes that a pod needs."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        list[PreferredNodes] | None, Field(max_length=16)
    ] = None
    """Nodes that a pod prefers."""


class LabelRequirement(Model):
    """What a pod's or namespace's label must be."""

    model_config = ConfigDict(json_schema_extra=_MATCHES)

    key: _Key
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How its value is compared with `values`."""
    values: _Values = None
    """What it is compared with."""


class LabelSelector(Model):
    """Labels that are looked for; an empty selector finds everything."""

    match_labels: Annotated[dict[str, LabelValue] | None, Field(max_length=16)] = None
    """Labels with their values."""
    match_expressions: Annotated[list[LabelRequirement] | None, Field(max_length=16)] = None
    """Requirements on labels."""


class PodTerm(Model):
    """Pods, and how near to them."""

    label_selector: LabelSelector | None = None
    """Which pods."""
    topology_key: _Key
    """Label of nodes: those with the same value are one place, for example kubernetes.io/hostname."""
    namespaces: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]] | None, Field(max_length=16)] = None
    """Namespaces of these pods; absent: the pod's own."""
    namespace_selector: LabelSelector | None = None
    """Namespaces of these pods, by their labels."""


class PreferredPods(Model):
    """Places that are better than others."""

    weight: _Weight
    """How much better."""
    pod_affinity_term: PodTerm
    """Which places."""


class PodAffinity(Model):
    """Pods to be near to, or, as an anti-affinity, far from."""

    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm] | None, Field(max_length=8)] = None
    """Places that a pod needs (or never takes)."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        list[PreferredPods] | None, Field(max_length=16)
    ] = None
    """Places that a pod prefers (or avoids)."""


class Affinity(Model):
    """Where pods are placed, beside node selector and tolerations."""

    node_affinity: NodeAffinity | None = None
    """Nodes that are wanted."""
    pod_affinity: PodAffinity | None = None
    """Pods to be near to."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods to be far from."""
