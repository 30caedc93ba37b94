"""The dashboard and the alert rules that the chart makes when it is asked to."""

import json
import re

import yaml
from support import helm

BOTH = {"metrics": {"dashboard": {"enabled": True}, "alerts": {"enabled": True}}}
FILES = helm.CHART / "files"


def test_nothing_is_made_unless_it_is_asked_for(default_manifests: list[helm.Manifest]) -> None:
    assert not [each for each in default_manifests if each["kind"] == "PrometheusRule"]
    assert not [each for each in default_manifests if each["metadata"]["name"] == "fovea-dashboard"]


def test_the_dashboard_is_the_file_and_has_the_label_that_grafanas_sidecar_looks_for() -> None:
    found = helm.one(helm.template(BOTH), "ConfigMap", "fovea-dashboard", helm.NAMESPACE)
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["fovea.json"]) == json.loads((FILES / "dashboard.json").read_text())


def test_a_release_whose_values_know_no_dashboard_yet_gets_the_usual_label() -> None:
    values = {"metrics": {"dashboard": {"enabled": True, "labels": {}}}}
    found = helm.one(helm.template(values), "ConfigMap", "fovea-dashboard", helm.NAMESPACE)
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_dashboard_takes_a_folder() -> None:
    values = {"metrics": {"dashboard": {"enabled": True, "annotations": {"grafana_folder": "ML"}}}}
    found = helm.one(helm.template(values), "ConfigMap", "fovea-dashboard", helm.NAMESPACE)
    assert found["metadata"]["annotations"] == {"grafana_folder": "ML"}


def test_the_rules_are_those_of_the_file_with_the_section_of_the_runbook() -> None:
    page = "https://wiki.example.com/fovea/alerts"
    values = {"metrics": {"alerts": {"enabled": True, "runbook": page, "labels": {"release": "prometheus"}}}}
    found = helm.one(helm.template(values), "PrometheusRule", "fovea-operator", helm.NAMESPACE)
    assert found["metadata"]["labels"]["release"] == "prometheus"
    [group] = found["spec"]["groups"]
    rules = yaml.safe_load((FILES / "alerts.yaml").read_text())["rules"]
    assert len(group["rules"]) == len(rules)
    for made, rule in zip(group["rules"], rules, strict=True):
        assert made["annotations"].pop("runbook_url") == f"{page}#{rule['alert'].lower()}"
        assert made == rule


def test_the_runbook_of_the_repository_has_a_section_for_each_rule() -> None:
    found = helm.one(helm.template(BOTH), "PrometheusRule", "fovea-operator", helm.NAMESPACE)
    for rule in found["spec"]["groups"][0]["rules"]:
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        sections = re.findall(r"^## (\w+)$", (helm.ROOT / path).read_text(), re.MULTILINE)
        assert anchor in {section.lower() for section in sections}
