"""Several labels a row."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torch.nn.functional import binary_cross_entropy

from imettk.tasks import TASKS

TASK = TASKS["multilabel"]
TARGETS = (np.random.default_rng(0).random((40, 5)) < 0.3).astype(np.uint8)


def test_a_cell_is_split_and_blanks_fall_away():
    assert TASK.split(" a| b |c||", "|") == ["a", "b", "c"] and TASK.split("", " ") == []
    assert TASK.make_targets([[], ["x", "y"]], {"x": 0, "y": 1}, 2).tolist() == [[0, 0], [1, 1]]


def test_each_label_has_a_probability_of_its_own():
    logits = torch.randn(2, 3, 4)
    np.testing.assert_allclose(TASK.activate(logits).numpy(), 1 / (1 + np.exp(-logits.numpy())), rtol=1e-5)


def test_agreement_is_scikit_learns_jaccard_index():
    alike = TASK.agreement(TARGETS[None, :8], TARGETS[None, 8:16])[0]
    for row, column in np.ndindex(8, 8):
        first, second = TARGETS[row], TARGETS[8 + column]
        expected = jaccard_score(first, second) if (first | second).any() else 1.0
        assert alike[row, column] == pytest.approx(expected)


def test_losses_of_rows_are_torchs():
    probs = np.random.default_rng(1).uniform(0.01, 0.99, TARGETS.shape)
    expected = binary_cross_entropy(torch.from_numpy(probs), torch.from_numpy(TARGETS).double(), reduction="none").sum(
        1
    )
    np.testing.assert_allclose(TASK.row_losses(probs, TARGETS), expected.numpy(), rtol=1e-6)


def test_smoothing_moves_each_label_toward_a_half():
    assert TASK.smooth(torch.tensor([[1.0, 0.0]]), 0.2).tolist() == [[pytest.approx(0.9), pytest.approx(0.1)]]


def test_rows_have_no_identity():
    assert TASK.identities(TARGETS) is None
