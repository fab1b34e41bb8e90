"""The gradient noise scale against a closed form and a plain recomputation."""

import math

import numpy as np
import pytest

from imettk.training.noise_scale import describe_noise, simple_noise_scale


def test_a_linear_model_has_the_scale_of_its_closed_form():
    """For y = x w + noise, x normal, a sample's gradient is x (x d) - x noise, where d is the error of the weights.

    Its mean is d, and the trace of its covariance (D + 1) |d|^2 + D noise^2.
    """
    generator = np.random.default_rng(0)
    error, noise, batch, count = np.array([0.5, -1.0, 0.25, 2.0]), 3.0, 8, 40_000
    inputs = generator.normal(size=(count, batch, 4))
    residuals = inputs @ error - noise * generator.normal(size=(count, batch))
    gradients = (inputs * residuals[:, :, None]).mean(1)
    groups = gradients.reshape(-1, 10, 4).mean(1)
    small, big = ((part**2).sum(1).mean() for part in (gradients, groups))
    scale = simple_noise_scale(small, big, small_batch=batch, big_batch=10 * batch)
    signal = (error**2).sum()
    assert scale == pytest.approx((5 * signal + 4 * noise**2) / signal, rel=0.02)


def test_a_gradient_that_is_all_noise_has_no_scale():
    assert simple_noise_scale(1.0, 0.1, small_batch=8, big_batch=80) == math.inf


def test_the_line_says_what_it_means():
    assert "about 1,200 samples now" in describe_noise(1234.0, 32) and "larger ones" in describe_noise(1234.0, 32)
    assert "too large to measure" in describe_noise(math.inf, 32)
    assert "about 30 samples" in describe_noise(30.2, 32) and "are near it" in describe_noise(30.2, 32)
    assert "smaller ones" in describe_noise(0.2, 32)
