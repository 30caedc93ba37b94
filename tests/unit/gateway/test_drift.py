"""How far two answers are apart: classes by the part that changed, numbers by their relative difference."""

from typing import Any

import pytest
from fovea_gateway.comparator.answers import Outputs, Unreadable, of_grpc, of_rest
from fovea_gateway.comparator.drift import drift
from fovea_wire import predict_pb2, tensors, types_pb2


def answer(**outputs: Any) -> Outputs:
    return of_grpc(response(**outputs).SerializeToString())


def response(**outputs: Any) -> predict_pb2.PredictResponse:
    encoded = {
        name: value if isinstance(value, tensors.tensor_pb2.TensorProto) else tensors.encode(value)
        for name, value in outputs.items()
    }
    return predict_pb2.PredictResponse(outputs=encoded)


NAN = float("nan")
TABLE: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "the same answer": ({"y": [1.0, 2.0]}, {"y": [1.0, 2.0]}, 0.0),
    "nothing on both sides": ({}, {}, 0.0),
    "no rows on both sides": ({"classes": tensors.encode([], types_pb2.DT_STRING)},) * 2 + (0.0,),
    "one class of four": ({"classes": ["a", "b", "c", "d"]}, {"classes": ["a", "b", "c", "x"]}, 0.25),
    "the same classes with other scores": (
        {"classes": ["a", "b"], "scores": [0.9, 0.6]},
        {"classes": ["a", "b"], "scores": [0.5, 0.5]},
        0.0,
    ),
    "numbers of classes": ({"class": [1, 2]}, {"class": [1, 3]}, 0.5),
    "of two outputs with classes the one that differs most": (
        {"a": ["x", "x"], "b": [1, 1]},
        {"a": ["x", "x"], "b": [1, 2]},
        0.5,
    ),
    "numbers by their length": ({"y": [3.0, 4.0]}, {"y": [3.0, 5.0]}, 1 / 34**0.5),
    "opposite numbers are wholly apart, not more": ({"y": [1.0]}, {"y": [-1.0]}, 1.0),
    "numbers whose squares are too large": (
        {"y": tensors.encode([-1.7e308, 1.0], types_pb2.DT_DOUBLE)},
        {"y": tensors.encode([-1.7e308, 2.0], types_pb2.DT_DOUBLE)},
        0.0,
    ),
    "opposite ones of these": (
        {"y": tensors.encode([1.7e308], types_pb2.DT_DOUBLE)},
        {"y": tensors.encode([-1.7e308], types_pb2.DT_DOUBLE)},
        1.0,
    ),
    "zeros": ({"y": [0.0, 0.0]}, {"y": [0.0, 0.0]}, 0.0),
    "something instead of nothing": ({"y": [0.0]}, {"y": [0.1]}, 1.0),
    "not a number on one side": ({"y": [1.0, NAN]}, {"y": [1.0, 2.0]}, 1.0),
    "not a number on both sides": ({"y": [1.0, NAN]}, {"y": [1.0, NAN]}, 0.0),
    "infinity on one side": ({"y": [1.0]}, {"y": [float("inf")]}, 1.0),
    "an output more": ({"y": [1.0]}, {"y": [1.0], "z": [1.0]}, 1.0),
    "another name": ({"y": [1.0]}, {"z": [1.0]}, 1.0),
    "another shape": ({"y": [1.0]}, {"y": [[1.0]]}, 1.0),
    "another type": ({"y": [1.0]}, {"y": [1]}, 1.0),
}


@pytest.mark.parametrize("sentence", TABLE)
def test_answers(sentence: str) -> None:
    before, after, apart = TABLE[sentence]
    assert drift(answer(**before), answer(**after)) == pytest.approx(apart)
    assert drift(answer(**after), answer(**before)) == pytest.approx(apart), "whichever is asked first"


def test_an_answer_that_cannot_be_read_is_an_error_and_no_difference() -> None:
    broken = response(y=[1.0, 2.0])
    broken.outputs["y"].tensor_content = b"123"
    for text in (broken.SerializeToString(), b"\xff\xff"):
        with pytest.raises(Unreadable):
            of_grpc(text)


REST: dict[str, tuple[str, str, float]] = {
    "rows of one output": ('{"predictions": [[0.5], [0.5]]}', '{"predictions": [[0.5], [0.5]]}', 0.0),
    "numbers that differ": ('{"predictions": [3.0, 4.0]}', '{"predictions": [3.0, 5.0]}', 1 / 34**0.5),
    "rows with several outputs, of which classes decide": (
        '{"predictions": [{"class": "a", "score": 0.9}, {"class": "b", "score": 0.6}]}',
        '{"predictions": [{"class": "a", "score": 0.1}, {"class": "c", "score": 0.6}]}',
        0.5,
    ),
    "outputs by name": ('{"outputs": {"y": [[1.0]], "n": [7]}}', '{"outputs": {"y": [[2.0]], "n": [7]}}', 0.0),
    "one output": ('{"outputs": [1, 2]}', '{"outputs": [1, 3]}', 0.5),
    "bytes": ('{"predictions": [{"b64": "YQ=="}]}', '{"predictions": [{"b64": "Yg=="}]}', 1.0),
    "a scalar": ('{"outputs": 2.0}', '{"outputs": 2.0}', 0.0),
    "no rows": ('{"predictions": []}', '{"predictions": []}', 0.0),
    "another shape": ('{"predictions": [[1.0]]}', '{"predictions": [1.0]}', 1.0),
    "not a number on both sides": ('{"predictions": [NaN]}', '{"predictions": [NaN]}', 0.0),
    "whole numbers among others": ('{"predictions": [1, 0.5]}', '{"predictions": [1.0, 0.5]}', 0.0),
}


@pytest.mark.parametrize("sentence", REST)
def test_answers_of_rest(sentence: str) -> None:
    before, after, apart = REST[sentence]
    assert drift(of_rest(before.encode()), of_rest(after.encode())) == pytest.approx(apart)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[1]", '{"error": "no"}', '{"predictions": [[1], [1, 2]]}', '{"predictions": [null]}'),
        *('{"predictions": [{"a": 1}, {"b": 1}]}', '{"outputs": [1, "a"]}', '{"predictions": [[1], 2]}'),
    ],
)
def test_a_body_that_says_nothing_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        of_rest(text.encode())
