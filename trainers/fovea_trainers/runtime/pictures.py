"""Pictures of a run, drawn by matplotlib without a display."""

import io
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_WIDTH, _HEIGHT, _DPI = 7, 4.5, 120
_COUNTED = 20
"""Classes up to which a confusion matrix shows its numbers; more would not be legible."""


@dataclass(frozen=True)
class Tile:
    """A picture of a sheet, with a line or more below it."""

    pixels: Array
    """uint8 [h, w, 3] or [h, w]; or float [h, w] in 0..1."""
    title: str
    wrong: bool = False
    """Whether the title is red."""


def plot(draw: Callable[[Any], None]) -> bytes:
    """A PNG of 840 × 540 pixels; `draw` gets matplotlib's axes."""
    return figure(lambda drawn: draw(drawn.add_subplot()), _WIDTH, _HEIGHT)


def figure(draw: Callable[[Any], None], width: float, height: float) -> bytes:
    """A PNG of `width` × `height` inches at 120 dots an inch; `draw` gets matplotlib's figure."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("MPLCONFIGDIR", scratch)  # its font cache; a container's home is read-only
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        drawn = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
        canvas = FigureCanvasAgg(drawn)
        draw(drawn)
        file = io.BytesIO()
        canvas.print_png(file)  # savefig would lay everything out and draw it twice
        return file.getvalue()


def sheet(tiles: Sequence[Tile], *, columns: int = 4, title: str = "") -> bytes | None:
    """Pictures in rows, each with its title, as a PNG; None without any."""
    if not tiles:
        return None
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    lines = max(tile.title.count("\n") + 1 for tile in tiles)

    def draw(drawn: Any) -> None:
        drawn.suptitle(title)
        for place, axes in enumerate(drawn.subplots(rows, columns, squeeze=False).flat):
            axes.axis("off")
            if place < len(tiles):
                tile = tiles[place]
                axes.imshow(tile.pixels, cmap="gray", vmin=0, vmax=255 if tile.pixels.dtype == np.uint8 else 1)
                axes.set_title(_plain(tile.title), fontsize=8, color="firebrick" if tile.wrong else "black")

    return figure(draw, 2 * columns, (2 + 0.15 * lines) * rows + 0.3)


def confusion(counts: Array, classes: Sequence[str]) -> bytes:
    """A confusion matrix [classes, classes] (rows: true class, columns: predicted) as a PNG, each row in shares."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [_plain(name) for name in classes]

    def draw(drawn: Any) -> None:
        axes = drawn.add_subplot()
        drawn.colorbar(axes.imshow(shares, cmap="Blues", vmin=0, vmax=1), label="share of the true class")
        axes.set(xlabel="predicted class", ylabel="true class", title="Confusion matrix")
        if len(names) <= _COUNTED:
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
            axes.set_yticks(range(len(names)), names)
            for (row, column), count in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)

    side = min(4 + 0.35 * len(names), 11)
    return figure(draw, side + 1.2, side)


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib takes what is between two of them for a formula
