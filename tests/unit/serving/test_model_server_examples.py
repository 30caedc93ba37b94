"""Classify, Regress and MultiInference: what is written for a client, and that large ones delay nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from fovea_serving.server import examples
from fovea_serving.server.batching import Ran
from fovea_serving.server.conversion import LARGE_REPLY, LARGE_REQUEST
from fovea_serving.server.errors import ServingError
from fovea_serving.server.examples import CLASSES, SCORES, ExampleCall
from fovea_serving.server.inference import Inference
from fovea_serving.server.metrics import Metrics
from fovea_serving.server.signatures import CLASSIFY_METHOD, REGRESS_METHOD, Signature, Slot
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

SECONDS = 10
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


class Played:
    """Stands for the models and the batcher: as many scores for each example as make a large reply."""

    signatures: ClassVar = {"serving_default": SIGNATURE}

    @contextlib.contextmanager
    def use(self, spec: Any) -> Iterator[Any]:
        yield 1, self

    async def run(self, servable: Any, signature: Any, feeds: list[Any], outputs: Any, deadline: Any) -> Ran:
        return Ran([np.zeros((len(feeds[0]), LARGE_REPLY), np.float32)], 0.0)


@pytest.mark.parametrize("held", ["serialized_examples", "_check_result"], ids=["read", "written"])
@pytest.mark.parametrize("api", ["classify", "multi_inference"])
def test_others_are_answered_while_large_examples_are_read_or_their_classes_written(
    held: str, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on, convert = threading.Event(), threading.Event(), getattr(examples, held)

    def waits(*args: Any) -> Any:
        entered.set()
        assert go_on.wait(SECONDS), "the server stood still"
        return convert(*args)

    monkeypatch.setattr(examples, held, waits)
    request = classification_pb2.ClassificationRequest() if api == "classify" else inference_pb2.MultiInferenceRequest()
    if api == "classify":
        request.model_spec.name = "m"
    else:
        request.tasks.add(method_name=CLASSIFY_METHOD).model_spec.name = "m"
    feature = request.input.example_list.examples.add().features.feature["x"]
    feature.bytes_list.value.append(bytes(LARGE_REQUEST))

    async def go() -> Any:
        models: Any = Played()
        inference = Inference(models=models, batcher=models, metrics=Metrics(known=lambda _: True))
        more = () if api == "multi_inference" else ("GRPC",)
        answer = asyncio.ensure_future(getattr(inference, api)(request, None, *more))
        assert await asyncio.to_thread(entered.wait, SECONDS)
        go_on.set()
        return await answer

    response = asyncio.run(go())
    result = response.result if api == "classify" else response.results[0].classification_result
    assert [len(entry.classes) for entry in result.classifications] == [LARGE_REPLY]
