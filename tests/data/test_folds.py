"""Folds are even, whole and repeatable, on made and on real labels."""


import numpy as np
import pandas as pd
import pytest
from places import SHARED
from sklearn.model_selection import StratifiedKFold

from imettk.config import FoldPlan
from imettk.data.folds import LEFT_OUT, ONLY_TRAINS, make_folds, make_table_folds, read_folds, write_folds
from imettk.data.table import SampleTable
from imettk.errors import DataError, MismatchError, MissingFileError

DATA = SHARED / "data"


def classes(num_samples=203):
    return np.random.default_rng(0).choice(6, num_samples, p=[0.4, 0.25, 0.15, 0.1, 0.05, 0.05])


def multilabel(num_samples=203):
    return (np.random.default_rng(1).random((num_samples, 7)) < np.linspace(0.02, 0.5, 7)).astype(np.uint8)


def groups(num_samples=203):
    return np.random.default_rng(2).choice([f"g{number}" for number in range(23)], num_samples)


def unevenness(targets, folds, num_folds):
    """How far the folds' shares of each label lie apart, summed over labels."""
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


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("make_targets", [classes, multilabel])
def test_every_sample_has_one_fold_and_groups_stay_whole(make_targets, grouped, stratify):
    targets, plan = make_targets(), FoldPlan(num_folds=4, stratify=stratify, seed=3)
    members = groups() if grouped else None
    folds = make_folds(targets, plan, groups=members)
    assert folds.dtype == np.int64
    assert set(folds.tolist()) == {0, 1, 2, 3}  # no -1: nobody is left out; no fold is empty
    if grouped:
        for group in set(members):
            assert len(set(folds[members == group])) == 1


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("make_targets", [classes, multilabel])
def test_the_seed_alone_decides(make_targets, grouped):
    members = groups() if grouped else None
    first, again, other = (
        make_folds(make_targets(), FoldPlan(num_folds=3, seed=seed), groups=members) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    # scikit-learn's StratifiedGroupKFold takes groups by their spread of classes; the seed only orders equal ones.
    assert (first != other).any() or (grouped and make_targets is classes)


def test_classes_are_as_even_as_in_scikit_learn():
    targets = classes()
    folds = make_folds(targets, FoldPlan(num_folds=5, seed=1))
    ours = np.array([np.bincount(targets[folds == fold], minlength=6) for fold in range(5)])
    splits = StratifiedKFold(5, shuffle=True, random_state=9).split(targets, targets)
    theirs = np.array([np.bincount(targets[valid], minlength=6) for _, valid in splits])
    np.testing.assert_array_equal(np.sort(ours, 0), np.sort(theirs, 0))
    assert (ours.max(0) - ours.min(0)).max() <= 1


def test_real_labels_are_far_more_even_than_by_chance():
    targets = read_hpa()
    folds = make_folds(targets, FoldPlan(num_folds=5))
    rng = np.random.default_rng(0)
    by_chance = [unevenness(targets, rng.integers(0, 5, len(targets)), 5) for _ in range(10)]
    assert unevenness(targets, folds, 5) < 0.5 * min(by_chance)


def deviations(targets, folds, num_folds):
    """How many rows each label is off its share in each fold, (F, C)."""
    counts = np.stack([targets[folds == fold].sum(0, dtype=np.int64) for fold in range(num_folds)])
    return np.abs(counts - targets.sum(0) / num_folds)


def test_real_labels_are_no_less_even_than_by_the_known_library():
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    targets = read_hpa()
    for num_folds in (5, 10):
        ours = deviations(targets, make_folds(targets, FoldPlan(num_folds=num_folds)), num_folds)
        splits = MultilabelStratifiedKFold(num_folds, shuffle=True, random_state=0).split(targets, targets)
        folds = np.zeros(len(targets), int)
        for fold, (_, valid) in enumerate(splits):
            folds[valid] = fold
        theirs = deviations(targets, folds, num_folds)
        assert ours.mean() <= theirs.mean() and ours.max() <= theirs.max()
        assert ours.max(0).mean() <= theirs.max(0).mean()


def test_labels_and_sizes_are_nearly_as_even_as_whole_rows_can_be():
    targets = multilabel(3000)
    folds = make_folds(targets, FoldPlan(num_folds=7))
    assert deviations(targets, folds, 7).max() < 3 and np.ptp(np.bincount(folds)) <= 3


def test_rows_without_any_label_are_dealt_evenly_and_a_label_of_two_rows_to_two_folds():
    targets = np.zeros((53, 4), np.uint8)
    targets[:2, 0] = targets[:30, 1] = 1
    folds = make_folds(targets, FoldPlan(num_folds=5))
    assert folds[0] != folds[1]
    assert np.ptp(np.bincount(folds[30:], minlength=5)) <= 1 and np.ptp(np.bincount(folds)) <= 1


def test_extra_tables_are_dealt_by_themselves_and_groups_stay_whole_over_tables():
    rng = np.random.default_rng(0)
    targets = (rng.random((300, 5)) < 0.3).astype(np.uint8)
    sources = np.repeat([0, 1, 2], 100)
    groups = np.array([f"g{number}" for number in range(300)])
    groups[100:110] = groups[:10]  # of the second table, with rows of the first
    groups[200:210] = groups[5:15]  # of the third
    groups[210:215] = groups[150:155]  # with rows of the second
    plan = FoldPlan(num_folds=4)
    folds = make_table_folds(targets, sources, plan, validates=[True, True, False], groups=groups)
    np.testing.assert_array_equal(folds[:100], make_folds(targets[:100], plan, groups=groups[:100]))
    np.testing.assert_array_equal(folds[100:110], folds[:10])
    assert np.ptp(np.bincount(folds[110:200], minlength=4)) <= 1
    assert (folds[200:215] == LEFT_OUT).all() and (folds[215:] == ONLY_TRAINS).all()
    groups[100:198] = "g3"  # only two rows of the second table are left to deal
    few = make_table_folds(targets, sources, plan, validates=[True, True, False], groups=groups)
    assert set(few[100:198]) == {few[3]} and sorted(few[198:200]) == [0, 1]
    alone = make_table_folds(targets, sources, plan, validates=[True, False, True])
    np.testing.assert_array_equal(alone[:100], make_folds(targets[:100], plan))
    assert (alone[100:200] == ONLY_TRAINS).all() and np.ptp(np.bincount(alone[200:])) <= 1


def test_real_groups_of_patients_are_far_more_even_than_by_chance():
    source = DATA / "chexnet_preds" / "test_predictions.csv.gz"
    if not source.is_file():
        pytest.skip("shared/data/chexnet_preds is not here")
    frame = pd.read_csv(source, dtype={"patient": str})
    targets = frame.filter(like="true_").to_numpy(np.uint8)
    patients = frame["patient"].to_numpy(str)
    folds = make_folds(targets, FoldPlan(num_folds=5), groups=patients)
    names, member = np.unique(patients, return_inverse=True)
    assert all(one == 1 for one in pd.Series(folds).groupby(member).nunique())
    rng = np.random.default_rng(0)
    by_chance = [unevenness(targets, rng.integers(0, 5, len(names))[member], 5) for _ in range(10)]
    assert unevenness(targets, folds, 5) < 0.5 * min(by_chance)
    sizes = np.bincount(folds)
    assert sizes.max() - sizes.min() < 0.01 * len(targets)


def test_a_class_rarer_than_the_folds_is_dealt_without_a_warning():
    targets = np.array([0] * 20 + [1] * 2)
    folds = make_folds(targets, FoldPlan(num_folds=5))
    assert len(set(folds[20:])) == 2


@pytest.mark.parametrize(
    ("members", "message"),
    [(None, "3 samples cannot fill 4 folds"), (np.array(["a", "b", "b"]), "2 groups cannot fill 4 folds")],
)
def test_too_few_units_are_refused(members, message):
    with pytest.raises(DataError, match=message + "; set --folds.num-folds lower"):
        make_folds(np.array([0, 1, 0]), FoldPlan(num_folds=4), groups=members)


def test_classes_that_are_all_too_rare_are_refused():
    with pytest.raises(DataError, match=r"cannot be split evenly .* --folds.stratify False"):
        make_folds(np.arange(5), FoldPlan(num_folds=5))


def test_one_label_is_dealt_evenly():
    targets = (np.arange(40) % 4 == 0).astype(np.uint8)[:, None]
    folds = make_folds(targets, FoldPlan(num_folds=5))
    assert [int(targets[folds == fold].sum()) for fold in range(5)] == [2] * 5


def table_of(*ids):
    return SampleTable(np.array(ids), np.array([f"{name}.png" for name in ids]), (), ())


def test_folds_csv_is_joined_by_id_not_by_order(tmp_path):
    path = tmp_path / "folds.csv"
    write_folds(path, np.array(["007", "7", "NA"]), np.array([0, 1, 2]))
    assert path.read_text() == "id,fold\n007,0\n7,1\nNA,2\n"
    assert read_folds(path, table_of("NA", "007", "7")).tolist() == [2, 0, 1]


@pytest.mark.parametrize("ids", [("007", "7"), ("007", "7", "NA", "x"), ("007", "7", "x")])
def test_folds_of_another_table_are_refused(tmp_path, ids):
    write_folds(tmp_path / "folds.csv", np.array(["007", "7", "NA"]), np.array([0, 1, 2]))
    with pytest.raises(MismatchError, match=rf"is not of this table \(3 ids against {len(ids)}\)"):
        read_folds(tmp_path / "folds.csv", table_of(*ids))


def test_missing_folds_name_the_stage(tmp_path):
    with pytest.raises(MissingFileError, match="run `imettk prepare` first"):
        read_folds(tmp_path / "folds.csv", table_of("a"))
