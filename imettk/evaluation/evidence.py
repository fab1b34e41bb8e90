"""What `validate` keeps for the report beside scores: curves, which classes are confused, the worst errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imettk.config import Recipe
from imettk.data.sample_table import SampleTable
from imettk.data.source import ImageSource
from imettk.evaluation.pictures import look_at
from imettk.evaluation.probability_curves import calibration, label_curves
from imettk.evaluation.ranker import Ranker
from imettk.metrics.values import rmse
from imettk.pictures.galleries import thumbnail
from imettk.postprocess.fitters import RuleFitter
from imettk.postprocess.ranking import Ranked
from imettk.postprocess.rule import Rule
from imettk.tasks import Task
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import CURVES, ERRORS, RunDir

NUM_ERRORS, NUM_LABELS = 24, 8  # rows that are shown, and labels of each
MOST_CLASSES, NUM_CONFUSED = 25, 15  # of a confusion matrix; of more classes, the pairs that are confused most
THRESHOLDS = np.arange(1, 100) / 100
MOST_TARGETS, MOST_POINTS = 6, 500  # of numbers: targets with a chart, and rows in it
NUM_POINTS = 60  # of the curve for an unknown identity


def keep_curves(
    recipe: Recipe,
    run: RunDir,
    table: SampleTable,
    *,
    fitter: RuleFitter,
    rule: Rule,
    probs: np.ndarray,
    shown: np.ndarray,
    decided: np.ndarray,
) -> None:
    """Write `curves.json`: the score over thresholds, curves of probabilities, and which classes are taken for which,
    each where the rule or the task has any.

    Args:
        table: of the rows that were validated, with targets.
        rule: fitted on all rows.
        probs: out of fold, float (N, O).
        shown: probabilities as they are answered where answers are probabilities, else `probs`.
        decided: by rules that have not seen these rows, in the form of the task's targets.
    """
    task, targets = recipe.task, table.targets
    assert targets is not None
    content: dict[str, Any] = {}
    if (curve := threshold_curve(fitter, rule, probs, targets)) is not None:
        content["threshold"] = curve
    classes = (_classes(task, targets), _classes(task, decided)) if task.exclusive else None
    if task.numeric:
        content["values"] = value_points(decided, targets, table.titles)
    elif "probs" in recipe.rule_row.gives:
        content |= _probability_curves(task, table, shown, rule.places(table.labels), classes[1] if classes else None)
    if classes is not None:
        content["confusion"] = _confusion(*classes, table.titles)
    elif numbers := rule.answer_numbers():
        true, answered = (np.searchsorted(numbers, values[:, 0]) for values in (targets, decided))
        content["confusion"] = _confusion(true, answered, [f"{number:g}" for number in numbers])
    write_json(run.path / CURVES, content)


def value_points(answers: np.ndarray, targets: np.ndarray, titles: Sequence[str]) -> list[dict[str, Any]]:
    """Return true and answered numbers of some rows of each target, float (N, T), and its error over all rows."""
    rows = np.unique(np.linspace(0, len(targets) - 1, min(len(targets), MOST_POINTS)).round().astype(int))
    return [
        {
            "target": titles[target],
            "rows": len(targets),
            "rmse": rmse(answers[:, [target]], targets[:, [target]]),
            "true": [float(f"{number:.6g}") for number in targets[rows, target]],
            "answers": [float(f"{number:.6g}") for number in answers[rows, target]],
        }
        for target in range(min(len(titles), MOST_TARGETS))
    ]


def _probability_curves(
    task: Task, table: SampleTable, shown: np.ndarray, places: list[int], answered: np.ndarray | None
) -> dict[str, Any]:
    """Return the curves of these labels, and how far their probabilities can be trusted: those of the class that each
    row is answered with, int64 (N,), where labels exclude each other and several count."""
    assert table.targets is not None
    if answered is not None and len(places) == len(table.labels) == 2:
        places = [1]  # the first class is its mirror image
    every, truth = task.label_probs(shown), task.label_shares(table.targets, len(table.labels))
    probs, true, titles = every[:, places], truth[:, places], [table.titles[place] for place in places]
    curves = label_curves(probs, task.label_matrix(table.targets, len(table.labels))[:, places], titles)
    name, unit = f"the probabilities of {len(places)} labels together", "probabilities"
    if len(places) == 1:
        name, unit = f"the probability of {titles[0]}", "rows"
    elif answered is not None:
        cells = np.arange(len(every))[:, None], answered[:, None]
        probs, true, name, unit = every[cells], truth[cells], "the probability of the class answered", "rows"
    return {"probabilities": curves, "calibration": {"of": name, "unit": unit} | calibration(probs, true)}


def _classes(task: Task, values: np.ndarray) -> np.ndarray:
    """Return the one label of each row, int64 (N,), by targets or decisions where labels exclude each other."""
    return np.array([task.labels_of(value)[0] for value in values], np.int64)


def _confusion(truth: np.ndarray, answered: np.ndarray, titles: Sequence[str]) -> dict[str, Any]:
    """Return how many rows of each class are answered with which: all counts, or of many classes the pairs that are
    confused most, the most frequent first.

    Args:
        truth, answered: classes, int64 (N,); rows of an unknown class, -1, do not count.
    """
    from sklearn.metrics import confusion_matrix

    if len(titles) <= MOST_CLASSES:
        counts = confusion_matrix(truth, answered, labels=range(len(titles)))
        return {"labels": list(titles), "counts": counts.tolist()}
    wrong = (truth != answered) & (truth >= 0)
    pairs, counts = np.unique(np.stack([truth, answered], 1)[wrong], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:NUM_CONFUSED]
    rows = np.bincount(truth[truth >= 0], minlength=len(titles))
    return {
        "pairs": [
            {"truth": titles[true], "answer": titles[answer], "rows": int(count), "of": int(rows[true])}
            for (true, answer), count in zip(pairs[order].tolist(), counts[order], strict=True)
        ]
    }


def threshold_curve(fitter: RuleFitter, rule: Rule, probs: np.ndarray, targets: np.ndarray) -> dict[str, Any] | None:
    """Return what one threshold for all labels scores out of fold, and where the rule's own lie; None for a rule
    without thresholds."""
    traced = fitter.trace(rule, probs, targets, THRESHOLDS)
    if traced is None:
        return None
    curve = _curve(THRESHOLDS, traced["scores"], traced["metric"])
    return curve | {name: traced[name] for name in ("own", "relative")}


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
    """Write `errors.json`: the wrong answers that the model was surest of, as small pictures with their labels.

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
    numbers = [_say_numbers(values, table.titles) for values in (targets, answers)] if task.numeric else []
    tiles = []
    for place in worst.tolist():
        row = int(wrong[place])
        sides = [
            [{"label": text, "prob": None, "right": side == 0} for text in texts[row]]
            for side, texts in enumerate(numbers)
        ]
        if not numbers:
            true, answered = task.labels_of(targets[row]), task.labels_of(answers[row])
            shown = label_probs[row]
            sides = [_describe(*pair, shown, table.titles) for pair in ((true, answered), (answered, true))]
        tiles.append(
            {
                "id": str(table.ids[row]),
                "image": thumbnail(look_at(source, int(rows[row]))),
                "loss": round(float(losses[place]), 3),
                "truth": sides[0],
                "answers": sides[1],
            }
        )
    write_json(run.path / ERRORS, {"rows": len(targets), "wrong": len(wrong), "tiles": tiles})


def _say_numbers(values: np.ndarray, titles: Sequence[str]) -> list[list[str]]:
    return [[f"{title} {value:.6g}" for title, value in zip(titles, row, strict=True)] for row in values.tolist()]


def _describe(chosen: np.ndarray, others: np.ndarray, probs: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Some labels of a row, the likeliest first, each with its probability, and whether it is among the others too."""
    order = chosen[np.argsort(-probs[chosen], kind="stable")][:NUM_LABELS].tolist()
    found = set(others.tolist())
    return [{"label": labels[label], "prob": round(float(probs[label]), 3), "right": label in found} for label in order]
