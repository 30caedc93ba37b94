"""Which files and folders of a program are its checkpoints, and when they are finished."""

import os
import socket
from pathlib import Path

import pytest
from fovea_agent.checkpoints import Stillness, step_of, survey
from fovea_agent.folder import Stat


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
        ("optimizer_500.pt", 500),
        ("modèle-40.pt", 40),
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
    assert step_of(name) == step


def test_what_belongs_to_a_step_is_one_checkpoint(tmp_path: Path) -> None:
    for name in (
        "ckpt-7.index",
        "ckpt-7.data-00000-of-00001",
        "checkpoint",
        "1000.pt",
        "best.pt",
        ".8.tmp",
        "9.pt.tmp",
    ):
        (tmp_path / name).touch()
    for name in ("500", "checkpoint-600", "tmp-checkpoint-700", "800.partial"):
        (tmp_path / name).mkdir()
    found = survey(tmp_path)
    assert {step: local.names for step, local in found.steps.items()} == {
        7: ("ckpt-7.data-00000-of-00001", "ckpt-7.index"),
        500: ("500",),
        600: ("checkpoint-600",),
        1000: ("1000.pt",),
    }
    assert [step for step, local in found.steps.items() if local.plain] == [500]
    assert list(found.ignored) == ["best.pt"]


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
