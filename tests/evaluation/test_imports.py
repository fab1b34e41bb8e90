"""Another tool's predictions: what imettk exports comes back with its bits, and whatever does not fit is refused."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from imettk.config import RuleConfig, TableFormat
from imettk.data.frame_files import write_frame
from imettk.data.sample_table import LabelledTable
from imettk.errors import ConfigError, DataError, MismatchError
from imettk.evaluation.frames import label_columns, oof_frame
from imettk.evaluation.imports import read_oof, read_test
from imettk.inference.predictor import Predictions, save_predictions
from imettk.recipes import load_recipe
from imettk.tasks import TASKS
from imettk.tracking.run_dir import RunDir

ROWS, LABELS = 40, ("id", "b", "truth:b", "c=1", "c=2")
GROUPS = ("", "", "", "c", "c")
IDS = np.array([f"{row:03d}" for row in np.random.default_rng(3).permutation(ROWS)])
FOLDS = np.arange(ROWS) % 4 - 1  # a quarter only trains
RULES = {"regression": "value", "ordinal": "cutpoints", "votes": "probability", "questions": "argmax_each"}


def recipe_of(task):
    base, made = load_recipe("digits"), TASKS[task]
    table = TableFormat(task=task, label_columns=("b", "c") if made.numbered or made.asks_columns else ())
    train = replace(base.train, loss=made.loss)
    return replace(base, table=table, train=train, rule=RuleConfig(kind=RULES.get(task, made.rule)))


def targets_of(task, rng):
    if TASKS[task].numbered:
        return rng.random((ROWS, len(LABELS))).astype(np.float32)
    if TASKS[task].exclusive:
        return rng.integers(-1, len(LABELS), ROWS)
    return rng.integers(0, 2, (ROWS, len(LABELS)), np.uint8)


def outputs_of(task, rng):
    import torch

    logits = torch.from_numpy(4 * rng.normal(size=(ROWS, TASKS[task].num_outputs(len(LABELS)))).astype(np.float32))
    if parts := TASKS[task].parts(GROUPS):
        logits = torch.cat([part.log_softmax(1) for part in logits.split(parts, 1)], 1)
    return TASKS[task].activate(logits).numpy()


def prepared_of(task="multiclass", folds=FOLDS):
    table = LabelledTable(IDS, IDS, LABELS, GROUPS, targets=targets_of(task, np.random.default_rng(1)))
    return SimpleNamespace(
        table=table, targets=table.targets, folds=folds, rows=lambda fold, valid: np.flatnonzero(folds == fold)
    )


def exported(task, tmp_path):
    """Make a run of random predictions; return its recipe, its prepared data, its outputs and its frame."""
    prepared, outputs = prepared_of(task), outputs_of(task, np.random.default_rng(2))
    for fold in range(3):
        rows = prepared.rows(fold, valid=True)
        values = {"labels": list(LABELS), "merge": "mean"}
        made = Predictions(IDS[rows], outputs[None, rows], values, prepared.targets[rows])
        save_predictions(tmp_path / f"fold{fold}" / "oof.safetensors", made)
    recipe = recipe_of(task)
    return recipe, prepared, outputs, oof_frame(recipe, RunDir(tmp_path))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("task", TASKS)
def test_what_is_exported_comes_back_with_its_bits(task, ending, tmp_path):
    recipe, prepared, outputs, frame = exported(task, tmp_path)
    path = tmp_path / f"oof.{ending}"
    write_frame(path, frame.sample(frac=1, random_state=0))  # rows in any order
    parts = read_oof(path, recipe, prepared)
    assert list(parts) == [0, 1, 2]
    for fold, part in parts.items():
        rows = prepared.rows(fold, valid=True)
        assert part.ids.tolist() == IDS[rows].tolist() and part.values["task"] == task
        assert part.merged.tobytes() == np.ascontiguousarray(outputs[rows]).tobytes()
        np.testing.assert_array_equal(part.targets, prepared.targets[rows])


def change(frame, column, value):
    """Set a column of the first row; of a class, the next one gives what is missing to 1."""
    frame = frame.copy()
    frame[column] = frame[column].astype(object)
    frame.loc[0, column] = value
    return frame


FAULTS = {
    "a row twice": (lambda frame: pd.concat([frame, frame[:1]]), DataError, "1 id .* more than once"),
    "no row": (lambda frame: frame[1:], DataError, r"lacks 1 row \(\d+\) of fold 0"),
    "no fold": (lambda frame: frame.drop(columns="fold"), DataError, "no column fold; .* folds of folds.csv"),
    "no label": (lambda frame: frame.drop(columns=["b", "c=1"]), DataError, "no column b, c=1; it has 6 columns"),
    "another id": (lambda frame: change(frame, "id", "x"), DataError, r"1 id \(x\) that the training table has not"),
    "ids as numbers": (
        lambda frame: frame.assign(id=frame["id"].astype(int)), DataError, "read as numbers\\? read them as text"
    ),
    "another fold": (
        lambda frame: change(frame, "fold", 1), MismatchError, r"1 of 30 rows have another fold .*too good; train the"
    ),
    "folds from 1": (
        lambda frame: frame.assign(fold=frame["fold"] + 1), MismatchError, r"differently \(1 for 0, 2 for 1, 3 for 2\)"
    ),
    "a row that only trains": (
        lambda frame: change(frame, "id", IDS[0]), DataError, r"1 row \(\d+\) that no fold validates"
    ),
    "another truth": (
        lambda frame: frame.assign(truth=np.roll(frame["truth"], 1)), MismatchError, "column truth differs .* rename it"
    ),
    "no number": (lambda frame: change(frame, "b", "high"), DataError, r"column b holds 1 cell \('high'\) that"),
    "nothing": (lambda frame: change(frame, "b", None), DataError, r"1 row \(\d+\) with .* not finite: b of .* is nan"),
    "infinite": (lambda frame: change(frame, "b", np.inf), DataError, r"1 row \(\d+\) with .* not finite: b of \d+"),
    "too much": (lambda frame: change(frame, "b", 1 + 2**-30), DataError, r"in \[0, 1\]: b of \d+ is 1\.0000000009"),
    "empty": (lambda frame: frame[:0], DataError, "has no rows: it needs those of at least one fold"),
    "logits": (lambda frame: change(frame, "b", -2.5), DataError, r"not probabilities in \[0, 1\]: b of \d+ is -2.5"),
    "a sum": (lambda frame: frame.assign(b=0.9), DataError, r"of 5 classes \(label:id, b, .*do not sum to 1: for \d+"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_one_line(fault, tmp_path):
    recipe, prepared, _, frame = exported("multiclass", tmp_path)
    make, kind, message = FAULTS[fault]
    make(frame).to_csv(tmp_path / "oof.csv", index=False)
    with pytest.raises(kind, match=message) as caught:
        read_oof(tmp_path / "oof.csv", recipe, prepared)
    assert "\n" not in str(caught.value) and "oof.csv" in str(caught.value)


def test_a_part_of_the_folds_is_taken_and_other_columns_are_named(tmp_path, capsys):
    recipe, prepared, _, frame = exported("multilabel", tmp_path)
    frame[frame["fold"] == 1].assign(url="x", **{"": 1}).to_csv(tmp_path / "oof.csv", index=False)
    assert list(read_oof(tmp_path / "oof.csv", recipe, prepared)) == [1]
    assert "ignored 2 columns (url, (unnamed))" in capsys.readouterr().out


def test_test_rows_come_in_the_order_of_the_test_set_and_none_may_lack(tmp_path):
    recipe, prepared = recipe_of("multilabel"), prepared_of("multilabel")
    frame = pd.DataFrame(outputs_of("multilabel", np.random.default_rng(0)), columns=label_columns(LABELS))
    frame.insert(0, "id", np.sort(IDS))
    frame.to_csv(tmp_path / "test.csv", index=False)
    made = read_test(tmp_path / "test.csv", recipe, prepared.table)
    assert made.ids.tolist() == IDS.tolist() and made.targets is None
    np.testing.assert_array_equal(made.merged, frame.set_index("id").loc[IDS].to_numpy(np.float32))
    change(frame, "id", "x").to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match=r"1 id \(x\) that the test set has not, and no row for 1 id \(000\) of the"):
        read_test(tmp_path / "test.csv", recipe, prepared.table)


def test_runs_of_embeddings_are_refused(tmp_path):
    (tmp_path / "oof.csv").write_text("id\n1\n")
    recipe = load_recipe("humpback2018")
    with pytest.raises(ConfigError, match="joined by embeddings: there is no import"):
        read_oof(tmp_path / "oof.csv", recipe, prepared_of())
