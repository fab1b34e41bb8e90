"""The requested or most likely metric decides the answers, and a guess at the label of a probability is reported."""

import cv2
import numpy as np
import pandas as pd
import pytest

from imettk.config import RuleConfig
from imettk.errors import ConfigError, DataError
from imettk.starter.guess import guess
from imettk.starter.guess_columns import Choices
from imettk.starter.look import look_into


def judging(folder, labels, sample, **choices):
    return guess_of(folder, labels, sample, **choices).judging


def guess_of(folder, labels, sample, **choices):
    """Return the guess for 12 images with these labels in turn, and a sample with these columns."""
    for name in [f"train/{number}" for number in range(12)] + ["test/q0", "test/q1"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    train = {"id": range(12), "label": [labels[number % len(labels)] for number in range(12)]}
    pd.DataFrame(train).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"id": ["q0", "q1"], **sample}).to_csv(folder / "sample_submission.csv", index=False)
    return guess(look_into(folder), folder, Choices(**choices))


@pytest.mark.parametrize(
    ("labels", "sample", "metric", "positive"),
    [
        (["0", "1"], {"label": [0.5, 0.5]}, "roc_auc", "1"),
        (["0", "1"], {"label": [0, 0]}, "roc_auc", "1"),
        (["0.0", "1.0"], {"label": [0.5, 0.5]}, "roc_auc", "1.0"),
        (["benign", "malignant"], {"malignant": [0, 0.5]}, "roc_auc", "malignant"),
        (["benign", "malignant"], {"malignant": [0, 0]}, "roc_auc", "malignant"),
        (["8815", "42"], {"label": ["8815 0.03", "42 1"]}, "gap", None),
        (["cat", "dog", "owl"], {"dog": [0.5, 0.5]}, "roc_auc", "dog"),
        (["a", "b", "c"], {"b": [0.3] * 2, "a": [0.3] * 2, "c": [0.4] * 2}, "log_loss", None),
        (["a", "b", "c"], {"b": [0] * 2, "a": [0] * 2, "c": [0] * 2}, "log_loss", None),
        (["a", "b"], {"label": ["a", "b"]}, None, None),
        (["1", "2", "3"], {"label": [1, 1]}, None, None),
    ],
)
def test_the_most_likely_metric_and_its_alternatives(tmp_path, labels, sample, metric, positive):
    found = judging(tmp_path, labels, sample)
    assert found.metric == metric and found.doubt is None
    calibrate = "temperature" if metric == "log_loss" else None
    pairs = 1 if metric == "gap" else None
    rule = RuleConfig(kind="probability", positive=positive, calibrate=calibrate, pairs=pairs)
    assert found.rule == (None if metric is None else rule)
    assert found.finding.change == "--metric" and "; alternatives: " in found.finding.reason
    assert found.finding.value.startswith(metric or "accuracy")


@pytest.mark.parametrize(
    ("labels", "positive"),
    [(["cat", "dog"], "dog"), (["normal", "abscess"], "abscess"), (["tumor", "no tumor"], "tumor")],
)
def test_a_guess_at_the_label_of_a_probability_is_reported(tmp_path, labels, positive):
    found = judging(tmp_path, labels, {"label": [0.5, 0.5]}, metric="log_loss")
    assert found.rule.positive == positive and found.metric == "log_loss"
    assert f"{positive} is a guess" in found.doubt and f"the probability of {positive}" in found.finding.value


def test_a_requested_metric_is_used(tmp_path):
    found = judging(tmp_path, ["0", "1"], {"label": [0, 0]}, metric="accuracy")
    assert (found.metric, found.rule, found.finding.reason) == ("accuracy", None, "as requested")
    assert judging(tmp_path, ["0", "1"], {"label": ["0", "0"]}, metric="average_precision").rule.positive == "1"
    with pytest.raises(ConfigError, match=r"--metric must be one of .*, got 'auc'"):
        judging(tmp_path, ["0", "1"], {"label": [0, 0]}, metric="auc")


def test_a_column_for_one_of_many_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"is for the probability of a single one of 3 labels, which cannot be guessed"):
        judging(tmp_path, ["a", "b", "c"], {"label": [0.5, 0.5]})


def test_columns_of_numbered_labels_are_not_a_ranking(tmp_path):
    columns = {name: [0.3, 0.3] for name in ("33", "10", "2")}
    found = judging(tmp_path, ["10", "2", "33"], columns, metric="log_loss")
    assert (found.rule.kind, found.rule.calibrate) == ("probability", "temperature")


@pytest.mark.parametrize(
    ("metric", "kind", "beta", "average", "least"),
    [
        (None, "threshold", 1.0, "samples", 0),
        ("f1_macro", "class_thresholds", 1.0, "macro", 0),
        ("f1_micro", "threshold", 1.0, "micro", 0),
        ("f1_samples", "threshold", 1.0, "samples", 0),
        ("balanced_accuracy", "threshold", 1.0, "samples", 0),
    ],
)
def test_thresholds_are_fitted_for_the_metric(tmp_path, metric, kind, beta, average, least):
    labels = ["a|b", "", "b", "a|c"]
    for name in [f"train/{number}" for number in range(12)]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    train = pd.DataFrame({"id": range(12), "label": [labels[number % 4] for number in range(12)]})
    for least_labels, frame in ((least, train), (1, train[train["label"] != ""])):
        frame.to_csv(tmp_path / "train.csv", index=False)
        contents = look_into(tmp_path)
        found = guess(contents, tmp_path, Choices(metric=metric))
        rule = found.judging.rule or found.question.rule
        assert (rule.kind, rule.beta, rule.average, rule.min_labels) == (kind, beta, average, least_labels)


@pytest.mark.parametrize(
    ("labels", "choices", "question", "kind"),
    [
        (["0", "1", "2"], {}, "regression", "cutpoints"),
        (["0", "1", "10", "2"], {}, "regression", "cutpoints"),
        (["0", "1", "2"], {"question": "multiclass"}, "multiclass", "cutpoints"),
        (["0", "1", "10", "2"], {"question": "grades"}, "grades", "cutpoints"),
        (["0", "1", "2"], {"metric": "accuracy"}, "multiclass", "argmax"),
    ],
)
def test_grades_are_numbers_for_a_metric_of_distances_unless_requested_otherwise(
    tmp_path, labels, choices, question, kind
):
    found = guess_of(tmp_path, labels, {"label": [labels[0]] * 2}, **{"metric": "quadratic_kappa", **choices})
    assert found.question.name == question
    assert (found.judging.rule or found.question.rule).kind == kind
    if question == "regression":
        (line,) = [finding.reason for finding in found.findings if finding.what == "task"]
        assert "--task grades learns them as a chain of questions, --task multiclass as classes" in line


def test_words_are_not_grades(tmp_path):
    with pytest.raises(ConfigError, match="depends on the distance between grades, but high, low are not numbers"):
        guess_of(tmp_path, ["low", "high"], {"label": ["low"] * 2}, metric="quadratic_kappa")


def test_folders_that_are_grades_are_learned_as_a_chain_of_questions(tmp_path):
    for number in range(9):
        path = tmp_path / "train" / str(number % 3) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    found = guess(look_into(tmp_path), tmp_path, Choices(metric="quadratic_kappa"))
    assert (found.question.name, found.table.task) == ("grades", "ordinal") and found.table.train_folders
