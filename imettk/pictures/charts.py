"""Charts for a web page: SVG in the page's own colours, so that one picture suits a light and a dark page."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

WIDE, HIGH = 5.4, 3.1  # inches of 72 pixels: the width of a column of the page
NUM_COLOURS = 8
MOST_POINTS = 240  # per line: more cannot be told apart
# matplotlib cannot write CSS variables. These placeholders, which no chart uses as colours, pass through it unchanged
# and `to_svg` replaces them; the browser then picks the colour of its light or dark theme.
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
STROKES = ("-", "--", ":")  # used in turn when there are more lines than colours
IN_LEGEND, LEGEND_COLUMNS = NUM_COLOURS * len(STROKES), 5  # with more lines no two could be told apart
MOST_NAMED = 12  # lines, rows or labels that a chart's alternative text lists
TIME_UNITS = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))  # the largest one first
STYLE: Any = {  # `Any`: matplotlib's own type lists every parameter name
    "svg.fonttype": "none",  # text stays text: searchable and small
    "svg.hashsalt": "imettk",  # ids are derived from content, so that the same run gives the same page
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
    """Values over x; `marked` draws each value as a dot."""

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    marked: bool = False


class Span(NamedTuple):
    """A session on the time line, in seconds since the first start; its state is one of `STATES`."""

    start: float
    end: float
    state: str


def draw_lines(
    lines: Sequence[Line],
    *,
    x: str,
    y: str,
    marks: Sequence[float] = (),
    log: bool = False,
    whole: bool = False,
) -> str:
    """Draw lines over a common x axis; long ones are thinned to means of neighbours.

    Args:
        marks: places on the x axis that get a vertical line.
        log: use a logarithmic y axis if all values are above 0.
        whole: label the x axis with whole numbers only, as steps are.
    """
    legend_rows = math.ceil(len(lines) / LEGEND_COLUMNS) if 1 < len(lines) <= IN_LEGEND else 0
    figure, axes = new_figure(HIGH + 0.18 * max(0, legend_rows - 1))
    for mark in marks[:50]:
        axes.axvline(mark, color=INK, linewidth=1, alpha=0.35)
    for number, line in enumerate(lines):
        across, up = thin(line.x, line.y)
        dots = {"marker": "o", "markersize": 3.5} if line.marked or len(across) == 1 else {}
        stroke = STROKES[number // NUM_COLOURS % len(STROKES)]
        axes.plot(across, up, stroke, color=_colour(number), linewidth=1.6, label=line.name, **dots)
    values = np.concatenate([np.asarray(line.y, float) for line in lines])
    if log and 0 < values.min() < values.max():
        _set_log(axes.yaxis, axes.set_yscale)
    set_plain(axes, whole=whole)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    spans = [f"{line.name} from {line.y[0]:.4g} to {line.y[-1]:.4g}" for line in lines]
    return to_svg(figure, axes if legend_rows else None, alt=f"{y} over {x}: {_listed(spans)}.")


def draw_time_line(rows: dict[str, Sequence[Span]]) -> str:
    """Draw a row for each name with a bar for each session; the gaps are pauses."""
    figure, axes = new_figure(high=0.9 + 0.34 * len(rows))
    states = [state for state in STATES if any(span.state == state for spans in rows.values() for span in spans)]
    longest = max((span.end for spans in rows.values() for span in spans), default=0.0)
    unit, seconds = time_unit(longest)
    for number, spans in enumerate(rows.values()):
        for span in spans:
            width = max(span.end - span.start, longest / 300)  # a session of seconds in a run of days stays visible
            axes.barh(number, width / seconds, left=span.start / seconds, height=0.6, color=STATES[span.state])
    for state in states:
        axes.barh(0, 0, color=STATES[state], label=state)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{unit} since the start")
    told = [f"{name} {', '.join(span.state for span in spans)}" for name, spans in rows.items()]
    return to_svg(figure, axes, alt=f"Sessions over {longest / seconds:.3g} {unit}: {_listed(told)}.")


def draw_scores(names: Sequence[str], values: Sequence[float], intervals: Sequence[Sequence[float] | None]) -> str:
    """Draw a dot and the value of each score, and a bar for its interval if there is one."""
    figure, axes = new_figure(high=0.7 + 0.3 * len(names))
    for number, (value, interval) in enumerate(zip(values, intervals, strict=True)):
        colour = _colour(0 if interval is None else 1)
        if interval is not None:
            axes.plot(interval, [number, number], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
        axes.plot([value], [number], "o", color=colour, markersize=6)
        axes.annotate(
            f"{value:#.4g}", (value, number), xytext=(0, 6), textcoords="offset points", ha="center", color=INK
        )
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.8)
    axes.margins(x=0.15)
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=6)
    set_plain(axes)
    told = [f"{name} {value:#.4g}" for name, value in zip(names, values, strict=True)]
    return to_svg(figure, None, alt=f"Scores: {_listed(told)}.")


def draw_shares(labels: Sequence[str], counts: dict[str, np.ndarray], *, most: int = 30) -> str:
    """Draw the rows of each label by several counts on a logarithmic axis, the most frequent labels first.

    Args:
        counts: count name -> rows of each label, (C,); the first count orders the labels.
        most: labels that are shown.
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
    told = [
        f"{labels[label]} {', '.join(f'{values[label]:.4g} {name}' for name, values in counts.items())}"
        for label in order
    ]
    return to_svg(figure, axes, alt=f"Rows of each label: {_listed(told)}.")


def draw_histograms(edges: Sequence[float], counts: dict[str, Sequence[int]], *, x: str, marks: Sequence[float]) -> str:
    """Draw the shares of several sets of values in the same bins, over each other.

    Args:
        marks: places on the x axis that get a vertical line.
    """
    figure, axes = new_figure(high=2.6)
    told = []
    for number, (name, values) in enumerate(counts.items()):
        shares = np.asarray(values, float) / max(1, sum(values))
        axes.stairs(shares, edges, fill=True, color=_colour(number), alpha=0.45, label=f"{name} ({sum(values)})")
        peak = int(shares.argmax())
        told.append(f"{sum(values)} {name}, most often from {edges[peak]:.3g} to {edges[peak + 1]:.3g}")
    for mark in marks:
        axes.axvline(mark, color=INK, linewidth=1)
    set_plain(axes)
    axes.set_xlabel(x)
    axes.set_ylabel("share of the queries")
    return to_svg(figure, axes, alt=f"Histograms of {x}: {_listed(told)}.")


def time_unit(seconds: float) -> tuple[str, int]:
    """Return the largest unit of which a duration has at least two, and its length in seconds."""
    return next(((name, length) for name, length in TIME_UNITS if seconds >= 2 * length), TIME_UNITS[-1])


def thin(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, most: int = MOST_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """Return means of neighbouring points, at most `most` of them; the last point is kept exactly."""
    across, up = np.asarray(x, float), np.asarray(y, float)
    if len(across) <= most:
        return across, up
    parts = np.array_split(np.arange(len(across) - 1), most - 1)
    means = [np.array([values[part].mean() for part in parts]) for values in (across, up)]
    return np.append(means[0], across[-1]), np.append(means[1], up[-1])


def shorten(text: str, most: int) -> str:
    """Return at most so many characters of a text, with … in place of its middle."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - most // 2 - 1) :]}"


def _set_log(axis: Any, set_scale: Any) -> None:
    """Make an axis logarithmic, with plain numbers."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    set_scale("log")
    # matplotlib writes powers as TeX, and `text.parse_math` is off because labels may hold a dollar sign.
    axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def set_plain(axes: Any, *, whole: bool = False) -> None:
    """Label linear axes with plain numbers; with whole ones, and a comma for thousands, on the x axis if `whole`."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, ScalarFormatter

    for axis in (axes.xaxis, axes.yaxis):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, ScalarFormatter):  # not folds by name, nor a logarithmic axis
            # Otherwise 0.9971 to 0.9979 becomes 0 to 8 with "1e-4 + 9.97e-1" at the end of the axis.
            formatter.set_useOffset(False)
            formatter.set_powerlimits((-5, 9))
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,.0f}"))


def _listed(items: Sequence[str]) -> str:
    """Return the first items and how many more there are, for an alternative text."""
    more = [f"and {len(items) - MOST_NAMED} more"] if len(items) > MOST_NAMED else []
    return "; ".join([*items[:MOST_NAMED], *more])


def _colour(number: int) -> str:
    return COLOURS[number % NUM_COLOURS]


def new_figure(high: float = HIGH, wide: float = WIDE, heights: Sequence[float] = (1,)) -> tuple[Any, Any]:
    """Return a figure of this size in inches and its axes: one, or several that share their x axis, top to bottom."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(wide, high), layout="constrained")
        FigureCanvasSVG(figure)
        return figure, figure.subplots(len(heights), sharex=True, height_ratios=list(heights))


def to_svg(figure: Any, legend_of: Any | None, *, alt: str, columns: int = LEGEND_COLUMNS) -> str:
    """Return the figure as an element of a page that fills the width of its container.

    Args:
        legend_of: axes whose lines are named in a legend above them.
        alt: what the chart shows, for screen readers.
        columns: columns of the legend.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(STYLE), warnings.catch_warnings():
        # matplotlib's font lacks many alphabets; the text stays text, and the browser draws it with its own fonts.
        warnings.filterwarnings("ignore", message="Glyph")
        if legend_of is not None:
            handles, names = legend_of.get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper left", ncols=min(columns, len(names)))
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    size = ""
    if (wide := figure.get_figwidth() / WIDE) > 1:  # wider than a column: it scrolls, and letters keep their size
        size = f' style="max-width: {36 * wide:.0f}rem; min-width: {24 * wide:.0f}rem"'
    head = re.compile(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', flags=re.S)
    text = head.sub(lambda tag: f'<svg viewBox="{tag[1]}" role="img" aria-label="{escape(alt)}"{size}>', text, count=1)
    # A <style> inside an SVG would apply to the whole page, and unused ids of two charts would collide.
    text = re.sub(r"<(metadata|style)[ >].*?</\1>\s*", "", text, flags=re.S)
    used = set(re.findall(r"#([\w.-]+)[\")]", text))
    text = text.replace("xlink:href", "href")
    text = re.sub(r' id="([^"]+)"', lambda name: name[0] if name[1] in used else "", text)
    return re.sub(r"#0000[0-9a-f]{2}", lambda colour: VARIABLES.get(colour[0], colour[0]), text)
