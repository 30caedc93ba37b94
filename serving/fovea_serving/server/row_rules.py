"""Operations that keep rows apart: for each the condition under which row i of its result depends on row i alone.

A rule returns the kinds of the outputs, or None where its condition is not met. What has no rule proves nothing. Here are
those of numbers, products, pictures and reductions; `row_shape_rules` has the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fovea_serving.server.row_values import Kind, Operation, Shape, Value

Rule = Callable[[Operation], Kind | list[Kind] | None]

RULES: Final[dict[str, Rule]] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Make a function the rule of these operations."""

    def add(rule: Rule) -> Rule:
        for name in names:
            RULES[name] = rule
        return rule

    return add


def has(value: Value, *kinds: Kind) -> bool:
    """Whether a value is of one of these kinds."""
    return value.kind in kinds


def rows_then_fixed(one: Operation) -> bool:
    """Whether the first input has rows and the others are the same for all of them."""
    return has(one.inputs[0], Kind.ROWS) and all(has(value, Kind.FIXED) for value in one.inputs[1:])


@rule("Cast")
def _cast(one: Operation) -> Kind | None:
    return one.inputs[0].kind if has(one.inputs[0], Kind.ROWS, Kind.COUNT, Kind.SIZES) else None


_UNARY: Final = (
    "Abs", "Acos", "Acosh", "AsString", "Asin", "Asinh", "Atan", "Atanh", "BesselI0e", "BesselI1e", "Ceil",
    "CheckNumerics", "Cos", "Cosh", "DecodeBase64", "Digamma", "Elu", "EncodeBase64", "Erf", "Erfc", "Erfinv", "Exp",
    "Expm1", "Floor", "Inv", "Invert", "IsFinite", "IsInf", "IsNan", "LeakyRelu", "Lgamma", "Log", "Log1p",
    "LogicalNot", "Ndtri", "Neg", "OnesLike", "PreventGradient", "Reciprocal", "RegexFullMatch", "RegexReplace", "Relu",
    "Relu6", "Rint", "Round", "Rsqrt", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt",
    "Square", "StaticRegexFullMatch", "StaticRegexReplace", "StopGradient", "StringLength", "StringLower",
    "StringStrip", "StringToHashBucket", "StringToHashBucketFast", "StringToHashBucketStrong", "StringToNumber",
    "StringUpper", "Tan", "Tanh", "UnicodeScript", "ZerosLike", "DecodeRaw", "FakeQuantWithMinMaxArgs",
    "FakeQuantWithMinMaxVars", "Bucketize",
)  # fmt: skip
# Not here: Bitcast (takes away a last dimension, which of a vector of rows is the first) and QuantizeAndDequantize
# (takes its range from the whole batch).


@rule(*_UNARY)
def _unary(one: Operation) -> Kind | None:
    return Kind.ROWS if rows_then_fixed(one) else None


@rule(
    "Add", "AddV2", "Sub", "Mul", "MulNoNan", "Div", "DivNoNan", "RealDiv", "FloorDiv", "FloorMod", "TruncateDiv",
    "TruncateMod", "Mod", "Pow", "Maximum", "Minimum", "SquaredDifference", "Xdivy", "Xlogy", "Xlog1py", "Atan2",
    "Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "LogicalAnd", "LogicalOr", "BitwiseAnd",
    "BitwiseOr", "BitwiseXor", "LeftShift", "RightShift", "SelectV2", "ClipByValue", "NextAfter", "ApproximateEqual",
    "StringJoin", "Substr", "Igamma", "Igammac", "Zeta", "Polygamma", "Betainc",
)  # fmt: skip
def _broadcast(one: Operation) -> Kind | None:
    """Numbers one by one. A vector beside a matrix is laid along its last dimension, so ranks decide."""
    rows = [value for value in one.inputs if has(value, Kind.ROWS)]
    ranks = {value.rank for value in rows}
    if not rows or None in ranks or len(ranks) != 1:
        return None
    (rank,) = ranks
    for value in one.inputs:
        if not has(value, Kind.ROWS, Kind.FIXED):
            return None
        if has(value, Kind.FIXED) and not within_a_row(value.shape, rank or 0):
            return None
    return Kind.ROWS


def within_a_row(shape: Shape, rank: int) -> bool:
    """Whether a tensor of this shape beside rows of this rank is the same for each of them."""
    return shape is not None and (len(shape) < rank or (len(shape) == rank and shape[0] == 1))


@rule("AddN")
def _add_n(one: Operation) -> Kind | None:
    ranks = {value.rank for value in one.inputs}
    return Kind.ROWS if set(one.kinds()) == {Kind.ROWS} and len(ranks) == 1 and None not in ranks else None


@rule("Select")
def _select(one: Operation) -> Kind | None:
    """A condition of rank 1 chooses whole rows; any other has the shape of the two values."""
    return Kind.ROWS if set(one.kinds()) == {Kind.ROWS} else None


@rule("MatMul")
def _mat_mul(one: Operation) -> Kind | None:
    return Kind.ROWS if rows_then_fixed(one) and not one.attributes["transpose_a"].b else None


@rule("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def _batch_mat_mul(one: Operation) -> Kind | None:
    left, right = one.inputs
    if left.rank is None or right.rank is None:
        return None
    if has(left, Kind.ROWS) and has(right, Kind.FIXED):
        if left.rank == 2:
            return Kind.ROWS if right.rank == 2 and not one.attributes["adj_x"].b else None
        return Kind.ROWS if within_a_row(right.shape, left.rank) else None
    if has(right, Kind.ROWS) and has(left, Kind.FIXED):
        return Kind.ROWS if right.rank > 2 and within_a_row(left.shape, right.rank) else None
    both = has(left, Kind.ROWS) and has(right, Kind.ROWS)
    return Kind.ROWS if both and left.rank == right.rank and left.rank > 2 else None


@rule("Einsum")
def _einsum(one: Operation) -> Kind | None:
    """The label of the rows stands first in every operand that has them and in the result, and nowhere else."""
    sides = one.attributes["equation"].s.decode().replace(" ", "").split("->")
    if len(sides) != 2 or "." in sides[0] + sides[1] or not sides[1]:
        return None
    label, operands = sides[1][0], sides[0].split(",")
    if len(operands) != len(one.inputs) or sides[1].count(label) != 1:
        return None
    for operand, value in zip(operands, one.inputs, strict=True):
        if has(value, Kind.ROWS):
            if not operand or operand[0] != label or operand.count(label) != 1:
                return None
        elif not has(value, Kind.FIXED) or label in operand:
            return None
    return Kind.ROWS if any(has(value, Kind.ROWS) for value in one.inputs) else None


@rule(
    "Conv2D", "Conv3D", "DepthwiseConv2dNative", "MaxPool", "MaxPoolV2", "MaxPool3D", "AvgPool", "AvgPool3D",
    "BiasAdd", "LRN", "ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea", "DepthToSpace",
    "SpaceToDepth", "ExtractImagePatches", "AdjustContrastv2", "AdjustHue", "AdjustSaturation", "RGBToHSV", "HSVToRGB",
    "Dilation2D",
)  # fmt: skip
def _image(one: Operation) -> Kind | None:
    """Batches of images or volumes: of a single one (rank 3) the first dimension would be its height.

    No kernel takes windows or steps across the batch.
    """
    least = 2 if one.op == "BiasAdd" else 4
    return Kind.ROWS if rows_then_fixed(one) and (one.inputs[0].rank or 0) >= least else None


@rule("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def _transposed_convolution(one: Operation) -> Kind | None:
    return Kind.ROWS if one.kinds() == [Kind.SIZES, Kind.FIXED, Kind.ROWS] else None


@rule("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def _batch_norm(one: Operation) -> list[Kind] | None:
    """With the statistics of the training; those of the batch would mix its rows."""
    fits = rows_then_fixed(one) and not one.attributes["is_training"].b
    return [Kind.ROWS] + [Kind.OTHER] * 5 if fits else None


@rule("Softmax", "LogSoftmax")
def _over_the_last(one: Operation) -> Kind | None:
    return Kind.ROWS if rows_then_fixed(one) and (one.inputs[0].rank or 0) > 1 else None


@rule("TopKV2", "TopK")
def _top(one: Operation) -> list[Kind] | None:
    return [Kind.ROWS] * 2 if rows_then_fixed(one) and (one.inputs[0].rank or 0) > 1 else None


@rule("Sum", "Mean", "Max", "Min", "Prod", "All", "Any", "EuclideanNorm", "Cumsum", "Cumprod", "ReverseV2")
def _along(one: Operation) -> Kind | None:
    axes = one.axes(one.integers(1), one.inputs[0].rank)
    return Kind.ROWS if rows_then_fixed(one) and axes is not None and 0 not in axes else None


@rule("ArgMax", "ArgMin")
def _arg(one: Operation) -> Kind | None:
    axis = one.axis(1, one.inputs[0].rank)
    return Kind.ROWS if rows_then_fixed(one) and axis not in (None, 0) else None
