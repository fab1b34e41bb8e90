"""`infer`: test predictions of every fold, their mean, the rule, a checked submission."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.csv_files import read_csv
from imettk.data.table import SampleTable, read_answers, read_table, read_test_table
from imettk.kaggle.submission import write_submission
from imettk.postprocess.rule import Rule
from imettk.progress import say
from imettk.stages.rules import metric_name, score
from imettk.stages.shared import choose_compute, open_source, predict_file, trained_folds
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
    rule = Rule.from_json(read_json(run.find("rule.json", written_by="validate")))
    folds = trained_folds(run, fold)
    table = read_test_table(recipe.table, data_dir, read_table(recipe.table, data_dir))
    for remark in table.remarks:
        say(f"note: {remark}")
    run.save_recipe(recipe)
    compute = choose_compute(recipe)
    source = open_source(recipe, table, data_dir, run)
    rows = np.arange(len(table))
    total = np.zeros((len(table), len(table.labels)), np.float64)
    for number in folds:
        path = run.fold(number) / "test.safetensors"
        predictions = predict_file(
            path, run.model(number), table, source, rows, recipe, compute, what=f"fold {number} test"
        )
        total += predictions.merged
    answers = rule.apply((total / len(folds)).astype(np.float32))
    cells = _with_known_answers(run, table, _cells(answers, table, recipe))
    path = run.path / "submission.csv"
    write_submission(
        path,
        data_dir / recipe.table.sample_csv,
        id_column=recipe.table.id_column,
        label_column=recipe.table.answer_column or recipe.table.label_column,
        ids=table.ids,
        cells=cells,
    )
    say(f"{path}: {len(table)} answers, mean of {len(folds)} folds, checked against {recipe.table.sample_csv}")
    if answers_csv is not None:
        truth = read_answers(recipe.table, answers_csv, table.labels, table.ids)
        test_score = score(recipe, answers, truth)
        write_json(run.path / "scores.json", (read_json(run.path / "scores.json") or {}) | {"test": test_score})
        say(f"  test     {metric_name(recipe)} {test_score:.4f}")


def _with_known_answers(run: RunDir, table: SampleTable, cells: list[str]) -> list[str]:
    """The cells, with those in place that `imettk duplicates --action answer` found."""
    path = run.find_optional(KNOWN_ANSWERS)
    if path is None:
        return cells
    known = read_csv(path).set_index("id")["label"].to_dict()
    say(f"{path}: {sum(name in known for name in table.ids)} answers are those of a duplicate")
    return [known.get(name, cell) for name, cell in zip(table.ids, cells, strict=True)]


def _cells(answers: np.ndarray, table: SampleTable, recipe: Recipe) -> list[str]:
    """The text of each answer: its labels, joined as in the training table."""
    if answers.ndim == 1:
        return [table.labels[answer] for answer in answers]
    return [recipe.table.label_separator.join(table.labels[label] for label in np.flatnonzero(row)) for row in answers]
