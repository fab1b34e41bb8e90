"""RandAugment and AugMix do what they draw, and draw what their papers say."""

import random

import numpy as np
import pytest

from imettk.data.auto_augment import AugMix, RandAugment
from imettk.data.image_ops import OPERATIONS

IMAGES = {c: np.random.default_rng(c).integers(0, 256, (24, 32, c), np.uint8) for c in (1, 3, 4)}


def seeded(transform, seed=1):
    transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return transform


def params_of(transform, image):
    return transform.get_params() | transform.get_params_dependent_on_data({"shape": image.shape}, {})


@pytest.mark.parametrize("channels", IMAGES)
def test_randaugment_applies_its_operations_one_after_another(channels):
    image = IMAGES[channels]
    transform = seeded(RandAugment(3, 6))
    for _ in range(20):
        steps, expected = params_of(transform, image)["steps"], image
        for name, strength in steps:
            assert abs(strength) == 0.6
            expected = OPERATIONS[name].apply(expected, strength)
        assert len(steps) == 3
        np.testing.assert_array_equal(transform.apply(image, steps=steps), expected)


def test_randaugment_draws_every_operation_equally_often_in_both_directions():
    transform, counts = seeded(RandAugment(2, 9)), dict.fromkeys(OPERATIONS, 0)
    signs = []
    for _ in range(2800):
        for name, strength in params_of(transform, IMAGES[3])["steps"]:
            counts[name] += 1
            signs.append(strength < 0) if OPERATIONS[name].signed else None
    assert len(counts) == 14 and all(320 < count < 480 for count in counts.values())  # 4 standard deviations of 400
    assert 0.45 < np.mean(signs) < 0.55
    grey = {step.name for _ in range(500) for step in params_of(transform, IMAGES[1])["steps"]}
    assert grey == set(OPERATIONS) - {"colour"}


@pytest.mark.parametrize("channels", IMAGES)
def test_augmix_is_the_papers_sum(channels):
    image, transform = IMAGES[channels], seeded(AugMix(severity=4, width=2, depth=3))
    for _ in range(20):
        params = transform.get_params()
        assert len(params["chains"]) == 2 and sum(params["weights"]) == pytest.approx(1) and 0 < params["share"] < 1
        mixed = np.zeros(image.shape)
        for steps, weight in zip(params["chains"], params["weights"], strict=True):
            assert 1 <= len(steps) <= 3
            chained = image
            for name, strength in steps:
                assert OPERATIONS[name].mild and 0.01 <= abs(strength) <= 0.4
                chained = OPERATIONS[name].apply(chained, strength)
            mixed += weight * chained
        expected = (1 - params["share"]) * image + params["share"] * mixed
        result = transform.apply(image, **params)
        assert result.shape == image.shape and result.dtype == np.uint8
        assert np.abs(result - expected).max() < 0.51


def test_augmix_uses_the_papers_nine_operations_of_images_that_may_be_grey():
    mild = {name for name, operation in OPERATIONS.items() if operation.mild}
    assert len(mild) == 9 and not any(OPERATIONS[name].coloured for name in mild)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: RandAugment(num_ops=0), "`num_ops` must be at least 1"),
        (lambda: RandAugment(magnitude=-1), "`magnitude` must be in"),
        (lambda: AugMix(severity=0), "`severity` must be in"),
        (lambda: AugMix(alpha=0), "`alpha` above 0"),
    ],
)
def test_parameters_out_of_range_are_refused(make, fault):
    with pytest.raises(ValueError, match=fault):
        make()
