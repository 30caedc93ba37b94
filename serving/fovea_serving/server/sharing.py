"""Which outputs of a model's signatures may be asked for in a run that several callers share, and what says so.

The export marks them (`fovea_api.contract.row_wise`), the graph proves them (`row_wise`), or the operator takes it upon
himself (--row_wise_signatures). What came out of earlier runs says nothing: rows that were as many as those sent, by
chance, are what mixed the answers of callers.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from fovea_api.contract import row_wise as marks

from fovea_serving.server.row_wise import row_wise

log = logging.getLogger(__name__)

EVERY: Final = "*"


def shareable_outputs(
    path: Path, meta_graph: Any, names: Collection[str], assumed: Collection[str]
) -> dict[str, frozenset[str]]:
    """Row-wise outputs for each of these signatures of the model at `path`."""
    marked = _marks(path)
    return {name: _of_signature(path, meta_graph, name, marked, assumed) for name in names}


def _marks(path: Path) -> Mapping[str, frozenset[str]]:
    """What the export says. A mark that cannot be read costs speed and nothing else."""
    try:
        return marks.read(path)
    except ValueError as error:
        log.warning("%s. It is ignored, and the graph is followed instead", error)
        return {}


def _of_signature(
    path: Path, meta_graph: Any, name: str, marked: Mapping[str, frozenset[str]], assumed: Collection[str]
) -> frozenset[str]:
    definition = meta_graph.signature_def[name]
    if EVERY in assumed or name in assumed:
        return frozenset(definition.outputs)
    known = marked.get(name, frozenset()) & set(definition.outputs)
    if known == set(definition.outputs):
        return known
    try:
        verdicts = row_wise(meta_graph, definition)
    except Exception:
        # A graph that this code cannot follow is served all the same.
        log.exception("The graph of signature %r of %s could not be followed", name, path)
        return known
    has_rows = definition.inputs and all(_has_rows(info) for info in definition.inputs.values())
    unknown = {output: reason for output, reason in verdicts.items() if reason is not None and output not in known}
    for output, reason in sorted(unknown.items() if has_rows else ()):
        log.info(
            "Signature %r of %s: output %r is not known to be row-wise (%s). Requests that ask for it are run one by "
            "one. If row i of it depends on row i of the inputs only, --row_wise_signatures=%s lets them share runs",
            name, path, output, reason, name,
        )  # fmt: skip
    return frozenset(definition.outputs) - set(unknown)


def _has_rows(info: Any) -> bool:
    return bool(info.tensor_shape.dim) and info.tensor_shape.dim[0].size == -1
