"""The verbs on rollouts: what they write, what they print, and what they refuse."""

from typing import Any

import pytest
from click.testing import CliRunner
from fovea.cli.main import cli
from fovea.sdk import Client, InvalidError
from fovea.sdk.api_errors import Target, from_response
from fovea.sdk.cluster import Cluster
from support.command_line import Ran, fovea
from support.golden import Golden
from support.rollouts import ABORTED, ALONE, CANDIDATE, FAILED, HISTORY, STABLE, STARTING, deployment

BLUE_GREEN = {"strategy": "BlueGreen", "steps": None}


class Held:
    """A cluster that holds ModelDeployments, and keeps the merge patches that it was sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *documents: dict[str, Any]) -> None:
        self.objects = {document["metadata"]["name"]: document for document in documents}
        self.patches: list[dict[str, Any]] = []
        monkeypatch.setattr(Cluster, "get", lambda _, target, path, query=None: self.get(target, path))
        monkeypatch.setattr(Cluster, "patch", lambda _, target, path, body: self.patch(path, body))

    def get(self, target: Target, path: str) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        if name == "modeldeployments":
            return {"items": list(self.objects.values())}
        if name not in self.objects:
            raise from_response(target, 404, b'{"details": {"name": "%s"}}' % name.encode())
        return self.objects[name]

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.patches.append(body)
        held = self.objects[path.rpartition("/")[2]]
        rollout = {**held["spec"]["rollout"], **body["spec"]["rollout"]}
        changed = {**held, "spec": {**held["spec"], "rollout": rollout}}
        self.objects[held["metadata"]["name"]] = changed
        return changed


def run(*words: object) -> Ran:
    return fovea("deployments", *words, "-n", "vision", "--kubeconfig", "/nowhere")


def patched(**rollout: Any) -> list[dict[str, Any]]:
    return [{"metadata": {"uid": "u-1"}, "spec": {"rollout": rollout}}]


CHANGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("pause", deployment(STABLE, CANDIDATE), {"paused": True}),
    ("pause", deployment(ALONE, STARTING), {"paused": True}),
    ("pause", deployment(ALONE), {"paused": True}),
    ("pause", deployment(ALONE, STARTING, rollout=BLUE_GREEN), {"paused": True}),
    ("pause", deployment(ALONE, STARTING, rollout={"promotedVersion": 4}), {"paused": True}),
    ("pause", deployment(STABLE, CANDIDATE, rollout={"paused": True}), {}),
    ("resume", deployment(STABLE, CANDIDATE, rollout={"paused": True}), {"paused": False}),
    ("resume", deployment(ALONE, STARTING, rollout={"paused": True}), {"paused": False}),
    ("resume", deployment(ALONE, rollout={"paused": True}), {"paused": False}),
    ("resume", deployment(STABLE, CANDIDATE), {}),
    ("promote", deployment(STABLE, CANDIDATE), {"promotedVersion": 4, "paused": False}),
    (
        "promote",
        deployment(STABLE, CANDIDATE, rollout={"paused": True, "abortedVersion": 3}),
        {"promotedVersion": 4, "paused": False},
    ),
    ("promote", deployment(ALONE, FAILED), {"promotedVersion": 4, "paused": False}),
    (
        "promote",
        deployment(ALONE, ABORTED, rollout={"promotedVersion": 4, "abortedVersion": 4}),
        {"promotedVersion": 4, "paused": False, "abortedVersion": None},
    ),
    ("promote", deployment(ALONE, STARTING, rollout={"promotedVersion": 4}), {}),
    ("promote", deployment(ALONE, FAILED, rollout={"promotedVersion": 4}, observedGeneration=6), {}),
    ("abort", deployment(STABLE, CANDIDATE), {"abortedVersion": 4}),
    (
        "abort",
        deployment(ALONE, STARTING, rollout={"promotedVersion": 4}),
        {"abortedVersion": 4, "promotedVersion": None},
    ),
    ("abort", deployment(STABLE, CANDIDATE, rollout={"promotedVersion": 3}), {"abortedVersion": 4}),
    ("abort", deployment(STARTING), {"abortedVersion": 4}),
    ("abort", deployment(STABLE, CANDIDATE, rollout={"abortedVersion": 4}), {}),
]


@pytest.mark.parametrize(("verb", "held", "rollout"), CHANGES)
def test_a_verb_writes_its_fields_of_the_rollout_and_nothing_that_is_so_already(
    monkeypatch: pytest.MonkeyPatch, verb: str, held: dict[str, Any], rollout: dict[str, Any]
) -> None:
    cluster = Held(monkeypatch, held)
    run(verb, "digits").ok()
    assert cluster.patches == (patched(**rollout) if rollout else [])


def test_each_verb_says_what_it_did(monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    said = []
    for verb, held, _ in CHANGES:
        Held(monkeypatch, held)
        ran = run(verb, "digits").ok()
        said.append(f"{ran.out}{ran.err}")
    golden.check_text("client/deployment-verbs.txt", "\n".join(said).rstrip("\n"))


REFUSED: list[tuple[tuple[object, ...], dict[str, Any]]] = [
    (("promote", "digits"), deployment(ALONE)),
    (("promote", "digits"), deployment()),
    (("promote", "digits", "--version", 5), deployment(STABLE, CANDIDATE)),
    (("promote", "digits", "--version", 3), deployment(ALONE, FAILED)),
    (("promote", "digits"), deployment(ALONE, FAILED, rollout={"promotedVersion": 4})),
    (("abort", "digits"), deployment(ALONE)),
    (("abort", "digits"), deployment(ALONE, FAILED)),
    (("pause", "letters"), deployment(ALONE)),
]


def test_what_is_refused_names_the_object_and_the_next_step(monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    said = []
    for words, held in REFUSED:
        cluster = Held(monkeypatch, held)
        ran = run(*words)
        assert (ran.code, ran.out, cluster.patches) == (1, "", [])
        said.append(f"{' '.join(str(word) for word in words)}\n{ran.err}")
    golden.check_text("client/deployment-refusals.txt", "\n".join(said).rstrip("\n"))


@pytest.mark.parametrize("held", [deployment(STABLE, CANDIDATE), deployment(ALONE, FAILED)], ids=["new", "given-up"])
def test_the_version_that_is_promoted_can_be_named(monkeypatch: pytest.MonkeyPatch, held: dict[str, Any]) -> None:
    cluster = Held(monkeypatch, held)
    run("promote", "digits", "--version", 4).ok()
    assert cluster.patches == patched(promotedVersion=4, paused=False)


def test_model_deployments_are_listed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch, deployment(ALONE, name="letters"), deployment(STABLE, CANDIDATE))
    assert [line.split()[0] for line in run("list").ok().out.splitlines()] == ["NAME", "digits", "letters"]
    assert [each["metadata"]["name"] for each in run("list", "--format", "json").ok().json()] == ["digits", "letters"]


def test_an_empty_namespace_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch)
    ran = run("list").ok()
    assert (ran.out, ran.err) == ("", "No ModelDeployments in namespace vision.\n")
    assert run("list", "--format", "json").ok().json() == []


def test_one_is_described_as_a_text_and_as_it_is_in_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    held = deployment(STABLE, CANDIDATE)
    Held(monkeypatch, held)
    assert run("describe", "digits").ok().out.startswith("Name:       digits\n")
    assert run("describe", "digits", "--format", "json").ok().json() == held


def test_the_history_is_shown_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch, deployment(ALONE, history=HISTORY), deployment(ALONE, name="letters"))
    assert [line.split()[0] for line in run("history", "digits").ok().out.splitlines()[1:]] == ["v4", "v3", "v2", "v1"]
    assert [each["version"] for each in run("history", "digits", "--format", "json").ok().json()] == [4, 3, 2, 1]
    said = "No rollout of ModelDeployment letters in namespace vision is over.\n"
    assert run("history", "letters").ok().err == said


def test_the_sdk_answers_with_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch, deployment(STABLE, CANDIDATE))
    deployments = Client(namespace="vision", kubeconfig="/nowhere").deployments
    first, second = deployments.pause("digits"), deployments.pause("digits")
    assert (first.changed, second.changed) == (True, False)
    assert not first.before.spec.rollout.paused
    assert deployments.get("digits").spec.rollout.paused
    assert deployments.raw("digits")["spec"]["rollout"]["paused"] is True
    with pytest.raises(InvalidError, match="cannot promote version 9, only version 4, which is being rolled out"):
        deployments.promote("digits", 9)
    assert deployments.promote("digits").deployment.spec.rollout.promoted_version == 4
    assert deployments.abort("digits").deployment.spec.rollout.promoted_version is None


def test_names_of_model_deployments_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch, deployment(ALONE), deployment(ALONE, name="letters"))
    line = "fovea -n vision deployments pause l"
    environment = {"_FOVEA_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    result = CliRunner().invoke(cli, env=environment, prog_name="fovea", complete_var="_FOVEA_COMPLETE")
    assert result.output == "plain,letters\n"
