"""The demo begins on a machine that has nothing yet."""

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
