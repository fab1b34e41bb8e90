"""Charts for a page: SVG in the page's own colours, so that they are right on a light and on a dark one."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

WIDE, HIGH = 5.4, 3.1  # inches of 72 pixels: as wide as a column of the page
NUM_COLOURS = 8
MOST_POINTS = 240  # of a line: more cannot be told apart
# Colours that stand for the page's: matplotlib writes them as they are, and they are exchanged in what it wrote.
INK, RULE, PAPER = "#0000fe", "#0000fd", "#0000fc"
COLOURS = [f"#0000{number:02x}" for number in range(1, NUM_COLOURS + 1)]
VARIABLES = {INK: "currentColor", RULE: "var(--rule)", PAPER: "var(--paper)"} | {
    colour: f"var(--c{number})" for number, colour in enumerate(COLOURS)
}
STATES = {
    "paused": COLOURS[0],
    "done": COLOURS[2],
    "failed": COLOURS[3],
    "killed": COLOURS[1],
    "killed or running": COLOURS[4],
}
STROKES = ("-", "--", ":")  # in turn, where there are more lines than colours
IN_LEGEND, LEGEND_COLUMNS = NUM_COLOURS * len(STROKES), 5  # of more lines none could be told from the others
STYLE: Any = {  # of matplotlib, whose type lists every name there is
    "svg.fonttype": "none",  # text stays text: it can be searched, and is small
    "svg.hashsalt": "imettk",  # the same content has the same names, whenever it is drawn
    "text.parse_math": False,  # a label may hold a dollar sign
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


class Line(NamedTuple):
    """Values over x; `marked` shows each as a dot."""

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    marked: bool = False


class Span(NamedTuple):
    """A session on the time line, in hours; its state is one of `STATES`."""

    start: float
    end: float
    state: str


def draw_lines(lines: Sequence[Line], *, x: str, y: str, own: Sequence[float] = (), log: bool = False) -> str:
    """Lines over a common x; long ones are thinned to means of as many neighbours.

    Args:
        own: places on the x axis that are marked.
        log: a logarithmic y axis, where all values are above 0.
    """
    legend_rows = math.ceil(len(lines) / LEGEND_COLUMNS) if 1 < len(lines) <= IN_LEGEND else 0
    figure, axes = new_figure(HIGH + 0.18 * max(0, legend_rows - 1))
    for place in own[:50]:
        axes.axvline(place, color=INK, linewidth=1, alpha=0.35)
    for number, line in enumerate(lines):
        across, up = thin(line.x, line.y)
        dots = {"marker": "o", "markersize": 3.5} if line.marked or len(across) == 1 else {}
        stroke = STROKES[number // NUM_COLOURS % len(STROKES)]
        axes.plot(across, up, stroke, color=_colour(number), linewidth=1.6, label=line.name, **dots)
    values = np.concatenate([np.asarray(line.y, float) for line in lines])
    if log and 0 < values.min() < values.max():
        _set_log(axes.yaxis, axes.set_yscale)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return to_svg(figure, axes if legend_rows else None)


def draw_time_line(rows: dict[str, Sequence[Span]]) -> str:
    """A row for each name, with a bar for each session: the gaps are pauses."""
    figure, axes = new_figure(high=0.9 + 0.34 * len(rows))
    states = [state for state in STATES if any(span.state == state for spans in rows.values() for span in spans)]
    longest = max((span.end for spans in rows.values() for span in spans), default=0.0)
    for number, spans in enumerate(rows.values()):
        for span in spans:
            width = max(span.end - span.start, longest / 300)  # a short one can still be seen
            axes.barh(number, width, left=span.start, height=0.6, color=STATES[span.state])
    for state in states:
        axes.barh(0, 0, color=STATES[state], label=state)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("hours since the start")
    return to_svg(figure, axes)


def draw_scores(names: Sequence[str], values: Sequence[float], intervals: Sequence[Sequence[float] | None]) -> str:
    """A dot for each score, with its interval where there is one, each with its value beside it."""
    figure, axes = new_figure(high=0.7 + 0.3 * len(names))
    for number, (value, interval) in enumerate(zip(values, intervals, strict=True)):
        colour = _colour(0 if interval is None else 1)
        if interval is not None:
            axes.plot(interval, [number, number], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
        axes.plot([value], [number], "o", color=colour, markersize=6)
        axes.annotate(
            f"{value:.4f}", (value, number), xytext=(0, 6), textcoords="offset points", ha="center", color=INK
        )
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.8)
    axes.margins(x=0.15)
    axes.grid(visible=False, axis="y")
    return to_svg(figure, None)


def draw_shares(labels: Sequence[str], counts: dict[str, np.ndarray], *, most: int = 30) -> str:
    """Rows of each label by several counts, the most frequent labels first, on a logarithmic axis.

    Args:
        counts: of each label, (C,), by the name of the count; the first one orders the labels.
    """
    order = np.argsort(-next(iter(counts.values())), kind="stable")[:most]
    figure, axes = new_figure(high=0.9 + 0.2 * len(order))
    places = np.arange(len(order))
    for number, (name, values) in enumerate(counts.items()):
        shown = np.where(values[order] > 0, values[order], np.nan)
        axes.plot(shown, places, "oDs^"[number % 4], color=_colour(number), markersize=5, alpha=0.85, label=name)
    _set_log(axes.xaxis, axes.set_xscale)
    axes.set_yticks(places, [shorten(labels[label], 26) for label in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlabel("rows" if len(order) == len(labels) else f"rows ({len(order)} of {len(labels)} labels)")
    return to_svg(figure, axes)


def draw_histograms(edges: Sequence[float], counts: dict[str, Sequence[int]], *, x: str, own: Sequence[float]) -> str:
    """Shares of several sets of values in the same bins, over each other."""
    figure, axes = new_figure(high=2.6)
    for number, (name, each) in enumerate(counts.items()):
        shares = np.asarray(each, float) / max(1, sum(each))
        axes.stairs(shares, edges, fill=True, color=_colour(number), alpha=0.45, label=f"{name} ({sum(each)})")
    for place in own:
        axes.axvline(place, color=INK, linewidth=1)
    axes.set_xlabel(x)
    axes.set_ylabel("share of the queries")
    return to_svg(figure, axes)


def thin(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, most: int = MOST_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbours, at most `most` of them; the last point stays as it is."""
    across, up = np.asarray(x, float), np.asarray(y, float)
    if len(across) <= most:
        return across, up
    parts = np.array_split(np.arange(len(across) - 1), most - 1)
    means = [np.array([values[part].mean() for part in parts]) for values in (across, up)]
    return np.append(means[0], across[-1]), np.append(means[1], up[-1])


def shorten(text: str, most: int) -> str:
    """At most so many characters, with … for the middle."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - most // 2 - 1) :]}"


def _set_log(axis: Any, set_scale: Any) -> None:
    """A logarithmic axis with plain numbers: a power would be TeX, which labels must not be read as."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    set_scale("log")
    axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _colour(number: int) -> str:
    return COLOURS[number % NUM_COLOURS]


def new_figure(high: float = HIGH, wide: float = WIDE, heights: Sequence[float] = (1,)) -> tuple[Any, Any]:
    """Return a figure of this size in inches, and its axes: one, or several below each other that share their x."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(wide, high), layout="constrained")
        FigureCanvasSVG(figure)
        return figure, figure.subplots(len(heights), sharex=True, height_ratios=list(heights))


def to_svg(figure: Any, legend_of: Any | None, *, alt: str = "", columns: int = LEGEND_COLUMNS) -> str:
    """Return the figure as an element of a page, as wide as its place.

    Args:
        legend_of: axes whose lines a legend above them names.
        alt: what the chart shows, for those who cannot see it.
        columns: of the legend.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of labels in any alphabet: the browser has other fonts
        if legend_of is not None:
            handles, names = legend_of.get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper left", ncols=min(columns, len(names)))
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    more = f' aria-label="{escape(alt)}"' if alt else ""
    if (wide := figure.get_figwidth() / WIDE) > 1:  # than a column of the page: letters stay as large, a part is seen
        more += f' style="max-width: {36 * wide:.0f}rem; min-width: {24 * wide:.0f}rem"'
    head = re.compile(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', flags=re.S)
    text = head.sub(lambda found: f'<svg viewBox="{found[1]}" role="img"{more}>', text, count=1)
    # A style of its own would hold for the whole page; names that nothing refers to would stand there twice.
    text = re.sub(r"<(metadata|style)[ >].*?</\1>\s*", "", text, flags=re.S)
    used = set(re.findall(r"#([\w.-]+)[\")]", text))
    text = text.replace("xlink:href", "href")
    text = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", text)
    return re.sub(r"#0000[0-9a-f]{2}", lambda found: VARIABLES.get(found[0], found[0]), text)
