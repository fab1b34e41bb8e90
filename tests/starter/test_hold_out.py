"""A test set from a training table keeps groups whole and labels balanced, and loses no label."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from imettk.errors import DataError
from imettk.starter.hold_out import choose_test_rows
from imettk.tasks import TASKS


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 0.3, 0.5])
def test_the_share_and_the_labels_are_kept(share):
    labels = [["owl"]] * 200 + [["hen"]] * 100 + [["cat"]] * 20
    test, returned = choose_test_rows(labels, share, task=TASKS["multiclass"])
    assert test.mean() == pytest.approx(share, abs=0.01) and returned == []
    for label, count in Counter(row[0] for row in labels).items():
        chosen = sum(row == [label] for row, is_test in zip(labels, test, strict=True) if is_test)
        assert chosen == pytest.approx(share * count, abs=1)
    assert (choose_test_rows(labels, share, task=TASKS["multiclass"])[0] == test).all()
    assert (choose_test_rows(labels, share, task=TASKS["multiclass"], seed=1)[0] != test).any()


@pytest.mark.parametrize("several", [False, True])
def test_groups_stay_whole_and_no_label_is_lost(several):
    rng = np.random.default_rng(0)
    groups = pd.Series(rng.integers(0, 40, 300).astype(str))
    labels = [[str(label)] for label in rng.integers(0, 6, 300)]
    for number in range(12):  # labels with one row each, some of which fall into the test set
        labels[number] = [f"rare{number}"]
    if several:
        labels = [sorted({*row, "often"}) for row in labels]
    test, returned = choose_test_rows(labels, 0.3, task=TASKS["multilabel" if several else "multiclass"], groups=groups)
    assert (pd.Series(test).groupby(groups).nunique() == 1).all()
    train_labels = {label for row, is_test in zip(labels, test, strict=True) if not is_test for label in row}
    assert train_labels == {label for row in labels for label in row}
    assert returned and all(label.startswith("rare") for label in returned)
    assert 0.1 < test.mean() < 0.35


def test_identities_with_two_images_each():
    labels = [[str(number // 2)] for number in range(100)]
    test, _ = choose_test_rows(labels, 0.2, task=TASKS["multiclass"])
    assert 10 <= test.sum() <= 20
    assert {row[0] for row, is_test in zip(labels, test, strict=True) if not is_test} == {row[0] for row in labels}


def test_too_little_to_deal():
    with pytest.raises(DataError, match="at least 2 groups, got 1"):
        choose_test_rows([["a"], ["b"]], 0.5, task=TASKS["multiclass"], groups=pd.Series(["g", "g"]))
    with pytest.raises(DataError, match=r"0\.01 is less than one of 4 rows"):
        choose_test_rows([["a"]] * 4, 0.01, task=TASKS["multiclass"])


def test_a_rare_label_of_votes_is_returned_and_named():
    """Labels of votes are the names of columns."""
    labels = [["3", "1", "0"]] * 30 + [["0", "0", "2"]]
    found = [
        choose_test_rows(labels, 0.5, task=TASKS["votes"], columns=("a", "b", "c"), seed=seed) for seed in range(8)
    ]
    assert all(not test[30] for test, _ in found)
    assert {tuple(lost) for _, lost in found} <= {(), ("c",)} and any(lost for _, lost in found)
