"""Charts of a report that are drawn from what `validate` left in `curves.json`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from imettk.pictures.answer_charts import draw_calibration, draw_confusion, draw_curves, draw_values
from imettk.pictures.charts import Line, draw_histograms, draw_lines, shorten

Charts = list[tuple[str, str]]  # captions and SVG
MOST_LETTERS = 20  # of a label in the legend


class Kind(NamedTuple):
    """A kind of curve: its axes, its keys in `curves.json`, and the name of the area under it."""

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
    """Return charts of scores over thresholds."""
    charts = []
    for key, title, x in (
        ("threshold", "Score against one threshold for all labels", "threshold"),
        ("unknown", "Score against the threshold of the unknown label", "similarity"),
    ):
        if curve := curves.get(key):
            line = Line(curve["metric"], curve["thresholds"], curve["scores"])
            more = " (relative to the row's largest)" if curve.get("relative") else ""
            charts.append((title + more, draw_lines([line], x=x, y=curve["metric"], marks=curve["own"])))
    if curve := curves.get("unknown"):
        counts = {name: curve[name] for name in ("known", "unknown")}
        chart = draw_histograms(curve["edges"], counts, x="similarity of the first answer", marks=curve["own"])
        charts.append(("Known and unknown identities", chart))
    return charts


def probability_charts(curves: dict[str, Any], score: str) -> Charts:
    """Return charts of ROC and precision-recall curves and of calibration.

    Args:
        score: the run's out-of-fold score in words; may be empty.
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
    """Return charts of answered against true numbers and of residuals, one for each target."""
    charts = []
    for content in curves.get("values") or []:
        true, answers = (np.array(content[name], float) for name in ("true", "answers"))
        shown = "" if len(true) == content["rows"] else f" {len(true)} of {content['rows']} rows are shown."
        caption = f"{content['target']}: answered against true, and residuals; RMSE {content['rmse']:#.4g}.{shown}"
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
        sentences.append(f"{left_out} more have no curve: all of their rows are true, or all are false.")
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
        f"{size} {content['unit']}. The dots of calibrated probabilities lie on the diagonal."
    )
    points = ", ".join(f"{prob:.2f} {share:.2f}" for prob, share in zip(probs, shares, strict=True))
    alt = f"{caption} Mean probability of each bin and the share that is true: {points}."
    return caption, draw_calibration(probs, shares, counts, alt=alt)


def confusion_chart(curves: dict[str, Any]) -> tuple[str, str] | None:
    """Return caption and chart of the confusion matrix; None if `validate` kept none."""
    content = curves.get("confusion") or {}
    if "counts" not in content:
        return None
    labels, counts = content["labels"], np.array(content["counts"])
    right, rows = int(counts.trace()), int(counts.sum())
    caption = (
        f"Confusion matrix: {right} of {rows} rows are answered correctly. Each cell shows rows and their share of the "
        "true class; right answers are blue, wrong ones orange."
    )
    wrong = [(int(counts[pair]), pair) for pair in zip(*np.nonzero(counts), strict=True) if pair[0] != pair[1]]
    wrong.sort(key=lambda pair: -pair[0])
    pairs = ", ".join(f"{labels[true]} as {labels[answer]} {count}" for count, (true, answer) in wrong[:10])
    alt = f"{caption} Most often confused: {pairs or 'none'}."
    return caption, draw_confusion(labels, counts, alt=alt)
