"""Tables of a report, as plain values: a title, columns, and rows of text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imettk.metrics.meanings import COLUMNS

MOST_LABELS = 1500  # rows of the table of labels
TEXT_COLUMNS = ("label", "name", "group")
# Numbers in [0, 1], which are shown with the same three decimals so that a column can be read downwards.
SHARES = {"precision", "recall", "f_beta", "average_precision", "threshold", "threshold_low", "threshold_high"}


def label_table(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the table of labels, the most frequent ones first, from `label_scores.csv`.

    Returns:
        `columns`, each with its name, meaning and kind; `rows` of text; and `total`, the number of labels in all.
    """
    frame = frame.dropna(axis="columns", how="all")
    shown = frame.sort_values("true", ascending=False, kind="stable") if "true" in frame else frame
    styles = [".3f" if name in SHARES else ".4g" for name in shown]
    rows = [
        [_cell(value, style) for value, style in zip(row, styles, strict=True)]
        for row in shown.head(MOST_LABELS).itertuples(index=False)
    ]
    columns = [
        {
            "name": str(name).replace("_", " "),
            "meaning": COLUMNS.get(str(name), ""),
            "is_text": name in TEXT_COLUMNS,
        }
        for name in shown
    ]
    return {"columns": columns, "rows": rows, "total": len(frame)}


def _cell(value: Any, style: str) -> str:
    """Return a value of the table as text, a float by its format; "" if there is none."""
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return ""
    if isinstance(value, float | np.floating):
        return format(value, style)
    return str(value)


def confused_classes(pairs: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    """Return the table of classes that are confused most often; None if there are none."""
    if not pairs:
        return None
    rows = [[pair["truth"], pair["answer"], _count_of(pair["rows"], pair.get("of"))] for pair in pairs]
    columns = ["true class", "answered class", "rows"]
    return {"title": "Classes that are confused most often", "columns": columns, "rows": rows}


def _count_of(count: int, total: int | None) -> str:
    """Return a count with its share of all rows of the class, which version 0.1.0 did not write."""
    return f"{count}" if not total else f"{count} of {total} ({count / total:.0%})"


def part_tables(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the table of what each question scores; none if there is a single question."""
    if not (parts := scores.get("parts")):
        return []
    names = list(next(iter(parts.values())))
    rows = [[part, *(f"{values[name]:.4f}" for name in names)] for part, values in parts.items()]
    return [{"title": "By question", "columns": ["question", *names], "rows": rows}]


def gain_tables(scores: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    """Return tables of what test-time views, pooling of images and refined rankings add to the score.

    Args:
        metric: the metric's name in print.
    """
    tables = []
    best_of, sign = (min, -1) if scores.get("lower_is_better") else (max, 1)
    if views := scores.get("views"):
        best = best_of(value for name, value in views.items() if name != "together")
        rows = [[name, f"{value:.4f}", ""] for name, value in views.items()]
        rows[-1][2] = f"{sign * (views['together'] - best):+.4f}"
        tables.append({"title": "Test-time augmentation", "columns": ["view", metric, "gain"], "rows": rows})
    if len(pools := scores.get("pools", {})) > 1:
        rows = [[name, f"{value:.4f}", "chosen" * (name == scores["pool"])] for name, value in pools.items()]
        tables.append({"title": "Several images per answer", "columns": ["pooled by", metric, "choice"], "rows": rows})
    if (plain := scores.get("without_refinement")) is not None:
        rows = [["without", f"{plain:.4f}", ""], ["with", f"{scores['oof']:.4f}", ""]]
        rows[1][2] = f"{sign * (scores['oof'] - plain):+.4f}"
        columns = ["refinement", metric, "gain"]
        tables.append({"title": "Expansion and re-ranking", "columns": columns, "rows": rows})
    return tables


def member_table(ensemble: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    """Return the table of what each member adds to an ensemble, from `ensemble.json`; none for other runs."""
    if not (members := ensemble.get("members")):
        return []
    rows = [
        [
            name,
            f"{ensemble['weights'].get(name, 0):.3f}",
            f"{member['oof']:.4f}",
            "" if member["gain"] is None else f"{member['gain']:+.4f}",
        ]
        for name, member in members.items()
    ]
    columns = ["member", "weight", f"{metric} of the member", "gain"]
    return [{"title": f"Ensemble ({ensemble['method']})", "columns": columns, "rows": rows}]
