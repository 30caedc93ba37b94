"""What a cell of CSV is to a model, and how much of the memory a row takes."""

from typing import Any

import pytest
from fovea_serving.batch.cells import value_of
from fovea_serving.batch.sizes import CELL, size_of
from fovea_serving.protocol.errors import ServingError
from fovea_serving.protocol.signatures import Slot
from fovea_wire import types_pb2

FLOAT, INT, STRING, BOOL = types_pb2.DT_FLOAT, types_pb2.DT_INT64, types_pb2.DT_STRING, types_pb2.DT_BOOL


def slot(dtype: int) -> Slot:
    return Slot("x:0", dtype, (-1,))


@pytest.mark.parametrize(
    "cell,dtype,value",
    [
        ("1", FLOAT, 1),
        (" -1.5e3 ", FLOAT, -1500.0),
        ("+7", INT, 7),
        ("1_000", STRING, "1_000"),
        (" x ", STRING, " x "),
        ("True", BOOL, True),
        ("0", BOOL, False),
    ],
)
def test_a_cell_is_what_a_client_would_send(cell: str, dtype: int, value: Any) -> None:
    assert value_of("a", cell, slot(dtype)) == value


@pytest.mark.parametrize(
    "cell,dtype,kind",
    [
        ("1_000", INT, "int64"),
        ("1_0.5", FLOAT, "float"),
        ("1e1_0", FLOAT, "float"),
        ("١٢", INT, "int64"),
        ("", FLOAT, "float"),
        ("yes", BOOL, "bool"),
        ("1,5", FLOAT, "float"),
    ],
)
def test_a_cell_that_is_no_number_is_refused_with_its_column(cell: str, dtype: int, kind: str) -> None:
    with pytest.raises(ServingError, match=f"Column width is '{cell}', which is no {kind}"):
        value_of("width", cell, slot(dtype))


def test_a_row_is_as_large_as_its_cells_and_not_as_their_number() -> None:
    assert size_of(b"abc") == 3
    assert size_of({"a": "x" * 1000, "b": ""}) == 1000 + 2 * CELL
