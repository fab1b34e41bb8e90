"""Pictures of a run folder as PNG files, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from imettk.files import replace_atomically


def draw_rates(path: Path, rates: np.ndarray, names: Sequence[str], borders: Sequence[int]) -> None:
    """Draw the learning rates of a training over its steps, as a PNG.

    Args:
        rates: learning rate of each parameter group at each step, float (G, S); NaN while a group is frozen.
        names: names of the groups.
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
            # Groups with the same rate cover each other: later lines are thinner, so that all can be seen.
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
    peaks = [peak for row in rates if (peak := np.nanmax(row, initial=0.0)) > 0]  # a group may be frozen throughout
    if peaks and max(peaks) > 20 * min(peaks):
        axes.set_yscale("log")
        # A cosine schedule ends at 0, which has no logarithm: the axis stops three orders of magnitude below the peaks.
        axes.set_ylim(min(peaks) * 1e-3, max(peaks) * 1.6)
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.set_xlim(-0.5, rates.shape[1] - 0.5)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left", fontsize=9)
    with replace_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def draw_images(path: Path, rows: Sequence[Sequence[np.ndarray]], columns: Sequence[str]) -> None:
    """Draw images of one size as a grid, pixel by pixel, as a PNG.

    Args:
        rows: images, uint8 (H, W, 3) each, the same number in every row.
        columns: heading of each column; a column with a heading begins a block.
    """
    from PIL import Image, ImageDraw

    height, width = rows[0][0].shape[:2]
    gap, wide_gap, title = 2, 10, 18
    lefts: list[int] = []
    left = gap
    for name in columns:
        left += wide_gap if name and lefts else 0
        lefts.append(left)
        left += width + gap
    page = Image.new("RGB", (left, title + len(rows) * (height + gap)), "white")
    for number, images in enumerate(rows):
        for image, x in zip(images, lefts, strict=True):
            page.paste(Image.fromarray(image), (x, title + number * (height + gap)))
    write = ImageDraw.Draw(page)
    for name, x in zip(columns, lefts, strict=True):
        write.text((x, 3), name, fill="black")
    with replace_atomically(path) as temporary:
        page.save(temporary, "PNG")


def draw_pairs(
    path: Path, pairs: Sequence[tuple[np.ndarray, np.ndarray]], captions: Sequence[Sequence[str]], *, side: int = 160
) -> None:
    """Draw pairs of images side by side, two pairs in a row, each with lines of text below, as a PNG.

    Args:
        pairs: images, uint8 (H, W, 3) each.
        side: height and width of each image in the picture, in pixels.
    """
    from PIL import Image, ImageDraw

    gap, line, per_row = 6, 13, 2
    lines = max((len(caption) for caption in captions), default=1)
    wide, high = 2 * side + 3 * gap + 100, side + lines * line + 2 * gap
    page = Image.new("RGB", (per_row * wide, max(1, -(-len(pairs) // per_row)) * high), "white")
    write = ImageDraw.Draw(page)
    for number, (images, caption) in enumerate(zip(pairs, captions, strict=True)):
        left, top = number % per_row * wide + gap, number // per_row * high + gap
        for place, image in enumerate(images):
            shown = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
            page.paste(shown, (left + place * (side + gap), top))
        for place, text in enumerate(caption):
            write.text((left, top + side + 2 + place * line), text[: wide // 6], fill="black")
    with replace_atomically(path) as temporary:
        page.save(temporary, "PNG")


def draw_shares(path: Path, labels: Sequence[str], shares: dict[str, np.ndarray], *, most: int = 60) -> None:
    """Draw the share of rows that have each label, by several counts side by side, as a PNG.

    Args:
        shares: name of a count -> shares in [0, 1], float (C,); the first count orders the labels.
        most: number of labels that are shown, the most frequent ones.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = np.argsort(-next(iter(shares.values())), kind="stable")[:most]
    inches = max(6.0, 1.5 + 0.3 * len(order))
    figure = Figure(figsize=(inches, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / len(shares)
    for number, (name, values) in enumerate(shares.items()):
        places = np.arange(len(order)) - 0.4 + (number + 0.5) * width
        axes.bar(places, np.maximum(values[order], 1e-9), width, label=f"{name}: {values.sum():.2f} labels a row")
    # Frequencies of labels differ by factors of a thousand: on a linear axis the rare ones would be invisible.
    positive = np.concatenate([values[values > 0] for values in shares.values()] or [np.ones(1)])
    axes.set_yscale("log")
    axes.set_ylim(max(1e-5, positive.min(initial=1.0) * 0.5), 1.1)
    axes.set_xticks(range(len(order)), [labels[label][:24] for label in order], rotation=90, fontsize=8)
    axes.set_xlim(-0.7, len(order) - 0.3)
    axes.set_ylabel("share of the rows")
    more = f" (the {len(order)} most frequent of {len(labels)} labels)" if len(labels) > len(order) else ""
    axes.set_title(f"Frequency of each label{more}", fontsize=10, loc="left")
    axes.grid(alpha=0.25, axis="y")
    side_by_side = int(np.clip(inches // 3.6, 1, len(shares)))  # an entry is 3.6 inches wide at most
    figure.legend(fontsize=9, loc="outside upper right", ncols=side_by_side)
    with replace_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def draw_values(path: Path, numbers: dict[str, np.ndarray], span: tuple[float, float] | None) -> None:
    """Draw a histogram of pixel values as a PNG, with the values beyond black and white shaded.

    Args:
        numbers: name of a table -> values of its images, float (M,).
        span: the values that become black and white; None if each file defines its own.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ends = [np.percentile(part, (0.1, 99.9)) for part in numbers.values()] + ([] if span is None else [np.array(span)])
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    pad = 0.05 * (high - low) or 0.5
    edges = np.linspace(low - pad, high + pad, 201)
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, part) in enumerate(numbers.items()):
        counts, _ = np.histogram(part, bins=edges)
        axes.stairs(counts / len(part), edges, label=name, fill=number == 0, alpha=0.6 if number == 0 else 1.0)
    if span is not None:
        for end, word, value in ((edges[0], "black", span[0]), (edges[-1], "white", span[1])):
            axes.axvspan(end, value, color="0.5", alpha=0.15, linewidth=0)
            axes.axvline(value, color="0.3", linewidth=1, linestyle="--")
            text = axes.annotate(
                f"{word} {value:.6g}", (value, 1), (3, -12), ("data", "axes fraction"), "offset points"
            )
            text.set_fontsize(9)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_yscale("log")
    axes.set_xlabel("value in the files")
    axes.set_ylabel("share of the pixels")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=9)
    with replace_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def draw_leaderboard(path: Path, names: Sequence[str], cv: np.ndarray, intervals: np.ndarray, lb: np.ndarray) -> None:
    """Draw leaderboard scores over out-of-fold scores, a point for each run, as a PNG.

    Args:
        cv: out-of-fold scores, float (N,).
        intervals: lower and upper ends of their 95% intervals, float (N, 2); NaN for a run without one.
        lb: public leaderboard scores, float (N,).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = np.nan_to_num(np.abs(intervals - cv[:, None])).T
    axes.errorbar(cv, lb, xerr=bars, fmt="o", color="C0", ecolor="0.75", elinewidth=2, capsize=3)
    for name, x, y in zip(names, cv, lb, strict=True):
        axes.annotate(name, (x, y), xytext=(6, 5), textcoords="offset points", fontsize=9)
    low, high = min(cv.min(), lb.min()), max(cv.max(), lb.max())
    pad = 0.05 * (high - low) or 0.01
    axes.plot([low - pad, high + pad], [low - pad, high + pad], color="0.5", linewidth=1, linestyle="--")
    axes.annotate("LB = CV", (high + pad, high + pad), ha="right", va="bottom", color="0.4", fontsize=9)
    axes.set_xlabel("out of fold, with its 95% interval")
    axes.set_ylabel("public leaderboard")
    axes.grid(alpha=0.25)
    with replace_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def draw_curve(file: IO[bytes], scores: Sequence[tuple[int, float]], losses: Sequence[tuple[int, float]]) -> None:
    """Draw validation scores and training loss over steps, as a small PNG for a phone.

    Args:
        scores, losses: (step, value) pairs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel("step")
    axes.set_ylabel("validation score", color="C0")
    if losses:
        other = axes.twinx()
        other.plot(*zip(*losses, strict=True), color="C1", alpha=0.6, linewidth=1)
        other.set_ylabel("training loss", color="C1")
        axes.set_zorder(other.get_zorder() + 1)
        axes.patch.set_visible(False)
    axes.plot(*zip(*scores, strict=True), color="C0", marker="o", markersize=4)
    axes.grid(alpha=0.25)
    figure.savefig(file, format="png", dpi=120)
