"""What a tenant's program can lay hands on: no key of the object store, no token of the cluster, nothing of another team."""

import hashlib
import io
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fovea_agent.errors import KeyRefused
from fovea_agent.store import Store
from fovea_api.contract import environment, labels, names, storage
from support.installed_store import key_of, port_forward, root_store, store_of
from support.polling import until
from support.team_jobs import TeamJobs, program, team_jobs

TEAM, OTHER_TEAM = "vision", "speech"

SEARCH = """
import json, os, pathlib, sys
wanted = json.load(sys.stdin)
found, read = {word: [] for word in wanted}, 0
for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = [name for name in folders if name not in ("sys", "proc")]
    for name in files:
        path = pathlib.Path(folder, name)
        try:
            data = path.read_bytes() if path.is_file() else b""
        except OSError:
            continue
        read += 1
        for word in wanted:
            if word.encode() in data:
                found[word].append(str(path))
for process in pathlib.Path("/proc").iterdir():
    if process.name.isdecimal() and int(process.name) != os.getpid():
        for name in ("environ", "cmdline"):
            try:
                data = (process / name).read_bytes()
            except OSError:
                continue
            for word in wanted:
                if word.encode() in data:
                    found[word].append(f"{process}/{name}")
mounts = [line.split()[1] for line in open("/proc/self/mounts")]
json.dump({"found": found, "read": read, "mounts": mounts, "environment": sorted(os.environ)}, sys.stdout)
"""
"""Reads every file that it may and looks for some words."""

ASK = """
import json, sys, urllib.error, urllib.request
answers = {}
for name, method, url in json.load(sys.stdin):
    try:
        data = b"mine" if method == "PUT" else None
        with urllib.request.urlopen(urllib.request.Request(url, data=data, method=method), timeout=20) as answer:
            answers[name] = answer.status
    except urllib.error.HTTPError as error:
        answers[name] = error.code
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def pod(cluster: Any, images: dict[str, str], small_machine: str) -> Iterator[tuple[TeamJobs, str]]:
    """A training pod whose program runs as long as it is needed."""
    with team_jobs(cluster, TEAM) as jobs:
        name = f"t{uuid.uuid4().hex[:8]}"
        jobs.submit(name, program(images["fovea"], small_machine, "checkpoint(1, 'x')\ntold('end')"))
        yield jobs, jobs.runs(name)


@pytest.fixture(scope="module")
def endpoint(cluster: Any) -> Iterator[str]:
    with port_forward(cluster.environment) as url:
        yield url


@pytest.fixture
def others(cluster: Any, endpoint: str, unique: str) -> Iterator[str]:
    """An object of the other team."""
    root = root_store(cluster.kubectl, endpoint)
    key = f"{storage.dataset(OTHER_TEAM, unique)}/secret.txt"
    put(root, key, b"theirs")
    yield key
    assert root.read(key) == b"theirs", "no other tenant has changed or removed it"
    root.remove([key])


def put(store: Store, key: str, data: bytes) -> None:
    store.put(key, lambda: io.BytesIO(data), len(data), hashlib.md5(data, usedforsecurity=False).digest())


def search(pod: tuple[TeamJobs, str], container: str, *words: str) -> dict[str, Any]:
    jobs, name = pod
    said: dict[str, Any] = json.loads(
        jobs.execute(name, container, "python3", "-c", SEARCH, stdin=json.dumps(list(words)))
    )
    return said


def test_a_running_program_holds_no_key_of_the_store_in_files_environment_or_processes(
    cluster: Any, pod: tuple[TeamJobs, str]
) -> None:
    key = key_of(cluster.kubectl, TEAM)
    words = (key[storage.SECRET_ACCESS_KEY], key[storage.SECRET_SECRET_KEY])
    seen = search(pod, names.TRAINER_CONTAINER, *words)
    assert seen["found"] == {word: [] for word in words}
    assert seen["read"] > 1000
    # The same search where the key is: it would have been found.
    agent = search(pod, names.SYNC_CONTAINER, *words)
    mount = environment.OBJECT_STORE_MOUNT.removeprefix("/var")  # /var/run is a link to /run
    assert all(any(mount in path for path in agent["found"][word]) for word in words)


def test_a_running_program_has_no_token_of_the_cluster_and_no_mount_with_secrets(pod: tuple[TeamJobs, str]) -> None:
    jobs, name = pod
    token = jobs.execute(name, names.SYNC_CONTAINER, "cat", f"{environment.REPORT_TOKEN_MOUNT}/token").strip()
    assert token.count(".") == 2
    payload = token.split(".")[1]
    seen = search(pod, names.TRAINER_CONTAINER, payload)
    assert seen["found"] == {payload: []}
    assert [mount for mount in seen["mounts"] if "secrets" in mount] == []
    assert [variable for variable in seen["environment"] if variable.startswith(("AWS_", "MINIO_"))] == []
    assert environment.PLAN not in seen["environment"]
    # The only token in the pod is the agent's, for one audience.
    agent = search(pod, names.SYNC_CONTAINER, payload)
    assert agent["found"][payload] != []
    assert [mount for mount in agent["mounts"] if "kubernetes.io/serviceaccount" in mount] == []


def test_the_agents_token_is_no_use_at_the_api_server(cluster: Any, pod: tuple[TeamJobs, str]) -> None:
    jobs, name = pod
    token = jobs.execute(name, names.SYNC_CONTAINER, "cat", f"{environment.REPORT_TOKEN_MOUNT}/token").strip()
    # An empty client certificate: the kubeconfig's own would be taken otherwise.
    server = cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    done = cluster.run(
        *("kubectl", "--kubeconfig=/dev/null", f"--server={server}", "--insecure-skip-tls-verify", f"--token={token}"),
        *("get", "secrets", "-n", TEAM),
        check=False,
    )
    assert done.returncode != 0
    assert "Unauthorized" in done.stderr or "must be logged in" in done.stderr


def test_without_a_key_the_store_gives_and_takes_nothing(cluster: Any, pod: tuple[TeamJobs, str], others: str) -> None:
    jobs, name = pod
    base = f"{key_of(cluster.kubectl, TEAM)[storage.SECRET_ENDPOINT]}/{storage.BUCKET}"
    questions = [
        ("list", "GET", f"{base}/?list-type=2&prefix={OTHER_TEAM}/"),
        ("read", "GET", f"{base}/{others}"),
        ("write", "PUT", f"{base}/{others}"),
        ("remove", "DELETE", f"{base}/{others}"),
        ("list its own", "GET", f"{base}/?list-type=2&prefix={TEAM}/"),
    ]
    answers = json.loads(jobs.execute(name, names.TRAINER_CONTAINER, "python3", "-c", ASK, stdin=json.dumps(questions)))
    assert answers == {question: 403 for question, _, _ in questions}


def test_a_teams_key_reaches_its_own_prefix(cluster: Any, endpoint: str, unique: str) -> None:
    own = store_of(cluster.kubectl, endpoint, TEAM)
    key = f"{storage.dataset(TEAM, unique)}/own.txt"
    put(own, key, b"ours")
    assert own.read(key) == b"ours"
    assert [item.key for item in own.objects(f"{storage.dataset(TEAM, unique)}/")] == [key]
    own.remove([key])
    assert own.find(key) is None


@pytest.fixture
def new_team(cluster: Any) -> Iterator[str]:
    """A namespace that the chart's values do not name."""
    name = f"speech-{uuid.uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("label", "namespace", name, f"{labels.OBJECT_STORE}=disabled", "--overwrite")
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def test_a_namespace_that_is_labelled_gets_a_key_of_its_own_within_a_minute(
    cluster: Any, endpoint: str, new_team: str, others: str
) -> None:
    secret = ("get", "secret", "-n", new_team, "--ignore-not-found", "-o", "name", names.OBJECT_STORE_SECRET)
    assert cluster.kubectl(*secret) == ""
    cluster.kubectl("label", "namespace", new_team, f"{labels.OBJECT_STORE}=enabled")
    until(lambda: cluster.kubectl(*secret), seconds=60, what=f"{new_team} has a key")
    own = store_of(cluster.kubectl, endpoint, new_team)
    put(own, f"{new_team}/datasets/own.txt", b"ours")
    with pytest.raises(KeyRefused):
        own.read(others)
    cluster.kubectl("label", "namespace", new_team, f"{labels.OBJECT_STORE}=disabled", "--overwrite")
    until(lambda: is_refused(own, new_team), seconds=60, what=f"the key of {new_team} is withdrawn")


def is_refused(store: Store, namespace: str) -> bool:
    try:
        store.objects(f"{namespace}/")
    except KeyRefused:
        return True
    return False


TRIES: dict[str, Callable[[Store, str], object]] = {
    "list the prefix": lambda store, key: store.objects(f"{OTHER_TEAM}/"),
    "list the bucket": lambda store, key: store.objects(""),
    "list a prefix of both": lambda store, key: store.objects("s"),
    "read": lambda store, key: b"".join(store.stream(key)),
    "write": lambda store, key: put(store, key, b"mine"),
    "write beside it": lambda store, key: put(store, f"{key}.new", b"mine"),
    "write once": lambda store, key: store.put_if_absent(f"{key}.new", b"mine"),
    "begin an upload": lambda store, key: store.begin_multipart(key),
    "remove": lambda store, key: store.remove([key]),
}


@pytest.mark.parametrize("what", TRIES)
def test_a_teams_key_is_refused_everything_outside_of_its_prefix(
    cluster: Any, endpoint: str, others: str, what: str
) -> None:
    own = store_of(cluster.kubectl, endpoint, TEAM)
    with pytest.raises(KeyRefused) as refused:
        TRIES[what](own, others)
    assert "AccessDenied" in refused.value.message


def test_a_name_that_begins_like_the_teams_is_another_team(cluster: Any, endpoint: str) -> None:
    own = store_of(cluster.kubectl, endpoint, TEAM)
    with pytest.raises(KeyRefused):
        own.objects(f"{TEAM}-two/")
    with pytest.raises(KeyRefused):
        put(own, f"{TEAM}-two/file", b"mine")
