"""What `validate` keeps for the report beside scores: the score over thresholds, what views add, the worst errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imettk.config import Recipe
from imettk.data.source import ImageSource
from imettk.data.table import SampleTable
from imettk.evaluation.pictures import look_at
from imettk.evaluation.ranker import Ranker
from imettk.pictures.galleries import thumbnail
from imettk.postprocess.fitters import RuleFitter
from imettk.postprocess.ranking import Ranked
from imettk.postprocess.rule import Rule
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import CURVES, ERRORS, RunDir

NUM_ERRORS, NUM_LABELS = 24, 8  # rows that are shown, and labels of each
NUM_CONFUSED = 12  # pairs of classes
THRESHOLDS = np.arange(1, 100) / 100
NUM_POINTS = 60  # of the curve for an unknown identity


def keep_threshold_curve(run: RunDir, fitter: RuleFitter, rule: Rule, probs: np.ndarray, targets: np.ndarray) -> None:
    """Write `curves.json`: what one threshold for all labels scores out of fold, and where the rule's own lie.

    Nothing is written for a rule without thresholds.
    """
    traced = fitter.trace(rule, probs, targets, THRESHOLDS)
    if traced is None:
        return
    curve = _curve(THRESHOLDS, traced["scores"], traced["metric"])
    write_json(run.path / CURVES, {"threshold": curve | {name: traced[name] for name in ("own", "relative")}})


def keep_unknown_curve(run: RunDir, ranker: Ranker, ranked: Ranked, truth: np.ndarray, threshold: float) -> None:
    """Write `curves.json`: MAP@k where the unknown label stands before answers below each threshold; and how near the
    first answers to known and unknown identities are, as counts."""
    first = ranked.scores[:, 0]
    finite = first[np.isfinite(first)]
    if not len(finite):
        return
    low, high = float(finite.min()), float(finite.max())
    thresholds = np.linspace(low, high, NUM_POINTS)
    scores = [ranker.score(ranker.answer(ranked, float(one)), truth) for one in thresholds]
    edges = np.linspace(low, high, NUM_POINTS // 2 + 1)
    unknown = truth == ranker.unknown
    counts = {name: np.histogram(first[rows], edges)[0] for name, rows in (("known", ~unknown), ("unknown", unknown))}
    own = [threshold] if low <= threshold <= high else []  # else the unknown label is always first, or never there
    curve = _curve(thresholds, np.array(scores), ranker.metric) | {"own": own, "edges": edges.tolist()}
    write_json(run.path / CURVES, {"unknown": curve | {name: each.tolist() for name, each in counts.items()}})


def _curve(thresholds: np.ndarray, scores: np.ndarray, metric: str) -> dict[str, Any]:
    return {"metric": metric, "thresholds": thresholds.round(6).tolist(), "scores": scores.round(6).tolist()}


def keep_errors(
    recipe: Recipe,
    run: RunDir,
    table: SampleTable,
    source: ImageSource,
    rows: np.ndarray,
    probs: np.ndarray,
    answers: np.ndarray,
) -> None:
    """Write `errors.json`: the wrong answers that the model was surest of, as small pictures with their labels; and
    which classes are taken for which.

    Args:
        table: of the rows that were validated, with targets.
        rows: where these stand in `source`, int64 (N,).
        probs: out of fold, float (N, O).
        answers: in the form of the task's targets.
    """
    targets = table.targets
    assert targets is not None
    task = recipe.task
    wrong = np.flatnonzero(task.wrong(answers, targets))
    losses, label_probs = task.row_losses(probs[wrong], targets[wrong]), task.label_probs(probs)
    worst = np.argsort(-losses, kind="stable")[:NUM_ERRORS]
    tiles = []
    for place in worst.tolist():
        row = int(wrong[place])
        true, answered = task.labels_of(targets[row]), task.labels_of(answers[row])
        tiles.append(
            {
                "id": str(table.ids[row]),
                "image": thumbnail(look_at(source, int(rows[row]))),
                "loss": round(float(losses[place]), 3),
                "truth": _describe(true, answered, label_probs[row], table.titles),
                "answers": _describe(answered, true, label_probs[row], table.titles),
            }
        )
    pairs = [task.identities(values[wrong]) for values in (answers, targets)]
    confused = [] if pairs[0] is None or pairs[1] is None else _confusions(pairs[0], pairs[1], table.titles)
    content = {"rows": len(targets), "wrong": len(wrong), "tiles": tiles, "confused": confused}
    write_json(run.path / ERRORS, content)


def _describe(chosen: np.ndarray, others: np.ndarray, probs: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Some labels of a row, the likeliest first, each with its probability, and whether it is among the others too."""
    order = chosen[np.argsort(-probs[chosen], kind="stable")][:NUM_LABELS].tolist()
    found = set(others.tolist())
    return [{"label": labels[label], "prob": round(float(probs[label]), 3), "right": label in found} for label in order]


def _confusions(answers: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Which class is taken for which, the most frequent first; all of these answers are wrong."""
    pairs, counts = np.unique(np.stack([targets, answers], 1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:NUM_CONFUSED]
    return [
        {"truth": labels[true], "answer": labels[said], "rows": int(count)}
        for (true, said), count in zip(pairs[order].tolist(), counts[order], strict=True)
    ]
