"""Folds are even, keep groups whole, and are repeatable, on synthetic and on real labels."""

import numpy as np
import pytest
from by_targets import deal, deal_tables
from fold_targets import multilabel
from sklearn.model_selection import StratifiedKFold

from imettk.config import FoldConfig
from imettk.data.folds import LEFT_OUT, ONLY_TRAINS, read_folds, write_folds
from imettk.data.sample_table import SampleTable
from imettk.errors import DataError, MismatchError, MissingFileError


def classes(num_samples=203):
    return np.random.default_rng(0).choice(6, num_samples, p=[0.4, 0.25, 0.15, 0.1, 0.05, 0.05])


def groups(num_samples=203):
    return np.random.default_rng(2).choice([f"g{number}" for number in range(23)], num_samples)


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("make_targets", [classes, multilabel])
def test_every_sample_has_one_fold_and_groups_stay_whole(make_targets, grouped, stratify):
    targets, plan = make_targets(), FoldConfig(num_folds=4, stratify=stratify, seed=3)
    members = groups() if grouped else None
    folds = deal(targets, plan, groups=members)
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
        deal(make_targets(), FoldConfig(num_folds=3, seed=seed), groups=members) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    # scikit-learn's StratifiedGroupKFold takes groups by their spread of classes; the seed only orders equal ones.
    assert (first != other).any() or (grouped and make_targets is classes)


def test_classes_are_as_even_as_in_scikit_learn():
    targets = classes()
    folds = deal(targets, FoldConfig(num_folds=5, seed=1))
    ours = np.array([np.bincount(targets[folds == fold], minlength=6) for fold in range(5)])
    splits = StratifiedKFold(5, shuffle=True, random_state=9).split(targets, targets)
    theirs = np.array([np.bincount(targets[valid], minlength=6) for _, valid in splits])
    np.testing.assert_array_equal(np.sort(ours, 0), np.sort(theirs, 0))
    assert (ours.max(0) - ours.min(0)).max() <= 1


def test_extra_tables_are_dealt_by_themselves_and_groups_stay_whole_over_tables():
    rng = np.random.default_rng(0)
    targets = (rng.random((300, 5)) < 0.3).astype(np.uint8)
    sources = np.repeat([0, 1, 2], 100)
    groups = np.array([f"g{number}" for number in range(300)])
    groups[100:110] = groups[:10]  # of the second table, with rows of the first
    groups[200:210] = groups[5:15]  # of the third
    groups[210:215] = groups[150:155]  # with rows of the second
    plan = FoldConfig(num_folds=4)
    folds = deal_tables(targets, sources, plan, validates=[True, True, False], groups=groups)
    np.testing.assert_array_equal(folds[:100], deal(targets[:100], plan, groups=groups[:100]))
    np.testing.assert_array_equal(folds[100:110], folds[:10])
    assert np.ptp(np.bincount(folds[110:200], minlength=4)) <= 1
    assert (folds[200:215] == LEFT_OUT).all() and (folds[215:] == ONLY_TRAINS).all()
    groups[100:198] = "g3"  # only two rows of the second table are left to deal
    few = deal_tables(targets, sources, plan, validates=[True, True, False], groups=groups)
    assert set(few[100:198]) == {few[3]} and sorted(few[198:200]) == [0, 1]
    alone = deal_tables(targets, sources, plan, validates=[True, False, True])
    np.testing.assert_array_equal(alone[:100], deal(targets[:100], plan))
    assert (alone[100:200] == ONLY_TRAINS).all() and np.ptp(np.bincount(alone[200:])) <= 1


def test_a_class_rarer_than_the_folds_is_dealt_without_a_warning():
    targets = np.array([0] * 20 + [1] * 2)
    folds = deal(targets, FoldConfig(num_folds=5))
    assert len(set(folds[20:])) == 2


@pytest.mark.parametrize(
    ("members", "message"),
    [(None, "3 samples cannot fill 4 folds"), (np.array(["a", "b", "b"]), "2 groups cannot fill 4 folds")],
)
def test_too_few_units_are_refused(members, message):
    with pytest.raises(DataError, match=message + "; set --folds.num-folds lower"):
        deal(np.array([0, 1, 0]), FoldConfig(num_folds=4), groups=members)


def test_classes_that_are_all_too_rare_are_refused():
    with pytest.raises(DataError, match=r"cannot be split evenly .* --folds.stratify False"):
        deal(np.arange(5), FoldConfig(num_folds=5))


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
    with pytest.raises(MismatchError, match=rf"belongs to another table \(3 ids against {len(ids)}\)"):
        read_folds(tmp_path / "folds.csv", table_of(*ids))


def test_missing_folds_name_the_stage(tmp_path):
    with pytest.raises(MissingFileError, match="run `imettk prepare` first"):
        read_folds(tmp_path / "folds.csv", table_of("a"))
