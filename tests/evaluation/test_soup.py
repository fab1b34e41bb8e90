"""A soup's choice, and its honest gain, against plain loops over members and folds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from imettk.evaluation.oof_judge import JudgedFolds
from imettk.evaluation.paired import Judged
from imettk.evaluation.soup import choose_soup
from imettk.metrics import METRICS
from imettk.postprocess.greedy import choose_greedily

ROWS, CLASSES, MEMBERS, FOLDS = 90, 3, 4, (0, 1, 2)
NAMES = ("a", "b", "c", "d")
SUBSETS = [subset for size in range(1, MEMBERS + 1) for subset in itertools.combinations(range(MEMBERS), size)]


class PlainJudge:
    """Scores probabilities, which need no rule."""

    def __init__(self, targets: np.ndarray, folds: np.ndarray) -> None:
        self.targets, self.folds = targets, folds
        self.scorer = METRICS["log_loss"].bound("classes")

    def judge(self, parts: dict[int, np.ndarray]) -> JudgedFolds:
        rows = np.flatnonzero(np.isin(self.folds, list(parts)))
        probs = np.zeros((ROWS, CLASSES))
        for fold, part in parts.items():
            probs[self.folds == fold] = part
        ids = np.arange(ROWS).astype(str)
        judged = Judged(ids[rows], probs[rows], self.targets[rows], None, ("x", "y", "z"))
        return JudgedFolds(judged, self.folds[rows])

    def score(self, judged: JudgedFolds) -> float:
        return self.scorer.score(judged.rows.outputs, judged.rows.targets)


@pytest.fixture(params=range(6))
def case(request):
    """Targets, folds, and predictions of every soup: none is the mean of its members' predictions."""
    rng = np.random.default_rng(request.param)
    targets, folds = rng.integers(0, CLASSES, ROWS), rng.permutation(np.arange(ROWS) % len(FOLDS))
    probs = {}
    for subset in SUBSETS:
        logits = 1.0 * np.eye(CLASSES)[targets] + rng.normal(size=(ROWS, CLASSES)) * rng.uniform(0.5, 1.5)
        probs[subset] = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return targets, folds, probs


def loss(probs: np.ndarray, targets: np.ndarray) -> float:
    return float(-np.log(probs[np.arange(len(targets)), targets]).mean())


def test_choice_and_gain_are_those_of_plain_loops(case):
    targets, folds, probs = case

    def predict(members, fold):
        return probs[members][folds == fold]

    soup = choose_soup(PlainJudge(targets, folds), predict, NAMES, FOLDS)

    def choose(rows):
        return choose_greedily(MEMBERS, lambda members: loss(probs[members][rows], targets[rows]), higher=False)

    assert soup.choice.members == choose(np.ones(ROWS, bool)).members
    if len(soup.choice.members) == 1:
        assert soup.compared is None and not soup.gains
        return
    assert soup.by_fold == {fold: choose(folds != fold).members for fold in FOLDS}
    honest = np.stack([probs[soup.by_fold[fold]][row] for row, fold in enumerate(folds.tolist())])
    best = min(range(MEMBERS), key=lambda member: loss(probs[member,], targets))
    assert soup.choice.best == best
    assert soup.compared.first == pytest.approx(loss(probs[best,], targets))
    assert soup.compared.second == pytest.approx(loss(honest, targets))
    assert soup.gains == (soup.compared.second < soup.compared.first)
    assert soup.compared.low < soup.compared.difference < soup.compared.high


def test_a_choice_has_not_seen_the_fold_that_it_answers(case):
    """Other targets in one fold change neither its members nor its answers."""
    targets, folds, probs = case
    choices = []
    for turned in (targets, np.where(folds == 1, (targets + 1) % CLASSES, targets)):
        judge = PlainJudge(turned, folds)
        choices.append(choose_soup(judge, lambda members, fold: probs[members][folds == fold], NAMES, FOLDS).by_fold)
    if all(choices):
        assert choices[0][1] == choices[1][1]


def test_a_single_fold_has_no_others(case):
    targets, _, probs = case
    folds = np.zeros(ROWS, int)
    soup = choose_soup(PlainJudge(targets, folds), lambda members, fold: probs[members], NAMES, (0,))
    assert soup.by_fold == {}
    if soup.compared is not None:
        assert soup.compared.second == pytest.approx(loss(probs[soup.choice.members], targets))
