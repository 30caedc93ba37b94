"""Operations that reshape, cut, join, look up and fill, and those of a loop over the rows: see `row_rules`."""

from __future__ import annotations

import math

from fovea_serving.server.row_rules import RULES, has, rows_then_fixed, rule, within_a_row
from fovea_serving.server.row_values import Kind, Operation, Shape

__all__ = ["RULES"]


def _inner(shape: Shape) -> int | None:
    """Elements of a row, where the shape says so."""
    if not shape or any(size < 0 for size in shape[1:]):
        return None
    return math.prod(shape[1:])


@rule("Reshape")
def _reshape(one: Operation) -> Kind | None:
    """[n, ...] to [n, ...]: either n is named, or a row has as many elements after as before."""
    tensor, wanted = one.inputs
    if has(tensor, Kind.SIZES, Kind.COUNT) and one.shape() == (1,) and has(wanted, Kind.FIXED):
        return Kind.SIZES if tensor.rank == 0 or tensor.shape == (1,) else None
    if not has(tensor, Kind.ROWS):
        return None
    if has(wanted, Kind.SIZES):
        return Kind.ROWS
    before, after = _inner(tensor.shape), _inner(one.shape())
    return Kind.ROWS if has(wanted, Kind.FIXED) and before is not None and before == after and before > 0 else None


@rule("Squeeze")
def _squeeze(one: Operation) -> Kind | None:
    """Only of named dimensions: else a lone row loses the first one."""
    axes = one.axes(list(one.attributes["squeeze_dims"].list.i), one.inputs[0].rank)
    if one.inputs[0].kind is Kind.SIZES:
        return Kind.COUNT if one.inputs[0].shape == (1,) else None
    return Kind.ROWS if rows_then_fixed(one) and axes and 0 not in axes else None


@rule("ExpandDims")
def _expand(one: Operation) -> Kind | None:
    rank = one.inputs[0].rank
    axis = one.axis(1, None if rank is None else rank + 1)
    if one.inputs[0].kind is Kind.COUNT:
        return Kind.SIZES if axis == 0 else None
    return Kind.ROWS if rows_then_fixed(one) and axis not in (None, 0) else None


@rule("Transpose")
def _transpose(one: Operation) -> Kind | None:
    order = one.integers(1)
    return Kind.ROWS if rows_then_fixed(one) and order is not None and order[:1] == [0] else None


@rule("ConcatV2")
def _concat(one: Operation) -> Kind | None:
    parts = one.inputs[:-1]
    ranks = {value.rank for value in parts}
    axis = one.axis(len(parts), next(iter(ranks)) if len(ranks) == 1 else None)
    if all(has(value, Kind.ROWS) for value in parts):
        return Kind.ROWS if axis not in (None, 0) and len(ranks) == 1 else None
    sizes = has(parts[0], Kind.SIZES) and all(has(value, Kind.FIXED) for value in parts[1:])
    return Kind.SIZES if sizes and axis == 0 else None


@rule("Pack")
def _pack(one: Operation) -> Kind | None:
    rank = one.inputs[0].rank
    axes = one.axes([one.attributes["axis"].i], None if rank is None else rank + 1)
    if all(has(value, Kind.ROWS) for value in one.inputs):
        return Kind.ROWS if axes is not None and axes[0] != 0 else None
    sizes = has(one.inputs[0], Kind.COUNT) and all(has(value, Kind.FIXED) for value in one.inputs[1:])
    return Kind.SIZES if sizes and axes == [0] else None


@rule("Unpack")
def _unpack(one: Operation) -> list[Kind] | None:
    axes = one.axes([one.attributes["axis"].i], one.inputs[0].rank)
    fits = rows_then_fixed(one) and axes is not None and axes[0] != 0
    return [Kind.ROWS] * one.attributes["num"].i if fits else None


@rule("Split", "SplitV")
def _split(one: Operation) -> list[Kind] | None:
    at, tensor = (0, 1) if one.op == "Split" else (2, 0)
    axis = one.axis(at, one.inputs[tensor].rank)
    fixed = all(has(value, Kind.FIXED) for number, value in enumerate(one.inputs) if number != tensor)
    fits = has(one.inputs[tensor], Kind.ROWS) and fixed and axis not in (None, 0)
    return [Kind.ROWS] * one.attributes["num_split"].i if fits else None


@rule("StridedSlice")
def _strided_slice(one: Operation) -> Kind | None:
    tensor = one.inputs[0]
    if not all(has(value, Kind.FIXED) for value in one.inputs[1:]):
        return None
    if has(tensor, Kind.SIZES):
        return _part_of_sizes(one)
    masks = {name: one.attributes[name].i for name in
             ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")}  # fmt: skip
    strides = one.integers(3)
    if not has(tensor, Kind.ROWS) or strides is None or masks["new_axis_mask"] & 1:
        return None
    if masks["ellipsis_mask"] & 1:
        named = len(strides) - 1 - (masks["new_axis_mask"] >> 1).bit_count()
        return Kind.ROWS if tensor.rank is not None and named < tensor.rank else None
    whole = masks["begin_mask"] & masks["end_mask"] & 1 and strides[0] == 1 and not masks["shrink_axis_mask"] & 1
    return Kind.ROWS if whole else None


def _part_of_sizes(one: Operation) -> Kind | None:
    shape = one.inputs[0].shape
    begin, end, strides = one.integers(1), one.integers(2), one.integers(3)
    masks = one.attributes
    odd = masks["ellipsis_mask"].i or masks["new_axis_mask"].i
    if odd or begin is None or end is None or strides is None or len(begin) != 1 or not shape or shape[0] < 1:
        return None
    places = range(shape[0])
    if masks["shrink_axis_mask"].i:
        return Kind.COUNT if places[begin[0]] == 0 else Kind.FIXED
    first = None if masks["begin_mask"].i else begin[0]
    taken = places[first : None if masks["end_mask"].i else end[0] : strides[0]]
    if 0 not in taken:
        return Kind.FIXED
    return Kind.SIZES if taken[0] == 0 else None


@rule("Slice")
def _slice(one: Operation) -> Kind | None:
    begin, size = one.integers(1), one.integers(2)
    whole = begin is not None and size is not None and begin[:1] == [0] and size[:1] == [-1]
    return Kind.ROWS if rows_then_fixed(one) and whole else None


@rule("Gather", "GatherV2", "ResourceGather")
def _gather(one: Operation) -> Kind | None:
    params, indices = one.inputs[:2]
    axis = one.axis(2, params.rank) if one.op == "GatherV2" else 0
    alike = one.attributes["batch_dims"].i
    if len(one.inputs) > 2 and not has(one.inputs[2], Kind.FIXED):
        return None
    if has(params, Kind.FIXED) and has(indices, Kind.ROWS):
        return Kind.ROWS if axis == 0 and alike == 0 else None
    if has(params, Kind.ROWS) and has(indices, Kind.FIXED):
        return Kind.ROWS if axis not in (None, 0) and alike == 0 else None
    both = has(params, Kind.ROWS) and has(indices, Kind.ROWS)
    return Kind.ROWS if both and alike >= 1 and axis not in (None, 0) else None


@rule("GatherNd")
def _gather_nd(one: Operation) -> Kind | None:
    fits = one.kinds() == [Kind.FIXED, Kind.ROWS] and (one.inputs[1].rank or 0) > 1
    return Kind.ROWS if fits else None


@rule("LookupTableFind", "LookupTableFindV2")
def _look_up(one: Operation) -> Kind | None:
    return Kind.ROWS if one.kinds() == [Kind.FIXED, Kind.ROWS, Kind.FIXED] else None


@rule("OneHot")
def _one_hot(one: Operation) -> Kind | None:
    return Kind.ROWS if rows_then_fixed(one) and one.attributes["axis"].i != 0 else None


@rule("Tile")
def _tile(one: Operation) -> Kind | None:
    tensor, times = one.inputs
    if has(tensor, Kind.FIXED) and has(times, Kind.SIZES):
        return Kind.ROWS if tensor.shape and tensor.shape[0] == 1 else None
    numbers = one.integers(1)
    return Kind.ROWS if rows_then_fixed(one) and numbers is not None and numbers[:1] == [1] else None


@rule("Pad", "PadV2", "MirrorPad")
def _pad(one: Operation) -> Kind | None:
    numbers = one.integers(1)
    return Kind.ROWS if rows_then_fixed(one) and numbers is not None and numbers[:2] == [0, 0] else None


@rule("Fill")
def _fill(one: Operation) -> Kind | None:
    return Kind.ROWS if one.kinds() == [Kind.SIZES, Kind.FIXED] else None


@rule("BroadcastTo")
def _broadcast_to(one: Operation) -> Kind | None:
    tensor, sizes = one.inputs
    length = sizes.shape[0] if sizes.shape else -1
    if not has(sizes, Kind.SIZES) or tensor.rank is None or length < 1:
        return None
    if has(tensor, Kind.ROWS):
        return Kind.ROWS if tensor.rank == length else None
    return Kind.ROWS if has(tensor, Kind.FIXED) and within_a_row(tensor.shape, length) else None


@rule("Shape")
def _shape(one: Operation) -> Kind | None:
    return Kind.SIZES if has(one.inputs[0], Kind.ROWS) else None


@rule("Rank")
def _rank(one: Operation) -> Kind | None:
    return Kind.FIXED if has(one.inputs[0], Kind.ROWS) else None


@rule("EnsureShape", "PlaceholderWithDefault")
def _same(one: Operation) -> Kind | None:
    return Kind.ROWS if has(one.inputs[0], Kind.ROWS) else None


@rule("ParseExampleV2")
def _parse(one: Operation) -> list[Kind] | None:
    """Features of a fixed shape only: all others are as long as the longest of the batch."""
    if one.kinds()[0] is not Kind.ROWS or set(one.kinds()[1:]) - {Kind.FIXED}:
        return None
    shapes = one.attributes["dense_shapes"].list.shape
    open_ended = any(shape.unknown_rank or any(dim.size < 0 for dim in shape.dim) for shape in shapes)
    ragged = one.attributes["ragged_value_types"].list.type or one.attributes["num_sparse"].i
    return None if open_ended or ragged else [Kind.ROWS] * len(shapes)


# A loop over the rows, as tf.map_fn writes it.


@rule("TensorListFromTensor")
def _list_of(one: Operation) -> Kind | None:
    return Kind.LIST if one.kinds() == [Kind.ROWS, Kind.FIXED] else None


@rule("TensorListReserve")
def _reserve(one: Operation) -> Kind | None:
    return Kind.EMPTY if one.kinds() == [Kind.FIXED, Kind.COUNT] else None


@rule("TensorListGetItem")
def _get_item(one: Operation) -> Kind | None:
    return Kind.ITEM if one.kinds() == [Kind.LIST, Kind.INDEX, Kind.FIXED] else None


@rule("TensorListSetItem")
def _set_item(one: Operation) -> Kind | None:
    into, at, value = one.inputs[:3]
    fits = has(into, Kind.EMPTY, Kind.FILLED) and has(at, Kind.INDEX) and has(value, Kind.ITEM, Kind.FIXED)
    return Kind.FILLED if fits else None


@rule("TensorListStack")
def _stack(one: Operation) -> Kind | None:
    return Kind.ROWS if one.kinds() == [Kind.FILLED, Kind.FIXED] else None
