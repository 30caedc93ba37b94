"""Modules that TensorFlow would import and that a server does without."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(module: str) -> Iterator[None]:
    """Nothing imports the module within the block; an import after the block still works.

    TensorFlow imports Keras for programs that build models, and goes on without where there is none. To serve a graph
    it is 100 MiB and a second or two for nothing.
    """
    sys.modules[module] = None  # type: ignore[assignment] # Python's way to say that there is no such module
    try:
        yield
    finally:
        del sys.modules[module]
