"""REST bodies: JSON to requests, replies to JSON. Texts of errors are TensorFlow Serving's."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from fovea_serving.protocol import json_tensors, signatures
from fovea_serving.protocol.errors import ServingError, invalid_argument
from fovea_serving.protocol.json_tensors import decode_base64, is_base64, quoted
from fovea_serving.protocol.predict import LARGE_REQUEST, PredictCall, Prediction
from fovea_serving.protocol.signatures import DEFAULT_SIGNATURE, Signature
from fovea_serving.protocol.tensors import Array

DEEPEST_JSON: Final = 64
"""Levels of nesting of a body. Parsers recurse; without a bound, one request of brackets could end the process."""

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")

_PARSE_ERRORS: Final = (
    ("Expecting property name", "Missing a name for object member."),
    ("Illegal trailing comma", "Missing a name for object member."),
    ("Expecting ':' delimiter", "Missing a colon after a name of object member."),
    ("Expecting ',' delimiter", "Missing a comma or } after an object member, or a comma or ] after an array element."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid \\", "Invalid escape character in string."),
    ("Invalid control character", "Invalid encoding in string."),
    ("Extra data", "The document root must not be followed by other values."),
)


def parse(body: bytes | bytearray, most_values: int) -> dict[str, Any]:
    """The object of a body; raises INVALID_ARGUMENT, also for JSON of too many values or nested too deep.

    The parser stops everything else while it works, and makes a hundred bytes of two: the values are counted before.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    most_found = body.count(b",") + body.count(b"[") + body.count(b"{")
    if most_found > most_values:
        raise invalid_argument(
            f"JSON Parse error: more than {most_values} commas and brackets; send fewer rows in a request, encoded "
            "bytes as b64, or numbers as tensor_content over gRPC (--rest_api_max_body_values sets the bound)"
        )
    try:
        # Five times as fast as the standard library's; where it refuses, that one says why, and takes NaN and a byte order mark.
        document: Any = orjson.loads(body)
        surrogate = None
    except orjson.JSONDecodeError:
        document, surrogate = _parse_slowly(body)
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {quoted(document)} Is not object")
    _check_levels(document, surrogate)
    return document


def _parse_slowly(body: bytes | bytearray) -> tuple[Any, re.Match[str] | None]:
    """What is in a body, and the first escaped half of a surrogate pair."""
    try:
        text = body.decode("utf-8-sig")
        return json.loads(text), _SURROGATE.search(text)
    except json.JSONDecodeError as error:
        words = next((words for found, words in _PARSE_ERRORS if error.msg.startswith(found)), "Invalid value.")
        raise invalid_argument(f"JSON Parse error: {words} at offset: {error.pos}") from error
    except RecursionError as error:
        raise _too_deep() from error
    except (UnicodeDecodeError, ValueError) as error:
        raise invalid_argument(f"JSON Parse error: {error} at offset: 0") from error


def _too_deep() -> ServingError:
    return invalid_argument(f"JSON Parse error: nested deeper than {DEEPEST_JSON} levels")


def _check_levels(document: dict[str, Any], surrogate: re.Match[str] | None) -> None:
    """No more levels than DEEPEST_JSON; where there was an escaped surrogate, no half of a pair in any string."""
    level: list[Any] = [document]
    for _ in range(DEEPEST_JSON):
        if surrogate is not None:
            for value in level:
                _check_strings((*value, *(value.values() if type(value) is dict else ())), surrogate.start())
        # Most values stand in lists of lists: nothing of Python's own is done for each of them.
        kinds = set(map(type, level))
        parts = level if kinds == {list} else (v.values() if type(v) is dict else v for v in level)
        level = list(itertools.chain.from_iterable(parts))
        kinds = set(map(type, level))
        if not kinds & {list, dict}:
            return
        if not kinds <= {list, dict}:
            level = [v for v in level if type(v) is list or type(v) is dict]
    raise _too_deep()


def _check_strings(values: Sequence[Any], offset: int) -> None:
    try:
        "".join(value for value in values if type(value) is str).encode()
    except UnicodeEncodeError as error:
        text = "JSON Parse error: The surrogate pair in string is invalid."
        raise invalid_argument(f"{text} at offset: {offset}") from error


def signature_name(document: Mapping[str, Any]) -> str:
    """The optional `signature_name` of a body."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {quoted(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def predict_inputs(document: Mapping[str, Any], signature: Signature) -> tuple[dict[str, Array], bool]:
    """Arrays by input, and whether the body is in row format (`instances`); raises INVALID_ARGUMENT."""
    if not signature.inputs:
        raise invalid_argument(f"Failed to get input map for signature: {signature.name}")
    has_rows, has_columns = "instances" in document, "inputs" in document
    if has_rows and has_columns:
        raise invalid_argument(
            f"JSON Value: {quoted(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if has_rows:
        return _rows(document, signature), True
    if has_columns:
        return _columns(document["inputs"], signature), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _rows(document: Mapping[str, Any], signature: Signature) -> dict[str, Array]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid_argument(f"JSON Value: {quoted(document)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument(f"JSON Value: {quoted(document)} No values in 'instances' array")
    named = _is_named(instances[0])
    if not named and len(signature.inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    for number, item in enumerate(instances):
        if _is_named(item) != named:
            wanted = "object but got list" if named else "value/list but got object"
            raise invalid_argument(f"Expecting {wanted} at item {number} of input list")
    if not named:
        alias, slot = next(iter(signature.inputs.items()))
        return {alias: _stack(instances, slot, "")}
    for number, item in enumerate(instances):
        _check_keys(item, number, signature)
    return {
        alias: _stack([item[alias] for item in instances], slot, f" key: {alias}")
        for alias, slot in signature.inputs.items()
    }


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _check_keys(item: dict[str, Any], number: int, signature: Signature) -> None:
    for key in item:
        if key not in signature.inputs:
            raise invalid_argument(
                f"Failed to process element: {number} key: {key} of 'instances' list. "
                f"Error: INVALID_ARGUMENT: JSON object: does not have named input: {key}"
            )
    if len(item) != len(signature.inputs):
        raise invalid_argument(
            f"Failed to process element: {number} of 'instances' list. JSON object: {quoted(item)} keys must be equal "
            f"to: {','.join(signature.inputs)}"
        )


def _stack(items: list[Any], slot: Any, key: str) -> Array:
    """One array of the items; an error says which item it is in."""
    try:
        return json_tensors.to_array(items, slot)
    except ServingError as whole:
        for number, item in enumerate(items):
            try:
                shape = json_tensors.to_array(item, slot).shape
                if number == 0:
                    first = shape
                elif shape != first:
                    raise invalid_argument(_different(first, shape))
            except ServingError as error:
                raise invalid_argument(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: {error}"
                ) from whole
        raise


def _different(first: tuple[int, ...], shape: tuple[int, ...]) -> str:
    sizes = int(np.prod(first)), int(np.prod(shape))
    if sizes[0] != sizes[1]:
        return f"Expecting tensor size: {sizes[0]} but got: {sizes[1]}"
    return f"Expecting shape {_brackets(first)} but got: {_brackets(shape)}"


def _brackets(shape: Sequence[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _columns(value: Any, signature: Signature) -> dict[str, Array]:
    if not isinstance(value, dict) or is_base64(value):
        if len(signature.inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        alias, slot = next(iter(signature.inputs.items()))
        return {alias: json_tensors.to_array(value, slot)}
    found = {}
    for alias, slot in signature.inputs.items():
        if alias not in value:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
        found[alias] = json_tensors.to_array(value[alias], slot)
    return found


@dataclass(slots=True)
class JsonForm:
    """A Predict body, answered in the format (rows or columns) in which it asked."""

    body: bytes | bytearray
    most_values: int
    rows: bool = False

    @property
    def size(self) -> int:
        """None: a body is counted while it arrives."""
        return 0

    @property
    def large(self) -> bool:
        """Whether reading it would delay others."""
        return len(self.body) >= LARGE_REQUEST

    def read(self, known: Mapping[str, Signature]) -> PredictCall:
        """What the body asks for; raises ServingError."""
        document = parse(self.body, self.most_values)
        name = signature_name(document) or DEFAULT_SIGNATURE
        signature = known.get(name)
        if signature is None:
            raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
        outputs = signatures.chosen_outputs(signature, [])
        arrays, self.rows = predict_inputs(document, signature)
        return PredictCall(signature, [arrays[alias] for alias in signature.inputs], outputs)

    def write(self, prediction: Prediction) -> bytes:
        """The body of the answer."""
        return predict_reply(prediction.outputs, rows=self.rows)


def predict_reply(outputs: Mapping[str, Array], *, rows: bool) -> bytes:
    """`predictions` (row format) or `outputs` (column format); raises INVALID_ARGUMENT."""
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    finite = json_tensors.is_finite(outputs.values())
    if rows:
        return json_tensors.text({"predictions": predictions(outputs)}, finite=finite)
    values = {name: json_tensors.from_array(name, array) for name, array in outputs.items()}
    return json_tensors.text({"outputs": next(iter(values.values())) if len(values) == 1 else values}, finite=finite)


def predictions(outputs: Mapping[str, Array]) -> Any:
    """For each row its prediction, as `json_tensors.text` writes it: the value of a single output, else all by name.

    Raises INVALID_ARGUMENT.
    """
    _check_rows(outputs)
    values = {name: json_tensors.from_array(name, array) for name, array in outputs.items()}
    if len(values) == 1:
        return next(iter(values.values()))
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _check_rows(outputs: Mapping[str, Array]) -> None:
    size = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if size is not None and array.shape[0] != size:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {size}"
            )
        size = array.shape[0]


def fill_examples(document: Mapping[str, Any], request: Any) -> None:
    """Examples and context of a classify or regress body into the request; raises INVALID_ARGUMENT."""
    request.model_spec.signature_name = signature_name(document)
    if "context" in document:
        target = request.input.example_list_with_context
        target.context.SetInParent()
        _fill_example(document["context"], target.context)
    else:
        target = request.input.example_list
    if "examples" not in document:
        raise invalid_argument(
            f"JSON Value: {quoted(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid_argument(f"JSON Value: {quoted(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid_argument(f"JSON Value: {quoted(document)} 'examples' value is an empty array")
    for item in examples:
        _fill_example(item, target.examples.add())


def _fill_example(value: Any, example: Any) -> None:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {json_tensors.json_type(value)}")
    for name, content in value.items():
        values = content if isinstance(content, list) else [content]
        _fill_feature(name, values, example.features.feature[name])


def _fill_feature(name: str, values: list[Any], feature: Any) -> None:
    for value in values:
        kind, converted = _element(name, value)
        now = feature.WhichOneof("kind")
        if now not in (None, kind):
            word = now.removesuffix("_list")
            raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {word}")
        getattr(feature, kind).value.append(converted)


def _element(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, bool):
        return "int64_list", int(value)
    if isinstance(value, str):
        return "bytes_list", value.encode()
    if is_base64(value):
        return "bytes_list", decode_base64(value)
    if isinstance(value, float):
        return "float_list", value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise invalid_argument(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return "int64_list", value
    raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {json_tensors.json_type(value)}")


def classify_reply(result: Any) -> bytes:
    """`results`: for each example a list of [label, score]."""
    labels = [one.label for entry in result.classifications for one in entry.classes]
    scores = np.array([one.score for entry in result.classifications for one in entry.classes], dtype=np.float32)
    pairs = iter(zip(labels, json_tensors.from_array("scores", scores), strict=True))
    rows = [list(itertools.islice(pairs, len(entry.classes))) for entry in result.classifications]
    return json_tensors.text({"results": rows}, finite=json_tensors.is_finite([scores]))


def regress_reply(result: Any) -> bytes:
    """`results`: a value for each example."""
    values = np.array([entry.value for entry in result.regressions], dtype=np.float32)
    numbers = json_tensors.from_array("outputs", values)
    return json_tensors.text({"results": numbers}, finite=json_tensors.is_finite([values]))


def error_reply(message: str) -> bytes:
    """The body of an answer other than success. A message may hold what is no text: it is written in ASCII."""
    return json.dumps({"error": message}).encode() + b"\n"
