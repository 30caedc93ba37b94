"""Rows to answers, many at once: the model server's own code on a SavedModel, below its ports.

As in the server, rows share a run only where the signature is known to keep them apart, and one bad row fails no other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fovea_serving.batch.inputs import Rows
from fovea_serving.protocol import signatures
from fovea_serving.protocol.errors import ServingError, internal
from fovea_serving.protocol.signatures import Signature
from fovea_serving.protocol.tensors import Array

log = logging.getLogger(__name__)

Answer = dict[str, Array] | ServingError
"""Outputs [1, …] by their names, or why there are none."""


class Runnable(Protocol):
    """What can run a signature (a `Servable`)."""

    def run(
        self, signature: Signature, feeds: Sequence[Array], outputs: Sequence[str], timeout: float | None = None
    ) -> list[Array]:
        """Values of the outputs; raises ServingError. Blocks."""


class Answering:
    """Asks one signature. May be used by several threads."""

    def __init__(self, servable: Runnable, signature: Signature) -> None:
        """Raises ServingError for outputs that cannot be had."""
        self._servable, self._signature = servable, signature
        self.outputs = signatures.chosen_outputs(signature, [])
        self._shares = True

    def answer(self, rows: Sequence[Rows]) -> list[Answer]:
        """An answer for each of the rows, in their order."""
        answers: dict[int, Answer] = {}
        groups: dict[object, list[int]] = {}
        for place, feeds in enumerate(rows):
            shareable = self._shares and self._signature.shareable_rows(feeds, self.outputs) == 1
            # Rows of different lengths have no array in common.
            key: object = tuple(array.shape[1:] for array in feeds) if shareable else place
            groups.setdefault(key, []).append(place)
        for places in groups.values():
            found = self._together([rows[place] for place in places])
            answers |= dict(zip(places, found, strict=True))
        return [answers[place] for place in range(len(rows))]

    def _together(self, rows: Sequence[Rows]) -> list[Answer]:
        """The answers of one run; where it fails, of two halves, until the rows that are to blame stand alone."""
        try:
            values = self._run(rows)
        except ServingError as error:
            if len(rows) == 1:
                return [error]
            log.debug("A run of %d records failed, it is halved: %s", len(rows), error)
            half = len(rows) // 2
            return [*self._together(rows[:half]), *self._together(rows[half:])]
        if values is None:
            return [answer for one in rows for answer in self._together([one])]
        named = list(zip(self.outputs, values, strict=True))
        return [{name: value[place : place + 1] for name, value in named} for place in range(len(rows))]

    def _run(self, rows: Sequence[Rows]) -> list[Array] | None:
        """None when the outputs of many rows are not theirs; raises ServingError."""
        feeds = rows[0] if len(rows) == 1 else [np.concatenate(parts) for parts in zip(*rows, strict=True)]
        values = self._servable.run(self._signature, feeds, self.outputs)
        if all(value.ndim and value.shape[0] == len(rows) for value in values):
            return values
        if len(rows) == 1:
            shapes = {name: list(value.shape) for name, value in zip(self.outputs, values, strict=True)}
            raise internal(f"The model's answer to one record is not one row: its outputs have the shapes {shapes}")
        if self._shares:
            self._shares = False
            log.warning(
                "Signature %r was said to be row-wise and is not: its records are run one by one from now on. Correct the "
                "mark of its export",
                self._signature.name,
            )
        return None
