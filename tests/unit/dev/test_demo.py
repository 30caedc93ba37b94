"""The demo begins on a machine that has nothing yet."""

import json
import subprocess

import deploy
import pytest
from demo import Demo
from deploy import Deployment


def test_the_demo_asks_nothing_of_a_cluster_before_it_has_brought_one_up(monkeypatch):
    asked = []

    def run(command, **_options):
        asked.append(command[command.index("fovea_dev") + 1])
        return subprocess.CompletedProcess(command, 0, "")

    monkeypatch.setattr(subprocess, "run", run)
    Demo(Deployment()).deployment.cluster()
    assert asked == ["up"]


def test_the_chart_gets_the_images_of_this_checkouts_sources_whatever_another_one_pushed(monkeypatch):
    asked = []

    def run(command, **_options):
        asked.append(command[command.index("fovea_dev") + 1 :])
        pushed = {"repository": "127.0.0.1:5000/fovea", "tag": "1", "reference": "127.0.0.1:5000/fovea:1"}
        return subprocess.CompletedProcess(command, 0, json.dumps({"fovea": pushed}))

    monkeypatch.setattr(subprocess, "run", run)
    deployment = Deployment()
    for _ in range(2):
        assert deployment.images() == {"fovea": "127.0.0.1:5000/fovea:1"}
    assert asked == [["images", "--json"]]


@pytest.mark.parametrize(
    ("sentence", "release", "values", "expected"),
    [
        ("the first installation", "[]", "", "{vision}"),
        ("a release without values", '[{"name": "fovea"}]', "null", "{vision}"),
        (
            "a team that was added, and one whose namespace is gone",
            '[{"name": "fovea"}]',
            '{"objectStore": {"namespaces": ["vision", "speech", "gone"]}}',
            "{vision,speech}",
        ),
    ],
)
def test_an_installation_takes_no_teams_key_away(monkeypatch, tmp_path, sentence, release, values, expected):
    answers = {"helm list": release, "helm get": values, "kubectl get": "namespace/vision namespace/speech"}
    installed = []

    def run(_self, *command, **_options):
        installed.extend(word for word in command if word.startswith("objectStore.namespaces="))
        return answers.get(" ".join(command[:2]), "")

    monkeypatch.setattr(Deployment, "run", run)
    monkeypatch.setattr(deploy, "CACHE", tmp_path)
    names = ("fovea", "fovea-tensorflow", "minio")
    monkeypatch.setattr(Deployment, "_references", dict.fromkeys(names, "127.0.0.1:5000/x:1"))
    Deployment().install()
    assert installed == [f"objectStore.namespaces={expected}"], sentence
