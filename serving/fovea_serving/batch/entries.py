"""What stands in the output for a record that was answered, in each of its formats."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Protocol, Self

import numpy as np
import tensorflow as tf
from fovea_api.contract import batch
from fovea_api.contract.signatures import LABEL_OUTPUT, SCORES_OUTPUT

from fovea_serving.batch.inputs import UnfitModelError
from fovea_serving.protocol import json_requests, json_tensors
from fovea_serving.protocol.errors import invalid_argument, unimplemented
from fovea_serving.protocol.signatures import Signature
from fovea_serving.protocol.tensors import Array, bytes_of

RECORD: Final = "record"
PREDICTION: Final = "prediction"
_INT64: Final = 2**63


class Entries(Protocol):
    """Makes entries of one file, one after the other."""

    def entry(self, record: str, outputs: Mapping[str, Array]) -> bytes:
        """The entry of a record with these outputs [1, …]; raises ServingError where the format cannot hold them."""


def of_format(output_format: str, signature: Signature) -> Entries:
    """Entries for another file. Raises UnfitModelError."""
    if output_format == batch.KAGGLE and not _has_label(signature):
        raise UnfitModelError(
            f"a submission needs an output {SCORES_OUTPUT} or {LABEL_OUTPUT}, or a single one; signature "
            f"{signature.name!r} gives {', '.join(signature.outputs)}: choose another output format"
        )
    made: Mapping[str, type[Any]] = {
        batch.JSONL: JsonLines,
        batch.CSV: Rows,
        batch.TFRECORD: Examples,
        batch.KAGGLE: Submission,
    }
    found: Entries = made[output_format]()
    return found


class JsonLines:
    """`{"record": …, "prediction": …}`: the prediction is what REST answers in `predictions`."""

    def entry(self, record: str, outputs: Mapping[str, Array]) -> bytes:
        """A line."""
        prediction = json_requests.predictions(outputs)[0]
        finite = json_tensors.is_finite(outputs.values())
        return json_tensors.text({RECORD: record, PREDICTION: prediction}, finite=finite)


class Rows:
    """CSV: the record, then the values of all outputs; the first record decides on the columns."""

    def __init__(self) -> None:
        self._columns: list[str] = []

    def entry(self, record: str, outputs: Mapping[str, Array]) -> bytes:
        """A row, the first one with the names of the columns before it."""
        columns, cells = [RECORD], [record]
        for name, array in outputs.items():
            value = json_tensors.from_array(name, array)
            flat = _flat(value[0])
            columns += [f"{name}{place}" for place in _places(array.shape[1:])]
            cells += [_cell(one) for one in flat]
        if self._columns and columns != self._columns:
            shapes = {name: list(array.shape[1:]) for name, array in outputs.items()}
            raise invalid_argument(
                f"The outputs have other shapes than those of the first record of the file ({shapes}): choose the format jsonl"
            )
        heading = b"" if self._columns else _row(columns)
        self._columns = columns
        return heading + _row(cells)


class Examples:
    """TFRecords of Examples: the feature `record`, and a feature for each output."""

    def entry(self, record: str, outputs: Mapping[str, Array]) -> bytes:
        """An Example, as a record of a TFRecord file."""
        features = {RECORD: _bytes_list([record.encode()])}
        for name, array in outputs.items():
            features[name] = _feature(name, array[0:1].ravel())
        return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


class Submission:
    """Lines `id,label` for Kaggle, without a heading; the agent sorts them."""

    def entry(self, record: str, outputs: Mapping[str, Array]) -> bytes:
        """A line."""
        return _row([_picture_id(record), _label(outputs)])


class Writer:
    """A file of entries."""

    def __init__(self, path: Path, output_format: str, signature: Signature) -> None:
        """Raises UnfitModelError."""
        self._entries = of_format(output_format, signature)
        self._file: BinaryIO | Any
        self._file = tf.io.TFRecordWriter(str(path)) if output_format == batch.TFRECORD else path.open("wb")

    def write(self, record: str, outputs: Mapping[str, Array]) -> None:
        """Append a record's entry; raises ServingError, and then nothing is written."""
        self._file.write(self._entries.entry(record, outputs))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _flat(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        return list(value.ravel())
    if isinstance(value, list):
        return [one for item in value for one in _flat(item)]
    return [value]


def _places(shape: tuple[int, ...]) -> list[str]:
    """What follows an output's name in the names of its columns: nothing for one value, `_0`, `_1`, … for a row."""
    return ["".join(f"_{number}" for number in place) for place in np.ndindex(*shape)]


def _cell(value: Any) -> str:
    return str(value["b64"] if isinstance(value, dict) else value)


def _row(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _feature(name: str, values: Array) -> Any:
    if values.dtype == object:
        return _bytes_list([bytes_of(value) for value in values.tolist()])
    if values.dtype.kind in "iub":
        wide = [int(value) for value in values.tolist()]
        if any(value >= _INT64 for value in wide):
            raise invalid_argument(f"Output {name!r} has a number of more than 63 bits, which an Example cannot hold")
        return tf.train.Feature(int64_list=tf.train.Int64List(value=wide))
    try:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values.astype(np.float32).tolist()))
    except (TypeError, ValueError) as error:
        raise unimplemented(f"Output {name!r} is of type {values.dtype}, which an Example cannot hold") from error


def _bytes_list(values: list[bytes]) -> Any:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _has_label(signature: Signature) -> bool:
    return bool({SCORES_OUTPUT, LABEL_OUTPUT} & signature.outputs.keys()) or len(signature.outputs) == 1


def _label(outputs: Mapping[str, Array]) -> str:
    """Of two classes the probability of the second, else the class: its name, or its number where the model has no names."""
    scores = outputs.get(SCORES_OUTPUT)
    if scores is not None and scores.size == 2:
        return str(scores.ravel()[1])
    if LABEL_OUTPUT in outputs:
        return _cell(_flat(json_tensors.from_array(LABEL_OUTPUT, outputs[LABEL_OUTPUT])[0])[0])
    values = (next(iter(outputs.values())) if scores is None else scores).ravel()
    if values.size == 1:
        return _cell(_flat(json_tensors.from_array("label", values))[0])
    if values.dtype == object:
        raise invalid_argument("The model gives several texts for a picture: a submission has one label")
    return str(values[1] if values.size == 2 else int(np.argmax(values)))


def _picture_id(record: str) -> str:
    name = record.rpartition("/")[2]
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name
