"""The answers themselves, the same for gRPC and REST: find the version, check the request, run it, write the reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    regression_pb2,
)

from fovea_serving.protocol import examples
from fovea_serving.protocol.errors import invalid_argument
from fovea_serving.protocol.examples import LENIENT, ExampleCall, ExampleRules
from fovea_serving.protocol.predict import LARGE_REQUEST, Form, Prediction, Written_co
from fovea_serving.protocol.signatures import Signature
from fovea_serving.protocol.tensors import Array
from fovea_serving.server.batching import Batcher
from fovea_serving.server.conversion import Converters, is_large
from fovea_serving.server.memory import RequestMemory, Share
from fovea_serving.server.metrics import Metrics
from fovea_serving.server.models import Models
from fovea_serving.server.servable import Servable

SIGNATURE_DEFINITIONS: Final = "signature_def"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of request with tf.Examples is read and answered."""

    api: str
    response: Callable[[], Any]
    prepare: Callable[[Mapping[str, Signature], Any, ExampleRules], ExampleCall]
    fill: Callable[[ExampleCall, list[Array], Any], None]


_CLASSIFY: Final = _Kind(
    "Classify", classification_pb2.ClassificationResponse, examples.prepare_classify, examples.fill_classification
)
_REGRESS: Final = _Kind(
    "Regress", regression_pb2.RegressionResponse, examples.prepare_regress, examples.fill_regression
)


@dataclass(frozen=True, slots=True)
class Inference:
    """Answers requests. Deadlines are on the clock of time.monotonic; `entrypoint` is GRPC or REST.

    `share` is what the request holds of the memory already.
    """

    models: Models
    batcher: Batcher
    metrics: Metrics
    as_content: bool = False
    rules: ExampleRules = LENIENT
    converters: Converters = field(default_factory=Converters)
    memory: RequestMemory = field(default_factory=RequestMemory)

    async def predict(
        self,
        spec: Any,
        form: Form[Written_co],
        deadline: float | None,
        entrypoint: str,
        share: Share | None = None,
    ) -> Written_co:
        """The answer in the form in which the request came; raises ServingError. Large ones are written on a thread."""
        name = spec.name
        with (
            self.metrics.request(name, "Predict", entrypoint, deadline),
            self.models.use(spec) as (version, servable),
            self.memory.hold(form.size, share),
        ):
            call = await self.converters.call(form.large, form.read, servable.signatures)
            ran = await self.batcher.run(servable, call.signature, call.feeds, call.outputs, deadline)
            self.metrics.ran(name, "Predict", ran.seconds)
            outputs = dict(zip(call.outputs, ran.values, strict=True))
            prediction = Prediction(name, version, call.signature.name, outputs)
            return await self.converters.call(is_large(ran.values), form.write, prediction)

    async def classify(self, request: Any, deadline: float | None, entrypoint: str, share: Share | None = None) -> Any:
        """ClassificationResponse; raises ServingError."""
        return await self._answer_examples(_CLASSIFY, request, deadline, entrypoint, share)

    async def regress(self, request: Any, deadline: float | None, entrypoint: str, share: Share | None = None) -> Any:
        """RegressionResponse; raises ServingError."""
        return await self._answer_examples(_REGRESS, request, deadline, entrypoint, share)

    async def _answer_examples(
        self, kind: _Kind, request: Any, deadline: float | None, entrypoint: str, share: Share | None
    ) -> Any:
        name, size, response = request.model_spec.name, request.ByteSize(), kind.response()
        with (
            self.metrics.request(name, kind.api, entrypoint, deadline),
            self.models.use(request.model_spec) as (version, servable),
            self.memory.hold(size, share),
        ):
            call = await self.converters.call(
                size >= LARGE_REQUEST, kind.prepare, servable.signatures, request, self.rules
            )
            values = await self._run_examples(name, kind.api, servable, call, deadline)
            await self.converters.call(is_large(values), kind.fill, call, values, response.result)
            _fill_spec(response.model_spec, name, version, call)
            return response

    async def multi_inference(self, request: Any, deadline: float | None) -> Any:
        """MultiInferenceResponse, one result for each task; raises ServingError."""
        spec = examples.multi_inference_spec(request)
        size = request.ByteSize()
        with self.models.use(spec) as (version, servable), self.memory.hold(size):
            calls = await self.converters.call(
                size >= LARGE_REQUEST, examples.prepare_multi, servable.signatures, request, self.rules
            )
            answers = await asyncio.gather(
                *(self._run_examples(spec.name, "MultiInference", servable, call, deadline) for call in calls)
            )
            response = inference_pb2.MultiInferenceResponse()
            for call, values in zip(calls, answers, strict=True):
                result = response.results.add()
                await self.converters.call(is_large(values), examples.fill_result, call, values, result)
                _fill_spec(result.model_spec, spec.name, version, call)
            return response

    async def _run_examples(
        self, name: str, api: str, servable: Servable, call: ExampleCall, deadline: float | None
    ) -> list[Any]:
        ran = await self.batcher.run(servable, call.signature, call.feeds, call.outputs, deadline)
        self.metrics.ran(name, api, ran.seconds)
        self.metrics.examples(name, call.examples)
        return ran.values

    def metadata(self, request: Any) -> Any:
        """GetModelMetadataResponse; raises ServingError, also while no version is loaded."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != SIGNATURE_DEFINITIONS:
                raise invalid_argument(f"Metadata field {name} is not supported")
        with self.models.use(request.model_spec) as (version, servable):
            signature_map = get_model_metadata_pb2.SignatureDefMap()
            for key, definition in servable.definitions.items():
                signature_map.signature_def[key].CopyFrom(definition)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version
            response.metadata[SIGNATURE_DEFINITIONS].Pack(signature_map)
            return response

    def status(self, request: Any) -> Any:
        """GetModelStatusResponse; raises ServingError. A label in the request is ignored, as in TensorFlow Serving."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = request.model_spec
        version = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
        response = get_model_status_pb2.GetModelStatusResponse()
        for record in self.models.states(spec.name, version):
            entry = response.model_version_status.add(version=record.version, state=int(record.state))
            entry.status.error_code = 0 if record.error is None else record.error.code.value[0]
            entry.status.error_message = "" if record.error is None else record.error.message
        return response


def _fill_spec(spec: Any, name: str, version: int, call: ExampleCall) -> None:
    spec.name = name
    spec.signature_name = call.signature.name
    spec.version.value = version


def deadline_in(seconds: float | None) -> float | None:
    """The moment `seconds` from now."""
    return None if seconds is None else time.monotonic() + seconds
