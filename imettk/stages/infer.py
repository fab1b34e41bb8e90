"""`infer`: test predictions of every fold, their mean, the rule, a checked submission."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.csv_files import read_csv
from imettk.data.source import ImageSource
from imettk.data.table import SampleTable, read_answers, read_table, read_test_table
from imettk.postprocess.rule import Rule
from imettk.progress import say
from imettk.stages.ranker import Ranker
from imettk.stages.ranking import rank_test
from imettk.stages.rules import metric_name, score
from imettk.stages.shared import choose_compute, open_source, predict_file, trained_folds
from imettk.stages.submit import label_rows, submit
from imettk.tracking.files import read_json, write_json
from imettk.tracking.run_dir import KNOWN_ANSWERS, RunDir


def infer(recipe: Recipe, data_dir: Path, run: RunDir, *, fold: int | None, answers_csv: Path | None = None) -> None:
    """Write `test.safetensors` of every trained fold (or one) and `submission.csv`.

    Args:
        answers_csv: known answers in the format of the training table; with it the test score is printed and kept.

    Raises:
        MissingFileError: no fold is trained, or `validate` has not fitted a rule.
        DataError: the submission would not fit the sample.
    """
    if recipe.rule.kind != "rank":
        run.find("rule.json", written_by="validate")  # before the hours of prediction
    folds = trained_folds(run, fold)
    labelled = read_table(recipe.table, data_dir)
    table = read_test_table(recipe.table, data_dir, labelled)
    for remark in table.remarks:
        say(f"note: {remark}")
    run.save_recipe(recipe)
    source = open_source(recipe, table, data_dir, run)
    make_answers = rank_test if recipe.rule.kind == "rank" else _apply_rule
    answers = _with_known_answers(recipe, run, table, make_answers(recipe, data_dir, run, table, source, folds))
    submit(recipe, data_dir, run, table.ids, answers, f"mean of {len(folds)} folds")
    if answers_csv is not None:
        truth = read_answers(recipe.table, answers_csv, table.labels, table.ids, data_dir=data_dir)
        name, value = _score(recipe, labelled, table, answers, truth)
        write_json(run.path / "scores.json", (read_json(run.path / "scores.json") or {}) | {"test": value})
        say(f"  test     {name} {value:.4f}")


def _apply_rule(
    recipe: Recipe, data_dir: Path, run: RunDir, table: SampleTable, source: ImageSource, folds: list[int]
) -> list[list[str]]:
    """The labels of each row, by the rule that `validate` fitted on the mean of all folds."""
    rule = Rule.from_json(read_json(run.find("rule.json", written_by="validate")))
    compute, rows = choose_compute(recipe), np.arange(len(table))
    total = np.zeros((len(table), len(table.labels)), np.float64)
    for number in folds:
        path = run.fold(number) / "test.safetensors"
        predictions = predict_file(
            path, run.model(number), table, source, rows, recipe, compute, what=f"fold {number} test"
        )
        total += predictions.merged
    return label_rows(rule.apply((total / len(folds)).astype(np.float32)), table.labels)


def _with_known_answers(recipe: Recipe, run: RunDir, table: SampleTable, answers: list[list[str]]) -> list[list[str]]:
    """The answers, with those in place that `imettk duplicates --action answer` found: first, where there are ranks."""
    path = run.find_optional(KNOWN_ANSWERS)
    if path is None:
        return answers
    known = read_csv(path).set_index("id")["label"].to_dict()
    say(f"{path}: {sum(name in known for name in table.ids)} answers are those of a duplicate")
    result = []
    for name, row in zip(table.ids, answers, strict=True):
        labels = row
        if (cell := known.get(name)) is not None:
            labels = [cell] if recipe.table.task == "multiclass" else cell.split(recipe.table.label_separator)
        more = [label for label in row if label not in labels] if recipe.rule.kind == "rank" else []
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
