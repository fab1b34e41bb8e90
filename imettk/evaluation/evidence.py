"""Files that `validate` leaves for the report beside the scores: curves, confused classes, the worst errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imettk.config import Recipe
from imettk.data.sample_table import LabelledTable
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

NUM_ERRORS = 24  # rows that are shown
NUM_LABELS = 8  # labels of a row that are missed, wrongly answered or right, of each kind
MOST_CLASSES, NUM_CONFUSED = 25, 15  # classes of a confusion matrix; with more classes, pairs that are listed
THRESHOLDS = np.arange(1, 100) / 100
MOST_TARGETS, MOST_POINTS = 6, 500  # targets with a chart, and rows in it
NUM_POINTS = 60  # points of the curve for an unknown identity


def keep_curves(
    recipe: Recipe,
    run: RunDir,
    table: LabelledTable,
    *,
    fitter: RuleFitter,
    rule: Rule,
    probs: np.ndarray,
    shown: np.ndarray,
    decided: np.ndarray,
) -> None:
    """Write `curves.json`: the score over thresholds, curves of probabilities, residuals, and confused classes.

    Curves that the rule or the task lacks are left out.

    Args:
        table: the validated rows, with targets.
        rule: fitted on all rows.
        probs: out-of-fold predictions, float (N, O).
        shown: the answers if they are probabilities, otherwise `probs`.
        decided: decisions of rules that have not seen these rows, in the form of the task's targets.
    """
    task, targets = recipe.task, table.targets
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
    """Return true and answered numbers of some rows of each target, and its error over all rows.

    Args:
        answers, targets: float (N, T).
    """
    # Evenly spaced rows: 500 dots show the shape, and all of them would fill megabytes of the page.
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
    task: Task, table: LabelledTable, shown: np.ndarray, places: list[int], answered: np.ndarray | None
) -> dict[str, Any]:
    """Return ROC and precision-recall curves of some labels, and the calibration of their probabilities.

    Args:
        shown: probabilities, float (N, O).
        places: the labels that are judged.
        answered: the class that each row is answered with, int64 (N,); None if labels do not exclude each other.
            Calibration is then that of the answered class.
    """
    if answered is not None and len(places) == len(table.labels) == 2:
        places = [1]  # the curves of the first of two classes are mirror images
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
    """Return the class of each row, int64 (N,), from targets or decisions of labels that exclude each other."""
    return np.array([task.labels_of(value)[0] for value in values], np.int64)


def _confusion(truth: np.ndarray, answered: np.ndarray, titles: Sequence[str]) -> dict[str, Any]:
    """Return the confusion matrix; with many classes the most frequently confused pairs instead.

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
    """Return the out-of-fold score over one threshold for all labels, and the rule's own thresholds.

    Returns:
        None for a rule without thresholds.
    """
    traced = fitter.trace(rule, probs, targets, THRESHOLDS)
    if traced is None:
        return None
    curve = _curve(THRESHOLDS, traced["scores"], traced["metric"])
    return curve | {name: traced[name] for name in ("own", "relative")}


def keep_unknown_curve(run: RunDir, ranker: Ranker, ranked: Ranked, truth: np.ndarray, threshold: float) -> None:
    """Write `curves.json`: the score over thresholds below which the unknown label comes first, and two histograms.

    The histograms are of similarities of the first answers, to queries of known and of unknown identity.
    """
    first = ranked.scores[:, 0]
    finite = first[np.isfinite(first)]
    if not len(finite):
        return
    low, high = float(finite.min()), float(finite.max())
    thresholds = np.linspace(low, high, NUM_POINTS)
    scores = [ranker.score(ranker.answer(ranked, float(value)), truth) for value in thresholds]
    edges = np.linspace(low, high, NUM_POINTS // 2 + 1)
    unknown = truth == ranker.unknown
    counts = {name: np.histogram(first[rows], edges)[0] for name, rows in (("known", ~unknown), ("unknown", unknown))}
    marks = [threshold] if low <= threshold <= high else []  # outside, the unknown label comes first always or never
    curve = _curve(thresholds, np.array(scores), ranker.metric) | {"own": marks, "edges": edges.tolist()}
    write_json(run.path / CURVES, {"unknown": curve | {name: bins.tolist() for name, bins in counts.items()}})


def _curve(thresholds: np.ndarray, scores: np.ndarray, metric: str) -> dict[str, Any]:
    return {"metric": metric, "thresholds": thresholds.round(6).tolist(), "scores": scores.round(6).tolist()}


def keep_errors(
    recipe: Recipe,
    run: RunDir,
    table: LabelledTable,
    *,
    source: ImageSource,
    rows: np.ndarray,
    probs: np.ndarray,
    answers: np.ndarray,
) -> None:
    """Write `errors.json`: the wrong answers with the largest losses, as small pictures with their labels.

    Args:
        table: the validated rows, with targets.
        rows: their places in `source`, int64 (N,).
        probs: out-of-fold predictions, float (N, O).
        answers: in the form of the task's targets.
    """
    targets = table.targets
    task = recipe.task
    wrong = np.flatnonzero(task.wrong(answers, targets))
    losses, label_probs = task.row_losses(probs[wrong], targets[wrong]), task.label_probs(probs)
    worst = np.argsort(-losses, kind="stable")[:NUM_ERRORS]
    tiles = []
    for place in worst.tolist():
        row = int(wrong[place])
        if task.numeric:
            sides = _describe_numbers(targets[row], answers[row], table.titles)
        else:
            sides = _describe_labels(
                task.labels_of(targets[row]), task.labels_of(answers[row]), label_probs[row], table.titles
            )
        image = thumbnail(look_at(source, int(rows[row])))
        tiles.append({"id": str(table.ids[row]), "image": image, "loss": round(float(losses[place]), 3)} | sides)
    write_json(run.path / ERRORS, {"rows": len(targets), "wrong": len(wrong), "tiles": tiles})


def _describe_numbers(true: np.ndarray, answered: np.ndarray, titles: Sequence[str]) -> dict[str, Any]:
    """Return the true and the answered numbers of a row, float (T,) each, as text; a single target needs no name."""
    sides = {}
    for side, values in (("truth", true), ("answers", answered)):
        texts = [f"{value:.6g}" if side == "truth" else f"{value:.4g}" for value in values.tolist()]
        if len(titles) > 1:
            texts = [f"{title} {text}" for title, text in zip(titles, texts, strict=True)]
        sides[side] = [{"label": text, "prob": None, "right": side == "truth"} for text in texts]
    return sides


def _describe_labels(
    true: np.ndarray, answered: np.ndarray, probs: np.ndarray, titles: Sequence[str]
) -> dict[str, Any]:
    """Return the true and the answered labels of a row, those that differ first, and how many are left out.

    A row of iMet can have a dozen right labels: sorted by probability, they would push the missed ones, whose
    probabilities are low, off the list.

    Args:
        true, answered: int64 (M,) each.
        probs: float (C,).
    """
    sides: dict[str, Any] = {}
    left_out = {}
    for side, labels, others in (("truth", true, answered), ("answers", answered, true)):
        order = labels[np.argsort(-probs[labels], kind="stable")]
        differing, right = order[~np.isin(order, others)], order[np.isin(order, others)]
        left_out[side] = max(0, len(differing) - NUM_LABELS)
        left_out["right"] = max(0, len(right) - NUM_LABELS)
        sides[side] = [
            {"label": titles[label], "prob": round(float(probs[label]), 3), "right": is_right}
            for part, is_right in ((differing, False), (right, True))
            for label in part[:NUM_LABELS].tolist()
        ]
    return sides | {"left_out": left_out}
