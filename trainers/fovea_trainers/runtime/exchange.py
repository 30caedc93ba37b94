"""What an update says to its counterparts in other processes, where TensorFlow's own reductions do not reach them.

An update knows one device: it asks `totals.over_devices` for sums, and an optimizer to apply gradients. While a strategy
traces it, it may put something else in the place of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import tensorflow as tf


class Exchange(Protocol):
    """Sums and gradients of all shares of a batch."""

    index: tf.Tensor
    """int64 scalar: which share is the update's."""
    count: int
    """Shares of a batch."""

    def sums(self, shares: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Of tensors that each share has of its own, over all shares."""

    def apply(self, optimizer: Any, gradients: Sequence[tf.Tensor]) -> None:
        """Take the gradients of this share."""


_current: list[Exchange] = []


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """What is traced in here has this exchange; one thread at a time."""
    _current.append(exchange)
    try:
        yield
    finally:
        _current.pop()


def current() -> Exchange | None:
    """That of what is being traced."""
    return _current[-1] if _current else None
