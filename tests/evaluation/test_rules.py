"""From a recipe's plan to a rule: shares of train, of a table, or the mean of both; and what is odd in such a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import fbeta_score

from imettk.config import Recipe, RuleConfig, ScoreConfig
from imettk.errors import ConfigError, DataError, MissingFileError
from imettk.evaluation.rules import fitter_of
from imettk.experiment.prepared import read_shares

LABELS = ("a", "b", "c")
TARGETS = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], np.uint8)  # shares 3/4, 1/4, 0


def recipe_of(shares: str, name: str | None = "shares.csv") -> Recipe:
    return Recipe(rule=RuleConfig(kind="share", shares=shares, shares_csv=name, average="macro", min_labels=0))


@pytest.mark.parametrize(
    ("shares", "expected"), [("train", [0.75, 0.25, 0]), ("csv", [0.5, 0, 1]), ("mean", [0.625, 0.125, 0.5])]
)
def test_shares_are_those_of_train_of_the_table_or_the_mean_of_both(tmp_path, shares, expected):
    (tmp_path / "shares.csv").write_text("share,label\n1,c\n0.25,other\n0,b\n0.5,a\n")  # another order, another label
    recipe = recipe_of(shares, None if shares == "train" else "shares.csv")
    given = read_shares(recipe, tmp_path, LABELS)
    rule = fitter_of(recipe, ("",) * 3, given).fit(np.zeros((4, 3), np.float32), TARGETS)
    assert rule.kind == "share" and rule.shares == pytest.approx(tuple(expected))
    probs = np.random.default_rng(0).random((8, 3)).astype(np.float32)
    assert rule.apply(probs).sum(0).tolist() == [round(8 * share) for share in expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,share\na,0.5\nc,0.1\n", r"shares.csv: 1 label \(b\) without a share in \[0, 1\]"),
        ("label,share\na,0.5\nb,\nc,12%\n", r"2 labels \(b, c\) without a share in \[0, 1\]"),
        ("label,share\na,0.5\nb,1.2\nc,-0.1\n", r"2 labels \(b, c\) without"),
        ("label,share\na,nan\nb,inf\nc,0\n", r"2 labels \(a, b\) without"),
        ("label,share\na,0.5\na,0.4\nb,0\nc,0\n", r"a"),
        ("name,share\na,0.5\n", r"label"),
    ],
)
def test_a_table_of_shares_that_cannot_be_is_one_line(tmp_path, text, message):
    (tmp_path / "shares.csv").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_shares(recipe_of("csv"), tmp_path, LABELS)
    assert "\n" not in str(caught.value) and "shares.csv" in str(caught.value)


def test_a_table_of_shares_is_there_and_named_only_where_it_counts(tmp_path):
    with pytest.raises((DataError, MissingFileError), match=r"shares\.csv"):
        read_shares(recipe_of("mean"), tmp_path, LABELS)
    for shares, name in (("csv", None), ("train", "shares.csv")):
        with pytest.raises(ConfigError, match="`shares_csv` of RuleConfig must be given with shares csv or mean"):
            replace(recipe_of("csv").rule, shares=shares, shares_csv=name)


@pytest.mark.parametrize("average", ["macro", "micro", "samples"])
def test_a_threshold_is_the_best_for_the_f1_that_is_judged(average):
    rng = np.random.default_rng(0)
    probs = rng.random((60, 3)).astype(np.float32)
    targets = (rng.random((60, 3)) < probs * (0.9, 0.5, 0.2)).astype(np.uint8)
    recipe = Recipe(rule=RuleConfig(kind="threshold", min_labels=0), score=ScoreConfig(metric=f"f1_{average}"))
    chosen = fitter_of(recipe).fit(probs, targets).apply(probs)
    every = [
        fbeta_score(targets, probs >= value, beta=1, average=average, zero_division=0) for value in [*probs.ravel(), 2]
    ]
    best = fbeta_score(targets, chosen, beta=1, average=average, zero_division=0)
    assert best == pytest.approx(max(every)) and recipe.scorer.score(chosen, targets) == pytest.approx(best)
