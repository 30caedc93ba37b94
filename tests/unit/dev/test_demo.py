"""The demo begins on a machine that has nothing yet."""

import json
import subprocess

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
