"""Cut-points against every possible chain of cuts, scored by scikit-learn."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score

from imettk.postprocess.cutpoints import apply_cutpoints, fit_cutpoints


def kappa(answers, targets, grades):
    """Return scikit-learn's kappa with every whole number between the grades as a class, so that distances count."""
    labels = range(int(grades[0]), int(grades[-1]) + 1)
    value = cohen_kappa_score(
        grades[answers].astype(int), grades[targets].astype(int), labels=labels, weights="quadratic"
    )
    return 0.0 if np.isnan(value) else value  # all of one grade


def macro_f1(answers, targets):
    """Return macro F1, which forbids answers with a grade that no row has."""
    allowed = set(answers) <= set(targets)
    return f1_score(targets, answers, average="macro", zero_division=0) if allowed else -1.0


SCORES = {
    "quadratic_kappa": kappa,
    "accuracy": lambda answers, targets, grades: accuracy_score(targets, answers),
    "f1_macro": lambda answers, targets, grades: macro_f1(answers, targets),
}


def best_of_all(values, targets, grades, score):
    """Return the score of the best chain by trying all of them."""
    distinct = np.unique(values)
    block = np.searchsorted(distinct, values)
    chains = itertools.combinations_with_replacement(range(len(distinct) + 1), len(grades) - 1)
    return max(score(np.searchsorted(np.array(cuts), block, side="right"), targets, grades) for cuts in chains)


@pytest.mark.parametrize("goal", SCORES)
@pytest.mark.filterwarnings("ignore")  # of scikit-learn, where all rows are of one grade
def test_the_best_of_all_chains_is_found(goal):
    """There are few rows, many ties, grades with gaps between them, and grades that no row has."""
    for seed in range(120):
        rng = np.random.default_rng(seed)
        num_grades, num_rows = int(rng.integers(2, 5)), int(rng.integers(1, 10))
        grades = np.sort(rng.choice(8, num_grades, replace=False)).astype(float)
        targets = rng.integers(0, num_grades, num_rows)
        values = (rng.integers(0, 6, num_rows) / 2 + 0.5 * targets).astype(np.float32)
        cuts = fit_cutpoints(values, targets, grades=grades, goal=goal)
        assert cuts.shape == (num_grades - 1,) and (np.diff(cuts) >= 0).all()
        score = SCORES[goal](apply_cutpoints(values, cuts), targets, grades)
        assert score == pytest.approx(best_of_all(values, targets, grades, SCORES[goal]), abs=1e-9), seed


def made(num_rows, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.choice(5, num_rows, p=[0.5, 0.1, 0.25, 0.07, 0.08])
    return (targets + rng.normal(0, 0.8, num_rows)).astype(np.float32), targets


@pytest.mark.parametrize("goal", SCORES)
def test_no_step_of_a_fine_grid_is_better(goal):
    values, targets = made(3_000)
    grades = np.arange(5.0)
    cuts = fit_cutpoints(values, targets, grades=grades, goal=goal)
    best = SCORES[goal](apply_cutpoints(values, cuts), targets, grades)
    for place, moved in itertools.product(range(4), np.linspace(-1, 5, 61)):
        tried = np.sort(np.where(np.arange(4) == place, moved, cuts))
        assert SCORES[goal](apply_cutpoints(values, tried), targets, grades) <= best + 1e-12


def test_many_places_for_a_cut_are_moved_to_where_no_single_one_gains(monkeypatch):
    """The exact solution for few places is hardly better than moving cuts from a coarse chain."""
    values, targets = made(2_000)
    grades = np.arange(5.0)
    exact = fit_cutpoints(values, targets, grades=grades, goal="f1_macro")
    monkeypatch.setattr("imettk.postprocess.cutpoints.MOST_CUTS", 50)
    moved = fit_cutpoints(values, targets, grades=grades, goal="f1_macro")
    scores = [SCORES["f1_macro"](apply_cutpoints(values, cuts), targets, grades) for cuts in (moved, exact)]
    assert scores[1] - 0.005 < scores[0] <= scores[1]


def test_a_number_at_a_cut_has_reached_it_and_equal_numbers_are_not_parted():
    assert apply_cutpoints(np.float32([0.4, 0.5, 0.6, 2]), np.array([0.5, 0.75])).tolist() == [0, 1, 1, 2]
    cuts = fit_cutpoints(np.float32([1, 1, 1, 2]), np.array([0, 0, 1, 1]), grades=np.arange(2.0), goal="accuracy")
    assert cuts.tolist() == [1.5]


@pytest.mark.parametrize("goal", SCORES)
def test_rows_of_a_single_grade_are_answered_with_it(goal):
    values = np.float32([3, 1, 2])
    for grade in range(3):
        cuts = fit_cutpoints(values, np.full(3, grade), grades=np.array([0.0, 2, 5]), goal=goal)
        assert apply_cutpoints(values, cuts).tolist() == [grade] * 3
