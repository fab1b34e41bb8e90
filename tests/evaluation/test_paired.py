"""Runs are compared on the rows that both validated, from files that hold exactly what was judged."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from imettk.config import Recipe, RuleConfig, TableFormat, TrainConfig, to_json
from imettk.data.sample_table import SampleTable
from imettk.errors import CheckpointError, MismatchError, MissingFileError
from imettk.evaluation import paired as paired_module
from imettk.evaluation.paired import (
    NUM_DRAWS,
    Judged,
    compare_judged,
    compare_runs,
    keep_judged,
    keep_judged_oof,
    keep_judged_rankings,
    read_judged,
)
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.units import Pooled
from imettk.metrics import METRICS
from imettk.tracking.run_dir import JUDGED, RunDir

LABELS = ("a", "b", "c")


def rows_of(rng, count=200, *, right=0.7):
    """Return classes that are answered right so often, by id."""
    targets = np.arange(count) % 3
    outputs = np.where(rng.random(count) < right, targets, (targets + 1) % 3)
    return Judged(np.array([f"x{row}" for row in range(count)]), outputs, targets, None, LABELS)


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (np.eye(3, dtype=bool), np.eye(3, dtype=np.uint8)),
        (np.ones((3, 1), bool), np.zeros((3, 1), np.uint8)),
        (np.random.default_rng(0).random((3, 9), np.float32), np.eye(3, 9, dtype=np.uint8)),
        (np.array([2, 0, 1]), np.arange(3)),
        (np.arange(15).reshape(3, 5), np.arange(3)),
        (np.ones((3, 2), np.float32), np.zeros((3, 2), np.float32)),
    ],
)
@pytest.mark.parametrize("groups", [None, np.array(["u", "v", "u"])])
def test_what_is_kept_comes_back_the_same(tmp_path, outputs, targets, groups):
    ids = np.array(["one", "two\n", "ж"])
    keep_judged(RunDir(tmp_path), ids, outputs, targets, groups=groups, labels=LABELS)
    judged = read_judged(tmp_path)
    for before, after in ((outputs, judged.outputs), (targets, judged.targets), (ids, judged.ids)):
        assert before.dtype.kind == after.dtype.kind and np.array_equal(before, after)
    assert judged.labels == LABELS and (
        judged.groups is None if groups is None else judged.groups.tolist() == [0, 1, 0]
    )


def test_answers_of_many_labels_are_kept_as_bits_and_too_much_is_left_out(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    ids, chosen = np.arange(2000).astype(str), rng.random((2000, 400)) < 0.1
    keep_judged(RunDir(tmp_path), ids, chosen, chosen.astype(np.uint8), groups=None, labels=())
    assert (tmp_path / JUDGED).stat().st_size < 250_000
    monkeypatch.setattr(paired_module, "MAX_BYTES", 100_000)
    keep_judged(RunDir(tmp_path), ids, chosen, chosen.astype(np.uint8), groups=None, labels=())
    assert not (tmp_path / JUDGED).exists()  # an older file would be of other answers
    assert "note: no judged.safetensors (0 MB are too many)" in capsys.readouterr().out


def test_a_validation_goes_on_without_a_file_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    ids, words = np.arange(3).astype(str), np.array(["a", "b", "c"], object)
    keep_judged(RunDir(tmp_path), ids, words, words, groups=None, labels=())
    assert "note: no judged.safetensors (the metric judges more than numbers)" in capsys.readouterr().out

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paired_module, "save_tensors", full)
    keep_judged(RunDir(tmp_path), ids, np.zeros(3), np.zeros(3), groups=None, labels=())
    assert "warning: no judged.safetensors, which `imettk log compare` needs: [Errno 28]" in capsys.readouterr().out
    assert not (tmp_path / JUDGED).exists()


def test_an_ensemble_is_told_which_command_writes_the_file(tmp_path):
    (tmp_path / "ensemble.json").write_text("{}")
    with pytest.raises(MissingFileError, match=r"run `imettk ensemble` there again"):
        read_judged(tmp_path)


def test_only_rows_of_both_runs_count_in_whatever_order():
    rng = np.random.default_rng(1)
    first = rows_of(rng)
    second = replace(first, outputs=first.targets).take(rng.permutation(200)[:120])
    paired = compare_judged(METRICS["accuracy"].bound("classes"), first, second, names=("one", "two"))
    shared = np.isin(first.ids, second.ids)
    assert paired.rows == 120 and paired.second == 1 and paired.draws == NUM_DRAWS
    assert paired.first == pytest.approx((first.outputs == first.targets)[shared].mean())
    assert paired.verdict.startswith("The second run is better")


def test_groups_are_drawn_whole():
    """Ten rows of a group that agree are one piece of evidence: the interval is wider."""
    first = rows_of(np.random.default_rng(2), right=1.0)
    wrong = np.repeat(np.random.default_rng(3).random(20) < 0.3, 10)
    second = replace(first, outputs=np.where(wrong, (first.targets + 1) % 3, first.targets))
    scorer, names = METRICS["accuracy"].bound("classes"), ("one", "two")
    plain = compare_judged(scorer, first, second, names=names)
    grouped = compare_judged(scorer, first, replace(second, groups=np.repeat(np.arange(20), 10)), names=names)
    assert grouped.high - grouped.low > 2 * (plain.high - plain.low)


def test_what_cannot_be_compared_is_said(tmp_path):
    scorer, first = METRICS["accuracy"].bound("classes"), rows_of(np.random.default_rng(4))
    for other, message in (
        (replace(first, labels=("a", "b")), "one and two have different labels"),
        (replace(first, ids=np.char.add(first.ids, "'")), "validated no row in common"),
        (replace(first, targets=np.where(np.arange(200) == 7, 2, first.targets)), r"labels for 1 row \(x7\)"),
    ):
        with pytest.raises(MismatchError, match=message):
            compare_judged(scorer, first, other, names=("one", "two"))
    with pytest.raises(MissingFileError, match=r"has no judged.safetensors: run `imettk validate`"):
        read_judged(tmp_path)
    keep_judged(RunDir(tmp_path), first.ids, first.outputs, first.targets, groups=None, labels=LABELS)
    (tmp_path / JUDGED).write_bytes((tmp_path / JUDGED).read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"judged\.safetensors"):
        read_judged(tmp_path)


def recipe_of(seed: int = 0) -> Recipe:
    return Recipe(
        table=TableFormat(task="multiclass", label_column="label"),
        train=TrainConfig(loss="cross_entropy", seed=seed),
        rule=RuleConfig(kind="argmax"),
    )


def test_folders_are_compared_by_their_own_metric(tmp_path):
    rng = np.random.default_rng(5)
    for seed, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.json").write_text(to_json(recipe_of(seed)))
        judged = rows_of(rng)
        keep_judged(
            RunDir(tmp_path / name), judged.ids, judged.outputs, judged.targets, groups=None, labels=judged.labels
        )
    paired = compare_runs(tmp_path / "one", tmp_path / "two")
    assert paired.title == "accuracy" and paired.verdict == "The difference does not stand out from the noise."
    recipe = json.loads((tmp_path / "two" / "recipe.json").read_text())
    recipe["score"]["metric"] = "f1_macro"
    (tmp_path / "two" / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(MismatchError, match=r"is judged by accuracy, .*two by macro F1"):
        compare_runs(tmp_path / "one", tmp_path / "two")


def test_rules_keep_what_their_metric_judges(tmp_path):
    """A fold for which the others choose another pool keeps the predictions of that pool."""
    recipe, rng = replace(recipe_of(), score=replace(recipe_of().score, metric="log_loss")), np.random.default_rng(6)
    probs, other = (rng.dirichlet(np.ones(3), 40).astype(np.float32) for _ in range(2))
    ids, targets, folds = np.arange(40).astype(str), np.arange(40) % 3, np.arange(40) % 2
    table = SampleTable(ids, ids, LABELS, ("",) * 3, targets=targets)
    fitter = fitter_of(recipe, labels=LABELS)
    keep_judged_oof(RunDir(tmp_path), fitter, table, Pooled(probs, {1: other}), probs.argmax(1), folds)
    assert np.array_equal(read_judged(tmp_path).outputs, np.where(folds[:, None] == 1, other, probs))


def test_rankings_leave_out_rows_that_are_not_judged(tmp_path):
    ids = np.arange(4).astype(str)
    table = SampleTable(ids, ids, LABELS, ("",) * 3, targets=np.arange(4) % 3, groups=np.array(list("uvvu")))
    keep_judged_rankings(RunDir(tmp_path), table, np.arange(8).reshape(4, 2), np.array([0, -1, 2, 0]))
    judged = read_judged(tmp_path)
    assert judged.ids.tolist() == ["0", "2", "3"] and judged.outputs.tolist() == [[0, 1], [4, 5], [6, 7]]
    assert judged.groups.tolist() == [0, 1, 0]
