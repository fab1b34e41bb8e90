"""Handmade run folders with every file that a report reads; files that commands write are tested in tests/commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from imettk.config import to_json
from imettk.pictures.galleries import Shown, draw_gallery, thumbnail
from imettk.recipes import load_recipe

NASTY = '<script>alert("x")</script> $a_b$'  # a label that would be more than text on a careless page


def make_run(folder: Path, *, name: str = "digits", num_labels: int = 30) -> Path:
    """Make a run of two folds, one killed and continued, one paused, with every file that a report shows."""
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(to_json(load_recipe(name)))
    for fold in range(2):
        write_journal(folder / f"fold{fold}" / "journal.jsonl", 5000.0 + 100 * fold, ("killed", "done")[fold])
    scores = {
        "metric": "f_beta", "title": "F2", "folds": {"0": 0.71, "1": 0.73}, "oof": 0.72, "constant": 0.3,
        "interval": [0.7, 0.74], "rows": 100, "views": {"plain": 0.715, "hflip": 0.71, "together": 0.72},
    }  # fmt: skip
    write(folder / "scores.json", scores)
    grid = np.linspace(0.01, 0.99, 50)
    threshold = {"metric": "F2", "thresholds": grid.tolist(), "scores": (1 - (grid - 0.3) ** 2).tolist(), "own": [0.3]}
    unknown = threshold | {"edges": [0.0, 0.5, 1.0], "known": [1, 9], "unknown": [7, 2]}
    judged = {"probabilities": label_curves(), "calibration": calibration(), "confusion": confusion()}
    write(folder / "curves.json", {"threshold": threshold | {"relative": False}, "unknown": unknown} | judged)
    lines = ["label,group,true,expected,chosen,hits,precision,recall,f_beta,average_precision,threshold"]
    names = [f"label {number}" for number in range(num_labels - 1)]
    lines += [
        f"{name},,{5 + 7 * number % 90},{4.5 + number},{6 + number},3,0.5,0.4,0.{number:02},,0.3"
        for number, name in enumerate(names)
    ]
    lines.append('"' + NASTY.replace('"', '""') + '",,1000,999.5,1001,900,0.9,0.9,0.9,0.95,0.25')
    (folder / "label_scores.csv").write_text("\n".join(lines) + "\n")
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    tile = {
        "id": "x1", "image": thumbnail(picture), "loss": 3.2,
        "truth": [
            {"label": NASTY, "prob": 0.02, "right": False},
            {"label": "whale", "prob": 0.9, "right": True}, {"label": "sea", "prob": 0.8, "right": True},
        ],
        "answers": [
            {"label": "boat", "prob": 0.7, "right": False}, {"label": "whale", "prob": 0.9, "right": True},
            {"label": "sea", "prob": 0.8, "right": True},
        ],
        "left_out": {"truth": 0, "answers": 3, "right": 1},
    }  # fmt: skip
    confused = [{"truth": "a", "answer": "b", "rows": 4}]
    write(folder / "errors.json", {"rows": 100, "wrong": 31, "tiles": [tile] * 24, "confused": confused})
    hits = [Shown(picture, "whale", "w2", 0.9, True), Shown(picture, NASTY, "w3", None, False), Shown(picture, "new")]
    draw_gallery(folder / "ranking_worst.png", [(Shown(picture, "whale", "q1"), hits)] * 12)
    members = {"a": {"oof": 0.7, "gain": 0.01}, "b": {"oof": 0.71, "gain": None}}
    write(folder / "ensemble.json", {"method": "mean", "weights": {"a": 0.5, "b": 0.5}, "members": members})
    return folder


def label_curves() -> dict[str, object]:
    """Return curves of six labels out of seven, and the mean of all."""
    axis = np.linspace(0, 1, 50)
    curve = {"roc_auc": 0.75, "roc": (axis**0.5).tolist(), "average_precision": 0.5, "precision": (1 - axis).tolist()}
    lines = [{"label": label, "rows": 5} | curve for label in (NASTY, "pale", "blue", "round", "old", "far")]
    counts = {"rows": 100, "labels": 7, "left_out": 2, "some": True}
    return counts | {"axis": axis.tolist(), "lines": lines, "mean": curve}


def calibration() -> dict[str, object]:
    bins = {"counts": [50, 50], "probs": [0.1, 0.8], "shares": [0.2, 0.7], "error": 0.1}
    return {"of": f"the probability of {NASTY}", "unit": "rows"} | bins


def confusion(num_classes: int = 12) -> dict[str, object]:
    """Return a matrix in which each class is taken for the next one twice, and the first class once more."""
    labels = [NASTY, *(f"class {number}" for number in range(1, num_classes))]
    counts = 8 * np.eye(num_classes, dtype=int) + 2 * np.roll(np.eye(num_classes, dtype=int), 1, 1)
    counts[0, 1] += 1
    return {"labels": labels, "counts": counts.tolist()}


def write_journal(path: Path, started: float, ends: str) -> None:
    """Write two sessions of a fold with a pause of an hour between them."""
    lines = []
    for session, (first, begins) in enumerate(((0, 0.0), (200, 7200.0))):
        lines.append((begins, "session", {"step": first, "num_steps": 400, "code": "aaaa0000"}))
        for step in range(first + 10, first + 210, 10):
            lines.append((begins + 10 * step, "train", {"step": step, "loss": 1 / step, "lr": 1e-3 / step}))
        lines.append((begins + 2200, "validate", {"step": first + 200, "loss": 0.5, "score": 0.6 + session / 10}))
        if session or ends == "done":
            lines.append((begins + 2300, ("paused", ends)[session], {"step": first + 200}))
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [json.dumps({"time": started + time, "event": event, **values}) for time, event, values in lines]
    path.write_text("\n".join(texts) + "\n")


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))
