"""How models and versions read. Pure; golden files hold them."""

from collections.abc import Sequence
from datetime import datetime

from fovea_api.contract.manifest import Entry
from fovea_api.v1alpha1 import ModelDeployment, ModelVersion

from fovea.sdk.models import Model

from .deployment_text import endpoint_facts, wanted
from .files_text import files_section
from .job_text import listed
from .output import age, fields, indented, size, table, when


def models_table(models: Sequence[Model], now: datetime) -> str:
    """One row per model."""
    rows = []
    for model in models:
        serving = [d for d in model.deployments if d.status.stable]
        rows.append(
            (
                model.name,
                len(model.versions),
                f"v{model.latest.spec.version}" if model.latest else "",
                ", ".join(f"v{d.status.stable.version}" for d in serving if d.status.stable),
                ", ".join(str(d.status.replicas or 0) for d in serving),
                ", ".join(d.status.endpoint.grpc for d in serving if d.status.endpoint),
                age(model.versions[0].metadata.creation_timestamp, now) if model.versions else "",
            )
        )
    return table(("MODEL", "VERSIONS", "LATEST", "SERVING", "READY", "ENDPOINT", "UPDATED"), rows)


def model_description(model: Model, now: datetime) -> str:
    """Everything about one model."""
    parts = [
        fields([("Model", model.name), ("Latest", model.latest.metadata.name if model.latest else "none approved")])
    ]
    parts.append("Versions:\n" + indented(versions_table(model.versions, now)) if model.versions else "Versions: none")
    parts += [_deployment(deployment, now) for deployment in model.deployments]
    parts.append("Next:\n" + "\n".join(f"  {step}" for step in _next_steps(model)))
    return "\n\n".join(parts)


def versions_table(versions: Sequence[ModelVersion], now: datetime) -> str:
    """One row per version."""
    rows = [
        (
            version.metadata.name,
            version.spec.model,
            version.spec.version,
            version.spec.approval,
            _metrics(version),
            _origin(version),
            age(version.metadata.creation_timestamp, now),
        )
        for version in versions
    ]
    return table(("NAME", "MODEL", "VERSION", "APPROVAL", "METRICS", "FROM", "AGE"), rows)


def _metrics(version: ModelVersion, between: str = ", ") -> str:
    main = version.spec.main_metric
    return listed(version.spec.metrics or {}, main.name if main else "", between)


def version_description(version: ModelVersion, now: datetime, files: Sequence[Entry] | str = ()) -> str:
    """Everything about one version. `files` may be a sentence on why they are not known."""
    spec = version.spec
    facts = fields(
        [
            ("Name", version.metadata.name),
            ("Namespace", version.metadata.namespace),
            ("Model", spec.model),
            ("Version", spec.version),
            ("Approval", spec.approval),
            ("From", _origin(version)),
            ("Created", when(version.metadata.creation_timestamp, now)),
            ("Place", f"{spec.uri}" + (f" ({size(spec.bytes)})" if spec.bytes is not None else "")),
            ("Digest", spec.digest),
            ("Metrics", _metrics(version, "\n")),
        ]
    )
    flag = f" -n {version.metadata.namespace}" if version.metadata.namespace else ""
    steps = [f"fovea models describe {spec.model}{flag}", f"fovea versions download {version.metadata.name}{flag}"]
    if spec.approval == "Rejected":
        steps.append(f"fovea versions approve {version.metadata.name}{flag}")
    parts = [facts, files_section("Files", files), "Next:\n" + "\n".join(f"  {step}" for step in steps)]
    return "\n\n".join(part for part in parts if part)


def _origin(version: ModelVersion) -> str:
    lineage = version.spec.lineage
    if lineage is None:
        return ""
    return f"job {lineage.job}" if lineage.job else lineage.source


def _deployment(deployment: ModelDeployment, now: datetime) -> str:
    status = deployment.status
    facts: list[tuple[str, object]] = [
        ("Wanted", wanted(deployment)),
        ("Serving", f"v{status.stable.version} ({status.replicas or 0} ready)" if status.stable else "nothing yet"),
        ("Candidate", f"v{status.candidate.version}" if status.candidate else ""),
        ("Draining", ", ".join(f"v{place.version}" for place in status.draining)),
        ("Given up", f"v{status.failed.version}" if status.failed else ""),
        ("Message", status.message),
        *endpoint_facts(deployment),
    ]
    text = f"Deployment {deployment.metadata.name}:\n" + indented(fields(facts))
    if status.conditions:
        rows = [(c.type, c.status, c.reason, age(c.last_transition_time, now), c.message) for c in status.conditions]
        text += "\n" + indented(table(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows))
    return text


def _next_steps(model: Model) -> list[str]:
    objects = [*model.deployments, *model.versions]
    flag = f" -n {objects[0].metadata.namespace}" if objects and objects[0].metadata.namespace else ""
    if any(deployment.status.stable for deployment in model.deployments):
        return [f"fovea predict --model {model.name}{flag} IMAGE…"]
    if model.deployments:
        return [f"kubectl describe modeldeployment {model.deployments[0].metadata.name}{flag}"]
    return [
        f"serve it: a ModelDeployment with spec.model: {model.name}, or submit a job with --model {model.name} --deploy"
    ]
