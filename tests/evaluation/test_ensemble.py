"""Weights and gains of an ensemble by metrics of which less is better, recomputed with scikit-learn."""

import json

import numpy as np
import pytest
from sklearn.metrics import fbeta_score, log_loss

from imettk.config import Recipe, RuleConfig, ScoreConfig
from imettk.evaluation import ensemble
from imettk.evaluation.ensemble import ensemble_by_rule, fit_member_weights
from imettk.evaluation.members import Joined, blend_known
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.tracking.run_dir import RunDir

ROWS, LABELS = 60, ("a", "b", "c")
TRUTH = (np.random.default_rng(0).random((ROWS, 3)) < (0.5, 0.3, 0.2)).astype(np.uint8)
NOISE = {"good": 0.7, "fair": 1.5, "noise": 6.0}


def probs_of(name):
    """Return a member's predictions, which are the better, the less noise they have."""
    rng = np.random.default_rng(len(name))
    return (1 / (1 + np.exp(1 - 3.0 * TRUTH + NOISE[name] * rng.normal(size=TRUTH.shape)))).astype(np.float32)


def log_loss_of(probs, targets):
    columns = zip(targets.T, np.clip(probs.astype(float), 1e-7, 1 - 1e-7).T, strict=True)
    return np.mean([log_loss(column, values, labels=[0, 1]) for column, values in columns])


def joined_of(*names):
    ids = np.array([f"r{row:02d}" for row in range(ROWS)])
    return Joined(
        ids, np.arange(ROWS) % 3, TRUTH, [probs_of(name) for name in names], np.ones((len(names), ROWS), bool)
    )


def test_weights_make_a_score_better_whichever_way_that_is():
    joined, even = joined_of("good", "noise"), np.array([0.5, 0.5])

    def loss_of(weights, rows):
        return log_loss_of(blend_known(joined, "mean", weights, rows), TRUTH[rows])

    every = np.arange(ROWS)
    low = fit_member_weights(loss_of, joined, 2, higher=False)
    high = fit_member_weights(loss_of, joined, 2, higher=True)
    assert loss_of(low, every) < loss_of(even, every) < loss_of(high, every)
    assert low.sum() == pytest.approx(1) and low[0] > 0.7 and high[0] < 0.3
    grid = [loss_of(np.array([share, 1 - share]), every) for share in np.arange(101) / 100]
    assert loss_of(low, every) < min(grid) + 0.01


def test_weights_of_many_rows_are_fitted_on_the_same_part_of_them(monkeypatch):
    monkeypatch.setattr(ensemble, "LARGEST", 30)  # of 3 labels, 10 rows
    asked = []

    def score_of(weights, rows):
        asked.append(rows.tolist())
        return 0.0

    fit_member_weights(score_of, joined_of("good", "noise"), 2)
    first = asked[0]
    assert len(set(first)) == 10 and first == sorted(first) and all(rows == first for rows in asked)


@pytest.fixture
def make(tmp_path):
    """Members by hand, and what an ensemble of some writes beside what it prints."""
    for name in NOISE:
        for fold in range(3):
            mine = np.arange(fold, ROWS, 3)
            values = {"labels": list(LABELS), "label_groups": [""] * 3, "task": "multilabel", "merge": "mean"}
            (tmp_path / name / f"fold{fold}").mkdir(parents=True)
            ids = np.array([f"r{row:02d}" for row in mine])
            part = Predictions(ids, probs_of(name)[None, mine], values, TRUTH[mine])
            save_predictions(tmp_path / name / f"fold{fold}" / "oof.safetensors", part)

    def make(*names, metric=None, method="mean", weights=None, rule="threshold"):
        recipe = Recipe(rule=RuleConfig(kind=rule, min_labels=0), score=ScoreConfig(metric=metric))
        run = RunDir(tmp_path / "out")
        run.path.mkdir(exist_ok=True)
        members = [tmp_path / name for name in names]
        ensemble_by_rule(recipe, tmp_path / "data", run, members=members, method=method, weights=weights)
        return [json.loads((run.path / f"{name}.json").read_text()) for name in ("ensemble", "scores")]

    return make


@pytest.mark.parametrize("metric", ["log_loss", "f_beta"])
def test_a_gain_is_positive_where_a_member_makes_the_ensemble_better(make, capsys, metric):
    kept, scores = make("good", "fair", "noise", metric=metric)

    def score(*names):
        probs = np.mean([probs_of(name) for name in names], axis=0)
        if metric == "log_loss":
            return -log_loss_of(probs, TRUTH)
        limits = [*np.unique(probs), 2]
        return max(fbeta_score(TRUTH, probs >= limit, beta=2, average="samples", zero_division=0) for limit in limits)

    whole, sign = score(*NOISE), -1 if metric == "log_loss" else 1
    for name in NOISE:
        others = [other for other in NOISE if other != name]
        gain, alone = kept["members"][name]["gain"], kept["members"][name]["oof"]
        assert alone == pytest.approx(sign * score(name), abs=1e-5)
        assert gain == pytest.approx(whole - score(*others), abs=1e-5)
    assert kept["members"]["good"]["gain"] > 0 > kept["members"]["noise"]["gain"]
    assert kept["weights"] == pytest.approx(dict.fromkeys(NOISE, 1 / 3)) and scores["title"] in ("log loss", "F2")
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.split()}
    assert lines["good"][-1].startswith("+") and lines["noise"][-1].startswith("-")
    assert float(lines["ensemble"][-1]) == pytest.approx(sign * whole, abs=1e-4)


@pytest.mark.parametrize("metric", ["log_loss", "focal_loss", "f_beta"])
def test_fitted_weights_are_no_worse_than_equal_ones_by_the_metric(make, tmp_path, metric):
    even, _ = make("good", "noise", metric=metric)
    kept, scores = make("good", "noise", metric=metric, method="weighted")
    assert even["weights"] == {"good": 0.5, "noise": 0.5} and kept["weights"]["good"] > 0.7
    oof = load_predictions(tmp_path / "out" / "oof.safetensors")
    expected = sum(weight * probs_of(name) for name, weight in kept["weights"].items())
    np.testing.assert_allclose(oof.merged, expected, rtol=1e-5)
    if metric == "log_loss":
        assert scores["oof"] == pytest.approx(log_loss_of(expected, TRUTH), abs=1e-5)
        assert scores["oof"] < log_loss_of((probs_of("good") + probs_of("noise")) / 2, TRUTH)


def test_a_member_alone_and_one_without_weight_have_no_gain_to_tell(make):
    kept, _ = make("good", metric="log_loss")
    assert kept["members"]["good"]["gain"] is None
    kept, _ = make("good", "noise", metric="log_loss", weights=[1.0, 0.0])
    assert kept["members"]["noise"]["gain"] == pytest.approx(0) and kept["members"]["good"]["gain"] is None


def test_the_rule_of_an_ensemble_is_judged_on_folds_that_it_has_not_seen(make, tmp_path):
    _, scores = make("good", "fair", rule="class_thresholds")
    probs = (probs_of("good") + probs_of("fair")) / 2
    rule = json.loads((tmp_path / "out" / "rule.json").read_text())
    flattered = fbeta_score(TRUTH, probs >= rule["thresholds"], beta=2, average="samples", zero_division=0)
    assert scores["oof"] < flattered and scores["rule_fitted_on_other_folds"] and rule["kind"] == "threshold"
