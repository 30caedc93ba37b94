"""Classify, Regress and MultiInference: tf.Examples in, classes and scores or values out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from fovea_serving.server.errors import failed_precondition, invalid_argument, unimplemented
from fovea_serving.server.json_tensors import as_text
from fovea_serving.server.servable import Servable
from fovea_serving.server.signatures import CLASSIFY_METHOD, DEFAULT_SIGNATURE, REGRESS_METHOD, Signature
from fovea_serving.server.tensors import Array, bytes_of

INPUTS: Final = "inputs"
CLASSES: Final = "classes"
SCORES: Final = "scores"
VALUES: Final = "outputs"


@dataclass(frozen=True, slots=True)
class ExampleCall:
    """A checked request: serialised tf.Examples to feed, outputs to fetch, and which kind of result to make of them."""

    method: str
    signature: Signature
    feeds: list[Array]
    outputs: tuple[str, ...]

    @property
    def examples(self) -> int:
        """How many examples the request carries."""
        return int(self.feeds[0].shape[0])


@dataclass(frozen=True, slots=True)
class ExampleRules:
    """Whether a signature's method name must match the call; exports of TensorFlow 2 always say `predict`."""

    check_method_name: bool = False


LENIENT: Final = ExampleRules()


def serialized_examples(source: Any) -> Array:
    """Examples of an Input, each serialised, the shared context in front (fields of an example win)."""
    kind = source.WhichOneof("kind")
    if kind == "example_list":
        parts = [example.SerializeToString() for example in source.example_list.examples]
    elif kind == "example_list_with_context":
        context = source.example_list_with_context.context.SerializeToString()
        examples = source.example_list_with_context.examples
        parts = [context + example.SerializeToString() for example in examples]
    else:
        parts = []
    if not parts:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(parts), dtype=object)
    array[:] = parts
    return array


def prepare_classify(servable: Servable, request: Any, rules: ExampleRules = LENIENT) -> ExampleCall:
    """Check a ClassificationRequest; raises ServingError."""
    signature = _signature(servable, request.model_spec, "No signature was found with the name: ")
    return _classify(signature, serialized_examples(request.input), rules)


def prepare_regress(servable: Servable, request: Any, rules: ExampleRules = LENIENT) -> ExampleCall:
    """Check a RegressionRequest; raises ServingError."""
    signature = _signature(servable, request.model_spec, "No signature was found with the name: ")
    return _regress(signature, serialized_examples(request.input), rules)


def multi_inference_spec(request: Any) -> Any:
    """The ModelSpec all tasks of a MultiInferenceRequest share; raises ServingError when they do not."""
    if not request.tasks:
        raise invalid_argument("Inference request must have at least one task.")
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    return request.tasks[0].model_spec


def prepare_multi(servable: Servable, request: Any, rules: ExampleRules = LENIENT) -> list[ExampleCall]:
    """Check a MultiInferenceRequest: one call for each task, all of the same examples; raises ServingError."""
    multi_inference_spec(request)
    seen: set[str] = set()
    calls: list[ExampleCall] = []
    examples = serialized_examples(request.input)
    for task in request.tasks:
        signature = _signature(servable, task.model_spec, "Requested signature not found in model graph: ")
        if signature.name in seen:
            raise invalid_argument(f"Duplicate evaluation of signature: {signature.name}")
        seen.add(signature.name)
        if task.method_name == CLASSIFY_METHOD:
            calls.append(_classify(signature, examples, rules))
        elif task.method_name == REGRESS_METHOD:
            calls.append(_regress(signature, examples, rules))
        else:
            raise unimplemented(f"Unsupported signature method_name: {task.method_name}")
    return calls


def _signature(servable: Servable, spec: Any, otherwise: str) -> Signature:
    name = spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid_argument(otherwise + name)
    return signature


def _checked(signature: Signature, method: str, kind: str, rules: ExampleRules) -> None:
    if rules.check_method_name and signature.method != method:
        raise invalid_argument(f"Expected {kind} signature method_name to be {method}. Was: {signature.method}")
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")


def _classify(signature: Signature, examples: Array, rules: ExampleRules) -> ExampleCall:
    _checked(signature, CLASSIFY_METHOD, "classification", rules)
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise failed_precondition(f"No classification inputs found in SignatureDef: {signature.name}")
    outputs = tuple(alias for alias in (CLASSES, SCORES) if alias in signature.outputs)
    if not outputs:
        raise failed_precondition(
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
            f"Signature was: {signature.name}"
        )
    return ExampleCall(CLASSIFY_METHOD, signature, [examples], outputs)


def _regress(signature: Signature, examples: Array, rules: ExampleRules) -> ExampleCall:
    _checked(signature, REGRESS_METHOD, "regression", rules)
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise failed_precondition(f"No regression inputs found in SignatureDef: {signature.name}")
    if VALUES not in signature.outputs:
        raise failed_precondition(f"No regression outputs found in SignatureDef: {signature.name}")
    return ExampleCall(REGRESS_METHOD, signature, [examples], (VALUES,))


def classification(call: ExampleCall, values: list[Array]) -> Any:
    """ClassificationResult of the outputs; raises ServingError when they do not have the shape of one."""
    found = dict(zip(call.outputs, values, strict=True))
    classes, scores = found.get(CLASSES), found.get(SCORES)
    for name, array, dtype in ((CLASSES, classes, object), (SCORES, scores, np.float32)):
        if array is not None:
            _check_result(name, array, np.dtype(dtype), call.examples)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    labels: list[list[object]] = [] if classes is None else classes.tolist()
    numbers: list[list[float]] = [] if scores is None else scores.tolist()
    for row in range(call.examples):
        entry = result.classifications.add()
        for column in range(len(labels[row] if labels else numbers[row])):
            one = entry.classes.add()
            if labels:
                one.label = as_text(f"Output {CLASSES!r}", bytes_of(labels[row][column]))
            if numbers:
                one.score = numbers[row][column]
    return result


def _check_result(name: str, array: Array, dtype: np.dtype[Any], examples: int) -> None:
    if array.ndim != 2:
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {list(array.shape)}")
    if array.dtype != dtype:
        kind = "DT_STRING" if dtype.hasobject else "DT_FLOAT"
        raise invalid_argument(f"Expected {name} Tensor of {kind}. Got: {array.dtype}")
    if array.shape[0] != examples:
        raise invalid_argument(f"Expected {name} output batch size of {examples}. Got: {array.shape[0]}")


def regression(call: ExampleCall, values: list[Array]) -> Any:
    """RegressionResult of the output; raises ServingError when it does not have the shape of one."""
    array = values[0]
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {list(array.shape)}"
        )
    if array.shape[0] != call.examples:
        raise invalid_argument(
            f"Input batch size did not match output batch size: {call.examples} vs. {array.shape[0]}"
        )
    if array.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {array.dtype}")
    result = regression_pb2.RegressionResult()
    for value in array.ravel().tolist():
        result.regressions.add().value = value
    return result


def result_of(call: ExampleCall, values: list[Array]) -> Any:
    """InferenceResult without its model_spec."""
    if call.method == CLASSIFY_METHOD:
        return inference_pb2.InferenceResult(classification_result=classification(call, values))
    return inference_pb2.InferenceResult(regression_result=regression(call, values))
