"""Charts of answers and probabilities: ROC and precision-recall curves, calibration, residuals, confusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from imettk.pictures import charts
from imettk.pictures.charts import COLOURS, INK, PAPER, STROKES, WIDE, Line, shorten

CELL = 0.42  # inches: room for a count and its share
MOST_LETTERS = 18  # of a class name beside the matrix
STRONG = 0.75  # cells of at least this opacity have text in the page's background colour
# Colour-blind readers confuse red and green, so right and wrong are blue and orange. Curves cycle through three strokes
# and six colours in an order in which two of the same stroke never have colours that are easily confused.
RIGHT, WRONG = COLOURS[0], COLOURS[1]
OF_CURVES = [COLOURS[number] for number in (0, 3, 2, 1, 5, 4)]


def draw_curves(
    lines: Sequence[Line], *, mean: Line | None, x: str, y: str, chance: Sequence[float] | None, alt: str
) -> str:
    """Draw curves in the unit square, each with its own colour and stroke, and their mean as a broad line.

    Args:
        chance: heights of a random guess at x = 0 and x = 1, drawn as a pale line.
        alt: what the chart shows, in words.
    """
    entries = len(lines) + (mean is not None)
    figure, axes = charts.new_figure(3.4 + 0.17 * math.ceil(entries / 2))
    if chance is not None:
        axes.plot([0, 1], chance, color=INK, linewidth=1, alpha=0.35)
    for number, line in enumerate(lines):
        stroke, colour = STROKES[number % len(STROKES)], OF_CURVES[number % len(OF_CURVES)]
        axes.plot(line.x, line.y, stroke, color=colour, linewidth=1.6, label=line.name)
    if mean is not None:
        axes.plot(mean.x, mean.y, color=INK, linewidth=2.4, label=mean.name)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), xlabel=x, ylabel=y)
    return charts.to_svg(figure, axes if entries > 1 else None, alt=alt, columns=2)


def draw_calibration(probs: Sequence[float], shares: Sequence[float], counts: Sequence[int], *, alt: str) -> str:
    """Draw a dot for each bin, the share that is true over its mean probability, and below the size of each bin."""
    figure, (above, below) = charts.new_figure(3.9, heights=(5, 1))
    above.plot([0, 1], [0, 1], color=INK, linewidth=1, alpha=0.35)
    above.plot(probs, shares, "-o", color=COLOURS[0], linewidth=1.4, markersize=4)
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), ylabel="share that is true")
    below.vlines(probs, 0, counts, color=COLOURS[0], linewidth=2)
    below.set(ylim=(0, 1.15 * max(counts)), xlabel="probability", ylabel="count")
    below.locator_params(axis="y", nbins=2, integer=True)
    return charts.to_svg(figure, None, alt=alt)


def draw_values(true: np.ndarray, answers: np.ndarray, *, alt: str) -> str:
    """Draw a dot for each row, its answered number over its true one, and below the residuals.

    Args:
        true, answers: float (N,).
    """
    figure, (above, below) = charts.new_figure(4.6, heights=(3, 2))
    ends = [min(true.min(), answers.min()), max(true.max(), answers.max())]
    above.plot(ends, ends, color=INK, linewidth=1, alpha=0.35)
    above.plot(true, answers, "o", color=COLOURS[0], markersize=3, alpha=0.6)
    above.set(ylabel="answered")
    below.axhline(0, color=INK, linewidth=1, alpha=0.35)
    below.plot(true, answers - true, "o", color=COLOURS[1], markersize=3, alpha=0.6)
    below.set(xlabel="true", ylabel="residual")
    for axes in (above, below):
        charts.set_plain(axes)
    return charts.to_svg(figure, None, alt=alt)


def draw_confusion(labels: Sequence[str], counts: np.ndarray, *, alt: str) -> str:
    """Draw a confusion matrix: in each cell the rows and their share of the true class.

    Args:
        counts: int (C, C), a row for each true class.
    """
    from matplotlib.patches import Rectangle

    many, names = len(labels), [shorten(label, MOST_LETTERS) for label in labels]
    letters = max(map(len, names))
    wide, high = max(WIDE, 1.7 + CELL * many), 0.9 + 0.07 * letters + CELL * many
    figure, axes = charts.new_figure(high, wide)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for true, answered in np.argwhere(counts).tolist():
        share = float(shares[true, answered])
        corner, colour = (answered - 0.5, true - 0.5), RIGHT if true == answered else WRONG
        alpha = share**0.7  # so that a share of 5% is still visible
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, alpha=alpha, linewidth=0))
        ink: Any = {"color": PAPER if alpha >= STRONG else INK, "ha": "center"}
        axes.text(answered, true, f"{counts[true, answered]}", va="bottom", fontsize=8.5, **ink)
        axes.text(answered, true, _percent(share), va="top", fontsize=7, **ink)
    upright = 0.075 * letters > (wide - 1.7) / many
    axes.set_xticks(range(many), names, rotation=90 if upright else 0)
    axes.set_yticks(range(many), names)
    axes.set_xticks(np.arange(many + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(many + 1) - 0.5, minor=True)
    axes.tick_params(which="both", length=0)
    axes.grid(visible=False)
    axes.grid(which="minor")
    axes.set(xlim=(-0.5, many - 0.5), ylim=(many - 0.5, -0.5), xlabel="answered class", ylabel="true class")
    return charts.to_svg(figure, None, alt=alt)


def _percent(share: float) -> str:
    """Return a share in whole percents; only exactly 0 is 0%, and only exactly 1 is 100%."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"
