"""Between "the job may have pods" and its pods: what else has to be there, and what its pods get for it.

A queue says when there is quota (`quota`); a scheduler of gangs places the pods together (`gang`).
"""

from collections.abc import Callable, Mapping

from fovea_api.contract import labels

from fovea_operator.reconcile.training import gang, quota
from fovea_operator.reconcile.training.preparation import Manifest, Preparation, with_additions
from fovea_operator.reconcile.training.view import View


def prepare(view: View, templates: Callable[[], Mapping[str, Manifest]]) -> Preparation:
    """What the pods of a job need before they are made; `templates`: one pod of each role."""
    found = [quota.prepare(view, templates), gang.prepare(view)]
    waits = [each.wait for each in found if each.wait is not None]
    return Preparation(
        children=tuple(child for each in found for child in each.children),
        additions={role: tuple(more for each in found for more in each.additions.get(role, ())) for role in view.roles},
        wait=waits[0] if waits else None,
    )


def admitted(pod: Manifest, prepared: Preparation) -> dict[str, object]:
    """The manifest of a pod with what admission adds to its role."""
    made = dict(pod)
    for more in prepared.additions.get(pod["metadata"]["labels"][labels.ROLE], ()):
        made = with_additions(made, more)
    return made
