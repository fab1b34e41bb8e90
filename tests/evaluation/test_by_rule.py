"""Runs with a fitted rule: points of a curve, answers to a test table and what they score, known answers, pictures."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, fbeta_score, log_loss, roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from imettk.config import PredictConfig, Recipe, RuleConfig, ScoreConfig, TableFormat, TrainConfig
from imettk.data.sample_table import SampleTable
from imettk.errors import MissingFileError
from imettk.evaluation.judge import judge_of
from imettk.inference.predictor import Predictions
from imettk.models.heads import Outputs
from imettk.tracking.run_dir import RunDir

LABELS = ("a", "b", "c")


def recipe_of(task="multilabel", metric=None, **sections):
    return Recipe(
        table=TableFormat(task=task, label_column="label", labels_csv=None),
        train=TrainConfig(loss="bce" if task == "multilabel" else "cross_entropy"),
        rule=sections.pop("rule", RuleConfig(kind="threshold" if task == "multilabel" else "argmax", min_labels=0)),
        score=ScoreConfig(metric=metric),
        **sections,
    )


def table_of(targets, num_rows=None):
    ids = np.array([f"x{row}" for row in range(num_rows or len(targets))])
    return SampleTable(ids, ids, LABELS, ("",) * 3, targets=targets)


def prepared_of(targets):
    """Prepared data with all that a judge reads; every other row validates."""
    rows = np.arange(0, len(targets), 2)
    return SimpleNamespace(
        table=table_of(targets),
        targets=targets,
        given_shares=None,
        rows=lambda fold, valid: rows if valid else rows + 1,
    )


def truth_of(task, rng, num_rows=24):
    return rng.integers(0, 3, num_rows) if task == "multiclass" else (rng.random((num_rows, 3)) < 0.4).astype(np.uint8)


def test_a_curve_of_labels_has_the_loss_the_best_score_and_the_focal_loss():
    rng = np.random.default_rng(0)
    targets, logits = truth_of("multilabel", rng), torch.from_numpy(rng.normal(size=(12, 3)).astype(np.float32))
    points = judge_of(recipe_of()).judge_fold(prepared_of(targets), 0, Outputs(logits), None)
    mine, probs = targets[::2], logits.sigmoid().numpy()
    loss = binary_cross_entropy_with_logits(logits, torch.from_numpy(mine).float())
    scores = [
        fbeta_score(mine, probs >= value, beta=2, average="samples", zero_division=0) for value in [*probs.ravel(), 2]
    ]
    right = np.where(mine, probs, 1 - probs)
    assert set(points) == {"loss", "score", "focal"}
    assert points["loss"] == pytest.approx(float(loss), rel=1e-5) and points["score"] == pytest.approx(max(scores))
    assert points["focal"] == pytest.approx(-((1 - right) ** 2 * np.log(right)).mean(), rel=1e-5)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_a_curve_of_classes_has_the_loss_and_the_metric(metric):
    rng = np.random.default_rng(1)
    targets, logits = truth_of("multiclass", rng), torch.from_numpy(rng.normal(size=(12, 3)).astype(np.float32))
    points = judge_of(recipe_of("multiclass", metric)).judge_fold(prepared_of(targets), 0, Outputs(logits), None)
    loss = float(cross_entropy(logits, torch.from_numpy(targets[::2])))
    expected = loss if metric == "log_loss" else accuracy_score(targets[::2], logits.argmax(1))
    assert points == {"loss": pytest.approx(loss, rel=1e-5), "score": pytest.approx(expected, rel=1e-5)}


def test_known_answers_stand_in_place_of_the_rules():
    judge, table = judge_of(recipe_of()), table_of(None, 4)
    known = {"x2": ["b", "c"], "x0": [], "other": ["a"]}
    answers = [["a"], ["b"], ["a"], []]
    assert judge.put_known(known, table, table, answers) == [[], ["b"], ["b", "c"], []]
    assert answers == [["a"], ["b"], ["a"], []], "those that were given are as they were"


def test_answers_in_labels_are_scored_like_those_in_numbers():
    rng = np.random.default_rng(2)
    truth, chosen = truth_of("multilabel", rng), truth_of("multilabel", rng)
    answers = [[LABELS[label] for label in np.flatnonzero(row)] for row in chosen]
    judge, table = judge_of(recipe_of()), table_of(truth)
    title, value = judge.score_answers(table, table, answers, truth, None)
    expected = fbeta_score(truth, chosen, beta=2, average="samples", zero_division=0)
    assert (title, value) == ("F2", pytest.approx(expected))
    classes = truth_of("multiclass", rng)
    judge, table = judge_of(recipe_of("multiclass")), table_of(classes)
    said = [[LABELS[one]] for one in classes[::-1]]
    assert judge.score_answers(table, table, said, classes, None) == (
        "accuracy",
        pytest.approx(accuracy_score(classes, classes[::-1])),
    )


def test_a_metric_of_probabilities_scores_these_and_no_answers():
    rng = np.random.default_rng(3)
    truth = truth_of("multilabel", rng)
    probs = rng.random(truth.shape).astype(np.float32)
    judge, table = judge_of(recipe_of(metric="log_loss")), table_of(truth)
    title, value = judge.score_answers(table, table, [["a"]] * len(truth), truth, probs)
    by_label = [log_loss(truth[:, label], probs[:, label].astype(float), labels=[0, 1]) for label in range(3)]
    assert (title, value) == ("log loss", pytest.approx(np.mean(by_label)))
    assert judge.score_answers(table, table, [["a"]] * len(truth), truth, None) == ("log loss", None)


def test_probabilities_are_judged_by_the_column_that_is_submitted():
    rng = np.random.default_rng(6)
    truth, logits = truth_of("multiclass", rng), torch.from_numpy(rng.normal(size=(12, 3)).astype(np.float32))
    recipe = recipe_of("multiclass", "roc_auc", rule=RuleConfig(kind="probability", positive="b"))
    judge, table, probs = judge_of(recipe), table_of(truth[::2]), logits.softmax(1).numpy()
    mine, column = truth[::2] == 1, probs[:, 1]
    points = judge.judge_fold(prepared_of(truth), 0, Outputs(logits), None)
    assert points["score"] == pytest.approx(roc_auc_score(mine, column))
    cells = [[str(value)] for value in column]
    assert judge.score_answers(table, table, cells, truth[::2], probs) == ("ROC AUC", pytest.approx(points["score"]))
    known = {table.ids[row]: ["1" if mine[row] else "0"] for row in range(6)}
    column[:6] = mine[:6]
    expected = "ROC AUC", pytest.approx(roc_auc_score(mine, column))
    assert judge.score_answers(table, table, judge.put_known(known, table, table, cells), truth[::2], probs) == expected


def write_rule(folder, **content):
    (folder / "rule.json").write_text(json.dumps(content))
    return RunDir(folder)


def test_the_test_table_is_answered_from_the_mean_of_folds_and_the_views_of_each(tmp_path):
    rng = np.random.default_rng(4)
    run = write_rule(tmp_path, kind="threshold", thresholds=[0.4, 0.5, 0.6], min_labels=1)
    views = [rng.random((2, 10, 3)).astype(np.float32) for _ in range(3)]
    tests = ((fold, Predictions(np.array([]), part, {"merge": "mean"})) for fold, part in enumerate(views))
    answers, probs = judge_of(recipe_of()).answer_test(tmp_path, run, table_of(None, 10), tests)
    mean = np.mean([part.mean(0) for part in views], axis=0)
    np.testing.assert_allclose(probs, mean, rtol=1e-6)
    for row, cell in zip(mean, answers, strict=True):
        chosen = [label for label, value, limit in zip(LABELS, row, (0.4, 0.5, 0.6), strict=True) if value >= limit]
        assert cell == (chosen or [LABELS[int(np.argmax(row))]])


def test_infer_is_refused_at_once_without_a_rule(tmp_path):
    table = table_of(None, 2)
    with pytest.raises(MissingFileError, match=r"rule\.json is not in .*: run `imettk validate` first"):
        judge_of(recipe_of()).require_rule(RunDir(tmp_path), table, [0])
    judge_of(recipe_of()).require_rule(write_rule(tmp_path, kind="threshold", thresholds=[0.5] * 3), table, [0])


@pytest.mark.parametrize("merge", ["mean", "max"])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_a_picture_is_answered_with_its_labels_the_likeliest_first(tmp_path, task, merge):
    rng, views = np.random.default_rng(5), ("plain", "hflip")
    recipe = recipe_of(task, predict=PredictConfig(views=views, merge=merge))
    rule = {"kind": "threshold", "thresholds": [0.5] * 3} if task == "multilabel" else {"kind": "argmax"}
    run = write_rule(tmp_path, **rule)
    logits = rng.normal(0, 2, (2, 2, 6, 3))  # folds, views, pictures, labels
    logits[:, :, 3] = -3, -4, -5
    outputs = [SimpleNamespace(logits=torch.from_numpy(part)) for part in logits]
    shown = judge_of(recipe).image_answerer(tmp_path, run, [0, 1], LABELS).answer(outputs, np.array([4, 0, 2, 3]), None)
    probs = (
        1 / (1 + np.exp(-logits)) if task == "multilabel" else np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    )
    merged = (probs.max(1) if merge == "max" else probs.mean(1)).mean(0)
    expected = []
    for row in merged[[4, 0, 2, 3]]:
        chosen = [label for label in range(3) if row[label] >= 0.5] if task == "multilabel" else [int(row.argmax())]
        ranked = sorted(chosen, key=lambda label: -row[label])
        expected.append(", ".join(f"{LABELS[label]} ({row[label]:.2f})" for label in ranked) or "no label")
    assert shown == expected and len(set(shown)) > 1 and (shown[3] == "no label") == (task == "multilabel")
