"""Classify, Regress and MultiInference: what is written for a client."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fovea_serving.protocol import examples
from fovea_serving.protocol.errors import ServingError
from fovea_serving.protocol.examples import CLASSES, SCORES, ExampleCall
from fovea_serving.protocol.signatures import CLASSIFY_METHOD, REGRESS_METHOD, Signature, Slot
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

SIGNATURE = Signature("s", CLASSIFY_METHOD, {"inputs": Slot("x:0", 7, (-1,))}, {SCORES: Slot("y:0", 1, None)})
FLOATS = st.floats(width=32, allow_nan=False)


def strings(rows: list[list[str]]) -> Any:
    array = np.empty((len(rows), len(rows[0])), dtype=object)
    for place, value in np.ndenumerate(np.array(rows, dtype=object)):
        array[place] = str(value).encode()
    return array


def call(count: int, outputs: tuple[str, ...], method: str = CLASSIFY_METHOD) -> ExampleCall:
    return ExampleCall(method, SIGNATURE, [np.empty(count, dtype=object)], outputs)


@given(st.data(), st.integers(1, 4), st.integers(0, 4), st.sampled_from([(CLASSES,), (SCORES,), (CLASSES, SCORES)]))
def test_classes_are_what_protobuf_makes_of_them_field_by_field(
    data: Any, rows: int, columns: int, outputs: tuple[str, ...]
) -> None:
    def table(elements: Any) -> list[list[Any]]:
        row = st.lists(elements, min_size=columns, max_size=columns)
        return data.draw(st.lists(row, min_size=rows, max_size=rows))

    labels, scores = table(st.text(max_size=200)), table(FLOATS)
    wanted = classification_pb2.ClassificationResult()
    for row in range(rows):
        entry = wanted.classifications.add()
        for column in range(columns):
            one = entry.classes.add()
            if CLASSES in outputs:
                one.label = labels[row][column]
            if SCORES in outputs:
                one.score = scores[row][column]
    values = {CLASSES: strings(labels), SCORES: np.array(scores, np.float32).reshape(rows, columns)}
    found = classification_pb2.ClassificationResult()
    examples.fill_classification(call(rows, outputs), [values[name] for name in outputs], found)
    assert found == wanted


@given(st.lists(FLOATS, min_size=1, max_size=20), st.booleans())
def test_values_are_what_protobuf_makes_of_them_field_by_field(values: list[float], is_column: bool) -> None:
    array = np.array(values, np.float32)
    wanted = regression_pb2.RegressionResult(regressions=[regression_pb2.Regression(value=value) for value in array])
    found = inference_pb2.InferenceResult()
    shaped = array.reshape(-1, 1) if is_column else array
    examples.fill_result(call(len(values), ("outputs",), REGRESS_METHOD), [shaped], found)
    assert found.regression_result == wanted
    assert found.WhichOneof("result") == "regression_result"


def test_a_label_that_is_no_text_is_refused_by_its_output() -> None:
    labels = strings([["a", "b"]])
    labels[0, 1] = b"\xff"
    with pytest.raises(ServingError, match="FAILED_PRECONDITION: Output 'classes' holds bytes that are no UTF-8"):
        examples.fill_classification(call(1, (CLASSES,)), [labels], classification_pb2.ClassificationResult())
