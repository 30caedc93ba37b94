"""Two affinities that both hold: the machine type's and that of a job or deployment."""

from typing import Any

from fovea_api.v1alpha1.affinity import Affinity

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def both(first: Affinity | None, second: Affinity | None) -> dict[str, Any]:
    """An affinity that asks for what the two ask for; empty without any."""
    one, other = (affinity.dump() if affinity else {} for affinity in (first, second))
    found = {"nodeAffinity": _nodes(one.get("nodeAffinity") or {}, other.get("nodeAffinity") or {})}
    for kind in ("podAffinity", "podAntiAffinity"):
        # Every entry of these lists holds by itself.
        a, b = one.get(kind) or {}, other.get(kind) or {}
        found[kind] = {
            key: [*a.get(key, ()), *b.get(key, ())] for key in (_REQUIRED, _PREFERRED) if key in a or key in b
        }
    return {kind: said for kind, said in found.items() if said}


def _nodes(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    if preferred := [*one.get(_PREFERRED, ()), *other.get(_PREFERRED, ())]:
        merged[_PREFERRED] = preferred
    terms = [
        required["nodeSelectorTerms"] for required in (one.get(_REQUIRED), other.get(_REQUIRED)) if required is not None
    ]
    if len(terms) == 2:
        # A node needs one of several terms: one of each side means one of all pairs.
        terms = [[_joined(a, b) for a in terms[0] for b in terms[1]]]
    if terms:
        merged[_REQUIRED] = {"nodeSelectorTerms": terms[0]}
    return merged


def _joined(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """A term that asks for what both ask for."""
    return {
        key: [*a.get(key, ()), *b.get(key, ())] for key in ("matchExpressions", "matchFields") if key in a or key in b
    }
