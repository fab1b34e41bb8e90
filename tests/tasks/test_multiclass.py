"""One class, or identity, a row."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy, one_hot

from imettk.tasks import TASKS

TASK = TASKS["multiclass"]
TARGETS = np.array([2, 0, -1, 1, 2])


def test_a_cell_is_one_label_whatever_it_holds():
    assert TASK.split(" a b c ", " ") == ["a b c"] and TASK.split("  ", " ") == []


def test_an_unknown_identity_is_no_label_and_does_not_train():
    assert TASK.make_targets([["x"], ["new"]], {"x": 0, "new": -1}, 1).tolist() == [0, -1]
    assert TASK.learnable(TARGETS).tolist() == [True, True, False, True, True]
    assert TASK.learnable(np.ones((5, 3), np.float32)).all(), "soft targets do not say"
    assert TASK.label_matrix(TARGETS, 3)[2].tolist() == [False] * 3
    assert TASK.label_counts(TARGETS, 4).tolist() == [1, 1, 2, 0]
    assert TASK.identities(TARGETS) is TARGETS


def test_probabilities_soft_targets_and_smoothing_are_torchs():
    logits, targets = torch.randn(5, 3), torch.tensor([2, 0, 1, 1, 2])
    torch.testing.assert_close(TASK.activate(logits), logits.softmax(1))
    soft = TASK.soften(targets, 3)
    torch.testing.assert_close(soft, one_hot(targets, 3).float())
    assert TASK.soften(soft, 3) is soft
    expected = cross_entropy(logits, targets, label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy(logits, TASK.smooth(soft, 0.1)), expected)


def test_losses_and_chances_of_rows_by_hand():
    probs = np.array([[0.2, 0.3, 0.5], [0.25, 0.25, 0.5]])
    np.testing.assert_allclose(TASK.row_losses(probs, np.array([2, 0])), -np.log([0.5, 0.25]))
    np.testing.assert_allclose(TASK.chances(np.array([0, 0, 1, 0])), [1 / 3, 1 / 3, 1, 1 / 3])
