"""Learning curves as pictures: a metric over the epochs, training against validation."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def draw(history: Sequence[Mapping[str, float]], metric: str, path: Path) -> None:
    """Write a PNG of `metric` and `val_<metric>` over the epochs of a run's history."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("MPLCONFIGDIR", scratch)  # its font cache; a container's home is read-only
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for name, label in ((metric, "training"), (f"val_{metric}", "validation")):
            points = [(entry["epoch"], entry[name]) for entry in history if name in entry]
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=label)
        axes.set(xlabel="epoch", ylabel=metric, title=f"{metric.capitalize()}, training against validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        figure.savefig(path, dpi=120)
