"""Labels are dealt as evenly as whole rows and groups allow, and no less evenly than by the known library."""

import numpy as np
import pandas as pd
import pytest
from by_targets import deal
from fold_targets import multilabel
from places import SHARED

from imettk.config import FoldConfig

DATA = SHARED / "data"


def unevenness(targets, folds, num_folds):
    """Return how far the folds' shares of each label lie apart, summed over labels."""
    total = 0.0
    for label in range(targets.shape[1]):
        counts = [targets[folds == fold, label].sum() for fold in range(num_folds)]
        total += (max(counts) - min(counts)) / max(1, sum(counts))
    return total


def read_hpa(num_rows=4000):
    source = DATA / "tables" / "hpa2018" / "train.csv"
    if not source.is_file():
        pytest.skip("shared/data/tables/hpa2018 is not here")
    cells = pd.read_csv(source, nrows=num_rows)["Target"]
    return np.array([[str(label) in cell.split() for label in range(28)] for cell in cells]).astype(np.uint8)


def test_real_labels_are_far_more_even_than_by_chance():
    targets = read_hpa()
    folds = deal(targets, FoldConfig(num_folds=5))
    rng = np.random.default_rng(0)
    by_chance = [unevenness(targets, rng.integers(0, 5, len(targets)), 5) for _ in range(10)]
    assert unevenness(targets, folds, 5) < 0.5 * min(by_chance)


def deviations(targets, folds, num_folds):
    """Return how many rows each label is off its share in each fold, (F, C)."""
    counts = np.stack([targets[folds == fold].sum(0, dtype=np.int64) for fold in range(num_folds)])
    return np.abs(counts - targets.sum(0) / num_folds)


def test_real_labels_are_no_less_even_than_by_the_known_library():
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    targets = read_hpa()
    for num_folds in (5, 10):
        ours = deviations(targets, deal(targets, FoldConfig(num_folds=num_folds)), num_folds)
        splits = MultilabelStratifiedKFold(num_folds, shuffle=True, random_state=0).split(targets, targets)
        folds = np.zeros(len(targets), int)
        for fold, (_, valid) in enumerate(splits):
            folds[valid] = fold
        theirs = deviations(targets, folds, num_folds)
        assert ours.mean() <= theirs.mean() and ours.max() <= theirs.max()
        assert ours.max(0).mean() <= theirs.max(0).mean()


def test_labels_and_sizes_are_nearly_as_even_as_whole_rows_can_be():
    targets = multilabel(3000)
    folds = deal(targets, FoldConfig(num_folds=7))
    assert deviations(targets, folds, 7).max() < 3 and np.ptp(np.bincount(folds)) <= 3


def test_rows_without_any_label_are_dealt_evenly_and_a_label_of_two_rows_to_two_folds():
    targets = np.zeros((53, 4), np.uint8)
    targets[:2, 0] = targets[:30, 1] = 1
    folds = deal(targets, FoldConfig(num_folds=5))
    assert folds[0] != folds[1]
    assert np.ptp(np.bincount(folds[30:], minlength=5)) <= 1 and np.ptp(np.bincount(folds)) <= 1


def test_real_groups_of_patients_are_far_more_even_than_by_chance():
    source = DATA / "chexnet_preds" / "test_predictions.csv.gz"
    if not source.is_file():
        pytest.skip("shared/data/chexnet_preds is not here")
    frame = pd.read_csv(source, dtype={"patient": str})
    targets = frame.filter(like="true_").to_numpy(np.uint8)
    patients = frame["patient"].to_numpy(str)
    folds = deal(targets, FoldConfig(num_folds=5), groups=patients)
    names, member = np.unique(patients, return_inverse=True)
    assert all(count == 1 for count in pd.Series(folds).groupby(member).nunique())
    rng = np.random.default_rng(0)
    by_chance = [unevenness(targets, rng.integers(0, 5, len(names))[member], 5) for _ in range(10)]
    assert unevenness(targets, folds, 5) < 0.5 * min(by_chance)
    sizes = np.bincount(folds)
    assert sizes.max() - sizes.min() < 0.01 * len(targets)


def test_one_label_is_dealt_evenly():
    targets = (np.arange(40) % 4 == 0).astype(np.uint8)[:, None]
    folds = deal(targets, FoldConfig(num_folds=5))
    assert [int(targets[folds == fold].sum()) for fold in range(5)] == [2] * 5
