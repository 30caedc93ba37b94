"""Texts of errors fit into what carries them."""

import grpc
from fovea_serving.protocol import errors
from fovea_serving.protocol.errors import LONGEST_MESSAGE, ServingError


def test_a_short_error_is_not_cut() -> None:
    for text in ("no input", "模" * (LONGEST_MESSAGE // 3), "x" * LONGEST_MESSAGE, ""):
        assert errors.on_the_wire(text) == text


def test_the_text_of_an_error_can_always_be_sent() -> None:
    error = ServingError(grpc.StatusCode.NOT_FOUND, "folder \udcff\ud83e")
    assert error.message.encode().decode() == r"folder \udcff\ud83e"
