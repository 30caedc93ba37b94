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
    """Requirement on a label of a node."""

    model_config = ConfigDict(json_schema_extra=_MATCHES)

    key: _Key
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How its value is compared with `values`."""
    values: _Values = None
    """Values for the comparison."""


class NodeFieldRequirement(Model):
    """Requirement on a field of a node."""

    key: Literal["metadata.name"]
    """The field: metadata.name is the only one."""
    operator: Literal["In", "NotIn"]
    """How it is compared with `values`."""
    values: Annotated[list[Annotated[str, Field(min_length=1, max_length=253)]], Field(min_length=1, max_length=1)]
    """The node's name."""


class NodeTerm(Model):
    """Requirements on a node: all of them must hold."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.matchExpressions) || has(self.matchFields)",
                "a term without matchExpressions and matchFields finds no node: write one of them",
            )
        )
    )

    match_expressions: Annotated[list[NodeRequirement] | None, Field(min_length=1, max_length=16)] = None
    """Requirements on the node's labels."""
    match_fields: Annotated[list[NodeFieldRequirement] | None, Field(min_length=1, max_length=4)] = None
    """Requirements on the node's fields."""


class NodeTerms(Model):
    """Terms for a node: at least one of them must hold."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=8)]
    """The terms."""


class PreferredNodes(Model):
    """Nodes that are better than others."""

    weight: _Weight
    """Weight of this preference, from 1 to 100."""
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
    """Requirement on a label of a pod or namespace."""

    model_config = ConfigDict(json_schema_extra=_MATCHES)

    key: _Key
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How its value is compared with `values`."""
    values: _Values = None
    """Values for the comparison."""


class LabelSelector(Model):
    """Selector of labels. An empty selector selects everything."""

    match_labels: Annotated[dict[str, LabelValue] | None, Field(max_length=16)] = None
    """Labels with their values."""
    match_expressions: Annotated[list[LabelRequirement] | None, Field(max_length=16)] = None
    """Requirements on labels."""


_LabelKeys = Annotated[list[_Key] | None, Field(max_length=8)]


class PodTerm(Model):
    """Pods, and how near to them."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.labelSelector) || !(has(self.matchLabelKeys) || has(self.mismatchLabelKeys))",
                "matchLabelKeys and mismatchLabelKeys go with labelSelector: write it ({} finds all pods)",
                field=".labelSelector",
            ),
            rule(
                "!has(self.matchLabelKeys) || !has(self.mismatchLabelKeys) || "
                "!self.matchLabelKeys.exists(k, k in self.mismatchLabelKeys)",
                "a key is either in matchLabelKeys or in mismatchLabelKeys: take it out of one of them",
                field=".mismatchLabelKeys",
            ),
        )
    )

    label_selector: LabelSelector | None = None
    """Which pods."""
    topology_key: _Key
    """Key of a node label, for example kubernetes.io/hostname. Nodes with the same value are one place."""
    namespaces: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]] | None, Field(max_length=16)] = None
    """Namespaces of these pods; absent: the pod's own."""
    namespace_selector: LabelSelector | None = None
    """Namespaces of these pods, by their labels."""
    match_label_keys: _LabelKeys = None
    """Keys of labels that must have the same value on these pods as on the pod itself."""
    mismatch_label_keys: _LabelKeys = None
    """Keys of labels that must have another value on these pods than on the pod itself."""


class PreferredPods(Model):
    """Places that are better than others."""

    weight: _Weight
    """Weight of this preference, from 1 to 100."""
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
    """Placement of pods, in addition to node selector and tolerations."""

    node_affinity: NodeAffinity | None = None
    """Nodes that are wanted."""
    pod_affinity: PodAffinity | None = None
    """Pods to be near to."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods to be far from."""
