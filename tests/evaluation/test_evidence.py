"""Files that `validate` keeps for the report, recomputed from the same predictions with scikit-learn and by hand."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, fbeta_score, roc_auc_score

from imettk.config import Recipe, RuleConfig, ScoreConfig, TableFormat, TrainConfig, choices
from imettk.data.sample_table import SampleTable
from imettk.errors import DataError
from imettk.evaluation.evidence import (
    NUM_ERRORS,
    NUM_LABELS,
    keep_curves,
    keep_errors,
    keep_unknown_curve,
    threshold_curve,
)
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.scoring import OutOfFold, judge_oof
from imettk.evaluation.units import Pooled
from imettk.postprocess.probabilities import Probabilities
from imettk.postprocess.ranking import Ranked
from imettk.postprocess.rule import Likeliest, Shares, Thresholds
from imettk.recipes import load_recipe
from imettk.tracking.run_dir import RunDir

LABELS = ("a", "b", "c", "d")


class Images:
    """Images of a single colour, r in row r; row 3 cannot be read."""

    def read(self, row: int) -> np.ndarray:
        if row == 3:
            raise DataError("x3 is cut")
        return np.full((20, 30, 3), row, np.uint8)


def table_of(targets: np.ndarray, labels: Sequence[str] = LABELS) -> SampleTable:
    ids = np.array([f"x{row}" for row in range(len(targets))])
    return SampleTable(ids, ids, tuple(labels), ("",) * len(labels), targets=targets)


def read(run: RunDir, name: str):
    return json.loads((run.path / name).read_text())


def test_the_curve_is_scikit_learns_and_marks_the_rules_thresholds():
    rng = np.random.default_rng(0)
    targets = (rng.random((40, 4)) < 0.4).astype(np.uint8)
    probs = rng.random((40, 4)).astype(np.float32)
    recipe = Recipe(rule=RuleConfig(kind="group_thresholds", beta=1, average="macro"))
    rule = Thresholds(thresholds=(0.4, 0.2, 0.4, 2.0))
    curve = threshold_curve(fitter_of(recipe), rule, probs, targets)
    assert curve["own"] == [0.2, 0.4] and curve["metric"] == "macro F1" and len(curve["scores"]) == 99
    for place in (0, 30, 70):
        chosen = probs >= curve["thresholds"][place]
        expected = fbeta_score(targets, chosen, beta=1, average="macro", zero_division=0)
        assert curve["scores"][place] == pytest.approx(expected, abs=1e-6)


def test_the_surest_wrong_rows_come_first_with_their_pictures(tmp_path):
    rng = np.random.default_rng(1)
    targets = (rng.random((60, 4)) < 0.4).astype(np.uint8)
    probs = rng.random((60, 4)).astype(np.float32)
    answers = probs > 0.5
    answers[:30] = targets[:30] > 0  # half of them are right
    given = {"source": Images(), "rows": np.arange(60), "probs": probs, "answers": answers}
    keep_errors(Recipe(), RunDir(tmp_path), table_of(targets), **given)
    kept = read(RunDir(tmp_path), "errors.json")
    wrong = [row for row in range(60) if (answers[row] != targets[row]).any()]
    losses = {row: -np.log(np.where(targets[row], probs[row], 1 - probs[row])).sum() for row in wrong}
    order = sorted(wrong, key=lambda row: -losses[row])[:NUM_ERRORS]
    assert kept["wrong"] == len(wrong) < 60
    assert [tile["id"] for tile in kept["tiles"]] == [f"x{row}" for row in order]
    for row, tile in zip(order, kept["tiles"], strict=True):
        answered = {item["label"]: item for item in tile["answers"]}
        assert set(answered) == {LABELS[label] for label in np.flatnonzero(answers[row])}
        for label, item in answered.items():
            place = LABELS.index(label)
            assert item["right"] is bool(targets[row, place])
            assert item["prob"] == pytest.approx(probs[row, place], abs=1e-3)
        assert {item["label"] for item in tile["truth"]} == {LABELS[label] for label in np.flatnonzero(targets[row])}
        with Image.open(io.BytesIO(base64.b64decode(tile["image"]))) as small:
            assert abs(int(np.asarray(small).mean()) - row) <= 2


def test_of_many_labels_those_that_differ_are_kept_first(tmp_path):
    """30 true labels, of which 20 are answered with high probabilities, and 3 wrong answers."""
    targets, answers = np.zeros((1, 40), np.uint8), np.zeros((1, 40), bool)
    targets[0, :30], answers[0, :20], answers[0, 37:] = 1, True, True
    probs = np.linspace(0.99, 0.1, 40, dtype=np.float32)[None]
    names = tuple(f"label {number}" for number in range(40))
    table = SampleTable(np.array(["x0"]), np.array(["x0"]), names, ("",) * 40, targets=targets)
    given = {"source": Images(), "rows": np.arange(1), "probs": probs, "answers": answers}
    keep_errors(Recipe(), RunDir(tmp_path), table, **given)
    (tile,) = read(RunDir(tmp_path), "errors.json")["tiles"]
    truth = [(item["label"], item["right"]) for item in tile["truth"]]
    assert truth[:NUM_LABELS] == [(f"label {20 + number}", False) for number in range(NUM_LABELS)]
    assert truth[NUM_LABELS:] == [(f"label {number}", True) for number in range(NUM_LABELS)]
    assert [item["label"] for item in tile["answers"]][:4] == ["label 37", "label 38", "label 39", "label 0"]
    assert tile["left_out"] == {"truth": 2, "answers": 0, "right": 12}


CLASSES = Recipe(
    table=TableFormat(task="multiclass"), train=TrainConfig(loss="cross_entropy"), rule=RuleConfig(kind="argmax")
)


def class_rows(num_rows: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and the classes that they partly explain."""
    rng = np.random.default_rng(2)
    targets = rng.integers(0, num_classes, num_rows)
    scores = np.exp(rng.normal(0, 1, (num_rows, num_classes)) + 2 * np.eye(num_classes)[targets])
    return (scores / scores.sum(1, keepdims=True)).astype(np.float32), targets


def curves_of(folder: Path, recipe: Recipe, table: SampleTable, probs: np.ndarray, shown: np.ndarray | None = None):
    """Return the content of `curves.json` for rules that are fitted on all rows."""
    fitter, run = fitter_of(recipe, labels=table.labels), RunDir(folder)
    rule = fitter.fit(probs, table.targets)
    shown = probs if shown is None else shown
    decided = rule.decisions(rule.apply(shown))
    keep_curves(recipe, run, table, fitter=fitter, rule=rule, probs=probs, shown=shown, decided=decided)
    return read(run, "curves.json")


def test_the_confusion_matrix_is_scikit_learns(tmp_path):
    probs, targets = class_rows(80, 4)
    kept = curves_of(tmp_path, CLASSES, table_of(targets), probs)["confusion"]
    assert kept["labels"] == list(LABELS)
    np.testing.assert_array_equal(kept["counts"], confusion_matrix(targets, probs.argmax(1)))


def test_numbers_that_are_answered_with_grades_have_a_confusion_matrix_too(tmp_path):
    rng = np.random.default_rng(4)
    targets = np.float32([0, 0.5, 2, 3])[rng.integers(0, 4, 90)][:, None]
    numbers = (targets + rng.normal(0, 0.5, targets.shape)).astype(np.float32)
    recipe = Recipe(
        table=TableFormat(task="regression"), train=TrainConfig(loss="mse"), rule=RuleConfig(kind="cutpoints"),
        score=ScoreConfig(metric="quadratic_kappa"),
    )  # fmt: skip
    kept = curves_of(tmp_path, recipe, table_of(targets, ["grade"]), numbers)
    answers = fitter_of(recipe, labels=("grade",)).fit(numbers, targets).apply(numbers)
    assert kept["confusion"]["labels"] == ["0", "0.5", "2", "3"]
    expected = confusion_matrix((2 * targets).astype(int), (2 * answers).astype(int))
    np.testing.assert_array_equal(kept["confusion"]["counts"], expected)
    plain = replace(recipe, rule=RuleConfig(kind="value"), score=ScoreConfig())
    assert "confusion" not in curves_of(tmp_path, plain, table_of(targets, ["grade"]), numbers)


def test_of_many_classes_the_pairs_that_are_confused_most_are_kept(tmp_path):
    probs, targets = class_rows(3000, 40)
    targets[:200], probs[:200, 7] = -1, 1  # of an unknown identity, and all answered alike
    names = [f"c{number}" for number in range(40)]
    (pairs,) = curves_of(tmp_path, CLASSES, table_of(targets, names), probs)["confusion"].values()
    matrix = confusion_matrix(targets[200:], probs[200:].argmax(1))
    totals = matrix.sum(1)
    np.fill_diagonal(matrix, 0)
    assert [pair["rows"] for pair in pairs] == sorted(matrix.ravel().tolist(), reverse=True)[:15]
    for pair in pairs:
        true, answer = names.index(pair["truth"]), names.index(pair["answer"])
        assert (pair["rows"], pair["of"]) == (matrix[true, answer], totals[true])


def test_of_classes_each_has_a_curve_and_the_one_answered_is_calibrated(tmp_path):
    probs, targets = class_rows(300, 4)
    kept = curves_of(tmp_path, CLASSES, table_of(targets), probs)
    areas = {line["label"]: line["roc_auc"] for line in kept["probabilities"]["lines"]}
    assert areas == {
        label: pytest.approx(roc_auc_score(targets == number, probs[:, number])) for number, label in enumerate(LABELS)
    }
    shares, means = calibration_curve(probs.argmax(1) == targets, probs.max(1), n_bins=5, strategy="quantile")
    assert kept["calibration"]["shares"] == pytest.approx(shares, abs=1e-6)
    assert kept["calibration"]["probs"] == pytest.approx(means, abs=1e-6)


@pytest.mark.parametrize(("positive", "column"), [(None, 1), ("1", 1), ("0", 0)])
def test_of_two_classes_the_positive_one_has_a_curve(tmp_path, positive, column):
    probs, targets = class_rows(300, 2)
    answers = probs**2 / (probs**2).sum(1, keepdims=True)  # such as a temperature makes
    rule = RuleConfig(kind="probability", positive=positive)
    recipe = replace(CLASSES, rule=CLASSES.rule if positive is None else rule)
    kept = curves_of(tmp_path, recipe, table_of(targets, ("0", "1")), probs, answers)
    (line,) = kept["probabilities"]["lines"]
    assert line["label"] == str(column) and kept["probabilities"]["mean"] is None
    assert line["roc_auc"] == pytest.approx(roc_auc_score(targets == column, probs[:, column]))
    shares, means = calibration_curve(targets == column, answers[:, column], n_bins=5, strategy="quantile")
    assert kept["calibration"]["shares"] == pytest.approx(shares, abs=1e-6)
    assert kept["calibration"]["probs"] == pytest.approx(means, abs=1e-6)


def test_labels_have_curves_those_that_the_submission_asks_for_and_no_confusion(tmp_path):
    rng = np.random.default_rng(4)
    targets = (rng.random((200, 4)) < 0.4).astype(np.uint8)
    probs = (0.5 * targets + 0.5 * rng.random((200, 4))).astype(np.float32)
    recipe = Recipe(table=TableFormat(answer_columns=("d", "b")), rule=RuleConfig(kind="probability"))
    kept = curves_of(tmp_path, recipe, table_of(targets), probs)
    assert set(kept) == {"probabilities", "calibration"}
    assert {line["label"] for line in kept["probabilities"]["lines"]} == {"b", "d"}
    assert sum(kept["calibration"]["counts"]) == 400
    kept = curves_of(tmp_path, Recipe(), table_of(targets), probs)
    assert set(kept) == {"probabilities", "calibration", "threshold"} and kept["probabilities"]["labels"] == 4


def test_probabilities_are_shown_as_they_are_answered_and_only_where_a_rule_gives_any(tmp_path, monkeypatch):
    probs, targets = class_rows(300, 2)
    recipe = replace(CLASSES, rule=RuleConfig(kind="probability", positive="1"))
    monkeypatch.setattr(Probabilities, "apply", lambda rule, probs: probs**2)
    table = table_of(targets, ("0", "1"))
    oof = OutOfFold(fitter_of(recipe, labels=table.labels), table, Pooled(probs), np.arange(300) % 2)
    judge_oof(recipe, tmp_path, RunDir(tmp_path), oof)
    means = calibration_curve(targets, probs[:, 1] ** 2, n_bins=5, strategy="quantile")[1]
    assert read(RunDir(tmp_path), "curves.json")["calibration"]["probs"] == pytest.approx(means, abs=1e-6)
    monkeypatch.setitem(choices.RULES, "argmax", replace(choices.RULES["argmax"], gives=("answers",)))
    assert set(curves_of(tmp_path, CLASSES, table, probs)) == {"confusion"}


def test_an_image_that_cannot_be_read_is_grey(tmp_path):
    probs, targets = np.full((5, 4), 0.9, np.float32), np.zeros((5, 4), np.uint8)
    given = {"source": Images(), "rows": np.arange(5), "probs": probs, "answers": probs > 0.5}
    keep_errors(Recipe(), RunDir(tmp_path), table_of(targets), **given)
    assert "x3" in {tile["id"] for tile in read(RunDir(tmp_path), "errors.json")["tiles"]}


def test_the_curve_of_the_unknown_label(tmp_path):
    """MAP@2 recomputed for each threshold; 2 stands for the unknown identity."""
    labels, scores = np.array([[0, 1], [1, 0], [0, 1]]), np.array([[0.9, 0.3], [0.6, 0.5], [0.2, 0.1]], np.float32)
    truth = np.array([0, 2, 2])
    ranker = SimpleNamespace(
        unknown=2,
        metric="MAP@2",
        answer=lambda ranked, threshold: [
            ([label for label, score in zip(*row, strict=True) if score >= threshold] + [2])[:2]
            for row in zip(ranked.labels, ranked.scores, strict=True)
        ],
        score=lambda answers, truth: np.mean(
            [1 / (row.index(right) + 1) if right in row else 0 for row, right in zip(answers, truth, strict=True)]
        ),
    )
    keep_unknown_curve(RunDir(tmp_path), ranker, Ranked(labels, scores), truth, 0.7)
    curve = read(RunDir(tmp_path), "curves.json")["unknown"]
    assert curve["thresholds"][0] == pytest.approx(0.2) and curve["thresholds"][-1] == pytest.approx(0.9)
    best = [score for at, score in zip(curve["thresholds"], curve["scores"], strict=True) if 0.61 < at < 0.9]
    assert best and set(best) == {1.0} and curve["scores"][0] < 0.7
    assert sum(curve["known"]) == 1 and sum(curve["unknown"]) == 2 and curve["known"][-1] == 1 == curve["unknown"][0]


def test_the_recipes_rules_have_a_curve_where_they_have_thresholds():
    probs, targets = np.full((5, 4), 0.4, np.float32), np.ones((5, 4), np.uint8)
    share = Shares(shares=(1.0,) * 4)
    assert threshold_curve(fitter_of(load_recipe("hpa2018")), share, probs, targets)["own"] == []
    assert threshold_curve(fitter_of(CLASSES), Likeliest(), probs, targets) is None
