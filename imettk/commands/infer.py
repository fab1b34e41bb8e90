"""`infer`: test predictions of every fold, their mean, the rule, a checked submission."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.labels import split
from imettk.data.table import SampleTable, read_answers, read_table, read_test_table
from imettk.evaluation.identities import rank_test, read_threshold
from imettk.evaluation.ranker import Ranker
from imettk.evaluation.rules import metric_name, score
from imettk.evaluation.scoring import tell_drift
from imettk.evaluation.submit import label_rows, submit
from imettk.experiment.in_time import predict_in_time
from imettk.experiment.known import read_known_answers
from imettk.experiment.prepared import open_source, trained_folds
from imettk.experiment.rule_file import RULE, read_rule
from imettk.inference.predictor import Predictions
from imettk.postprocess.rule import Rule
from imettk.progress import say
from imettk.tracking.files import read_json, write_json
from imettk.tracking.run_dir import RunDir


def infer(
    recipe: Recipe,
    data_dir: Path,
    run: RunDir,
    *,
    fold: int | None,
    started: float,
    answers_csv: Path | None = None,
) -> None:
    """Write `test.safetensors` of every trained fold (or one) and `submission.csv`, before the session's limit.

    Args:
        started: when the session did, on `time.monotonic()`.
        answers_csv: known answers in the format of the training table; with it the test score is printed and kept.

    Raises:
        MissingFileError: no fold is trained, or `validate` has not fitted a rule.
        DataError: the submission would not fit the sample.
    """
    if recipe.rule.kind != "rank":
        run.find(RULE, written_by="validate")
    folds = trained_folds(run, fold)
    labelled = read_table(recipe.table, data_dir)
    # All that can be wrong is found before the hours of prediction.
    if recipe.rule.kind != "rank":
        read_rule(run, recipe, labelled.labels, folds)
    elif recipe.ranking.answers == "identities":
        read_threshold(Ranker(recipe, labelled), run)
    table = read_test_table(recipe.table, data_dir, labelled)
    for remark in table.remarks:
        say(f"note: {remark}")
    truth = None
    if answers_csv is not None:
        truth = read_answers(recipe.table, answers_csv, table.labels, table.ids, data_dir=data_dir)
    known = read_known_answers(run, recipe, labelled, table)
    run.save_recipe(recipe)
    source = open_source(recipe, table, data_dir, run)
    end = started + recipe.session.limit_seconds - recipe.session.margin_seconds
    used: list[int] = []
    tests = _noted(predict_in_time(recipe, run, table, source, folds, end=end), used)
    make_answers = rank_test if recipe.rule.kind == "rank" else _apply_rule
    answers = make_answers(recipe, data_dir, run, table, tests)
    if known:
        answers = _with_known_answers(recipe, known, labelled, table, answers)
    submit(recipe, data_dir, run, table.ids, answers, f"mean of {len(used)} folds")
    if truth is not None:
        name, value = _score(recipe, labelled, table, answers, truth)
        write_json(run.path / "scores.json", (read_json(run.path / "scores.json") or {}) | {"test": value})
        say(f"  test     {name} {value:.4f}")


def _noted(tests: Iterator[tuple[int, Predictions]], used: list[int]) -> Iterator[tuple[int, Predictions]]:
    """The same, while it notes which folds there was time for."""
    for fold, predictions in tests:
        used.append(fold)
        yield fold, predictions


def _apply_rule(
    recipe: Recipe, data_dir: Path, run: RunDir, table: SampleTable, tests: Iterator[tuple[int, Predictions]]
) -> list[list[str]]:
    """The labels of each row, by the rule that `validate` fitted on the mean of all folds."""
    rule = Rule.from_json(read_rule(run, recipe, table.labels))
    total, count = np.zeros((len(table), len(table.labels)), np.float64), 0
    for _, predictions in tests:
        total += predictions.merged
        count += 1
    answers = rule.apply((total / count).astype(np.float32))
    tell_drift(rule, answers)
    return label_rows(answers, table.labels)


def _with_known_answers(
    recipe: Recipe, known: dict[str, str], labelled: SampleTable, table: SampleTable, answers: list[list[str]]
) -> list[list[str]]:
    """The answers, with the known ones in place: first, where there are ranks.

    A label that is not scored is answered as the unknown one.
    """
    ranks = recipe.rule.kind == "rank"
    if ranks and not (ranker := Ranker(recipe, labelled)).scored.all():
        others = {ranker.names[label] for label in np.flatnonzero(~ranker.scored)}
        known = {name: ranker.names[-1] if label in others else label for name, label in known.items()}
    result = []
    for name, row in zip(table.ids, answers, strict=True):
        labels = row
        if (cell := known.get(name)) is not None:
            labels = split(cell, recipe.table)
        more = [label for label in row if label not in labels] if ranks else []
        result.append([*labels, *more][: max(len(labels), len(row) if more else 0)])
    return result


def _share_of_one_identity(
    labelled: SampleTable, table: SampleTable, answers: list[list[str]], truth: np.ndarray
) -> float:
    """Of the images answered to queries of known identity, the share that shows the same one."""
    assert labelled.targets is not None
    shows = dict(zip([*labelled.ids, *table.ids], [*labelled.targets, *truth], strict=True))
    known = [(row, true) for row, true in zip(answers, truth, strict=True) if true >= 0]
    return float(np.mean([[shows[name] == true for name in row] for row, true in known]))


def _score(
    recipe: Recipe, labelled: SampleTable, table: SampleTable, answers: list[list[str]], truth: np.ndarray
) -> tuple[str, float]:
    """The metric's name, and what these answers score."""
    if recipe.rule.kind == "rank" and recipe.ranking.answers == "images":
        return f"precision@{recipe.ranking.num_answers}", _share_of_one_identity(labelled, table, answers, truth)
    place = {label: number for number, label in enumerate(labelled.labels)}
    if recipe.rule.kind == "rank":
        ranker = Ranker(recipe, labelled)
        ranked = np.full((len(answers), ranker.k), -1, np.int64)
        for row, names in enumerate(answers):
            ranked[row, : len(names)] = [place.get(name, len(place)) for name in names]
        return ranker.metric, ranker.score(ranked, ranker.truth(truth))
    if truth.ndim == 1:
        return metric_name(recipe), score(recipe, np.array([place[names[0]] for names in answers]), truth)
    chosen = np.zeros(truth.shape, bool)
    for row, names in enumerate(answers):
        chosen[row, [place[name] for name in names]] = True
    return metric_name(recipe), score(recipe, chosen, truth)
