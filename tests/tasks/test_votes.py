"""Votes as shares: targets, the label with most votes, agreement of rows."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from imettk.tasks import TASKS

TASK = TASKS["votes"]
CELLS = [["8", "3", "3"], ["0", "0", "2"], ["0.25", "0.5", "0.25"], ["1", "1", "0"]]
SHARES = np.float32([[8 / 14, 3 / 14, 3 / 14], [0, 0, 1], [0.25, 0.5, 0.25], [0.5, 0.5, 0]])


def test_counts_and_shares_become_shares_that_sum_to_1():
    targets = TASK.make_targets(CELLS, {}, 3)
    assert targets.dtype == np.float32 and targets == pytest.approx(SHARES, abs=1e-7)
    assert TASK.is_soft(targets) and TASK.learnable(targets).all() and TASK.identities(targets) is None
    assert TASK.make_targets(TASK.cells(targets, "abc"), {}, 3) == pytest.approx(SHARES, abs=1e-7)
    assert TASK.soft_answers(targets, 3) is targets
    torch.testing.assert_close(TASK.soften(torch.from_numpy(targets), 3), torch.from_numpy(SHARES))


def test_where_a_label_is_asked_for_it_is_the_one_with_most_votes():
    labels = np.array([0, 2, 1, 0])  # of equal ones the first
    for values in (SHARES, labels):
        assert TASK.label_matrix(values, 3).tolist() == np.eye(3, dtype=bool)[labels].tolist()
        assert [TASK.labels_of(value).tolist() for value in values] == [[label] for label in labels]
        assert TASK.strata(values).tolist() == labels.tolist()
        assert not TASK.wrong(values, SHARES).any()
    assert TASK.wrong(np.array([1, 2, 1, 1]), SHARES).tolist() == [True, False, False, True]
    assert TASK.label_counts(SHARES, 3).tolist() == [2, 1, 1]
    assert TASK.chances(SHARES).tolist() == [0.5, 1, 1, 0.5]
    assert TASK.label_shares(SHARES, 3) is SHARES and TASK.cells(labels[:1], "abc") == [["1", "0", "0"]]


def test_rows_have_the_votes_in_common_that_fewer_gave():
    alike = TASK.agreement(SHARES[None], SHARES[None])[0]
    loop = [[sum(min(pair) for pair in zip(shares, other, strict=True)) for other in SHARES] for shares in SHARES]
    assert alike == pytest.approx(np.array(loop)) and np.diag(alike) == pytest.approx(np.ones(4))


def test_a_rows_loss_is_its_divergence():
    probs = np.float32([[0.2, 0.3, 0.5], [0.9, 0.1, 0], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]])
    expected = [entropy(share, np.maximum(prob, 1e-7)) for share, prob in zip(SHARES, probs, strict=True)]
    assert TASK.row_losses(probs, SHARES)[[0, 2, 3]] == pytest.approx(np.array(expected)[[0, 2, 3]], rel=1e-4)
    assert TASK.row_losses(probs, SHARES)[1] == pytest.approx(-np.log(1e-7))
