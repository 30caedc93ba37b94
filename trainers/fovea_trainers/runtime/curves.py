"""Learning curves as pictures: a metric over the epochs, training against validation where there is one."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def lines(history: Sequence[Mapping[str, float]], metric: str) -> dict[str, list[tuple[float, float]]]:
    """(epoch, value) of `metric` and `val_<metric>` by label; what was never measured has no line."""
    found = {
        label: [(entry["epoch"], entry[name]) for entry in history if name in entry]
        for name, label in ((metric, "training"), (f"val_{metric}", "validation"))
    }
    return {label: points for label, points in found.items() if points}


def draw(history: Sequence[Mapping[str, float]], metric: str, path: Path) -> None:
    """Write the lines of a run's history as a PNG; none without a finished epoch."""
    path.unlink(missing_ok=True)  # of an earlier run in the same directory
    drawn = lines(history, metric)
    if not drawn:
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("MPLCONFIGDIR", scratch)  # its font cache; a container's home is read-only
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for label, points in drawn.items():
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=label)
        axes.set(xlabel="epoch", ylabel=metric, title=f"{metric.capitalize()}, {' against '.join(drawn)}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        figure.savefig(path, dpi=120)
