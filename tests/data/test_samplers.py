"""Every sampler is a function of (seed, epoch) with the counts it promises."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from places import SHARED

from imettk.config import StageConfig
from imettk.data.samplers import Sampler, balance, repeat_rows
from imettk.data.sampling import train_requests
from imettk.errors import ConfigError
from imettk.tasks import TASKS
from imettk.tasks.multiclass import Multiclass

ROWS = np.arange(1000, 1200)  # they stand elsewhere in the table
SIZES = (100, 60, 30, 9, 1)
CLASSES = np.repeat(np.arange(5), SIZES)


REAL = SHARED / "data" / "tables" / "humpback2019" / "train.csv"


def sampler(kind, **options):
    return Sampler(rows=ROWS, seed=3, kind=kind, targets=CLASSES, task=TASKS["multiclass"], **options)


ALL = [
    sampler("shuffle"),
    sampler("shuffle", repeats=np.repeat([1.0, 0.3], 100)),
    sampler("balanced"),
    sampler("balanced", repeats=np.repeat([1.0, 2.5], 100)),
    sampler("identities", batch_size=16, images_per_identity=4),
    sampler("identities", batch_size=16, images_per_identity=4, cover_identities=False),
]


@pytest.mark.parametrize("one", ALL, ids=lambda one: f"{one.kind}-{one.repeats is not None}-{one.cover_identities}")
class TestAll:
    def test_it_depends_on_seed_and_epoch_alone(self, one):
        first = one.order(2)
        np.random.seed(1)
        np.testing.assert_array_equal(first, one.order(2))
        other = Sampler(**{**one.__dict__, "seed": 4})
        assert (first != one.order(3)).any() and (first != other.order(2)).any()

    def test_every_epoch_has_the_same_number_of_rows_of_the_table(self, one):
        for epoch in range(4):
            order = one.order(epoch)
            assert len(order) == one.samples_per_epoch and set(order.tolist()) <= set(ROWS.tolist())

    @pytest.mark.parametrize("size", [2, 3])
    def test_processes_share_an_epoch_without_overlap_or_loss(self, one, size):
        common = dict(
            samples_per_epoch=one.samples_per_epoch,
            first_epoch=0,
            batch_size=16,
            accumulate=2,
            first_step=0,
            last_step=20,
        )
        alone = list(train_requests(one.order, **common))
        parts = [list(train_requests(one.order, rank=rank, size=size, **common)) for rank in range(size)]
        for request, *shared in zip(alone, *parts, strict=True):
            for name in ("rows", "positions"):
                joined = np.concatenate([getattr(part, name) for part in shared])
                np.testing.assert_array_equal(joined, getattr(request, name))


def test_a_shuffle_has_every_row_once():
    assert sorted(sampler("shuffle").order(0).tolist()) == ROWS.tolist()


@pytest.mark.parametrize("weight", [0.25, 0.3, 1.0, 2.0, 2.4])
def test_rows_of_a_table_come_as_often_as_its_weight_and_all_come(weight):
    repeats = np.where(np.arange(200) < 120, 1.0, weight)
    seen = Counter()
    for epoch in range(20):
        counts = Counter(repeat_rows(ROWS, repeats, 3, epoch).tolist())
        assert all(counts[row] == 1 for row in ROWS[:120])
        extra = [counts[row] for row in ROWS[120:]]
        assert sum(extra) == round(80 * weight) and {int(weight), -int(-weight // 1)} >= set(extra)
        seen.update(counts)
    often = [seen[row] for row in ROWS[120:]]
    assert max(often) - min(often) <= 1 and np.mean(often) == pytest.approx(20 * weight)


def test_balanced_classes_come_as_often_as_each_other_and_samples_in_turn():
    order = sampler("balanced").order(0)
    places = order - 1000
    counts = np.bincount(CLASSES[places])
    assert np.abs(counts - 40).max() <= 2  # systematic: not the spread of independent draws
    for label, size in enumerate(SIZES):
        often = np.bincount(places[CLASSES[places] == label], minlength=200)[label == CLASSES]
        assert often.max() - often.min() <= 1, (label, size)


def test_balanced_labels_come_nearer_to_each_other():
    rng = np.random.default_rng(0)
    targets = (rng.random((500, 6)) < [0.6, 0.3, 0.1, 0.05, 0.02, 0.01]).astype(np.uint8)
    places = balance(TASKS["multilabel"].chances(targets), 5000, rng)
    assert len(places) == 5000
    before, after = targets.mean(0), targets[places].mean(0)
    assert after.max() / after.min() < 0.25 * before.max() / before.min()
    chances = np.array(
        [np.mean([1 / targets[:, c].sum() for c in np.flatnonzero(row)]) if row.any() else None for row in targets]
    )
    chances[chances == None] = 1 / (targets.sum(1) == 0).sum()  # noqa: E711
    expected = chances.astype(float) / chances.astype(float).sum() * 5000
    assert np.abs(np.bincount(places, minlength=500) - expected).max() <= 1


class TestIdentities:
    @pytest.mark.parametrize("cover", [True, False])
    def test_a_batch_is_p_identities_by_k_images(self, cover):
        one = sampler("identities", batch_size=16, images_per_identity=4, cover_identities=cover)
        for epoch in range(5):
            for batch in one.order(epoch).reshape(-1, 4, 4) - 1000:
                labels = CLASSES[batch]
                assert (labels == labels[:, :1]).all() and len(set(labels[:, 0])) == 4
                for label, images in zip(labels[:, 0], batch, strict=True):
                    assert len(set(images.tolist())) == min(4, SIZES[label])

    def test_full_coverage_has_every_identity_and_as_few_batches_as_that_takes(self):
        one = sampler("identities", batch_size=8, images_per_identity=4)
        for epoch in range(10):
            labels = CLASSES[one.order(epoch) - 1000].reshape(-1, 4)[:, 0]
            assert set(labels) == set(range(5)) and len(labels) == 6

    def test_random_identities_fill_as_many_batches_as_the_images_would(self):
        one = sampler("identities", batch_size=16, images_per_identity=4, cover_identities=False)
        assert one.samples_per_epoch == 200 // 16 * 16
        labels = np.concatenate([CLASSES[one.order(epoch) - 1000][::4] for epoch in range(40)])
        assert np.bincount(labels).min() > 0.8 * len(labels) / 5

    def test_the_task_says_what_a_rows_identity_is(self):
        """The form of the targets does not matter: here a class is a column."""

        class Columns(Multiclass):
            def identities(self, targets):
                return targets.argmax(1)

        columns = np.eye(5, dtype=np.uint8)[CLASSES]
        options = {"kind": "identities", "batch_size": 16, "images_per_identity": 4}
        one = Sampler(rows=ROWS, seed=3, targets=columns, task=Columns(), **options)
        np.testing.assert_array_equal(one.order(2), sampler(**options).order(2))
        with pytest.raises(ConfigError, match="with one identity per row"):
            Sampler(rows=ROWS, seed=3, targets=columns, task=TASKS["multilabel"], **options).order(0)

    def test_too_few_identities_are_one_clear_line(self):
        with pytest.raises(ConfigError, match="needs 8 identities, but there are 5"):
            sampler("identities", batch_size=16, images_per_identity=2).samples_per_epoch  # noqa: B018


@pytest.mark.parametrize(
    "wrong",
    [
        {"sampler": "identities", "batch_size": 10, "images_per_identity": 4},
        {"sampler": "balanced", "hard_examples": 0.1},
        {"images_per_identity": 0},
        {"erasing": 1.5},
    ],
)
def test_plans_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match="of StageConfig must be"):
        StageConfig(**wrong)


def test_batches_of_real_whales_have_every_identity_once_an_epoch():
    if not REAL.is_file():
        pytest.skip("shared/data/tables/humpback2019 is not here")
    names = pd.read_csv(REAL)["Id"].to_numpy(str)
    rows = np.flatnonzero(names != "new_whale")
    targets = np.unique(names[rows], return_inverse=True)[1]
    one = Sampler(
        rows=rows,
        seed=0,
        kind="identities",
        targets=targets,
        task=TASKS["multiclass"],
        batch_size=64,
        images_per_identity=4,
    )
    sizes = Counter(names[rows].tolist())
    order = one.order(0).reshape(-1, 16, 4)
    seen = Counter()
    for batch in order:
        whales = names[batch]
        assert (whales == whales[:, :1]).all() and len(set(whales[:, 0])) == 16
        for whale, images in zip(whales[:, 0].tolist(), batch.tolist(), strict=True):
            assert len(set(images)) == min(4, sizes[whale])  # a singleton comes four times
        seen.update(whales[:, 0].tolist())
    assert set(seen) == set(sizes) and len(order) == -(-5004 // 16)
    assert sum(seen.values()) == 16 * len(order) and max(seen.values()) <= 2  # only the last batch is filled up
    assert sum(count == 2 for count in seen.values()) == 16 * len(order) - 5004
