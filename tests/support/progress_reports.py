"""What a pod's sidecar posts to the operator, and what it hears."""

import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from fovea_api.contract import names
from fovea_api.contract.report import PROGRESS_PATH, ProgressAnswer, ProgressReport
from support.kube_apiserver import Cluster
from support.operator_process import OperatorProcess


@dataclass(frozen=True)
class Answer:
    """Status and content of an answer."""

    status: int
    said: ProgressAnswer = field(default_factory=ProgressAnswer)


def post_progress(operator: OperatorProcess, token: str, report: ProgressReport) -> Answer:
    """Post a report with that token."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{operator.report_port}{PROGRESS_PATH}",
        data=report.to_json().encode(),
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return Answer(answer.status, ProgressAnswer.from_json(answer.read().decode()))
    except urllib.error.HTTPError as error:
        return Answer(error.code)


def pod_token(cluster: Cluster, pod: dict[str, Any], audience: str = names.REPORT_TOKEN_AUDIENCE) -> str:
    """The token that the kubelet would project into the pod."""
    bound = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [audience], "expirationSeconds": 3600, "boundObjectRef": bound},
    }
    answer = cluster.api.request("POST", cluster.path("ServiceAccount", "default") + "/token", body)
    return str(answer["status"]["token"])
