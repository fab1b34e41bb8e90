"""Honest scores, their intervals and the table of labels, recomputed with scikit-learn and plain loops."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    fbeta_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from imettk.config import Recipe, RuleConfig, ScoreConfig, TableFormat, TrainConfig
from imettk.data.sample_table import SampleTable
from imettk.errors import ConfigError
from imettk.evaluation.rules import fitter_of, score_quickly
from imettk.evaluation.scoring import (
    OutOfFold,
    count_test_rows,
    honest_scores,
    interval_of,
    tell_drift,
    tell_scores,
    write_label_table,
)
from imettk.evaluation.units import Pooled
from imettk.metrics import METRICS
from imettk.postprocess.rule import Shares, Thresholds

FOLDS = np.arange(90) % 3
ROWS = [np.arange(fold, 90, 3) for fold in range(3)]  # of each fold


def recipe_of(task="multilabel", metric=None, columns=(), **rule):
    kind = rule.pop("kind", "threshold" if task == "multilabel" else "argmax")
    return Recipe(
        table=TableFormat(task=task, label_column="label", answer_columns=columns),
        train=TrainConfig(loss="bce" if task == "multilabel" else "cross_entropy"),
        rule=RuleConfig(kind=kind, **rule),
        score=ScoreConfig(metric=metric),
    )


def label_rows(seed=0):
    """Probabilities, and targets that they partly explain."""
    rng = np.random.default_rng(seed)
    probs = rng.random((90, 4)).astype(np.float32)
    targets = (probs + rng.normal(0, 0.3, probs.shape) > (0.4, 0.6, 0.8, 0.9)).astype(np.uint8)
    return probs, targets


def class_rows(seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 4, 90) % 3
    probs = np.exp(rng.normal(0, 1, (90, 3)) + np.eye(3)[targets])
    return (probs / probs.sum(1, keepdims=True)).astype(np.float32), targets


def class_log_loss(targets, probs):
    """By scikit-learn, which takes no row that does not sum to 1 in its own type."""
    exact = probs.astype(float)
    return log_loss(targets, exact / exact.sum(1, keepdims=True), labels=range(3))


def scored(recipe, probs, targets, folds=FOLDS, **more):
    return honest_scores(recipe, fitter_of(recipe), probs, targets, folds, **more)


def test_f_beta_is_that_of_answers_by_a_rule_fitted_on_the_other_folds():
    (probs, targets), recipe = label_rows(), recipe_of(kind="class_thresholds", average="macro", beta=1)
    scores, answers = scored(recipe, probs, targets)
    expected = np.zeros(targets.shape, bool)
    for fold in range(3):
        others = np.setdiff1d(np.arange(90), ROWS[fold])
        rule = fitter_of(recipe).fit(probs[others], targets[others])
        expected[ROWS[fold]] = rule.apply(probs[ROWS[fold]])
    assert answers.tolist() == expected.tolist()

    def score(rows, beta=1, average="macro"):
        return pytest.approx(fbeta_score(targets[rows], expected[rows], beta=beta, average=average, zero_division=0))

    every = np.arange(90)
    assert (scores["metric"], scores["title"]) == ("f_beta", "macro F1") and scores["oof"] == score(every)
    assert scores["folds"] == {str(fold): score(ROWS[fold]) for fold in range(3)}
    assert scores["rows"] == 90 and scores["rule_fitted_on_other_folds"] is True
    for average in ("samples", "macro", "micro"):
        assert all(scores[f"{average} F{beta}"] == score(every, beta, average) for beta in (1, 2))
    by_label = [log_loss(targets[:, label], probs[:, label].astype(float), labels=[0, 1]) for label in range(4)]
    assert scores["log_loss"] == pytest.approx(np.mean(by_label))
    all_labels = np.ones((90, 4), int)
    assert scores["constant"] == pytest.approx(fbeta_score(targets, all_labels, beta=1, average="macro"))


def test_accuracy_is_that_of_the_likeliest_class():
    probs, targets = class_rows()
    scores, answers = scored(recipe_of("multiclass"), probs, targets)
    assert answers.tolist() == probs.argmax(1).tolist() and scores["metric"] == "accuracy"
    assert scores["oof"] == pytest.approx(accuracy_score(targets, probs.argmax(1)))
    for fold in range(3):
        mine = ROWS[fold]
        assert scores["folds"][str(fold)] == pytest.approx(accuracy_score(targets[mine], probs[mine].argmax(1)))
    assert scores["log_loss"] == pytest.approx(class_log_loss(targets, probs), abs=1e-5)
    assert scores["constant"] == pytest.approx(max(np.bincount(targets)) / 90)


def test_a_metric_of_probabilities_scores_these_and_is_better_when_lower():
    probs, targets = class_rows()
    scores, answers = scored(recipe_of("multiclass", "log_loss"), probs, targets)
    assert scores["metric"] == "log_loss" and answers.tolist() == probs.argmax(1).tolist()
    assert scores["oof"] == scores["log_loss"] == pytest.approx(class_log_loss(targets, probs), abs=1e-5)
    for fold in range(3):
        mine = ROWS[fold]
        expected = class_log_loss(targets[mine], probs[mine])
        assert scores["folds"][str(fold)] == pytest.approx(expected, abs=1e-5)
    assert scores["constant"] == pytest.approx(entropy(np.bincount(targets))) and scores["oof"] < scores["constant"]


def test_a_single_fold_is_scored_by_the_rule_of_its_own_rows():
    (probs, targets), recipe = label_rows(), recipe_of(kind="class_thresholds")
    scores, answers = scored(recipe, probs, targets, np.full(90, 4))
    own = fitter_of(recipe).fit(probs, targets).apply(probs)
    assert answers.tolist() == own.tolist() and scores["rule_fitted_on_other_folds"] is False
    assert scores["folds"] == {"4": scores["oof"]}
    assert scores["oof"] > scored(recipe, probs, targets)[0]["oof"], "which flatters it"


EVERY = [
    *((recipe_of(metric=metric), label_rows) for metric in (None, "log_loss", "focal_loss")),
    (recipe_of(average="micro", kind="share"), label_rows),
    *((recipe_of("multiclass", metric), class_rows) for metric in ("accuracy", "log_loss")),
]


@pytest.mark.parametrize(("recipe", "rows"), EVERY)
def test_an_interval_holds_the_score_and_is_wider_for_a_small_test_set(recipe, rows):
    scores, _ = scored(recipe, *rows(), num_test=20)
    (low, high), (lower, higher), metric = scores["interval"], scores["interval_test"], recipe.scorer.metric
    assert metric.low <= lower < low < scores["oof"] < high < higher <= metric.high
    assert "interval_test" not in scored(recipe, *rows())[0]
    grouped, _ = scored(recipe, *rows(), groups=np.arange(90) // 30)
    assert grouped["oof"] == scores["oof"] and grouped["interval"] != scores["interval"]


@pytest.mark.parametrize("groups", [None, np.array(["b", "a", "c", "a", "b", "d"] * 15)], ids=["rows", "groups"])
@pytest.mark.parametrize("other_rows", [None, 30])
@pytest.mark.parametrize("metric", ["f_beta", "log_loss", "accuracy"])
def test_an_interval_is_that_of_a_plain_bootstrap(metric, groups, other_rows):
    form = "labels" if metric == "f_beta" else "classes"
    probs, targets = label_rows() if form == "labels" else class_rows()
    given = probs if metric == "log_loss" else probs > 0.5 if form == "labels" else probs.argmax(1)
    score_of = {
        "f_beta": lambda rows: fbeta_score(targets[rows], given[rows], beta=2, average="samples", zero_division=0),
        "accuracy": lambda rows: accuracy_score(targets[rows], given[rows]),
        "log_loss": lambda rows: class_log_loss(targets[rows], given[rows]),
    }[metric]
    rng, draws = np.random.default_rng(0), []
    members = [np.flatnonzero(groups == name) for name in sorted(set(groups.tolist()))] if groups is not None else None
    for _ in range(400):
        if members is None:
            draws.append(score_of(rng.integers(0, 90, 90)))
        else:
            draws.append(score_of(np.concatenate([members[one] for one in rng.integers(0, 4, 4)])))
    score, wider = score_of(np.arange(90)), 1 if other_rows is None else (1 + 90 / other_rows) ** 0.5
    expected = [score + wider * (np.quantile(draws, level) - np.mean(draws)) for level in (0.025, 0.975)]
    ours = interval_of(METRICS[metric].bound(form), given, targets, groups=groups, other_rows=other_rows)
    assert ours == pytest.approx(np.clip(expected, 0, 1 if metric != "log_loss" else None), abs=1e-5)


def test_an_interval_ends_where_scores_do():
    targets = np.arange(90) % 3
    for metric, given in (("accuracy", targets), ("log_loss", np.eye(3, dtype=np.float32)[targets])):
        low, high = interval_of(METRICS[metric].bound("classes"), given, targets, other_rows=1)
        assert 0 <= low <= high <= 1 if metric == "accuracy" else 0 <= low <= high < 1e-6
    nearly = np.append(targets[:-1], 5)
    assert interval_of(METRICS["accuracy"].bound("classes"), nearly, targets, other_rows=1)[1] == 1.0
    almost = np.where(np.eye(3)[targets] > 0, 0.98, 0.01).astype(np.float32)
    almost[0] = 0.1, 0.6, 0.3
    assert interval_of(METRICS["log_loss"].bound("classes"), almost, targets, other_rows=1)[0] == 0.0


def test_the_lines_are_those_that_a_user_looks_for(capsys):
    scores = {"title": "F2", "folds": {"0": 0.5, "2": 0.25}, "oof": 0.375, "constant": 0.125, "interval": (0.25, 0.5)}
    tell_scores(scores)
    tell_scores(scores | {"constant": None, "interval_test": (0.125, 0.75)})
    assert capsys.readouterr().out.splitlines() == [
        "  fold 0   F2 0.5000",
        "  fold 2   F2 0.2500",
        "  OOF      F2 0.3750   (best constant answer 0.1250)",
        "           95% interval 0.2500 to 0.5000",
        "  fold 0   F2 0.5000",
        "  fold 2   F2 0.2500",
        "  OOF      F2 0.3750",
        "           95% interval 0.2500 to 0.5000; on the test set 0.1250 to 0.7500, if it is alike",
    ]


def table_of(targets, num_labels, titles=()):
    ids, labels = np.array([f"x{row}" for row in range(len(targets))]), tuple("abcd"[:num_labels])
    return SampleTable(ids, ids, labels, ("g",) * num_labels, targets=targets, label_titles=titles)


def written(tmp_path, recipe, rule, table, probs, answers):
    oof = OutOfFold(fitter_of(recipe), table, Pooled(probs), np.zeros(len(probs), np.int64))
    write_label_table(tmp_path / "labels.csv", recipe, oof, rule, answers)
    assert (tmp_path / "labels.png").stat().st_size > 1000
    return pd.read_csv(tmp_path / "labels.csv")


def test_the_table_of_labels_is_scikit_learns_with_the_thresholds(tmp_path, capsys):
    (probs, targets), recipe = label_rows(), recipe_of(kind="class_thresholds", beta=0.5, min_labels=0)
    rule, answers = fitter_of(recipe).fit(probs, targets), probs > 0.6
    frame = written(tmp_path, recipe, rule, table_of(targets, 4, ("one", "two", "three", "four")), probs, answers)
    assert frame["label"].tolist() == list("abcd") and frame["name"].tolist() == ["one", "two", "three", "four"]
    assert frame["threshold"].tolist() == pytest.approx(rule.thresholds, rel=1e-5) and set(frame["group"]) == {"g"}
    for label in range(4):
        mine, chosen = targets[:, label], answers[:, label]
        assert frame["true"][label] == mine.sum() and frame["chosen"][label] == chosen.sum()
        assert frame["precision"][label] == pytest.approx(precision_score(mine, chosen), abs=1e-4)
        assert frame["recall"][label] == pytest.approx(recall_score(mine, chosen), abs=1e-4)
        assert frame["f_beta"][label] == pytest.approx(fbeta_score(mine, chosen, beta=0.5), abs=1e-4)
    assert capsys.readouterr().out == "", "thresholds promise nothing"


def test_the_table_of_classes_has_a_row_a_class(tmp_path):
    (probs, targets), recipe = class_rows(), recipe_of("multiclass")
    rule = fitter_of(recipe).fit(probs, targets)
    frame = written(tmp_path, recipe, rule, table_of(targets, 3), probs, rule.apply(probs))
    assert frame["true"].tolist() == np.bincount(targets).tolist() and "name" not in frame
    theirs = recall_score(targets, probs.argmax(1), average=None)
    assert frame["recall"].tolist() == pytest.approx(theirs, abs=1e-4) and not set(frame) & {"threshold", "share"}


@pytest.mark.parametrize("metric", [None, "log_loss"])
def test_shares_show_what_a_shake_up_of_rare_labels_would_score(tmp_path, capsys, metric):
    (probs, targets), recipe = label_rows(), recipe_of(kind="share", metric=metric)
    rule = fitter_of(recipe).fit(probs, targets)
    frame = written(tmp_path, recipe, rule, table_of(targets, 4), probs, probs > 0.9)
    assert frame["share"].tolist() == pytest.approx(targets.mean(0), rel=1e-5)
    lines = capsys.readouterr().out.splitlines()
    off = rule.apply(probs).sum(0) - targets.sum(0, dtype=int)
    expected = f"  answers hold {np.abs(off).sum()} labels more or less than their shares ({off.sum():+d} in all)"
    assert lines[0] == expected
    if metric == "log_loss":
        assert len(lines) == 1, "which answers do not change"
        return
    assert lines[1] == "  F2 with fewer or more rows of a rare label (shares as all rows have them):"
    middle = f"{fbeta_score(targets, rule.apply(probs), beta=2, average='samples', zero_division=0):.4f}"
    counts = dict(zip("abcd", targets.sum(0).tolist(), strict=True))
    rows = [line.split() for line in lines[3:]]
    assert [row[0] for row in rows] == sorted("abcd", key=counts.get)
    assert all(int(row[1]) == counts[row[0]] and row[7] == middle and len(row) == 13 for row in rows)


def test_only_a_rule_that_promises_shares_drifts(capsys):
    answers = np.array([[1, 0], [1, 0], [1, 1], [1, 0]], bool)
    tell_drift(Thresholds(thresholds=(0.5, 0.5)), answers)
    assert capsys.readouterr().out == ""
    tell_drift(Shares(shares=(0.5, 0.5)), answers)
    assert capsys.readouterr().out == "  answers hold 3 labels more or less than their shares (+1 in all)\n"


def test_test_rows_are_those_of_the_sample_where_it_is_there(tmp_path):
    recipe = SimpleNamespace(table=TableFormat(sample_csv="sample.csv", label_column="label"))
    assert count_test_rows(recipe, tmp_path) is None
    (tmp_path / "sample.csv").write_text("id,label\n1,a\n2,b\n")
    assert count_test_rows(recipe, tmp_path) == 2
    long = replace(recipe.table, sample_rows="{id}_{label}", label_columns=("x", "y"))
    (tmp_path / "sample.csv").write_text("id,label\n1_x,0\n1_y,0\n")
    assert count_test_rows(SimpleNamespace(table=long), tmp_path) == 1


OF_COLUMNS = {
    "roc_auc": (roc_auc_score, 0.5),
    "average_precision": (average_precision_score, None),
    "log_loss": (lambda truth, column: log_loss(truth, column.astype(float), labels=[0, 1]), None),
}


@pytest.mark.parametrize("metric", OF_COLUMNS)
@pytest.mark.parametrize(
    ("task", "labels", "said", "judged"),
    [
        ("multiclass", "abc", {"positive": "b"}, [1]),
        ("multiclass", "abc", {"columns": ("c",)}, [2]),
        ("multiclass", "abc", {"columns": ("c", "a")}, [0, 2]),
        ("multilabel", "abcd", {"positive": "d"}, [3]),
        ("multilabel", "abcd", {"columns": ("d", "a", "b")}, [0, 1, 3]),
    ],
)
def test_the_columns_that_are_submitted_are_what_is_judged(metric, task, labels, said, judged):
    probs, targets = class_rows() if task == "multiclass" else label_rows()
    recipe = recipe_of(task, metric, kind="probability", **said)
    fitter = fitter_of(recipe, labels=tuple(labels))
    scores, answers = honest_scores(recipe, fitter, probs, targets, FOLDS)
    assert answers is probs, "tables and pictures show all labels"
    truth = (targets[:, None] == np.arange(3) if task == "multiclass" else targets)[:, judged].astype(int)
    one, constant = OF_COLUMNS[metric]

    def score(rows, given=probs[:, judged]):
        return pytest.approx(np.mean([one(*pair) for pair in zip(truth[rows].T, given[rows].T, strict=True)]))

    assert scores["oof"] == score(np.arange(90)) == score_quickly(fitter, probs, targets)
    assert scores["folds"] == {str(fold): score(ROWS[fold]) for fold in range(3)}
    assert scores["constant"] == (constant or score(np.arange(90), np.tile(truth.mean(0), (90, 1))))
    low, high = scores["interval"]
    assert low < scores["oof"] < high and high - low < 0.5
    if task == "multilabel":
        assert scores["samples F1"] == pytest.approx(
            fbeta_score(targets, probs >= 0.5, beta=1, average="samples", zero_division=0)
        )


def test_all_columns_are_judged_as_classes_and_rows_of_a_blend_sum_to_1():
    probs, targets = class_rows()
    recipe = recipe_of("multiclass", "log_loss", kind="probability", columns=("c", "a", "b"))
    fitter = fitter_of(recipe, labels=("a", "b", "c"))
    assert honest_scores(recipe, fitter, probs, targets, FOLDS)[0]["oof"] == pytest.approx(
        class_log_loss(targets, probs), rel=1e-6
    )
    blended = probs * np.linspace(0.5, 1.5, 90, dtype=np.float32)[:, None]
    scores, answers = honest_scores(recipe, fitter, blended, targets, FOLDS)
    assert scores["oof"] == pytest.approx(class_log_loss(targets, probs), rel=1e-6)
    np.testing.assert_allclose(answers.sum(1), 1, atol=1e-6)


def test_a_metric_of_all_classes_needs_a_column_of_each():
    with pytest.raises(ConfigError) as caught:
        recipe_of("multiclass", "top_2", kind="probability", positive="a")
    assert str(caught.value).startswith("`score.metric` top_2 judges all classes of a row, and the submission has one ")
    recipe = recipe_of("multiclass", "top_2", kind="probability", columns=("a", "b"))
    with pytest.raises(ConfigError) as caught:
        fitter_of(recipe, labels=("a", "b", "c"))
    line = "`score.metric` top_2 judges all classes of a row, and `table.answer_columns` names 2 of 3: name all"
    assert str(caught.value).startswith(line)
