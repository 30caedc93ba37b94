"""Who reaches the pods of a job of several pods: TensorFlow's servers ask nobody who they are."""

from typing import Any

from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import TrainingJob

from fovea_operator.desired import owner


def pods_policy(job: TrainingJob) -> dict[str, Any]:
    """The pods of a job are reached by the pods of the same job, on all ports, and by nobody else.

    It says nothing of what they reach themselves: data, the object store and the operator are wherever they are.
    """
    name = job.metadata.name
    members = {"matchLabels": labels.training_selector(name)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": names.pods_policy(name),
            "namespace": job.metadata.namespace,
            "labels": labels.of_job(name),
            "ownerReferences": [owner.reference(job)],
        },
        "spec": {"podSelector": members, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": members}]}]},
    }
