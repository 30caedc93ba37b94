"""Whatever lies in a program's folders: it is named, and nothing else is stopped by it."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fovea_agent.errors import Unreadable
from fovea_agent.fetch import Fetch
from fovea_api.contract import environment, exit_codes, storage
from fovea_api.contract.exit_codes import Outcome, outcome
from support.sidecar import Pod
from support.users import NOBODY, another_user

CLOSED = 0o700 if os.geteuid() == 0 else 0
"""Mode of a folder that another user, or without root this one, may not enter."""
NOT_UTF8 = os.fsdecode(b"caf\xe9")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "odd")


def a_socket(folder: Path) -> None:
    at = Path.cwd()
    os.chdir(folder)  # a socket's path may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("odd")
    finally:
        os.chdir(at)


def link(folder: Path) -> None:
    (folder / "odd").symlink_to("/etc/hostname")


def dangling(folder: Path) -> None:
    (folder / "odd").symlink_to("nothing")


def name(folder: Path) -> None:
    (folder / NOT_UTF8).touch()


def unreadable(folder: Path) -> None:
    (folder / "odd").write_bytes(b"secret")
    (folder / "odd").chmod(0o600)


def closed_folder(folder: Path) -> None:
    (folder / "odd").mkdir()
    (folder / "odd" / "file").touch()
    (folder / "odd").chmod(CLOSED)


ODD = [pipe, a_socket, link, dangling, name]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def finish(pod: Pod) -> None:
    pod.write(environment.MODEL_DIR, {"saved_model.pb": b"graph"})
    pod.write(environment.LOG_DIR, {"events": b"loss"})
    pod.write(environment.CACHE_DIR, {"features": b"f"})
    pod.write(environment.OUTPUT_DIR, {"result": b"r", environment.SUCCESS_MARKER: b""})


def end(pod: Pod, odd: Callable[[Path], None]) -> None:
    if odd is closed_folder:
        pod.work.root.chmod(0o777)
        with another_user(pod.work.root):
            pass  # opens the folders above
        for closed in pod.work.root.rglob("odd"):
            closed.chmod(CLOSED)
        with as_another_user():
            pod.end()
    elif odd is unreadable:
        with another_user(pod.folder):
            pod.end()
    else:
        pod.end()


@contextmanager
def as_another_user() -> Iterator[None]:
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("odd", [*ODD, unreadable, closed_folder], ids=lambda odd: odd.__name__)
def test_a_checkpoint_with_something_odd_in_it_is_named_and_left_out_and_the_others_are_not(
    pod: Pod, odd: Callable[[Path], None]
) -> None:
    pod.checkpoint(100, 200, 300, 400)
    for step in (200, 300, 400):  # as many as are kept
        odd(pod.work.directory(environment.CHECKPOINT_DIR) / str(step))
    finish(pod)
    end(pod, odd)
    assert set(pod.published()) == {100}
    assert pod.termination.complete
    assert pod.termination.model is not None
    assert "/fovea/checkpoints/400" in pod.sync.left_out.sentence()


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)
def test_something_odd_among_the_checkpoints_stops_none_of_them(pod: Pod, odd: Callable[[Path], None]) -> None:
    pod.checkpoint(200)
    odd(pod.work.directory(environment.CHECKPOINT_DIR))
    pod.sync.checkpoints.publish()
    assert set(pod.published()) == {200}


@pytest.mark.parametrize("folder", [environment.MODEL_DIR, environment.OUTPUT_DIR, environment.LOG_DIR])
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)
def test_something_odd_in_a_result_is_named_and_left_out(pod: Pod, odd: Callable[[Path], None], folder: str) -> None:
    finish(pod)
    odd(pod.work.directory(folder))
    end(pod, odd)
    assert pod.termination.complete
    assert pod.termination.model is not None
    path = f"{environment.DIRECTORIES[folder]}/{'caf' if odd is name else 'odd'}"
    assert pod.termination.progress is not None
    assert path in pod.termination.progress.left_out
    assert not any(key.endswith("/odd") for key in pod.store.content)


@pytest.mark.parametrize("odd", [*ODD, unreadable], ids=lambda odd: odd.__name__)
def test_something_odd_in_the_cache_fails_nothing(pod: Pod, odd: Callable[[Path], None]) -> None:
    finish(pod)
    odd(pod.work.directory(environment.CACHE_DIR))
    end(pod, odd)
    assert pod.termination.complete
    cached = [key for key in pod.store.content if "/cache/" in key]
    assert bool(cached) is (odd is not unreadable), "one without a file that belongs to it would be worse than none"


# -- what the agent may not read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [unreadable, closed_folder], ids=lambda odd: odd.__name__)
@pytest.mark.parametrize("folder", [environment.MODEL_DIR, environment.OUTPUT_DIR])
def test_a_permission_is_no_reason_to_train_again(pod: Pod, odd: Callable[[Path], None], folder: str) -> None:
    finish(pod)
    odd(pod.work.directory(folder))
    with pytest.raises(Unreadable) as caught:
        end(pod, odd)
    error = caught.value
    assert (error.reason, error.exit_code) == ("FileUnreadable", exit_codes.VOLUME)
    assert outcome(error.exit_code) is Outcome.PERMANENT
    mode = f"{0o600 if odd is unreadable else CLOSED:04o}"
    for word in (
        f"{environment.DIRECTORIES[folder]}/odd",
        f"user {os.geteuid()}",
        mode,
        "umask",
        "chmod g+r",
        "runAsUser",
    ):
        assert word in error.message, error.message
    # What can be read is published; a model is whole or it is none.
    output = storage.output(pod.sync.job, 1)
    assert f"{output}/files/result" in pod.store.content
    assert str(storage.Location("fovea", output)) in error.message
    model = storage.manifest(storage.model(pod.sync.job, 1))
    assert (model in pod.store.content) is (folder == environment.OUTPUT_DIR)
    # A result with something missing is not taken for the finished one.
    assert Fetch(pod.sync.plan, pod.store, pod.work).find_complete() is None


PROGRAMS = {name: environment.DIRECTORIES[name] for name in environment.DIRECTORIES if name != environment.INPUT_DIR}
PROGRAMS["progress"] = str(Path(environment.PROGRESS_PATH).parent)


@pytest.mark.parametrize("closed", PROGRAMS)
def test_a_folder_that_the_agent_may_not_enter_is_named_and_stops_nothing_else(pod: Pod, closed: str) -> None:
    pod.checkpoint(200)
    finish(pod)
    (pod.work.root / pod.work.progress).write_text('{"step": 7}\n')
    at = pod.work.root / Path(PROGRAMS[closed]).relative_to(environment.WORK_MOUNT)
    with another_user(pod.folder):
        pass  # opens all of them
    at.chmod(CLOSED)
    needed = closed in (environment.MODEL_DIR, environment.OUTPUT_DIR)
    with as_another_user():
        for _ in range(3):
            pod.sync.look()
        if needed:
            with pytest.raises(Unreadable, match=f"{PROGRAMS[closed]} cannot be published: it belongs to user"):
                pod.end()
        else:
            pod.end()
    if not needed:
        assert pod.termination.complete
        assert pod.termination.progress is not None
        assert ("the progress (" if closed == "progress" else PROGRAMS[closed]) in pod.termination.progress.left_out
        assert pod.termination.progress.step == (None if closed == "progress" else 7)
    published = {
        environment.CHECKPOINT_DIR: storage.checkpoint(pod.sync.job, 200),
        environment.MODEL_DIR: storage.model(pod.sync.job, 1),
        environment.OUTPUT_DIR: storage.output(pod.sync.job, 1),
        environment.LOG_DIR: storage.tensorboard(pod.sync.job, 1),
        environment.CACHE_DIR: f"{storage.cache('vision', 'features')}/1",
    }
    if needed:
        published.pop(environment.CACHE_DIR)  # of a job that has succeeded only
    for name, prefix in published.items():
        wanted = name != closed or name == environment.OUTPUT_DIR  # the output always: with nothing in it here
        assert (storage.manifest(prefix) in pod.store.content) is wanted, name


def test_a_pod_that_is_set_up_again_takes_the_folders_that_its_program_made(pod: Pod) -> None:
    with another_user(pod.folder):
        pass
    mask = os.umask(0o022)
    with as_another_user():
        pod.work.prepare()
    os.umask(mask)
    assert pod.work.directory(environment.CHECKPOINT_DIR).is_dir()


def test_a_checkpoint_folder_that_is_opened_again_is_left_out_no_more(pod: Pod) -> None:
    pod.checkpoint(200)
    with another_user(pod.folder):
        pass
    folder = pod.work.directory(environment.CHECKPOINT_DIR)
    folder.chmod(CLOSED)
    with as_another_user():
        pod.sync.look()
        assert "/fovea/checkpoints (it belongs to user" in pod.sync.left_out.sentence()
    folder.chmod(0o777)
    with as_another_user():
        pod.sync.look()
    assert pod.sync.left_out.sentence() == ""
    assert pod.published_steps() == {200}


def test_logs_that_may_not_be_read_are_left_out_and_named(pod: Pod) -> None:
    finish(pod)
    unreadable(pod.work.directory(environment.LOG_DIR))
    end(pod, unreadable)
    assert pod.termination.complete
    assert pod.termination.progress is not None
    assert f"/fovea/logs/odd (it belongs to user {os.geteuid()}" in pod.termination.progress.left_out
