"""Classify, Regress and MultiInference: large ones delay no other request."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from fovea_serving.protocol import examples
from fovea_serving.protocol.examples import SCORES
from fovea_serving.protocol.predict import LARGE_REQUEST
from fovea_serving.protocol.signatures import CLASSIFY_METHOD, Signature, Slot
from fovea_serving.server.batching import Ran
from fovea_serving.server.conversion import LARGE_REPLY
from fovea_serving.server.inference import Inference
from fovea_serving.server.metrics import Metrics
from tensorflow_serving.apis import classification_pb2, inference_pb2

SECONDS = 10
SIGNATURE = Signature("s", CLASSIFY_METHOD, {"inputs": Slot("x:0", 7, (-1,))}, {SCORES: Slot("y:0", 1, None)})


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
