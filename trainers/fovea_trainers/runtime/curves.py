"""Learning curves as pictures: a metric over the epochs, training against validation where there is one."""

from collections.abc import Mapping, Sequence
from typing import Any

from fovea_trainers.runtime import pictures


def lines(
    history: Sequence[Mapping[str, float]], metric: str, across: str = "epoch"
) -> dict[str, list[tuple[float, float]]]:
    """(epoch, value) of `metric` and `val_<metric>` by label; what was never measured has no line."""
    found = {
        label: [(entry[across], entry[name]) for entry in history if name in entry]
        for name, label in ((metric, "training"), (f"val_{metric}", "validation"))
    }
    return {label: points for label, points in found.items() if points}


def draw(history: Sequence[Mapping[str, float]], metric: str, across: str = "epoch") -> bytes | None:
    """The lines of a run's history as a PNG, over epochs or steps; None without a finished epoch."""
    drawn = lines(history, metric, across)
    if not drawn:
        return None

    def plot(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for label, points in drawn.items():
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=label)
        axes.set(xlabel=across, ylabel=metric, title=f"{metric.capitalize()}, {' against '.join(drawn)}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.3)
        axes.legend()

    return pictures.plot(plot)
