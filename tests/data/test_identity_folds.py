"""Folds by identity, judged by plain recounts, on synthetic and on real tables."""

import time
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
from by_targets import deal_tables
from places import SHARED

from imettk.config import FoldConfig
from imettk.data.folds import GALLERY_ONLY, LEFT_OUT, ONLY_TRAINS
from imettk.errors import ConfigError, DataError

REAL = SHARED / "data" / "tables" / "humpback2019"


def made(seed=0):
    """Return identities of 1 to 12 rows and 40 unknown rows, in random order."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 13, 80)
    return rng.permutation(np.append(np.repeat(np.arange(80), sizes), np.full(40, -1)))


@pytest.fixture(scope="module")
def humpbacks():
    if not REAL.is_dir():
        pytest.skip("shared/data/tables/humpback2019 is not here")
    names = pd.read_csv(REAL / "train.csv")["Id"]
    place = {name: number for number, name in enumerate(sorted(set(names) - {"new_whale"}))}
    return np.array([place.get(name, -1) for name in names])


@pytest.fixture(params=["made", "real"])
def targets(request):
    return made() if request.param == "made" else request.getfixturevalue("humpbacks")


def folds_of(targets, groups=None, sources=None, validates=(True,), **plan):
    sources = np.zeros(len(targets), np.int16) if sources is None else sources
    return deal_tables(targets, sources, FoldConfig(**plan), validates=validates, groups=groups)


def held_out(targets, folds):
    """Count the rows of each identity in each fold, and those that only train."""
    counts = defaultdict(Counter)
    for target, fold in zip(targets.tolist(), folds.tolist(), strict=True):
        counts[target][fold] += 1
    return counts


@pytest.mark.parametrize(
    "plan",
    [{"scheme": "hold_out"}, {"unknown_identities": 0.1}, {"scheme": "hold_out", "unknown_identities": 0.1},
     {"min_images": 4}],
)  # fmt: skip
@pytest.mark.parametrize("grouped", [False, True])
def test_no_fold_depends_on_pseudo_labels(plan, grouped):
    targets, rng = made(), np.random.default_rng(1)
    both = np.append(targets, rng.integers(-1, 80, 60))
    sources = np.repeat([0, 1], [len(targets), 60])
    groups = np.arange(len(both)) if grouped else None
    if groups is not None:
        groups[-30:] = rng.integers(0, len(targets), 30)  # copies of labelled images
    before = folds_of(targets, groups if groups is None else groups[: len(targets)], **plan)
    after = deal_tables(
        both, sources, FoldConfig(**plan), validates=(True, False), guessed=(False, True), groups=groups
    )
    assert after[: len(targets)].tolist() == before.tolist()
    assert set(after[len(targets) :].tolist()) <= {ONLY_TRAINS, LEFT_OUT, GALLERY_ONLY}
    if grouped:  # what stands in one group with a row that validates would train on what is validated
        validated = np.isin(groups[len(targets) :], groups[: len(targets)][before >= 0])
        assert ((after[len(targets) :] == LEFT_OUT) >= validated & (after[len(targets) :] != GALLERY_ONLY)).all()


@pytest.mark.parametrize("hold_out_from", [2, 3, 6])
def test_each_fold_validates_one_image_of_every_identity_that_has_enough(targets, hold_out_from):
    folds = folds_of(targets, scheme="hold_out", hold_out_from=hold_out_from)
    for target, counts in held_out(targets, folds).items():
        if target < 0:
            assert set(counts) == set(range(5)) and max(counts.values()) - min(counts.values()) <= 1
            continue
        size = sum(counts.values())
        some = min(5, size) if size >= hold_out_from else 0
        assert sorted(counts[fold] for fold in range(5)) == [0] * (5 - some) + [1] * some
        assert counts[ONLY_TRAINS] == size - some
    sizes = np.bincount(folds[(folds >= 0) & (targets >= 0)], minlength=5)
    assert np.ptp(sizes) <= 1  # which folds an identity is in goes round


@pytest.mark.parametrize("share", [0.2, 0.34, 0.5])
def test_each_fold_validates_a_share_and_something_always_trains(targets, share):
    folds = folds_of(targets, scheme="hold_out", hold_out_share=share, hold_out_from=2)
    for target, counts in held_out(targets, folds).items():
        size = sum(counts.values())
        quota = int(np.floor(round(size * share, 6)))
        if target < 0:
            continue
        inside = [counts[fold] for fold in range(5)]
        assert set(inside) <= {0, quota} and sum(quota > 0 for quota in inside) == (
            min(5, size // quota) if quota else 0
        )
        assert size - max(inside) >= 1
    sizes = np.bincount(folds[(folds >= 0) & (targets >= 0)], minlength=5)
    assert np.ptp(sizes) <= 0.1 * sizes.mean()


@pytest.mark.parametrize("scheme", ["deal", "hold_out"])
def test_unknown_identities_are_wholly_in_a_fold_of_their_own(targets, scheme):
    folds = folds_of(targets, scheme=scheme, unknown_identities=0.05, num_folds=4)
    whole = Counter()
    for target, counts in held_out(targets, folds).items():
        if target >= 0 and len(counts) == 1 and ONLY_TRAINS not in counts and (scheme == "hold_out"):
            whole[next(iter(counts))] += 1
    num = len(set(targets.tolist()) - {-1})
    if scheme == "hold_out":
        assert whole == dict.fromkeys(range(4), round(0.05 * num))
    else:  # a dealt singleton is alone as well: those of two rows or more tell
        sure = Counter(
            next(iter(counts))
            for target, counts in held_out(targets, folds).items()
            if target >= 0 and len(counts) == 1 and sum(counts.values()) > 1
        )
        shares = np.bincount(targets[targets >= 0])
        expected = 0.05 * (shares > 1).sum()
        assert all(0.4 * expected < sure[fold] < 2 * expected + 2 for fold in range(4))
    assert len(set(folds_of(targets, scheme=scheme, unknown_identities=1e-6)[targets >= 0])) >= 5


def test_at_least_one_identity_is_unknown_and_too_many_are_refused():
    targets = np.repeat(np.arange(12), 3)
    folds = folds_of(targets, scheme="hold_out", unknown_identities=0.01, num_folds=3)
    whole = [set(folds[targets == target]) for target in range(12)]
    assert sorted(min(folds) for folds in whole if len(folds) == 1) == [0, 1, 2]
    with pytest.raises(DataError, match="3 folds cannot hold out 1 unknown identity each: only 2 qualify"):
        folds_of(targets[:6], unknown_identities=0.01, num_folds=3)


@pytest.mark.parametrize("scheme", ["deal", "hold_out", "none"])
def test_identities_with_few_images_are_left_out_counted_over_all_tables(scheme):
    targets = np.array([0, 0, 0, 1, 2, 2, 2, -1, -1, 1, 3, 3])
    sources = np.repeat([0, 1], [9, 3])
    folds = folds_of(targets, sources=sources, validates=(True, False), scheme=scheme, min_images=2, num_folds=2)
    expected = GALLERY_ONLY
    assert not np.isin(folds, expected).any()
    few = folds_of(targets, sources=sources, validates=(True, False), scheme=scheme, min_images=3, num_folds=2)
    assert np.flatnonzero(few == expected).tolist() == [3, 9, 10, 11]


def test_dealt_rows_of_a_real_table_are_even_and_unknown_ones_too(humpbacks):
    folds = folds_of(humpbacks)
    for counts in held_out(humpbacks, folds).values():
        inside = [counts[fold] for fold in range(5)]
        assert max(inside) - min(inside) <= 1
    assert np.ptp(np.bincount(folds)) <= 1


@pytest.mark.parametrize("scheme", ["deal", "hold_out"])
def test_groups_stay_whole_and_count_as_one_image(targets, scheme):
    rng = np.random.default_rng(1)
    groups = np.array([f"r{row}" for row in range(len(targets))], dtype=object)
    for number in range(min(len(targets) // 8, 300)):
        same = np.flatnonzero(targets == targets[rng.integers(len(targets))])  # mostly of one identity
        rows = rng.choice(same if number % 4 else len(targets), 3)
        groups[rows] = f"g{number}"
    folds = folds_of(targets, groups=groups.astype(str), scheme=scheme, hold_out_from=2)
    by_group = defaultdict(set)
    for name, fold in zip(groups, folds, strict=True):
        by_group[name].add(int(fold))
    assert all(len(folds) == 1 for folds in by_group.values())
    if scheme == "hold_out":
        mixed = {name for name in by_group if len(set(targets[groups == name])) > 1} if len(targets) < 5000 else set()
        for target in set(targets.tolist()) - {-1} if len(targets) < 5000 else ():
            units = [name for name in set(groups[targets == target]) if name not in mixed]
            inside = Counter(next(iter(by_group[name])) for name in units)
            wanted = min(5, len(units)) if len(units) >= 2 else 0
            assert sorted(inside[fold] for fold in range(5)) == [0] * (5 - wanted) + [1] * wanted
        assert all(by_group[name] == {ONLY_TRAINS} for name in mixed)
    else:
        assert set(folds.tolist()) == set(range(5))


def test_an_extra_table_is_held_out_together_or_only_trains():
    targets = np.array([0, 0, 1, 1, 0, 0, 1, 2, 2, 2])
    sources = np.repeat([0, 1], [4, 6])
    together = folds_of(
        targets, sources=sources, validates=(True, True), scheme="hold_out", hold_out_from=3, num_folds=3
    )
    counts = held_out(targets, together)
    assert all(sum(counts[target][fold] for fold in range(3)) == 3 for target in range(3))
    apart = folds_of(targets, sources=sources, validates=(True, False), scheme="hold_out", hold_out_from=2, num_folds=2)
    assert sorted(apart[:2]) == sorted(apart[2:4]) == [0, 1] and (apart[4:] == ONLY_TRAINS).all()
    groups = np.array(["a", "b", "c", "d", "a", "e", "f", "g", "h", "i"])  # row 4 is a copy of row 0
    copied = folds_of(
        targets, groups, sources, validates=(True, False), scheme="hold_out", hold_out_from=2, num_folds=2
    )
    assert copied[4] == LEFT_OUT and (copied[5:] == ONLY_TRAINS).all()


def test_an_extra_table_of_new_rare_identities_is_dealt_evenly():
    targets = np.concatenate([np.repeat(np.arange(10), 6), np.repeat(np.arange(5, 40), 2)])
    sources = np.repeat([0, 1], [60, 70])
    folds = folds_of(targets, sources=sources, validates=(True, True))
    for source in (0, 1):
        assert np.ptp(np.bincount(folds[sources == source], minlength=5)) <= 1
        for target in range(40):
            assert np.ptp(np.bincount(folds[(sources == source) & (targets == target)], minlength=5)) <= 2
    assert all(len(set(folds[(sources == 1) & (targets == target)])) == 2 for target in range(5, 40))


def test_an_unknown_identity_never_trains_in_another_table_or_a_mixed_group():
    rng = np.random.default_rng(0)
    targets, sources = rng.integers(0, 30, 200), rng.integers(0, 2, 200)
    groups = np.array([f"g{row // 2 if row < 40 else row}" for row in range(200)])
    for scheme in ("deal", "hold_out"):
        plan = FoldConfig(num_folds=2, scheme=scheme, unknown_identities=0.05)
        targets[sources == 1] = np.minimum(targets[sources == 1], 14)  # 15 and more are of the first table alone
        folds = deal_tables(targets, sources, plan, validates=(True, False), groups=groups)
        assert all(len(set(folds[(groups == name) & (folds != LEFT_OUT)])) <= 1 for name in set(groups))
        whole = [set(folds[targets == target].tolist()) for target in range(15, 30)]
        assert {0} in whole and {1} in whole


@pytest.mark.parametrize("scheme", ["deal", "hold_out"])
@pytest.mark.parametrize("seed", range(4))
def test_an_identity_in_a_group_with_another_is_never_held_out_as_unknown(scheme, seed):
    targets = np.repeat(np.arange(4), 3)
    groups = np.array(["x", "a", "b", "x", *"cdefghij"])  # of the first two
    folds = folds_of(targets, groups, scheme=scheme, unknown_identities=0.25, num_folds=2, seed=seed)
    assert sorted([set(folds[6:9]), set(folds[9:])], key=min) == [{0}, {1}]


@pytest.mark.parametrize("plan", [{"scheme": "hold_out", "unknown_identities": 0.03}, {"unknown_identities": 0.03}])
def test_the_seed_alone_decides(targets, plan):
    first, again, other = (folds_of(targets, seed=seed, **plan) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.1


@pytest.mark.parametrize("scheme", ["deal", "hold_out"])
def test_a_real_table_takes_no_half_second(humpbacks, scheme):
    groups = np.array([f"g{max(row, 50)}" for row in range(len(humpbacks))])
    folds_of(made())  # imports
    for members in (None, groups):
        times = []
        for _ in range(3):
            start = time.process_time()
            folds_of(humpbacks, members, scheme=scheme, min_images=2, unknown_identities=0.02)
            times.append(time.process_time() - start)
        assert min(times) < 0.5


@pytest.mark.parametrize("plan", [{"scheme": "hold_out"}, {"min_images": 2}, {"unknown_identities": 0.1}])
def test_rows_with_several_labels_have_no_identity(plan):
    with pytest.raises(ConfigError, match="need one identity per row"):
        folds_of(np.ones((20, 3), np.uint8), **plan)
