"""Batches hold the right samples, the same ones whatever the number of workers."""

import numpy as np
import pytest
import torch
from PIL import Image

from imettk.data.augment import Augmentation
from imettk.data.dataset import ImageDataset, load_batches
from imettk.data.sampling import sequential_requests, train_requests
from imettk.data.table import read_table, read_test_table
from imettk.recipes.digits import digits


@pytest.fixture(scope="module")
def table(digits_data):
    return read_table(digits().table, digits_data / "data")


def load(table, *, num_workers=0, augmentation=None, first_step=0):
    dataset = ImageDataset(table, image_size=(32, 32), channels=1, augmentation=augmentation)
    requests = train_requests(
        np.arange(10, 60), seed=3, first_epoch=1, batch_size=12, accumulate=2, first_step=first_step, last_step=6
    )
    return list(load_batches(dataset, requests, num_workers=num_workers, pin=False))


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for ours_part, theirs_part in zip(one, other, strict=True):
            if ours_part is None:
                assert theirs_part is None
                continue
            assert ours_part.dtype == theirs_part.dtype and torch.equal(ours_part, theirs_part)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(table, num_workers):
    augmentation = Augmentation("affine", seed=5)
    alone = load(table, augmentation=augmentation)
    assert len(alone) == 12
    assert_same(load(table, augmentation=augmentation, num_workers=num_workers), alone)
    assert_same(load(table, augmentation=augmentation, num_workers=num_workers, first_step=4), alone[8:])


def test_images_targets_and_positions_belong_together(table):
    dataset = ImageDataset(table, image_size=(32, 32), channels=1)
    assert len(dataset) == 72
    requests = list(sequential_requests(np.arange(71, 40, -1), 8))
    batches = list(load_batches(dataset, iter(requests), num_workers=0, pin=False))
    rows = [row for request in requests for row in request.rows]
    assert torch.cat([batch.positions for batch in batches]).tolist() == list(range(31))
    for row, image, target in zip(
        rows,
        torch.cat([batch.images for batch in batches]),
        torch.cat([batch.targets for batch in batches]),
        strict=True,
    ):
        with Image.open(table.paths[row]) as file:
            np.testing.assert_array_equal(image[:, :, 0], np.asarray(file))
        assert target.tolist() == table.targets[row].tolist()
    assert torch.cat([batch.rows for batch in batches]).tolist() == rows
    assert all(batch.weights is None for batch in batches)
    assert batches[0].images.dtype == torch.uint8 and batches[0].targets.dtype == torch.uint8


def test_augmentation_gets_epoch_and_position(table):
    augmentation = Augmentation("affine", seed=5)
    plain, augmented = load(table), load(table, augmentation=augmentation)
    epochs = [1] * 8 + [2] * 4  # 50 samples make 4 steps of 2 micro-batches
    for epoch, before, after in zip(epochs, plain, augmented, strict=True):
        assert torch.equal(before.targets, after.targets)
        for position, source, image in zip(before.positions, before.images, after.images, strict=True):
            expected = augmentation(source.numpy(), epoch=epoch, position=int(position))
            np.testing.assert_array_equal(image, expected)


def test_a_test_set_has_no_targets(table, digits_data):
    test = read_test_table(digits().table, digits_data / "data", table)
    dataset = ImageDataset(test, image_size=(16, 24), channels=3)
    (batch,) = load_batches(dataset, sequential_requests(np.arange(24), 24), num_workers=0, pin=False)
    assert batch.targets is None
    assert batch.images.shape == (24, 16, 24, 3)
