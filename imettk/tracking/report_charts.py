"""Charts and tables of a report that are made of what `validate` left in `curves.json` and `scores.json`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from imettk.pictures.answer_charts import draw_calibration, draw_confusion, draw_curves, draw_values
from imettk.pictures.charts import Line, draw_histograms, draw_lines, shorten

Charts = list[tuple[str, str]]  # captions and SVG
MOST_LETTERS = 20  # of a label in a legend


class Kind(NamedTuple):
    """A kind of curve, its axes, its keys in `curves.json`, and what the area under it is called."""

    name: str
    x: str
    y: str
    heights: str
    key: str
    area: str


ROC = Kind("ROC", "false positive rate", "true positive rate", "roc", "roc_auc", "area")
PRECISION = Kind(
    "Precision-recall", "recall", "precision", "precision", "average_precision", "area (average precision)"
)


def threshold_charts(curves: dict[str, Any]) -> Charts:
    """Return charts of what thresholds do."""
    charts = []
    for key, title, x in (
        ("threshold", "Score against one threshold for all labels", "threshold"),
        ("unknown", "Score against the threshold of the unknown label", "similarity"),
    ):
        if curve := curves.get(key):
            line = Line(curve["metric"], curve["thresholds"], curve["scores"])
            more = " (relative to the row's largest)" if curve.get("relative") else ""
            charts.append((title + more, draw_lines([line], x=x, y=curve["metric"], own=curve["own"])))
    if curve := curves.get("unknown"):
        counts = {name: curve[name] for name in ("known", "unknown")}
        chart = draw_histograms(curve["edges"], counts, x="similarity of the first answer", own=curve["own"])
        charts.append(("Known and unknown identities", chart))
    return charts


def probability_charts(curves: dict[str, Any], score: str) -> Charts:
    """Return ROC and precision-recall curves, and how often what has some probability is true.

    Args:
        score: what the run scores out of fold, in words; it may be empty.
    """
    charts = []
    if content := curves.get("probabilities"):
        rate = content["lines"][0]["rows"] / content["rows"] if content["mean"] is None else None
        chances = {ROC: (0, 1), PRECISION: None if rate is None else (rate, rate)}
        charts += [_label_chart(content, score, kind, chance) for kind, chance in chances.items()]
    if content := curves.get("calibration"):
        charts.append(_calibration_chart(content))
    return charts


def value_charts(curves: dict[str, Any]) -> Charts:
    """Return answered against true numbers of each target, and how far they are off."""
    charts = []
    for content in curves.get("values") or []:
        true, answers = (np.array(content[name], float) for name in ("true", "answers"))
        some = "" if len(true) == content["rows"] else f" {len(true)} of {content['rows']} rows are shown."
        caption = f"{content['target']}: answered against true, and residuals; RMSE {content['rmse']:.4g}.{some}"
        charts.append((caption, draw_values(true, answers, alt=f"{caption} Right answers lie on the diagonal.")))
    return charts


def _label_chart(
    content: dict[str, Any], score: str, kind: Kind, chance: tuple[float, float] | None
) -> tuple[str, str]:
    lines, mean, many, left_out = (content[name] for name in ("lines", "mean", "labels", "left_out"))
    drawn = [
        Line(f"{shorten(line['label'], MOST_LETTERS)} ({line[kind.key]:.3f})", content["axis"], line[kind.heights])
        for line in lines
    ]
    average = None
    if mean is None:
        rows = f"{lines[0]['rows']} of {content['rows']} rows"
        caption = f"{kind.name} curve of {lines[0]['label']} ({rows}): {kind.area} {lines[0][kind.key]:.4f}"
    else:
        average = Line(f"mean of {many} labels ({mean[kind.key]:.3f})", content["axis"], mean[kind.heights])
        caption = f"{kind.name} curves of {many} labels: mean {kind.area} {mean[kind.key]:.4f}"
    sentences = [f"{caption}{score and f'; {score}'}."]
    if content["some"]:
        half = len(lines) // 2
        sentences.append(f"Shown: the {half} labels with the largest ROC area and the {half} with the smallest.")
    if left_out:
        sentences.append(f"Without a curve: {left_out} more, for want of a true row or of a false one.")
    caption = " ".join(sentences)
    areas = ", ".join(f"{line['label']} {line[kind.key]:.3f}" for line in lines)
    alt = f"{caption} {kind.y.capitalize()} against {kind.x}; area of each curve: {areas}."
    return caption, draw_curves(drawn, mean=average, x=kind.x, y=kind.y, chance=chance, alt=alt)


def _calibration_chart(content: dict[str, Any]) -> tuple[str, str]:
    probs, shares, counts = (content[name] for name in ("probs", "shares", "counts"))
    low, high = min(counts), max(counts)
    size = f"{low}" if low == high else f"{low} to {high}"
    caption = (
        f"Calibration of {content['of']}: expected calibration error {content['error']:.4f}, in {len(counts)} bins of "
        f"{size} {content['unit']}. Where probabilities are right, dots lie on the diagonal."
    )
    points = ", ".join(f"{prob:.2f} {share:.2f}" for prob, share in zip(probs, shares, strict=True))
    alt = f"{caption} Mean probability of each bin and the share that is true: {points}."
    return caption, draw_calibration(probs, shares, counts, alt=alt)


def confusion_chart(curves: dict[str, Any]) -> tuple[str, str] | None:
    """Return the confusion matrix, where it was kept."""
    content = curves.get("confusion") or {}
    if "counts" not in content:
        return None
    labels, counts = content["labels"], np.array(content["counts"])
    right, rows = int(counts.trace()), int(counts.sum())
    caption = (
        f"Confusion matrix: {right} of {rows} rows are answered with their class. Each cell: rows, and their share of "
        "the true class; right answers are blue, wrong ones orange."
    )
    wrong = [(int(counts[pair]), pair) for pair in zip(*np.nonzero(counts), strict=True) if pair[0] != pair[1]]
    wrong.sort(key=lambda pair: -pair[0])
    pairs = ", ".join(f"{labels[true]} as {labels[answer]} {count}" for count, (true, answer) in wrong[:10])
    alt = f"{caption} Most often confused: {pairs or 'none'}."
    return caption, draw_confusion(labels, counts, alt=alt)


def confused_classes(pairs: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    """Return a table of the classes that are taken for each other most often; None where nothing was kept."""
    if not pairs:
        return None
    rows = [[pair["truth"], pair["answer"], _rows_of(pair["rows"], pair.get("of"))] for pair in pairs]
    columns = ["true class", "answered class", "rows"]
    return {"title": "Classes that are taken for each other most often", "columns": columns, "rows": rows}


def _rows_of(count: int, total: int | None) -> str:
    """A count, and its share of all rows of the class where that was kept."""
    return f"{count}" if not total else f"{count} of {total} ({count / total:.0%})"


def part_tables(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a table of what each question scores, of `scores.json`; none where there is one question."""
    if not (parts := scores.get("parts")):
        return []
    names = list(next(iter(parts.values())))
    rows = [[part, *(f"{values[name]:.4f}" for name in names)] for part, values in parts.items()]
    return [{"title": "By question", "columns": ["question", *names], "rows": rows}]
