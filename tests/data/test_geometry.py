"""Affine maps are composed and inverted like matrices."""

import numpy as np
import pytest

from imettk.data import geometry
from imettk.data.geometry import invert, join, rotate, scale, shear, shift


def as_matrix(affine):
    return np.array([*affine, 0, 0, 1]).reshape(3, 3)


def test_maps_are_joined_and_inverted_as_matrices():
    maps = [rotate(33), scale(1.5, -0.7), shear(12), shift(3, -4)]
    product = np.linalg.multi_dot([as_matrix(affine) for affine in maps])
    np.testing.assert_allclose(as_matrix(join(*maps)), product)
    np.testing.assert_allclose(as_matrix(invert(join(*maps))), np.linalg.inv(product))
    smallest = np.linalg.svd(product[:2, :2], compute_uv=False)[1]
    assert geometry.shrinking(join(*maps)) == pytest.approx(1 / smallest)
