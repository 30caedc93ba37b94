"""The chart's dashboard and alerts name metrics that the operator has, and each alert has a runbook."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fovea_api.contract import labels
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.metrics import DEADLINES, Metrics

ROOT = Path(__file__).parents[3]
RULES: list[dict[str, Any]] = yaml.safe_load((ROOT / "charts/fovea/files/alerts.yaml").read_text())["rules"]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "charts/fovea/files/dashboard.json").read_text())
PAGE = (ROOT / "docs/reference/alerts.md").read_text()
NAME = re.compile(r"\bfovea_[a-z_]+")
LABELS = re.compile(r"(?:by|on|without) ?\(([a-z, ]+)\)|([a-z]+)=~?\"")


def known() -> dict[str, set[str]]:
    """Names of the samples that the operator exposes, with the names of their labels."""
    metrics = Metrics(Cache(labels.MODEL_DEPLOYMENT), lambda: 0)
    metrics.count_call("get", "pods", 200)
    metrics.reconciled.labels("TrainingJob", "done").observe(1)
    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> dict[str, str]:
    """All expressions, by alert or by panel and place."""
    found = {rule["alert"]: rule["expr"] for rule in RULES}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


@pytest.mark.parametrize("expression", expressions().values(), ids=expressions().keys())
def test_an_expression_is_about_metrics_and_labels_that_the_operator_has(expression: str) -> None:
    metrics = known()
    named = set(NAME.findall(expression))
    assert named, "it names a metric"
    assert named <= metrics.keys()
    groups = {label for several, one in LABELS.findall(expression) for label in re.split(r", *", several or one)}
    assert groups <= {label for name in named for label in metrics[name]}
    assert expression.count("(") == expression.count(")")


def test_all_metrics_of_jobs_are_on_the_dashboard_and_on_the_page() -> None:
    panels = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known() if name.startswith("fovea_job")}
    assert len(families) >= 7
    assert {name for name in families if name not in panels} == set()
    assert {name for name in families if f"`{name}" not in PAGE} == set()


def test_each_alert_has_a_section_of_the_page_and_each_section_an_alert() -> None:
    sections = re.findall(r"^## (Fovea\w+)$", PAGE, re.MULTILINE)
    assert [rule["alert"] for rule in RULES] == sections or sorted(rule["alert"] for rule in RULES) == sorted(sections)
    assert len(sections) == len(set(sections)) == len(RULES)
    linked = set(re.findall(r"\]\(#(\w+)\)", PAGE))
    assert linked <= {section.lower() for section in sections}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_it_is_about(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["annotations"].keys() == {"summary", "description"}
    assert all(text.endswith(".") for text in rule["annotations"].values())


def test_panels_do_not_overlap_and_have_titles_and_ids_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert (
        len(places)
        == len({panel["title"] for panel in panels})
        == len({panel["id"] for panel in panels})
        == len(panels)
    )


def test_the_page_names_the_deadlines() -> None:
    assert all(f"`{deadline}`" in PAGE or f"runPolicy.{deadline}" in PAGE for deadline in DEADLINES)
