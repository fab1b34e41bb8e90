"""What `validate` keeps for the report, recomputed from the same predictions with scikit-learn and by hand."""

from __future__ import annotations

import base64
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, fbeta_score

from imettk.config import Recipe, RulePlan, TableFormat, TrainPlan
from imettk.data.table import SampleTable
from imettk.errors import DataError
from imettk.evaluation.evidence import NUM_ERRORS, keep_errors, keep_threshold_curve, keep_unknown_curve
from imettk.evaluation.rules import fitter_of
from imettk.postprocess.ranking import Ranked
from imettk.postprocess.rule import Shares, Thresholds
from imettk.recipes import load_recipe
from imettk.tracking.run_dir import RunDir

LABELS = ("a", "b", "c", "d")


class Images:
    """Row r is of one colour, r; row 3 cannot be read."""

    def read(self, row: int) -> np.ndarray:
        if row == 3:
            raise DataError("x3 is cut")
        return np.full((20, 30, 3), row, np.uint8)


def table_of(targets: np.ndarray) -> SampleTable:
    ids = np.array([f"x{row}" for row in range(len(targets))])
    return SampleTable(ids, ids, LABELS, ("",) * len(LABELS), targets=targets)


def read(run: RunDir, name: str):
    return json.loads((run.path / name).read_text())


def test_the_curve_is_scikit_learns_and_marks_the_rules_thresholds(tmp_path):
    rng = np.random.default_rng(0)
    targets = (rng.random((40, 4)) < 0.4).astype(np.uint8)
    probs = rng.random((40, 4)).astype(np.float32)
    recipe = Recipe(rule=RulePlan(kind="group_thresholds", beta=1, average="macro"))
    rule = Thresholds(thresholds=(0.4, 0.2, 0.4, 2.0))
    keep_threshold_curve(RunDir(tmp_path), fitter_of(recipe), rule, probs, targets)
    curve = read(RunDir(tmp_path), "curves.json")["threshold"]
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
    keep_errors(Recipe(), RunDir(tmp_path), table_of(targets), Images(), np.arange(60), probs, answers)
    kept = read(RunDir(tmp_path), "errors.json")
    wrong = [row for row in range(60) if (answers[row] != targets[row]).any()]
    losses = {row: -np.log(np.where(targets[row], probs[row], 1 - probs[row])).sum() for row in wrong}
    order = sorted(wrong, key=lambda row: -losses[row])[:NUM_ERRORS]
    assert kept["wrong"] == len(wrong) < 60 and kept["confused"] == []
    assert [tile["id"] for tile in kept["tiles"]] == [f"x{row}" for row in order]
    for row, tile in zip(order, kept["tiles"], strict=True):
        said = {one["label"]: one for one in tile["answers"]}
        assert set(said) == {LABELS[label] for label in np.flatnonzero(answers[row])}
        for label, one in said.items():
            place = LABELS.index(label)
            assert one["right"] is bool(targets[row, place]) and one["prob"] == pytest.approx(
                probs[row, place], abs=1e-3
            )
        assert {one["label"] for one in tile["truth"]} == {LABELS[label] for label in np.flatnonzero(targets[row])}
        with Image.open(io.BytesIO(base64.b64decode(tile["image"]))) as small:
            assert abs(int(np.asarray(small).mean()) - row) <= 2


CLASSES = Recipe(
    table=TableFormat(task="multiclass"), train=TrainPlan(loss="cross_entropy"), rule=RulePlan(kind="argmax")
)


def test_classes_that_are_taken_for_each_other_are_counted(tmp_path):
    rng = np.random.default_rng(2)
    targets = rng.integers(0, 4, 80)
    probs = rng.dirichlet(np.ones(4), 80).astype(np.float32)
    answers = probs.argmax(1)
    keep_errors(CLASSES, RunDir(tmp_path), table_of(targets), Images(), np.arange(80), probs, answers)
    kept = read(RunDir(tmp_path), "errors.json")
    matrix = confusion_matrix(targets, answers)
    np.fill_diagonal(matrix, 0)
    counted = np.zeros((4, 4), int)
    for one in kept["confused"]:
        counted[LABELS.index(one["truth"]), LABELS.index(one["answer"])] = one["rows"]
    np.testing.assert_array_equal(counted, matrix)
    assert [one["rows"] for one in kept["confused"]] == sorted(matrix[matrix > 0].tolist(), reverse=True)
    first = kept["tiles"][0]
    row = int(first["id"][1:])
    assert first["truth"][0]["label"] == LABELS[targets[row]] and not first["answers"][0]["right"]


def test_an_image_that_cannot_be_read_is_grey(tmp_path):
    probs, targets = np.full((5, 4), 0.9, np.float32), np.zeros((5, 4), np.uint8)
    keep_errors(Recipe(), RunDir(tmp_path), table_of(targets), Images(), np.arange(5), probs, probs > 0.5)
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
            [1 / (row.index(one) + 1) if one in row else 0 for row, one in zip(answers, truth, strict=True)]
        ),
    )
    keep_unknown_curve(RunDir(tmp_path), ranker, Ranked(labels, scores), truth, 0.7)
    curve = read(RunDir(tmp_path), "curves.json")["unknown"]
    assert curve["thresholds"][0] == pytest.approx(0.2) and curve["thresholds"][-1] == pytest.approx(0.9)
    best = [score for at, score in zip(curve["thresholds"], curve["scores"], strict=True) if 0.61 < at < 0.9]
    assert best and set(best) == {1.0} and curve["scores"][0] < 0.7
    assert sum(curve["known"]) == 1 and sum(curve["unknown"]) == 2 and curve["known"][-1] == 1 == curve["unknown"][0]


def test_the_recipes_rules_have_a_curve_where_they_have_thresholds(tmp_path):
    probs, targets = np.full((5, 4), 0.4, np.float32), np.ones((5, 4), np.uint8)
    share = Shares(shares=(1.0,) * 4)
    keep_threshold_curve(RunDir(tmp_path), fitter_of(load_recipe("hpa2018")), share, probs, targets)
    assert read(RunDir(tmp_path), "curves.json")["threshold"]["own"] == []
