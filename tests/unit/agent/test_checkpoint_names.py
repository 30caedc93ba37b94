"""Which files and folders of a program are its checkpoints, and when they are finished."""

import os
import re
import socket
from collections.abc import Collection
from pathlib import Path

import pytest
from fovea_agent.checkpoint_names import read_name
from fovea_agent.checkpoints import NO_CHECKPOINT, NO_ORDER, NO_STEP, Stillness, survey
from fovea_agent.folder import Stat
from hypothesis import given
from hypothesis import strategies as st

KNOWN = re.compile(
    r"step|iter|update|ckpt|checkpoint|chkpt|epoch|model|weights|params|snapshot|optim|opt|scheduler|state|trainer|ema|"
    r"scaler|rng|metrics|config|meta|tfevents",
    re.IGNORECASE,
)
"""Words that say something about a number; others do not."""


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("500", 500),
        ("000100", 100),
        ("0", 0),
        ("checkpoint-500", 500),
        ("checkpoint_500", 500),
        ("ckpt-7", 7),
        ("ckpt-7.index", 7),
        ("ckpt-7.data-00000-of-00001", 7),
        ("ckpt-7.data-00001-of-00002", 7),
        ("model.ckpt-1000.meta", 1000),
        ("1000.pt", 1000),
        ("1000.tar.gz", 1000),
        ("model_step_200.keras", 200),
        ("model-200.weights.h5", 200),
        ("model.0020.h5", 20),
        ("epoch=3-step=1000.ckpt", 1000),
        ("step=1000-epoch=3.ckpt", 1000),
        ("epoch_12.pth", 12),
        ("epoch12.pth", 12),
        ("global_step100", 100),
        ("iter_0000500", 500),
        ("Step-30.npz", 30),
        ("model_step_200_rank_0.pt", 200),
        ("checkpoint-500_rank_3.pt", 500),
        ("model010000.pt", 10000),
        ("best_model_500.pt", 500),
        ("optimizer_500.pt", None),
        ("modèle-40.pt", None),
        ("model_rank_0.pt", None),
        ("mp_rank_00_model_states.pt", None),
        ("rng_state_0.pth", None),
        ("vocab_32000.txt", None),
        ("vocab_32000.bin", None),
        ("fold_1.pt", None),
        ("model_fold_1.pt", None),
        ("fold_1_step_500.pt", None),
        ("seed_42.pt", None),
        ("seed42_epoch_3.pt", None),
        ("shard_3.bin", None),
        ("worker-1.ckpt", None),
        ("version_2", None),
        ("part_00004.bin", None),
        ("gpu0.pt", None),
        ("layer_12.npy", None),
        ("resnet_50.pt", None),
        ("bert-512.bin", None),
        ("step_500.json", None),
        ("checkpoint-500.csv", None),
        ("500.txt", None),
        ("best.pt", None),
        ("last.ckpt", None),
        ("latest", None),
        ("model-v2.pt", None),
        ("resnet50.pt", None),
        ("model-00001-of-00002.safetensors", None),
        ("2026-11-28.pt", None),
        ("weights.10-0.35.hdf5", None),
        ("events.out.tfevents.1700000000.host", None),
        ("config.json", None),
        ("-", None),
        ("-1", None),
        ("²", None),
        ("٥٠٠", None),
        ("9" * 400, None),
    ],
)
def test_the_step_of_a_checkpoint_is_in_its_name(name: str, step: int | None) -> None:
    told = read_name(name)
    assert (told.step if told is not None and told.makes else None) == step


@given(
    word=st.from_regex(r"[A-Za-z]{1,12}", fullmatch=True).filter(lambda word: not KNOWN.search(word)),
    before=st.sampled_from(["", "my_", "model_", "2_"]),
    separator=st.sampled_from(["", "-", "_", ".", "="]),
    number=st.integers(0, 10**6),
    ending=st.sampled_from(["", ".pt", ".ckpt", ".bin", ".tar.gz", ".index"]),
)
def test_a_number_after_a_word_that_is_not_known_is_no_step(
    word: str, before: str, separator: str, number: int, ending: str
) -> None:
    assert read_name(f"{before}{word}{separator}{number}{ending}") is None


def steps(folder: Path, *names: str, apart: Collection[int] = ()) -> dict[int, tuple[str, ...]]:
    """What is found in a folder with these names; one with a slash at its end is a folder."""
    for name in names:
        (folder / name).mkdir() if name.endswith("/") else (folder / name).touch()
    return {step: local.names for step, local in survey(folder, apart).steps.items()}


def test_what_belongs_to_a_step_is_one_checkpoint(tmp_path: Path) -> None:
    names = ("ckpt-7.index", "ckpt-7.data-00000-of-00001", "checkpoint", "best.pt", ".8.tmp", "9.pt.tmp", "9.pt.part")
    folders = ("checkpoint-600/", "tmp-checkpoint-700/", "800.partial/")
    assert steps(tmp_path, *names, *folders) == {
        7: ("ckpt-7.data-00000-of-00001", "ckpt-7.index"),
        600: ("checkpoint-600",),
    }
    assert list(survey(tmp_path).ignored) == ["best.pt"]


def test_a_folder_named_by_nothing_but_its_step_is_known(tmp_path: Path) -> None:
    assert steps(tmp_path, "500/", "1000.pt", "000100/") == {500: ("500",), 1000: ("1000.pt",), 100: ("000100",)}
    assert [step for step, local in survey(tmp_path).steps.items() if local.plain] == [500]


def test_what_goes_with_a_checkpoint_belongs_to_it_and_is_none_without_it(tmp_path: Path) -> None:
    found = steps(tmp_path, "model_500.pt", "optimizer_500.pt", "step_500.json", "rng_state_0.pth", "vocab_32000.txt")
    assert found == {500: ("model_500.pt", "optimizer_500.pt", "step_500.json")}
    assert survey(tmp_path).ignored == {"rng_state_0.pth": NO_CHECKPOINT, "vocab_32000.txt": NO_STEP}


def test_pieces_of_a_step_by_process_are_one_checkpoint(tmp_path: Path) -> None:
    assert steps(tmp_path, "step_5_rank_0.pt", "step_5_rank_1.pt", "step_5_part_0.pt") == {
        5: ("step_5_part_0.pt", "step_5_rank_0.pt", "step_5_rank_1.pt")
    }


@pytest.mark.parametrize(
    ("names", "found"),
    [
        pytest.param(("epoch_3.pt", "checkpoint-500/"), set(), id="which is newer cannot be known"),
        pytest.param(("model_3.pt", "step_500.pt"), set(), id="an index and a step"),
        pytest.param(("best_step_400.pt", "step_500.pt"), {400, 500}, id="both count steps"),
        pytest.param(("model_500.pt", "checkpoint-500/", "model_600.pt"), {500, 600}, id="both count the same"),
        pytest.param(("500/", "epoch_3.pt"), {500}, id="what Fovea asks for is taken"),
        pytest.param(("ckpt-7.index", "checkpoint-8/", "chkpt_9.pt"), {7, 8, 9}, id="words for the same"),
    ],
)
def test_of_names_that_count_different_things_none_is_taken_and_all_are_named(
    tmp_path: Path, names: tuple[str, ...], found: set[int]
) -> None:
    assert set(steps(tmp_path, *names)) == found
    left = {
        step: told for step, told in ((read_name(name.rstrip("/")), name) for name in names) if step.step not in found
    }  # type: ignore[union-attr]
    assert survey(tmp_path).ignored == {name.rstrip("/"): NO_ORDER for name in left.values()}


def test_another_jobs_checkpoint_may_be_named_in_another_way(tmp_path: Path) -> None:
    assert set(steps(tmp_path, "5000/", "epoch_3.pt", apart=[5000])) == {5000, 3}


def test_what_cannot_be_a_checkpoint_is_named_with_the_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "100")
    (tmp_path / "200").symlink_to("/")
    (tmp_path / "latest").symlink_to("300")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "ckpt-4"))
    (tmp_path / os.fsdecode(b"\xff-500")).mkdir()
    (tmp_path / "300").mkdir()
    found = survey(tmp_path)
    assert list(found.steps) == [300]
    assert found.ignored == {
        "100": "it is neither a folder nor a file",
        "200": "it is a symbolic link",
        "ckpt-4": "it is neither a folder nor a file",
        os.fsdecode(b"\xff-500"): "the name is not UTF-8",
    }


def stats(**sizes: int) -> dict[str, Stat]:
    return {name: Stat(1, 1, size, 1, 1) for name, size in sizes.items()}


def test_for_how_long_a_checkpoint_has_stayed_the_same_is_known_from_the_second_look_on() -> None:
    now = 0.0
    still = Stillness(clock=lambda: now)
    seen = []
    for now, size in ((0, 1), (1, 1), (5.5, 2), (6, 2), (10, 2), (10.5, 2)):  # noqa: B007 - the clock reads it
        seen.append(still.still_for(7, stats(a=size)))
    assert seen == [-1, 1, -1, 0.5, 4.5, 5]


def test_one_that_is_written_to_after_it_was_taken_is_noticed_and_one_that_is_removed_is_not() -> None:
    still = Stillness()
    assert not still.was_written_to(7, stats(a=1))
    still.take(7, stats(a=1, b=1))
    assert still.was_written_to(7, stats(a=1, b=2))
    assert still.was_written_to(7, stats(a=1, b=1, c=1))
    assert not still.was_written_to(7, stats(a=1, b=1))
    assert not still.was_written_to(7, stats(b=1))
    assert not still.was_written_to(7, {})


def test_of_a_checkpoint_that_is_gone_nothing_is_kept_but_that_it_was_published() -> None:
    still = Stillness()
    for step in (7, 8, 9):
        still.still_for(step, stats(a=1))
        still.take(step, stats(a=1))
    assert still._seen[9][0] is still._taken[9], "one copy"
    still.keep_only({9}, {8})
    assert still._seen.keys() == {9}
    assert [still.taken(step) for step in (7, 8, 9)] == [{}, stats(a=1), stats(a=1)]
    assert still.was_written_to(7, stats(a=1)), "it is there again: it may have changed"
