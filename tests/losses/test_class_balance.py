"""Weights of classes and the prior of label smoothing, against scikit-learn, torch and the formulas by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from label_losses import logits_of, targets_of
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from imettk.config import StageConfig
from imettk.errors import ConfigError
from imettk.losses.arcface import arcface
from imettk.losses.bce import bce
from imettk.losses.class_balance import ClassBalance, effective_number
from imettk.losses.cosface import cosface
from imettk.losses.cross_entropy import cross_entropy
from imettk.losses.focal import focal
from imettk.tasks import TASKS

LABELS = ("common", "rare", "rarest")
CLASSES = np.repeat([0, 1, 2], [90, 9, 1])
MATRIX = np.eye(3, dtype=np.uint8)[CLASSES]
MATRIX[:30, 1] = 1
BY = ("inverse", "sqrt", "effective")


def balance(task: str, targets: np.ndarray, num_outputs: int = 3) -> ClassBalance:
    return ClassBalance(TASKS[task], LABELS, targets, num_outputs)


def test_inverse_weights_of_classes_are_those_of_scikit_learn():
    weights = balance("multiclass", CLASSES).weights(StageConfig(class_weights="inverse"))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=CLASSES)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_the_other_weights_follow_their_formulas():
    sizes = {"sqrt": [90**0.5, 3, 1], "effective": [(1 - 0.9**90) / 0.1, (1 - 0.9**9) / 0.1, 1]}
    for by, size in sizes.items():
        weights = balance("multiclass", CLASSES).weights(StageConfig(class_weights=by, effective_beta=0.9))
        np.testing.assert_allclose(weights / weights[2], size[2] / np.array(size), rtol=1e-6)
    assert effective_number(np.array([1e9]), 0.999) == pytest.approx(1000)


@pytest.mark.parametrize("by", BY)
def test_their_mean_over_the_training_rows_is_one(by):
    stage = StageConfig(class_weights=by)
    assert float(balance("multiclass", CLASSES).weights(stage)[CLASSES].mean()) == pytest.approx(1)
    absent, present = balance("multilabel", MATRIX).weights(stage)
    assert float(torch.where(torch.from_numpy(MATRIX) > 0, present, absent).mean()) == pytest.approx(1)


def test_weights_of_labels_are_torchs_pos_weight_times_one_number():
    stage = StageConfig(class_weights="inverse")
    weights = balance("multilabel", MATRIX).weights(stage)
    positive = torch.from_numpy(MATRIX).sum(0)
    ratio = (len(MATRIX) - positive) / positive
    logits, soft = logits_of(8, 3), torch.rand(8, 3, generator=torch.Generator().manual_seed(1))
    for targets in (targets_of(8, 3), soft):  # MixUp and label smoothing make soft ones
        expected = functional.binary_cross_entropy_with_logits(
            logits, targets.float(), pos_weight=ratio, reduction="none"
        ).mean(1)
        quotient = bce(logits, targets, class_weights=weights) / expected
        torch.testing.assert_close(quotient, quotient[:1].expand(8))


def test_focal_weighs_present_and_absent_labels():
    logits, targets = logits_of(8, 3), targets_of(8, 3)
    weights = torch.tensor([[0.5, 1.0, 2.0], [3.0, 4.0, 5.0]])
    terms = torch.stack([focal(logits[:, [c]], targets[:, [c]]) for c in range(3)], 1)
    expected = (terms * torch.where(targets > 0, weights[1], weights[0])).mean(1)
    torch.testing.assert_close(focal(logits, targets, class_weights=weights), expected)


def test_weights_of_classes_are_torchs():
    weights = balance("multiclass", CLASSES).weights(StageConfig(class_weights="sqrt"))
    logits, targets = logits_of(8, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    soft = torch.rand(8, 3, generator=torch.Generator().manual_seed(1)).softmax(1)
    for truth in (targets, soft):
        expected = functional.cross_entropy(logits, truth, weight=weights, reduction="none")
        torch.testing.assert_close(cross_entropy(logits, truth, class_weights=weights), expected)
    for loss in (arcface, cosface):
        cosines = logits.tanh()
        expected = loss(cosines, targets) * weights[targets]
        torch.testing.assert_close(loss(cosines, targets, class_weights=weights), expected)


def test_given_weights_multiply_those_of_the_counts():
    plain = balance("multiclass", CLASSES).weights(StageConfig(class_weights="sqrt"))
    given = balance("multiclass", CLASSES).weights(StageConfig(class_weights="sqrt", label_weights={"rare": 3}))
    torch.testing.assert_close(given / given[0], plain / plain[0] * torch.tensor([1.0, 3.0, 1.0]))
    alone = balance("multilabel", MATRIX).weights(StageConfig(label_weights={"rare": 3.0}))
    torch.testing.assert_close(alone[1] / alone[0], torch.tensor([1.0, 3.0, 1.0]))
    assert balance("multilabel", MATRIX).weights(StageConfig()) is None


def test_mirrored_identities_weigh_what_theirs_do():
    doubled = np.concatenate([CLASSES, CLASSES + 3])
    stage = StageConfig(class_weights="inverse", label_weights={"rare": 2.0})
    weights = balance("multiclass", doubled, 6).weights(stage)
    torch.testing.assert_close(weights[:3], weights[3:])


def test_a_weight_for_no_label_is_refused_with_the_nearest():
    stages = (StageConfig(label_weights={"rare": 2.0}), StageConfig(label_weights={"rar": 2.0}))
    with pytest.raises(ConfigError, match=r"`stages.1.label_weights` names 'rar', which is no label .* mean 'rare'"):
        balance("multiclass", CLASSES).check(stages)


def test_a_class_without_rows_has_a_finite_weight():
    for by in BY:
        for task, targets in (("multiclass", CLASSES[:90]), ("multilabel", MATRIX[:90])):
            assert balance(task, targets).weights(StageConfig(class_weights=by)).isfinite().all()


def test_the_prior_is_the_mean_target():
    np.testing.assert_allclose(balance("multiclass", CLASSES).prior(), [0.9, 0.09, 0.01], rtol=1e-6)
    np.testing.assert_allclose(balance("multilabel", MATRIX).prior(), [0.9, 0.39, 0.01], rtol=1e-6)
    np.testing.assert_allclose(balance("ordinal", CLASSES, 2).prior(), [0.1, 0.01], rtol=1e-6)  # above each grade
