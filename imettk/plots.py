"""Every picture, drawn with matplotlib on no screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def draw_rates(path: Path, rates: np.ndarray, names: Sequence[str], borders: Sequence[int]) -> None:
    """Learning rates over the steps of a training, as a PNG.

    Args:
        rates: of each group, float (G, S); NaN where a group is frozen.
        names: of the groups.
        borders: steps at which a stage begins.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends = [*borders[1:], rates.shape[1]]
    for group, name in enumerate(names):
        for number, (first, last) in enumerate(zip(borders, ends, strict=True)):
            # Groups that share a rate lie upon each other: later ones are thinner, so that all can be seen.
            axes.plot(
                range(first, last),
                rates[group, first:last],
                label=name if number == 0 else None,
                color=f"C{group % 10}",
                linewidth=max(1.0, 4.0 - group),
                marker="o" if last - first == 1 else None,
            )
    for number, (first, last) in enumerate(zip(borders, ends, strict=True)):
        axes.axvspan(first - 0.5, last - 0.5, color="0.5", alpha=0.08 if number % 2 else 0.0, linewidth=0)
        wide = last - first > rates.shape[1] / 15
        text = f"stage {number}" if wide else f"{number}"
        axes.annotate(text, ((first + last) / 2, 1.01), xycoords=("data", "axes fraction"), ha="center", fontsize=9)
    peaks = [peak for row in rates if (peak := np.nanmax(row, initial=0.0)) > 0]  # a group may always be frozen
    if peaks and max(peaks) > 20 * min(peaks):
        axes.set_yscale("log")
        # A cosine ends at 0, which a logarithm never reaches: three orders of magnitude below the peaks are enough.
        axes.set_ylim(min(peaks) * 1e-3, max(peaks) * 1.6)
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.set_xlim(-0.5, rates.shape[1] - 0.5)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
