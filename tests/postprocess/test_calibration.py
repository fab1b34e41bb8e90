"""Temperature and clipping, against torch and scikit-learn, on predictions that are too confident by construction."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from imettk.postprocess.calibration import CLIPS, MOST, fit_calibration, with_temperature


@pytest.mark.parametrize("temperature", [1 / MOST, 0.5, 1.0, 2.5, MOST])
def test_logits_are_divided_as_torch_does(temperature):
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (40, 5)))
    classes = with_temperature(logits.softmax(1).float().numpy(), temperature, exclusive=True)
    np.testing.assert_allclose(classes, (logits / temperature).softmax(1), rtol=1e-4, atol=1e-9)
    labels = with_temperature(logits.sigmoid().float().numpy(), temperature, exclusive=False)
    np.testing.assert_allclose(labels, (logits / temperature).sigmoid(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.filterwarnings("error")
def test_what_float32_rounds_to_0_and_1_stays_a_number(exclusive):
    sure = np.array([[0, 1], [1, 0]], np.float32)
    for temperature in (1 / MOST, 1.0, MOST):
        values = with_temperature(sure, temperature, exclusive=exclusive)
        assert np.isfinite(values).all() and (values[:, 1] > 0.5).tolist() == [True, False]
    assert with_temperature(sure, MOST, exclusive=exclusive)[0, 0] < 0.1


def too_sure(rng, factor, num_rows=4000):
    """Return a truth with known probabilities, and the predictions of a network that multiplies its logits."""
    logits = rng.normal(0, 1.5, num_rows)
    truth = rng.random(num_rows) < 1 / (1 + np.exp(-logits))
    return (1 / (1 + np.exp(-factor * logits))).astype(np.float32), truth


def loss_of(probs, truth):
    def loss(temperature, clip):
        values = with_temperature(probs[:, None], temperature, exclusive=False)[:, 0]
        return log_loss(truth, np.clip(values, clip, 1 - clip))

    return loss


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_one_that_logistic_regression_finds(factor):
    probs, truth = too_sure(np.random.default_rng(1), factor)
    loss = loss_of(probs, truth)
    temperature, clip = fit_calibration(loss)
    logits = np.log(probs / (1 - probs.astype(float)))[:, None]
    slope = LogisticRegression(C=1e9, fit_intercept=False).fit(logits, truth).coef_[0, 0]
    assert temperature == pytest.approx(1 / slope, rel=0.02) == pytest.approx(factor, rel=0.1)
    assert loss(temperature, clip) <= loss(1 / slope, 0.0) + 1e-6 and loss(temperature, clip) <= loss(1.0, 0.0)


def test_a_few_wrong_labels_are_met_by_clipping_and_none_without_them():
    probs, truth = too_sure(np.random.default_rng(2), 1.0)
    probs[:20], truth[:20] = 1.0, False  # as sure as float32 can be
    loss = loss_of(probs, truth)
    temperature, clip = fit_calibration(loss)
    assert clip > 0 and loss(temperature, clip) < min(loss(other, 0.0) for other in np.linspace(0.5, 4, 36))
    assert loss(temperature, clip) == min(loss(temperature, other) for other in CLIPS)


def test_where_nothing_is_better_nothing_is_changed():
    assert fit_calibration(lambda temperature, clip: (temperature - 1) ** 2 + clip) == (1.0, 0.0)
