"""A caller that shares a run gets the same answer as alone: random signatures, random crowds, the real runtime."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import row_wise as marks
from fovea_serving.server import servable
from fovea_serving.server.batching import Batcher, BatchingSettings, Ran
from fovea_serving.server.servable import Servable, SessionSettings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import sharing_models
from support.sharing_models import MIXED, ROW_WISE

ONE_THREAD = SessionSettings(intra_op_threads=1, inter_op_threads=1)
CALLS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servable]:
    """All signatures in one model, as another program's export would leave them: without a mark."""
    folder = tmp_path_factory.mktemp("sharing") / "1"
    sharing_models.save(folder, ROW_WISE | MIXED)
    loaded = servable.load(folder, ONE_THREAD)
    yield loaded
    loaded.close()


class Counting:
    """A servable whose runs wait for the whole crowd and are counted."""

    def __init__(self, inner: Servable) -> None:
        self._inner = inner
        self.rows: list[int] = []

    def run(self, signature: Any, feeds: Sequence[Any], outputs: Sequence[str], timeout: float | None = None) -> Any:
        self.rows.append(len(feeds[0]))
        return self._inner.run(signature, feeds, outputs, timeout)


async def crowd(model: Any, name: str, calls: Sequence[Sequence[int]], outputs: Sequence[str]) -> list[Any]:
    """Answers to calls that wait at the same moment for one runner."""
    batcher = Batcher(BatchingSettings(runners=1, wait_seconds=0.0))
    signature = model._inner.signatures[name]
    asked = [batcher.run(model, signature, [np.array(call, np.int32)], tuple(outputs)) for call in calls]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    batcher.close()
    return answers


def outcome(answer: Any) -> Any:
    return [value.tolist() for value in answer.values] if isinstance(answer, Ran) else type(answer).__name__


def same(one: Any, other: Any) -> bool:
    """Equal but for the last digit of a float: kernels add in another order when there is more to add."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    arrays = [(np.array(a), np.array(b)) for a, b in zip(one, other, strict=True)]
    return all(a.shape == b.shape and (np.allclose(a, b) if a.dtype.kind == "f" else (a == b).all()) for a, b in arrays)


def alone(model: Servable, name: str, call: Sequence[int], outputs: Sequence[str]) -> Any:
    try:
        values = model.run(model.signatures[name], [np.array(call, np.int32)], outputs)
    except Exception as error:  # noqa: BLE001 - compared with the other answer
        return type(error).__name__
    return [value.tolist() for value in values]


@given(st.sampled_from(sorted(ROW_WISE | MIXED)), CALLS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_caller_gets_the_answer_that_he_gets_alone(models: Servable, name: str, calls: list[list[int]]) -> None:
    outputs = sorted(models.signatures[name].outputs)
    together = asyncio.run(crowd(Counting(models), name, calls, outputs))
    for call, answer in zip(calls, together, strict=True):
        assert same(outcome(answer), alone(models, name, call, outputs)), f"{name} of {call} among {calls}"


def test_equal_totals_do_not_mix_the_answers_of_two_callers(models: Servable) -> None:
    assert [outcome(one) for one in asyncio.run(crowd(Counting(models), "repeat", [[0], [2]], ["y"]))] == [
        [[]],
        [[2, 2]],
    ]


@pytest.mark.parametrize("name", sorted(ROW_WISE))
def test_what_is_row_wise_shares_a_run(models: Servable, name: str) -> None:
    model = Counting(models)
    asyncio.run(crowd(model, name, [[1], [2, 3], [0]], sorted(models.signatures[name].outputs)))
    assert model.rows == [4]


@pytest.mark.parametrize("name", sorted(MIXED))
def test_what_may_mix_rows_is_run_call_by_call(models: Servable, name: str) -> None:
    model = Counting(models)
    asyncio.run(crowd(model, name, [[1], [2, 3], [0]], sorted(models.signatures[name].outputs)))
    assert sorted(model.rows) == [1, 1, 2]


def test_only_the_outputs_that_are_asked_for_decide(models: Servable) -> None:
    model = Counting(models)
    asyncio.run(crowd(model, "fixed", [[1], [2]], ["z"]))
    assert model.rows == [2]


STEPS = {
    "plus": lambda x: x + 1, "twice": lambda x: x * 2, "negative": lambda x: -x, "capped": lambda x: tf.minimum(x, 3),
    "sort": tf.sort, "reverse": lambda x: tf.reverse(x, [0]), "unique": lambda x: tf.unique(x).y,
    "filter": lambda x: tf.boolean_mask(x, x > 1), "repeat": lambda x: tf.repeat(x, tf.abs(x) % 3),
    "centred": lambda x: x - tf.reduce_max(x), "column": lambda x: tf.reshape(x[:, None], [-1]),
    "squeeze": lambda x: tf.squeeze(x[:, None], [1]), "any_squeeze": lambda x: tf.squeeze(x[:, None]),
    "mapped": lambda x: tf.map_fn(lambda one: one + 1, x), "scan": lambda x: tf.scan(lambda a, b: a + b, x),
    "gather": lambda x: tf.gather(tf.range(10), tf.abs(x) % 10), "permuted": lambda x: tf.gather(x, tf.argsort(x)),
    "two_columns": lambda x: tf.reduce_sum(tf.stack([x, x * 3], 1), 1), "folded": lambda x: tf.reduce_sum(
        tf.stack([x, x * 3], 0), 1), "joined": lambda x: tf.concat([x, x], 0), "first_half": lambda x: x[: 1],
    "shifted": lambda x: tf.roll(x, 1, 0), "counted": lambda x: x + tf.size(x), "softened": lambda x: tf.cast(
        tf.nn.softmax(tf.cast(x, tf.float32)) * 100, tf.int32), "picked": lambda x: tf.where(x > 2, x, 0),
}  # fmt: skip


@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4), st.lists(CALLS, min_size=3, max_size=3))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_chains_of_operations_never_mix_answers(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], crowds: list[list[list[int]]]
) -> None:
    def chain(n: Any) -> dict[str, Any]:
        return {"y": functools.reduce(lambda value, step: STEPS[step](value), steps, n)}

    folder = tmp_path_factory.mktemp("chain") / "1"
    sharing_models.save(folder, {"chain": chain})
    model = servable.load(folder, ONE_THREAD)
    for calls in crowds:
        together = asyncio.run(crowd(Counting(model), "chain", calls, ["y"]))
        for call, answer in zip(calls, together, strict=True):
            assert same(outcome(answer), alone(model, "chain", call, ["y"])), f"{call} among {calls}"
    model.close()


def test_models_as_keras_exports_them_share_runs(tmp_path: Path) -> None:
    import keras

    layers = keras.layers
    picture, words = keras.Input((8, 8, 3)), keras.Input((5,), dtype="int64")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(picture)))
    embedded = layers.Embedding(9, 4)(words)
    attended = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(embedded, embedded))
    x = layers.Concatenate()([layers.Flatten()(layers.MaxPool2D()(x)), layers.GlobalAveragePooling1D()(attended)])
    outputs = [layers.Dense(3, activation="softmax")(layers.Dropout(0.5)(x)), layers.Dense(1)(x)]
    keras.Model([picture, words], outputs).export(str(tmp_path / "1"), verbose=False)
    model = servable.load(tmp_path / "1", ONE_THREAD)
    signature = model.signatures["serving_default"]
    assert signature.row_wise == set(signature.outputs) == {"output_0", "output_1"}
    model.close()


@pytest.fixture
def repeating(tmp_path: Path) -> Path:
    sharing_models.save(tmp_path / "1", {"repeat": MIXED["repeat"], "sort": MIXED["sort"]})
    return tmp_path / "1"


def test_a_marked_output_is_row_wise_and_a_mark_of_what_is_not_there_is_ignored(repeating: Path) -> None:
    marks.write(repeating, {"sort": ["y", "größe"], "nobody": ["y"]})
    assert {name: one.row_wise for name, one in servable.load(repeating, ONE_THREAD).signatures.items()} == {
        "repeat": frozenset(), "sort": {"y"},
    }  # fmt: skip


@pytest.mark.parametrize("mark", ["", "{", "[]", '{"format": 2, "outputs": {}}', '{"format": 1, "outputs": ["y"]}'])
def test_a_mark_that_cannot_be_read_costs_nothing_but_speed(
    repeating: Path, mark: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = repeating / marks.MARK_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(mark)
    assert not any(one.row_wise for one in servable.load(repeating, ONE_THREAD).signatures.values())
    assert str(path) in caplog.text


def test_an_operator_may_take_it_upon_himself(repeating: Path) -> None:
    for asked, known in ((("sort",), {"sort"}), (("*",), {"repeat", "sort"})):
        loaded = servable.load(repeating, SessionSettings(row_wise_signatures=asked))
        assert {name for name, one in loaded.signatures.items() if one.row_wise} == known


def test_a_model_that_is_not_known_to_be_row_wise_says_why_and_what_to_do(
    repeating: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    servable.load(repeating, ONE_THREAD)
    assert "output 'y' is not known to be row-wise" in caplog.text
    assert "--row_wise_signatures=repeat" in caplog.text
