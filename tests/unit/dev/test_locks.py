import threading
from pathlib import Path

from fovea_dev.locks import locked, locked_if_free


def test_a_lock_is_held_by_one_at_a_time_and_free_again_afterwards(tmp_path: Path) -> None:
    with locked(tmp_path / "x.lock"), locked_if_free(tmp_path / "x.lock") as free:
        assert not free
    with locked_if_free(tmp_path / "x.lock") as free:
        assert free


def test_who_wants_it_alone_keeps_sharers_waiting_and_they_say_so(tmp_path: Path) -> None:
    waiting, entered = threading.Event(), threading.Event()

    def share() -> None:
        with locked(tmp_path / "x.lock", waiting.set, shared=True):
            entered.set()

    sharer = threading.Thread(target=share)
    with locked(tmp_path / "x.lock"):
        sharer.start()
        assert waiting.wait(10)
        assert not entered.is_set()
    sharer.join(10)
    assert entered.is_set()


def test_sharers_do_not_wait_for_each_other_but_keep_others_out(tmp_path: Path) -> None:
    waited: list[str] = []
    path = tmp_path / "builds.lock"
    with (
        locked(path, shared=True),
        locked(path, lambda: waited.append("waited"), shared=True),
        locked_if_free(path) as free,
    ):
        assert not free
    assert waited == []
