"""Pictures of a run, drawn by matplotlib without a display."""

import io
import os
import tempfile
from collections.abc import Callable
from typing import Any


def plot(draw: Callable[[Any], None]) -> bytes:
    """A PNG of 840 × 540 pixels; `draw` gets matplotlib's axes."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("MPLCONFIGDIR", scratch)  # its font cache; a container's home is read-only
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        file = io.BytesIO()
        figure.savefig(file, dpi=120, format="png")
        return file.getvalue()
