"""Classify, Regress and MultiInference: tf.Examples in, classes and scores or values out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fovea_serving.protocol.errors import failed_precondition, invalid_argument, unimplemented
from fovea_serving.protocol.json_tensors import as_text
from fovea_serving.protocol.signatures import CLASSIFY_METHOD, DEFAULT_SIGNATURE, REGRESS_METHOD, Signature
from fovea_serving.protocol.tensors import Array, bytes_of, varint

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


def prepare_classify(known: Mapping[str, Signature], request: Any, rules: ExampleRules = LENIENT) -> ExampleCall:
    """Check a ClassificationRequest against the signature it names; raises ServingError."""
    signature = _signature(known, request.model_spec, "No signature was found with the name: ")
    return _classify(signature, serialized_examples(request.input), rules)


def prepare_regress(known: Mapping[str, Signature], request: Any, rules: ExampleRules = LENIENT) -> ExampleCall:
    """Check a RegressionRequest against the signature it names; raises ServingError."""
    signature = _signature(known, request.model_spec, "No signature was found with the name: ")
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


def prepare_multi(known: Mapping[str, Signature], request: Any, rules: ExampleRules = LENIENT) -> list[ExampleCall]:
    """Check a MultiInferenceRequest: one call for each task, all of the same examples; raises ServingError."""
    multi_inference_spec(request)
    seen: set[str] = set()
    calls: list[ExampleCall] = []
    examples = serialized_examples(request.input)
    for task in request.tasks:
        signature = _signature(known, task.model_spec, "Requested signature not found in model graph: ")
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


def _signature(known: Mapping[str, Signature], spec: Any, otherwise: str) -> Signature:
    name = spec.signature_name or DEFAULT_SIGNATURE
    signature = known.get(name)
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


def fill_classification(call: ExampleCall, values: list[Array], result: Any) -> None:
    """The outputs into a ClassificationResult; raises ServingError when they do not have the shape of one."""
    found = dict(zip(call.outputs, values, strict=True))
    classes, scores = found.get(CLASSES), found.get(SCORES)
    for name, array, dtype in ((CLASSES, classes, object), (SCORES, scores, np.float32)):
        if array is not None:
            _check_result(name, array, np.dtype(dtype), call.examples)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    result.SetInParent()
    result.MergeFromString(b"".join(_message(row) for row in _rows_of_classes(call.examples, classes, scores)))


def _rows_of_classes(count: int, classes: Array | None, scores: Array | None) -> Iterator[bytes]:
    """The classes of each example as protobuf writes them: a message filled field by field takes four times as long."""
    numbers = None if scores is None else scores.astype("<f4", copy=False)
    if classes is None:
        for row in () if numbers is None else numbers:
            yield _scored(b"\x15", row)
        return
    known: dict[object, bytes] = {}
    for row in range(count):
        parts: list[bytes] = []
        digits = b"" if numbers is None else numbers[row].tobytes()
        for column, label in enumerate(classes[row].tolist()):
            head = known.get(label)
            if head is None:
                head = known[label] = _class_head(label, scored=numbers is not None)
            parts += (head, digits[4 * column : 4 * column + 4])
        yield b"".join(parts)


def _class_head(label: object, *, scored: bool) -> bytes:
    """A Class up to its score."""
    data = bytes_of(label)
    as_text(f"Output {CLASSES!r}", data)
    named = _message(data)
    if not scored:
        return _message(named)
    return b"\x0a" + varint(len(named) + 5) + named + b"\x15"


def _message(content: bytes) -> bytes:
    """A message, or a text, in field 1."""
    return b"\x0a" + varint(len(content)) + content


def _scored(tag: bytes, values: Array) -> bytes:
    """For each value a message in field 1 with the value behind this tag."""
    written = np.empty((values.size, 7), np.uint8)
    written[:, :3] = np.frombuffer(b"\x0a\x05" + tag, np.uint8)
    written[:, 3:] = np.ascontiguousarray(values, "<f4").reshape(-1, 1).view(np.uint8)
    return written.tobytes()


def _check_result(name: str, array: Array, dtype: np.dtype[Any], examples: int) -> None:
    if array.ndim != 2:
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {list(array.shape)}")
    if array.dtype != dtype:
        kind = "DT_STRING" if dtype.hasobject else "DT_FLOAT"
        raise invalid_argument(f"Expected {name} Tensor of {kind}. Got: {array.dtype}")
    if array.shape[0] != examples:
        raise invalid_argument(f"Expected {name} output batch size of {examples}. Got: {array.shape[0]}")


def fill_regression(call: ExampleCall, values: list[Array], result: Any) -> None:
    """The output into a RegressionResult; raises ServingError when it does not have the shape of one."""
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
    result.SetInParent()
    result.MergeFromString(_scored(b"\x0d", array))


def fill_result(call: ExampleCall, values: list[Array], result: Any) -> None:
    """The outputs into an InferenceResult, but for its model_spec."""
    if call.method == CLASSIFY_METHOD:
        fill_classification(call, values, result.classification_result)
    else:
        fill_regression(call, values, result.regression_result)
