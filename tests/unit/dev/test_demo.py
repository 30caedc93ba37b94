"""The demo begins on a machine that has nothing yet; what is deployed takes nothing away from anybody."""

import json
import shlex
import subprocess
from pathlib import Path

import deploy
import pytest
import yaml
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


@pytest.mark.parametrize(
    ("marked", "service", "through"), [("class", "31500", "10.0.0.7:31500"), ("class", "", ""), ("", "31500", "")]
)
def test_pictures_are_classified_through_the_gateway_as_well_where_it_is(
    monkeypatch, tmp_path, marked, service, through
):
    answers = {"api-resources": "gatewayclasses", "gatewayclasses": marked, "nodes": "10.0.0.7", "service": service}
    monkeypatch.setattr(Deployment, "run", lambda _self, *words, **_: answers[words[(words[1] == "get" and 2) or 1]])
    monkeypatch.setattr(Deployment, "built", lambda _self, *names: dict.fromkeys(names, "127.0.0.1:5000/x:1"))
    typed = []
    monkeypatch.setattr(Demo, "type", lambda _self, *words, **_: typed.append(words))
    (tmp_path / "7.png").touch()
    Demo(Deployment()).classify(tmp_path)
    gateways = [words[words.index("--gateway") + 1] for words in typed if "--gateway" in words]
    assert (len(typed) - len(gateways), gateways) == (2, [through] if through else [])


def installed(monkeypatch, tmp_path, *, release: bool, marked: bool) -> list[str]:
    """What is done to the release by install() and remove(), in a cluster with such a release or none."""
    done = []

    def run(_self, *command, **_options):
        words = " ".join(command[:2])
        if words == "helm list":
            selected = "--selector" not in command or (marked and "fovea.dev/made-by=make-deploy" in command)
            return json.dumps([{"name": "fovea"}] if release and selected else [])
        if words == "helm upgrade":
            assert command[command.index("--labels") + 1] == "fovea.dev/made-by=make-deploy"
        if words in ("helm upgrade", "helm uninstall") or command[:2] == ("kubectl", "apply"):
            done.append(words)
        return "{}" if words == "helm get" else ""

    monkeypatch.setattr(Deployment, "run", run)
    monkeypatch.setattr(deploy, "CACHE", tmp_path)
    names = ("fovea", "fovea-tensorflow", "minio")
    monkeypatch.setattr(Deployment, "_references", dict.fromkeys(names, "registry.example/x:1"))
    return done


@pytest.mark.parametrize("step", ["install", "remove"])
def test_a_release_that_somebody_else_made_in_a_named_cluster_stays_as_it_is(monkeypatch, tmp_path, step):
    monkeypatch.delenv("FOVEA_TARGET", raising=False)
    monkeypatch.setenv("FOVEA_KUBECONFIG", "/team/kubeconfig")
    done = installed(monkeypatch, tmp_path, release=True, marked=False)
    with pytest.raises(SystemExit) as ended:
        getattr(Deployment(), step)()
    assert done == []
    for word in ("release fovea in namespace fovea-system", "/team/kubeconfig", "another cluster in FOVEA_KUBECONFIG"):
        assert word in str(ended.value)


@pytest.mark.parametrize(
    ("sentence", "environ", "release", "marked"),
    [
        ("the first installation in a named cluster", {"FOVEA_KUBECONFIG": "/k"}, False, False),
        ("the next one there", {"FOVEA_KUBECONFIG": "/k"}, True, True),
        ("the embedded cluster's release of a time without marks", {"FOVEA_TARGET": "embedded"}, True, False),
        ("kind's", {"FOVEA_TARGET": "kind"}, True, False),
    ],
)
def test_a_release_of_ours_is_upgraded_and_marked(monkeypatch, tmp_path, sentence, environ, release, marked):
    for name in ("FOVEA_TARGET", "FOVEA_KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    done = installed(monkeypatch, tmp_path, release=release, marked=marked)
    Deployment().install()
    Deployment().remove()
    assert done == ["kubectl apply", "helm upgrade", "helm uninstall"], sentence


def test_what_deploy_says_comes_next_begins_with_the_tools_and_uploads_what_its_example_reads(monkeypatch, capsys):
    monkeypatch.setattr(deploy.sys, "argv", ["deploy.py"])
    monkeypatch.setattr(Deployment, "install", lambda _self: None)
    monkeypatch.setattr(Deployment, "kubeconfig", Path("/k"))
    deploy.main()
    said = [shlex.split(line) for line in capsys.readouterr().out.splitlines()[1:]]
    assert [words[0] for words in said] == ["export", "python", "fovea", "kubectl", "fovea"]
    assert said[0][1] == "KUBECONFIG=/k"
    assert said[0][2].startswith(f"PATH={Path(deploy.sys.executable).parent}:{deploy.CACHE}/tools/bin:")
    example = yaml.safe_load((deploy.ROOT / said[3][-1]).read_text())
    data_set, namespace = said[2][4], said[2][-1]
    assert example["spec"]["inputs"]["data"] == f"s3://fovea/{namespace}/datasets/{data_set}"
    assert said[4][:4] == ["fovea", "jobs", "wait", example["metadata"]["name"]]
    assert said[2][3] == f"{said[1][2]}/train"
    assert (deploy.ROOT / said[1][1]).is_file()
