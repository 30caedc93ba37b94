"""How records are put to a model, and what stands in the output: in one process, with tiny SavedModels."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import batch, columns
from fovea_serving.batch import entries, inputs, shards
from fovea_serving.batch.answering import Answering
from fovea_serving.batch.inputs import UnfitModelError
from fovea_serving.batch.records import Record
from fovea_serving.batch.shards import Model
from fovea_serving.batch.sizes import default_batch_size
from fovea_serving.protocol.errors import ServingError, invalid_argument
from fovea_serving.protocol.signatures import Signature, Slot
from fovea_serving.server.servable import Servable, SessionSettings, load
from fovea_wire import types_pb2

FLOAT, STRING, INT64 = types_pb2.DT_FLOAT, types_pb2.DT_STRING, types_pb2.DT_INT64


@pytest.fixture(scope="module")
def tiny(saved_model: Path) -> Iterator[Servable]:
    servable = load(saved_model, SessionSettings())
    yield servable
    servable.close()


def signature(row_wise: bool = True, **slots: tuple[int, tuple[int, ...]]) -> Signature:
    made = {alias: Slot(alias, dtype, shape) for alias, (dtype, shape) in slots.items()}
    outputs = {"y": Slot("y", FLOAT, (-1,))}
    return Signature("made", "", made, outputs, row_wise=frozenset({"y"}) if row_wise else frozenset())


class Played:
    """Doubles numbers, fails where one of them is negative, and keeps the sizes of its runs."""

    def __init__(self, mixes: bool = False) -> None:
        self.runs: list[int] = []
        self._mixes, self._lock = mixes, threading.Lock()

    def run(self, _: Signature, feeds: Sequence[Any], __: Sequence[str], timeout: float | None = None) -> list[Any]:
        with self._lock:
            self.runs.append(len(feeds[0]))
        if (feeds[0] < 0).any():
            raise invalid_argument(f"negative: {feeds[0].min()}")
        return [feeds[0].sum(keepdims=True) if self._mixes else 2 * feeds[0]]


def rows(*numbers: float) -> list[inputs.Rows]:
    return [[np.array([number], np.float32)] for number in numbers]


def values(found: Sequence[Any]) -> list[Any]:
    return [one.message if isinstance(one, ServingError) else one["y"].tolist() for one in found]


def test_records_share_a_run_and_a_bad_one_fails_alone() -> None:
    played = Played()
    answering = Answering(played, signature(x=(FLOAT, (-1,))))
    assert values(answering.answer(rows(1, 2, 3, 4))) == [[2], [4], [6], [8]]
    assert played.runs == [4]
    found = answering.answer(rows(1, -2, 3, 4, 5, 6, -7, 8))
    assert values(found) == [[2], "negative: -2.0", [6], [8], [10], [12], "negative: -7.0", [16]]


def test_records_of_a_model_that_may_mix_its_rows_are_run_one_by_one() -> None:
    played = Played()
    assert values(Answering(played, signature(row_wise=False, x=(FLOAT, (-1,)))).answer(rows(1, 2, 3))) == [
        [2],
        [4],
        [6],
    ]
    assert played.runs == [1, 1, 1]


def test_a_model_that_was_said_to_be_row_wise_and_is_not_is_found_out() -> None:
    played = Played(mixes=True)
    answering = Answering(played, signature(x=(FLOAT, (-1,))))
    assert values(answering.answer(rows(1, 2, 3))) == [[1], [2], [3]]
    assert values(answering.answer(rows(4, 5))) == [[4], [5]]
    assert played.runs == [3, 1, 1, 1, 1, 1]


def test_rows_of_different_lengths_are_answered_in_their_order() -> None:
    answering = Answering(Played(), signature(x=(FLOAT, (-1, -1))))
    ragged = [[np.full((1, length), length, np.float32)] for length in (2, 1, 2, 3, 1)]
    assert values(answering.answer(ragged)) == [[[4, 4]], [[2]], [[4, 4]], [[6, 6, 6]], [[2]]]


def test_a_few_batches_are_under_way_and_the_answers_are_in_order() -> None:
    played = Played()
    asked = signature(x=(FLOAT, (-1,)))
    to_rows = inputs.for_model(asked, batch.JSONL, Path())
    model = Model(Answering(played, asked), asked, to_rows, batch_size=3, runners=2)
    found = [Record(f"a:{number}", b"%d" % number) for number in range(20)]
    found[7] = Record("a:7", problem="broken")
    with ThreadPoolExecutor(2) as pool:
        answered = list(shards.answers(model, iter(found), pool))
    assert [name for name, _ in answered] == [record.name for record in found]
    assert values([answer for _, answer in answered]) == ["broken" if n == 7 else [2 * n] for n in range(20)]
    assert max(played.runs) == 3


def test_a_batch_is_no_larger_than_its_bytes_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_BYTES", 10)
    sizes = [4, 4, 4, 30, 1, 1, 1]
    found = list(shards.batches((Record("", bytes(size)) for size in sizes), 2))
    assert [[len(record.content) for record in some] for some in found] == [[4, 4], [4], [30], [1, 1], [1]]


def test_a_batch_of_rows_is_no_larger_than_its_cells_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_BYTES", 1000)
    rows = [Record("", {"a": "x" * size, "b": ""}) for size in (100, 100, 900, 900, 1, 1)]
    found = list(shards.batches(iter(rows), 256))
    assert [[len(row.content["a"]) for row in some] for some in found] == [[100, 100], [900], [900], [1, 1]]  # type: ignore[index]


def test_more_cores_take_more_records_at_once_within_bounds() -> None:
    assert [default_batch_size(cores) for cores in (1, 2, 4, 8, 16, 96)] == [32, 32, 64, 128, 256, 256]


# -- records and inputs -------------------------------------------------------------------------------------------------


def table(asked: Signature, model: Path, **cells: str) -> list[Any]:
    return [array.tolist() for array in inputs.for_model(asked, batch.CSV, model)(Record("t:1", cells))]


def test_columns_are_inputs_by_their_names(tmp_path: Path) -> None:
    asked = signature(a=(FLOAT, (-1,)), b=(INT64, (-1, 1)), c=(STRING, (-1,)))
    assert table(asked, tmp_path, c="7", a="1.5", b=" 3 ", other="x") == [[1.5], [[3]], [b"7"]]
    with pytest.raises(ServingError, match="no column b, c; its columns are a"):
        table(asked, tmp_path, a="1")
    with pytest.raises(ServingError, match=r"Type: Number is not of expected type: int64|loss of precision"):
        table(asked, tmp_path, a="1", b="3.5", c="")


def test_columns_are_a_row_of_numbers_by_the_names_of_the_model_else_in_their_order(tmp_path: Path) -> None:
    asked = signature(features=(FLOAT, (-1, 2)))
    assert table(asked, tmp_path, width="1", height="2") == [[[1, 2]]]
    with pytest.raises(ServingError, match="3 columns, and the model takes 2 numbers"):
        table(asked, tmp_path, width="1", height="2", kind="3")
    columns.write(tmp_path, ["height", "width"])
    assert table(asked, tmp_path, width="1", kind="cat", height="2") == [[[2, 1]]]
    with pytest.raises(ServingError, match="no column height"):
        table(asked, tmp_path, width="1")


def test_an_example_is_taken_apart_by_the_names_of_the_inputs() -> None:
    asked = signature(image=(STRING, (-1,)), size=(INT64, (-1, 2)))
    to_rows = inputs.for_model(asked, batch.TFRECORD, Path())
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"jpeg"])),
        "size": tf.train.Feature(int64_list=tf.train.Int64List(value=[3, 4])),
    }

    def example(**changed: Any) -> Record:
        made = tf.train.Features(feature={**features, **changed})
        return Record("a:0", tf.train.Example(features=made).SerializeToString())

    image, size = to_rows(example())
    assert (image.tolist(), size.tolist()) == ([b"jpeg"], [[3, 4]])
    with pytest.raises(ServingError, match=r"size has 3 values, and the model takes \[1, 2\]"):
        to_rows(example(size=tf.train.Feature(int64_list=tf.train.Int64List(value=[3, 4, 5]))))
    with pytest.raises(ServingError, match="size is bytes_list, and the model takes int64"):
        to_rows(example(size=features["image/encoded"]))


def test_a_model_that_does_not_fit_the_format_is_refused_with_what_it_takes(tiny: Servable) -> None:
    for name, input_format, words in (
        ("half_plus_two", batch.IMAGES, r"takes x \(float \[n\]\)"),
        ("pair", batch.IMAGES, r"takes a \(float \[n, 2\]\), b \(int64 \[n\]\)"),
        ("pair", batch.CSV, "a needs more; choose jsonl"),
    ):
        with pytest.raises(UnfitModelError, match=words):
            inputs.for_model(tiny.signatures[name], input_format, Path())
    with pytest.raises(UnfitModelError, match="gives b, sum: choose another output format"):
        entries.of_format(batch.KAGGLE, tiny.signatures["pair"])


# -- entries ------------------------------------------------------------------------------------------------------------

OUTPUTS = {
    "label": np.array([b"cat, big"], object),
    "mask_bytes": np.array([b"\xff"], object),
    "scores": np.array([[0.1, 0.9]], np.float32),
    "yes": np.array([True]),
}


def test_outputs_are_flat_in_csv_and_the_first_record_decides_on_the_columns(tiny: Servable) -> None:
    made = entries.of_format(batch.CSV, tiny.signatures["pair"])
    assert made.entry("a/1.png", OUTPUTS).decode() == (
        'record,label,mask_bytes,scores_0,scores_1,yes\na/1.png,"cat, big",/w==,0.1,0.9,True\n'
    )
    assert made.entry("2", OUTPUTS).decode() == '2,"cat, big",/w==,0.1,0.9,True\n'
    with pytest.raises(ServingError, match="other shapes"):
        made.entry("3", {**OUTPUTS, "scores": np.array([[0.1]], np.float32)})


def test_numbers_that_json_does_not_have_are_written_as_the_server_writes_them(tiny: Servable) -> None:
    made = entries.of_format(batch.JSONL, tiny.signatures["pair"])
    assert made.entry("a", {"y": np.array([np.nan], np.float32)}) == b'{"record":"a","prediction":NaN}\n'
    line = made.entry("ä", OUTPUTS).decode()
    assert line == (
        '{"record":"ä","prediction":{"label":"cat, big","mask_bytes":{"b64":"/w=="},"scores":[0.1,0.9],"yes":true}}\n'
    )


def test_outputs_are_features_of_an_example(tiny: Servable) -> None:
    made = entries.of_format(batch.TFRECORD, tiny.signatures["pair"])
    feature = tf.train.Example.FromString(made.entry("a", OUTPUTS)).features.feature
    assert list(feature["record"].bytes_list.value) == [b"a"]
    assert list(feature["mask_bytes"].bytes_list.value) == [b"\xff"]
    assert list(feature["yes"].int64_list.value) == [1]
    assert list(feature["scores"].float_list.value) == pytest.approx([0.1, 0.9])
    with pytest.raises(ServingError, match="more than 63 bits"):
        made.entry("a", {"y": np.array([2**63], np.uint64)})


@pytest.mark.parametrize(
    "outputs,label",
    [
        (OUTPUTS, "0.9"),
        ({"label": OUTPUTS["label"], "scores": np.array([[0.1, 0.2, 0.7]], np.float32)}, '"cat, big"'),
        ({"scores": np.array([[0.1, 0.2, 0.7]], np.float32)}, "2"),
        ({"dense": np.array([[0.25]], np.float32)}, "0.25"),
        ({"dense": np.array([[0.25, 0.75]], np.float32)}, "0.75"),
        ({"caption": np.array([b"a dog"], object)}, "a dog"),
    ],
)
def test_a_submission_s_label_is_the_second_class_s_probability_of_two_else_the_class(
    tiny: Servable, outputs: dict[str, Any], label: str
) -> None:
    made = entries.of_format(batch.KAGGLE, tiny.signatures["half_plus_two"])
    assert made.entry("test1/17.jpg", outputs).decode() == f"17,{label}\n"
