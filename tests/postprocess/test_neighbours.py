"""Neighbours' labels replace answers as in a plain loop, with the best threshold; planted label errors are found."""

import numpy as np
import pandas as pd
import pytest
from by_targets import find_conflicts
from places import SHARED
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, fbeta_score, pairwise_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from imettk.postprocess.neighbours import (
    GRID,
    NEVER,
    best_threshold,
    cross_fit_threshold,
    replace_labels,
    scan_thresholds,
    standardise,
)
from imettk.postprocess.thresholds.goal import Goal

HPA = SHARED / "data" / "tables" / "hpa2018" / "train.csv"


def test_standardised_columns_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    reference = (rng.normal(size=(300, 5)) * [1, 10, 1e-3, 1, 1] + [0, 5, 100, 0.1, 0]).astype(np.float32)
    reference[:, 3] = 0.1  # constant
    features = rng.normal(size=(40, 5)).astype(np.float32)
    ours = standardise(features, reference)
    expected = StandardScaler().fit(reference.astype(np.float64)).transform(features.astype(np.float64))
    assert ours.dtype == np.float32 and not ours[:, 3].any()
    others = [0, 1, 2, 4]
    np.testing.assert_allclose(ours[:, others], expected[:, others], rtol=1e-5)
    assert not standardise(features, np.full((7, 5), 0.1)).any()  # whose deviation, in float64, is not 0 but 1e-17
    reference[7] = np.nan  # an image that cannot be read
    without = standardise(features, np.delete(reference, 7, axis=0))
    np.testing.assert_array_equal(standardise(features, reference), without)


def make(seed, *, num_rows=200, num_labels=4, num_neighbours=60, digits=2):
    """Return answers, truth, nearest neighbours (often right if near) and the neighbours' labels."""
    rng = np.random.default_rng(seed)
    neighbour_targets = (rng.random((num_neighbours, num_labels)) < 0.35).astype(np.uint8)  # some are empty
    rows = rng.integers(-1, num_neighbours, num_rows)
    similarities = np.where(rows >= 0, np.round(rng.random(num_rows), digits), -np.inf).astype(np.float32)
    targets = (rng.random((num_rows, num_labels)) < 0.35).astype(np.uint8)
    right = rng.random(num_rows) < similarities
    targets[right] = neighbour_targets[rows[right]]
    answers = (targets ^ (rng.random(targets.shape) < 0.2)).astype(bool)
    return answers, targets, rows, similarities, neighbour_targets


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.73, 2.0, NEVER])
def test_replaced_answers_are_those_of_a_plain_loop(threshold):
    answers, _, rows, similarities, neighbour_targets = make(0)
    before = answers.copy()
    after, replaced = replace_labels(answers, rows, similarities, neighbour_targets, threshold=threshold)
    assert after.dtype == bool and replaced.dtype == bool
    np.testing.assert_array_equal(answers, before)
    for place in range(len(answers)):
        near = rows[place] >= 0 and similarities[place] >= np.float32(threshold)
        labels = neighbour_targets[rows[place]] if near else []
        assert replaced[place] == any(labels)
        np.testing.assert_array_equal(after[place], labels if any(labels) else answers[place])
    assert replaced.any() == (threshold <= 1)


def test_without_a_neighbour_or_a_similarity_nothing_is_replaced():
    answers, targets = np.zeros((4, 2), bool), np.ones((4, 2), np.uint8)
    rows, similarities = np.array([0, 0, 0, -1]), np.array([np.nan, -np.inf, 0.9, 0.95], np.float32)
    for threshold in (0.0, -np.inf):
        after, replaced = replace_labels(answers, rows, similarities, targets, threshold=threshold)
        assert replaced.tolist() == after.any(1).tolist() == [False, False, True, False]
    best = best_threshold(answers, targets, rows, similarities, targets, Goal(1.0, "samples"))
    assert best == (pytest.approx(0.9), 0.25)


def exact_share(answers, targets):
    return accuracy_score(targets, answers.astype(int))


def test_a_scan_counts_what_each_threshold_replaces_and_mends():
    answers, targets, rows, similarities, neighbour_targets = data = make(1)
    scanned, best = scan_thresholds(*data, exact_share)
    assert tuple(np.round(np.arange(0.6, 0.805, 0.01), 2)) == GRID and len(GRID) == 21
    assert [effect.threshold for effect in scanned] == [NEVER, *GRID]
    assert scanned[0] == (NEVER, exact_share(answers, targets), 0, 0, 0, 0)
    for effect in scanned[1:]:
        after = answers.copy()
        counts = np.zeros(4, int)
        for place in range(len(answers)):
            labels = neighbour_targets[rows[place]]
            if rows[place] < 0 or not labels.any() or similarities[place] < np.float32(effect.threshold):
                continue
            after[place] = labels
            truth = targets[place].tolist()
            counts += [
                1,
                labels.tolist() != answers[place].tolist(),
                truth == answers[place].tolist(),
                truth == labels.tolist(),
            ]
        assert effect[2:] == tuple(counts) and effect.score == exact_share(after, targets)
    top = max(effect.score for effect in scanned)
    assert best == max(effect.threshold for effect in scanned if effect.score == top) and best in GRID


def test_a_threshold_that_gains_nothing_is_not_taken():
    """Nothing is gained if all neighbours are wrong, or if all agree with the answers."""
    answers, _, rows, similarities, neighbour_targets = make(2)
    scanned, best = scan_thresholds(answers, answers.astype(int), rows, similarities, neighbour_targets, exact_share)
    assert best == NEVER and scanned[1].score < 1 and scanned[1].replaced > 0
    same = replace_labels(answers, rows, similarities, neighbour_targets, threshold=0.0)[0]
    scanned, best = scan_thresholds(same, same.astype(int), rows, similarities, neighbour_targets, exact_share)
    assert best == NEVER and scanned[1].replaced > 0 and scanned[1].changed == 0
    assert best_threshold(same, same.astype(int), rows, similarities, neighbour_targets, Goal(1.0, "micro")) == (
        NEVER,
        1,
    )
    none = np.full(len(rows), -1), np.full(len(rows), -np.inf, np.float32)
    assert best_threshold(answers, same.astype(int), *none, neighbour_targets, Goal())[0] == NEVER
    # Of thresholds that are equal the highest: the fewest rows are touched.
    single_row = np.array([[False]]), np.array([[1]]), np.array([0]), np.array([0.9], np.float32), np.array([[1]])
    assert scan_thresholds(*single_row, exact_share)[1] == 0.8


@pytest.mark.parametrize("average", ["samples", "macro", "micro"])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_threshold_is_the_best_of_all_similarities_that_occur(average, seed):
    answers, targets, rows, similarities, neighbour_targets = data = make(seed, digits=seed + 1)
    goal = Goal(2.0, average)

    def score(answers, targets):
        return fbeta_score(targets, answers, beta=2, average=average, zero_division=0)

    occurring = np.unique(similarities[rows >= 0]).tolist()
    scanned, _ = scan_thresholds(*data, score, thresholds=occurring)
    best = best_threshold(*data, goal)
    assert best.score == pytest.approx(max(effect.score for effect in scanned), abs=1e-12)
    after, replaced = replace_labels(answers, rows, similarities, neighbour_targets, threshold=best.threshold)
    assert score(after, targets) == pytest.approx(best.score, abs=1e-12) and replaced.any()
    # Between two similarities, not on one, so that a tiny difference of a test image decides nothing.
    assert np.abs(np.array(occurring) - best.threshold).min() > 0.4 * 10.0 ** -(seed + 1)


def test_no_fold_is_answered_by_a_threshold_that_has_seen_it():
    answers, targets, rows, similarities, neighbour_targets = make(3)
    folds, seen = np.arange(len(answers)) % 3, []

    def fit(others):
        seen.append(others)
        return 0.2 * len(seen)

    after, thresholds = cross_fit_threshold(fit, answers, rows, similarities, neighbour_targets, folds)
    assert [sorted(set(folds[others])) for others in seen] == [[1, 2], [0, 2], [0, 1]]
    assert thresholds == {0: 0.2, 1: 0.4, 2: pytest.approx(0.6)}
    for fold, threshold in thresholds.items():
        expected = replace_labels(answers, rows, similarities, neighbour_targets, threshold=threshold)[0]
        np.testing.assert_array_equal(after[folds == fold], expected[folds == fold])

    def fit_best(others):
        return best_threshold(
            answers[others],
            targets[others],
            rows[others],
            similarities[others],
            neighbour_targets,
            Goal(1.0, "micro"),
        ).threshold

    honest, _ = cross_fit_threshold(fit_best, answers, rows, similarities, neighbour_targets, folds)
    fitted = best_threshold(answers, targets, rows, similarities, neighbour_targets, Goal(1.0, "micro"))
    before, score = (fbeta_score(targets, chosen, beta=1, average="micro") for chosen in (answers, honest))
    assert before < score <= fitted.score


def neighbours_of(features, k=10):
    """Return the k most similar other rows by scikit-learn, and their cosine similarities."""
    distances, rows = NearestNeighbors(n_neighbors=k + 1, metric="cosine").fit(features).kneighbors(features)
    is_itself = rows == np.arange(len(rows))[:, None]
    is_itself[~is_itself.any(1), -1] = True  # among copies a row may not find itself
    keep = ~is_itself
    return rows[keep].reshape(-1, k), (1 - distances[keep].reshape(-1, k)).astype(np.float32)


def conflicts_by_hand(rows, similarities, targets):
    """Return the numbers of each suspicious row and its best-fitting voters, with scikit-learn's Jaccard index."""

    if targets.ndim == 2:
        scores = 1 - pairwise_distances(targets.astype(bool), metric="jaccard")

    def agree(first, other):
        if targets.ndim == 1:
            return float(targets[first] == targets[other])
        if not targets[first].any() and not targets[other].any():
            return 1.0
        return float(scores[first, other])

    conflicts = {}
    for row in range(len(rows)):
        voters = [(a, float(s)) for a, s in zip(rows[row].tolist(), similarities[row], strict=True) if a >= 0 and s > 0]
        if targets.ndim == 1:
            voters = [(a, s) for a, s in voters if targets[a] >= 0 and targets[row] >= 0]
        total = sum(s**8 for _, s in voters)

        def fit(first, voters=voters, total=total):
            return sum(s**8 * agree(first, a) for a, s in voters) / total

        if not voters or (gain := max(fit(a) for a, _ in voters) - fit(row)) <= 1e-12:
            continue
        nearest, similarity = next((a, s) for a, s in voters if agree(row, a) < 1)
        fitting = {a for a, _ in voters if fit(a) > gain + fit(row) - 1e-6}
        conflicts[row] = [gain * max(s for _, s in voters) ** 4, 1 - fit(row), nearest, similarity], fitting
    return conflicts


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_conflicts_are_those_of_a_plain_loop(kind):
    rng = np.random.default_rng(0)
    rows = np.array([rng.permutation(80)[:5] for _ in range(80)])
    similarities = -np.sort(-rng.uniform(-0.2, 1, (80, 5)), axis=1).astype(np.float32)
    rows[:20, 3:], similarities[:20, 3:] = -1, -np.inf
    rows[0], similarities[0] = -1, -np.inf
    targets = rng.integers(-1, 4, 80) if kind == "classes" else (rng.random((80, 3)) < 0.4).astype(np.uint8)
    conflicts = find_conflicts(rows, similarities, targets)
    expected = conflicts_by_hand(rows, similarities, targets)
    assert set(conflicts.row.tolist()) == set(expected) and len(conflicts.row) == len(expected) > 20
    assert (np.diff(conflicts.suspicion) <= 0).all() and conflicts.suspicion[0] > 0
    for row, *values, suggestion in np.transpose(conflicts).tolist():
        expected_values, fitting = expected[int(row)]
        assert values == pytest.approx(expected_values, abs=1e-6) and suggestion in fitting
    frame = pd.DataFrame(conflicts._asdict())
    assert list(frame.columns) == ["row", "suspicion", "disagreement", "nearest", "similarity", "suggestion"]
    short = find_conflicts(rows, similarities, targets, num=7)
    np.testing.assert_array_equal(short.row, conflicts.row[:7])


def test_places_without_a_neighbour_suggest_nothing():
    """A missing neighbour, -1, must not be read as the last row, whose labels would fit best here."""
    targets = np.eye(9, dtype=np.uint8)
    targets[1:7, 8] = 1  # each has a label of its own, and the only one of the last row
    rows = np.array([[1, 2, 3, 4, 5, 6, -1]])
    for beside in (-np.inf, 0.9):
        similarities = np.array([[0.9] * 6 + [beside]], np.float32)
        conflicts = find_conflicts(np.repeat(rows, 9, axis=0), np.repeat(similarities, 9, axis=0), targets)
        assert not set(conflicts.suggestion) - set(range(1, 7))
        place = conflicts.row.tolist().index(0)
        assert conflicts.suspicion[place] == pytest.approx((1 + 5 / 3) / 6 * 0.9**4)


def plant(targets, rng, share=0.02):
    """Return targets with another class in a share of the rows, and these rows."""
    rows, num_classes = rng.choice(len(targets), int(share * len(targets)), replace=False), targets.max() + 1
    wrong = targets.copy()
    wrong[rows] = (wrong[rows] + rng.integers(1, num_classes, len(rows))) % num_classes
    return wrong, rows


def precision(conflicts, planted):
    return np.isin(conflicts.row, planted).mean()


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_in_clusters_are_found(seed):
    """Measured: 38 or more of 40 errors among the first 40, in 20 clusters of 100 rows."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(20), 100)
    features = rng.normal(size=(20, 32))[targets] + rng.normal(size=(2000, 32))
    wrong, planted = plant(targets, rng)
    conflicts = find_conflicts(*neighbours_of(features), wrong, num=len(planted))
    assert precision(conflicts, planted) >= 0.9
    right = np.isin(conflicts.row, planted)
    assert (wrong[conflicts.suggestion[right]] == targets[conflicts.row[right]]).mean() >= 0.9


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_of_real_digits_are_found_by_their_raw_pixels(seed):
    """Measured: 32 or 33 of 35 errors among the first 35, in 1,797 digits."""
    pixels, digits = load_digits(return_X_y=True)
    wrong, planted = plant(digits, np.random.default_rng(seed))
    conflicts = find_conflicts(*neighbours_of(pixels), wrong, num=len(planted))
    assert precision(conflicts, planted) >= 0.8


def test_rows_of_rare_classes_are_not_suspected_for_being_rare():
    """Each identity has two images: a row has one neighbour of its own identity and nine of nine others."""
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(300), 2)
    features = rng.normal(size=(300, 32))[targets] + 0.5 * rng.normal(size=(600, 32))
    rows, similarities = neighbours_of(features)
    assert (targets[rows] != targets[:, None]).mean() > 0.85
    assert find_conflicts(rows, similarities, targets).suspicion.max(initial=0) < 0.05
    wrong, planted = targets.copy(), rng.choice(300, 12, replace=False) * 2
    wrong[planted] = (targets[planted] + 7) % 300
    conflicts = find_conflicts(rows, similarities, wrong, num=24)
    # Of a pair that is torn apart nobody can say which row is wrong: both are listed.
    assert np.isin(conflicts.row // 2, planted // 2).mean() >= 0.9


@pytest.mark.skipif(not HPA.exists(), reason="../shared/data is absent")
@pytest.mark.parametrize(("kind", "least"), [("other set", 0.85), ("one label", 0.8)])
def test_wrong_label_sets_are_found(kind, least):
    """Measured on HPA 2018's labels with synthetic features: 0.97 with another row's set, 0.90 with one wrong label."""
    rng = np.random.default_rng(0)
    texts = pd.read_csv(HPA)["Target"].to_numpy()[:3000]
    targets = np.array([[str(label) in text.split() for label in range(28)] for text in texts]).astype(np.uint8)
    features = targets @ rng.normal(size=(28, 64)) + 0.3 * rng.normal(size=(3000, 64))
    wrong, planted = targets.copy(), rng.choice(3000, 60, replace=False)
    if kind == "other set":
        wrong[planted] = targets[rng.permutation(3000)[:60]]
    else:
        wrong[planted, rng.integers(0, 28, 60)] ^= 1
    planted = planted[(wrong[planted] != targets[planted]).any(1)]
    conflicts = find_conflicts(*neighbours_of(features), wrong, num=len(planted))
    assert precision(conflicts, planted) >= least


def test_without_rows_there_is_no_conflict():
    none = find_conflicts(np.zeros((0, 5), np.int64), np.zeros((0, 5), np.float32), np.zeros(0, np.int64))
    assert [len(column) for column in none] == [0] * 6
