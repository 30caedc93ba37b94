"""Which outputs of a signature are row-wise: row i of the output depends on row i of the inputs and on nothing else.

Only such outputs may be asked for in a run that several callers share. That is proven by following the graph from the
inputs to the outputs, not by trying it: a model that finds no box, one or two in a picture gives as many rows as it got
for as long as every picture shows one face.

    row_wise(meta_graph, definition)    {output: None, or what stands in the way}

The domain is in `row_values`, what is known of single operations in `row_rules` and `row_shape_rules`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tensorflow.core.framework import attr_value_pb2, types_pb2
from tensorflow.python.framework import op_def_registry  # the list within a SavedModel lacks what loops call

from fovea_serving.protocol import tensors
from fovea_serving.server.row_shape_rules import RULES
from fovea_serving.server.row_values import Kind, Operation, Shape, Unproven, Value, other

MOST_NODES: Final = 200_000
"""Operations that are looked at for one signature: a small file can name functions within functions without end."""
DEEPEST_CALL: Final = 40
LARGEST_CONSTANT: Final = 256
"""Elements of a constant that is kept: axes and shapes are small."""

_CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_LOOPS: Final = frozenset({"While", "StatelessWhile"})
_BRANCHES: Final = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
_SOURCES: Final = frozenset({
    "VarHandleOp", "VariableV2", "Variable", "HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2",
    "AnonymousHashTable", "Placeholder",
})  # fmt: skip
_READS: Final = frozenset({
    "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "LookupTableFind", "LookupTableFindV2", "LookupTableSize",
    "LookupTableSizeV2", "VariableShape",
})  # fmt: skip
_SAME: Final = frozenset({"Identity", "IdentityN", "Snapshot"})
_CHECKS: Final = frozenset({"NoOp", "Assert", "ControlTrigger"})
"""Without a result. An Assert that fails, fails the shared run, and then each caller gets a run of its own."""
_HANDLES: Final = frozenset({types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT})


def row_wise(meta_graph: Any, definition: Any) -> dict[str, str | None]:
    """For every output None where it is proven to be row-wise, else what stands in the way, in words."""
    for alias, info in definition.inputs.items():
        if not (shape := _shape(info.tensor_shape)) or shape[0] != -1:
            return dict.fromkeys(definition.outputs, f"the input {alias} has no dimension for rows")
    try:
        library = _Library(meta_graph)
        fed = {
            _reference(info.name): Value(Kind.ROWS, _shape(info.tensor_shape)) for info in definition.inputs.values()
        }
        graph = _Body(meta_graph.graph_def.node, {}, library, fed)
        names = {alias: info.name for alias, info in definition.outputs.items()}
        values = dict(zip(names, graph.values(list(names.values())), strict=True))
    except Unproven as error:
        return dict.fromkeys(definition.outputs, str(error))
    return {alias: _verdict(value) for alias, value in values.items()}


def _verdict(value: Value) -> str | None:
    if value.kind is Kind.ROWS:
        return None
    if value.kind is Kind.OTHER:
        return value.why
    return "it does not have a row for each row of the inputs"


def _shape(proto: Any) -> Shape:
    """Shape of a TensorShapeProto."""
    return None if proto.unknown_rank else tuple(dim.size for dim in proto.dim)


def _reference(text: str) -> tuple[str, str, int]:
    """Node, named output ("" where there is none) and number of `node:1`, `node:out:0` or `node`."""
    name, *rest = text.split(":")
    if not rest:
        return name, "", 0
    return name, rest[0] if len(rest) == 2 else "", int(rest[-1])


class _Library:
    """The functions and operations of a graph."""

    def __init__(self, meta_graph: Any) -> None:
        self.functions = {one.signature.name: one for one in meta_graph.graph_def.library.function}
        self._operations: dict[str, Any] = {}
        self.left = MOST_NODES
        self.depth = 0
        self._harmless: dict[str, bool] = {}

    def definition(self, name: str) -> Any:
        """OpDef of an operation that the runtime knows, or None."""
        if name not in self._operations:
            self._operations[name] = op_def_registry.get(name)
        return self._operations[name]

    def attributes(self, node: Any) -> Mapping[str, Any]:
        """Attributes of a node, with the defaults that a file leaves out."""
        known = self.definition(node.op)
        defaults = {} if known is None else {one.name: one.default_value for one in known.attr}
        return defaultdict(attr_value_pb2.AttrValue, {**defaults, **node.attr})

    def harmless(self, node: Any) -> bool:
        """Whether an operation changes nothing, keeps nothing, and gives the same for the same inputs."""
        if node.op in _SAME or node.op in _SOURCES or node.op in _READS or node.op in _CHECKS:
            return True
        functions = called(node)
        if node.op in _CALLS | _LOOPS | _BRANCHES or node.op in self.functions:
            return all(self.harmless_function(name) for name in functions or [node.op])
        known = self.definition(node.op)
        if known is None or known.is_stateful:
            return False
        arguments = [*known.input_arg, *known.output_arg]
        lists = node.op.startswith("TensorList")
        return all(not one.is_ref and (lists or one.type not in _HANDLES) for one in arguments)

    def harmless_function(self, name: str) -> bool:
        """The same for all of a function."""
        if name not in self._harmless:
            self._harmless[name] = False  # one that calls itself is not judged
            function = self.functions.get(name)
            self._harmless[name] = function is not None and all(self.harmless(node) for node in function.node_def)
        return self._harmless[name]

    def output(self, node: Any, name: str, number: int) -> int:
        """Place of a named output among all outputs of a node."""
        definition = self.functions[node.op].signature if node.op in self.functions else self.definition(node.op)
        if not name or definition is None:
            return number
        place, attributes = 0, self.attributes(node)
        for one in definition.output_arg:
            if one.name == name:
                return place + number
            if one.type_list_attr:
                place += len(attributes[one.type_list_attr].list.type)
            else:
                place += attributes[one.number_attr].i if one.number_attr else 1
        raise Unproven(f"{node.op} has no output {name}")

    def call(self, name: str, arguments: Sequence[Value]) -> list[Value]:
        """Results of a function for these arguments."""
        function = self.functions.get(name)
        if function is None or self.depth >= DEEPEST_CALL:
            raise Unproven(f"the function {name} cannot be followed")
        names = [one.name for one in function.signature.input_arg]
        if len(names) != len(arguments):
            raise Unproven(f"the function {name} takes other arguments")
        self.depth += 1
        body = _Body(function.node_def, dict(zip(names, arguments, strict=True)), self, {})
        body.require(list(function.control_ret.values()))
        found = body.values([function.ret[one.name] for one in function.signature.output_arg])
        self.depth -= 1
        return found


def called(node: Any) -> list[str]:
    """Names of the functions that a node's attributes name."""
    names = [one.func.name for one in node.attr.values() if one.WhichOneof("value") == "func"]
    return names + [func.name for one in node.attr.values() for func in one.list.func]


class _Body:
    """The graph, or a function's body with its arguments: evaluates its nodes once each, those that are needed."""

    def __init__(self, nodes: Any, arguments: Mapping[str, Value], library: _Library, fed: Mapping[Any, Value]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._arguments = arguments
        self._library = library
        self._fed = fed
        self._found: dict[str, list[Value]] = {}

    def values(self, references: Sequence[str]) -> list[Value]:
        """What is known of these tensors."""
        self.require([name for text in references if (name := self._needed(text))])
        return [self._value(text) for text in references]

    def _needed(self, text: str) -> str:
        """The node to evaluate for a tensor; "" where it is known already."""
        if text.startswith("^"):
            return text[1:]
        reference = _reference(text)
        return "" if reference in self._fed or reference[0] in self._arguments else reference[0]

    def _value(self, text: str) -> Value:
        name, output, number = reference = _reference(text)
        if reference in self._fed:
            return self._fed[reference]
        if name in self._arguments:
            return self._arguments[name]
        found, place = self._found[name], self._library.output(self._nodes[name], output, number)
        return found[place] if place < len(found) else other(f"{self._nodes[name].op} has no output {place}")

    def require(self, names: Sequence[str]) -> None:
        """Evaluate nodes after those that they need. A loop instead of recursion: graphs are thousands of nodes deep."""
        stack, entered = list(names), set()
        while stack:
            name = stack[-1]
            if name in self._found:
                stack.pop()
                continue
            node = self._nodes.get(name)
            if node is None:
                raise Unproven(f"the node {name} is missing")
            missing = [one for text in node.input if (one := self._needed(text)) and one not in self._found]
            if missing and name in entered:
                raise Unproven(f"{node.op} is part of a loop of the old kind")
            if missing:
                entered.add(name)
                stack.extend(missing)
                continue
            stack.pop()
            self._library.left -= 1
            if self._library.left < 0:
                raise Unproven("the graph is too large to be followed")
            inputs = [self._value(text) for text in node.input if not text.startswith("^")]
            self._found[name] = _evaluate(node, inputs, self._library)


def _evaluate(node: Any, inputs: list[Value], library: _Library) -> list[Value]:
    """What is known of the outputs of one node; raises Unproven for one that changes or keeps something."""
    if node.op in _SAME:
        return inputs
    if node.op == "Const":
        return [_constant(node)]
    if node.op in _CHECKS:
        return []
    shapes = [_shape(one) for one in node.attr["_output_shapes"].list.shape]
    if node.op in _SOURCES:
        return [Value(Kind.FIXED, shape) for shape in shapes or [None]]
    functions = called(node)
    if node.op in _CALLS or node.op in library.functions:
        return library.call(functions[0] if node.op in _CALLS else node.op, inputs)
    if not library.harmless(node):
        raise Unproven(f"{node.op} may keep something from one run to the next, or is not known")
    count = max(len(shapes), _outputs(node, library))
    kinds = {value.kind for value in inputs}
    if kinds <= {Kind.FIXED}:
        return [Value(Kind.FIXED, shape) for shape in _filled(shapes, count)]
    if kinds <= {Kind.FIXED, Kind.ITEM}:
        return [Value(Kind.ITEM, shape) for shape in _filled(shapes, count)]
    if node.op in _LOOPS:
        return _loop(node, inputs, library)
    if node.op in _BRANCHES and inputs[0].kind is Kind.FIXED:
        return _merged([library.call(name, inputs[1:]) for name in functions], shapes)
    return _by_rule(Operation(node.op, library.attributes(node), inputs, shapes), count)


def _outputs(node: Any, library: _Library) -> int:
    known, attributes = library.definition(node.op), library.attributes(node)
    count = 0
    for one in known.output_arg if known is not None else ():
        listed = len(attributes[one.type_list_attr].list.type) if one.type_list_attr else 1
        count += attributes[one.number_attr].i if one.number_attr else listed
    return count


def _filled(shapes: list[Shape], count: int) -> list[Shape]:
    return shapes + [None] * (count - len(shapes))


def _constant(node: Any) -> Value:
    proto = node.attr["value"].tensor
    shape = _shape(proto.tensor_shape)
    size = 1
    for dimension in shape or ():
        size *= dimension
    if size > LARGEST_CONSTANT or proto.dtype not in (types_pb2.DT_INT32, types_pb2.DT_INT64):
        return Value(Kind.FIXED, shape)
    return Value(Kind.FIXED, shape, tensors.to_array(proto))


def _by_rule(one: Operation, count: int) -> list[Value]:
    for value in one.inputs:
        if value.kind is Kind.OTHER:
            return [value] * count
    loop = _in_loop(one)
    if loop is not None:
        return [loop]
    kinds = RULES[one.op](one) if one.op in RULES else None
    if kinds is None:
        return [other(f"{one.op} may mix its rows or change their number")] * count
    listed = kinds if isinstance(kinds, list) else [kinds] * count
    source = one.inputs[0].source
    found = [Value(kind, one.shape(place), source=source) for place, kind in enumerate(listed)]
    return [value if value.kind is not Kind.OTHER else other(f"{one.op} may mix its rows") for value in found]


def _in_loop(one: Operation) -> Value | None:
    """Counting the turns of a loop over the rows."""
    kinds = one.kinds()
    if one.op in ("Add", "AddV2") and Kind.INDEX in kinds:
        step = one.integers(1 - kinds.index(Kind.INDEX))
        return Value(Kind.NEXT, source=one.inputs[kinds.index(Kind.INDEX)].source) if step == [1] else None
    below = (one.op == "Less" and kinds == [Kind.INDEX, Kind.COUNT]) or (
        one.op == "LogicalAnd" and kinds == [Kind.BELOW, Kind.BELOW]
    )
    return Value(Kind.BELOW) if below else None


def _merged(branches: list[list[Value]], shapes: list[Shape]) -> list[Value]:
    """Results of a choice between branches that does not depend on the rows."""
    found = []
    for place, values in enumerate(zip(*branches, strict=True)):
        alike = len({value.kind for value in values}) == 1 and values[0].kind in (Kind.ROWS, Kind.FIXED)
        shape = shapes[place] if place < len(shapes) else None
        found.append(Value(values[0].kind, shape) if alike else other("branches give different kinds of results"))
    return found


def _loop(node: Any, inputs: list[Value], library: _Library) -> list[Value]:
    """A loop that takes one row a turn and sets one element of each of its lists: what tf.map_fn makes."""
    found = _over_rows(node, inputs, library)
    return found or [other("a loop may mix its rows")] * len(inputs)


def _over_rows(node: Any, inputs: list[Value], library: _Library) -> list[Value] | None:
    body, condition = node.attr["body"].func.name, node.attr["cond"].func.name
    counters = {place for place, value in enumerate(inputs) if _is_zero(value)}
    arguments: list[Value] = []
    results: list[Value] = []
    while counters:
        arguments = [_argument(value, place, place in counters) for place, value in enumerate(inputs)]
        results = library.call(body, arguments)
        counted = {place for place in counters if results[place].kind is Kind.NEXT and results[place].source == place}
        if counted == counters:
            break
        counters = counted
    if not counters or library.call(condition, arguments)[0].kind is not Kind.BELOW:
        return None
    found = []
    for place, (before, after) in enumerate(zip(arguments, results, strict=True)):
        if place in counters:
            found.append(other("the number of turns of a loop"))
        elif before.kind is Kind.EMPTY and after.kind is Kind.FILLED and after.source == place:
            found.append(after)
        elif after is before:
            found.append(inputs[place])
        else:
            return None
    return found


def _is_zero(value: Value) -> bool:
    return value.kind is Kind.FIXED and value.shape == () and value.constant is not None and not value.constant.any()


def _argument(value: Value, place: int, counts: bool) -> Value:
    if counts:
        return Value(Kind.INDEX, (), source=place)
    return Value(value.kind, value.shape, value.constant, value.why, place)
