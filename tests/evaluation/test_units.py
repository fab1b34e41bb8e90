"""Units in place of images: their tables, the pool that out-of-fold scores choose, and honest scores of that choice."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from imettk.config import Recipe, RuleConfig, ScoreConfig, TableFormat, TrainConfig
from imettk.config.choices import UNIT_POOLS, UnitPoolChoice
from imettk.data.sample_table import SampleTable
from imettk.errors import ConfigError, MismatchError
from imettk.evaluation.rules import fitter_of, pool_from_json, rule_from_json
from imettk.evaluation.scoring import honest_scores
from imettk.evaluation.units import Units

RECIPE = Recipe(
    table=TableFormat(task="multiclass", unit_columns=("study",), label_column="label"),
    train=TrainConfig(loss="cross_entropy"),
    rule=RuleConfig(kind="probability", positive="1"),
    score=ScoreConfig(metric="roc_auc"),
)
POOLS = {
    "mean": lambda own: own.mean(),
    "max": lambda own: own.max(),
    "top_k": lambda own: np.sort(own)[::-1][:2].mean(),
    "noisy_or": lambda own: 1 - np.prod(1 - own),
}


def made(seed=0, num=200, hint=0.6):
    """Studies of 1 to 5 images in 4 folds; one image of a sick study shows it."""
    rng = np.random.default_rng(seed)
    sick = rng.uniform(size=num) < 0.4
    units = np.repeat(np.arange(num), rng.integers(1, 6, num))
    probs = rng.beta(1, 4, len(units))
    for study in np.flatnonzero(sick):
        probs[rng.choice(np.flatnonzero(units == study))] += hint * rng.uniform()
    order = rng.permutation(len(units))
    units, probs = units[order], probs.clip(0.001, 0.999)[order].astype(np.float32)
    names = np.array([f"s{unit}" for unit in units])
    ids = np.array([f"i{row}" for row in range(len(units))])
    targets = sick[units].astype(np.int64)
    table = SampleTable(ids, ids, ("0", "1"), ("", ""), targets, groups=names, units=names)
    return table, np.stack([1 - probs, probs], 1), units % 4


def test_a_table_has_a_row_a_unit_in_the_order_of_first_images():
    table, probs, folds = made()
    units = Units(RECIPE, table)
    names = list(dict.fromkeys(table.units.tolist()))
    first = [table.units.tolist().index(name) for name in names]
    assert units.table.ids.tolist() == names and units.first.tolist() == first
    assert units.table.targets.tolist() == table.targets[first].tolist()
    assert units.folds(folds).tolist() == folds[first].tolist()
    assert units.table.groups is None  # a unit alone is no group
    expected = [probs[table.units == name, 1].mean() for name in names]
    np.testing.assert_allclose(units.pool(probs)[:, 1], expected, rtol=1e-5)
    grouped = replace(table, groups=np.array([name[:2] for name in table.units]))
    assert Units(RECIPE, grouped).table.groups.tolist() == [name[:2] for name in names]


def test_a_table_without_units_stays_as_it_is():
    table, probs, folds = made()
    plain = replace(RECIPE, table=TableFormat(task="multiclass", label_column="label"))
    units = Units(plain, bare := replace(table, units=None))
    assert units.table is bare and units.pool(probs) is probs
    assert units.folds(folds).tolist() == folds.tolist()
    found = units.choose(fitter_of(plain, labels=table.labels), probs, folds)
    assert found.probs is probs and found.pool is None and found.values() == {} and not found.by_fold


def test_a_unit_in_several_folds_is_refused():
    table, _, folds = made()
    row = np.flatnonzero(table.units == "s7")[0] if (table.units == "s7").sum() > 1 else 0
    folds[row] += 1
    with pytest.raises(MismatchError, match=r"1 unit .* with images in several folds"):
        Units(RECIPE, table).folds(folds)


def plain_pools(table, probs, names):
    return {pool: np.array([make(probs[table.units == name, 1]) for name in names]) for pool, make in POOLS.items()}


@pytest.mark.parametrize(("seed", "hint"), [(0, 0.6), (1, 0.1), (3, 0.3)])
def test_the_best_pool_of_all_is_kept_and_each_fold_judged_by_that_of_the_others(seed, hint):
    table, probs, folds = made(seed, hint=hint)
    units = Units(RECIPE, table)
    fitter, own_folds = fitter_of(RECIPE, labels=table.labels), units.folds(folds)
    pooled = units.choose(fitter, probs, own_folds)
    truth, names = units.table.targets, units.table.ids
    plain = plain_pools(table, probs, names)
    scores = {pool: roc_auc_score(truth, values) for pool, values in plain.items()}
    assert pooled.scores == pytest.approx(scores, abs=1e-6)
    assert pooled.pool == max(scores, key=scores.get)
    honest = np.zeros(len(names))
    for fold in range(4):
        others = own_folds != fold
        best = max(plain, key=lambda pool: roc_auc_score(truth[others], plain[pool][others]))
        assert (fold in pooled.by_fold) == (best != pooled.pool)
        honest[~others] = plain[best][~others]
    found, answers = honest_scores(RECIPE, fitter, pooled.probs, truth, own_folds, by_fold=pooled.by_fold)
    assert found["rows"] == len(names)
    assert found["oof"] == pytest.approx(roc_auc_score(truth, honest), abs=1e-6)
    np.testing.assert_allclose(answers[:, 1], honest, rtol=1e-5)


def test_some_fold_chooses_otherwise_in_the_cases_above():
    table, probs, folds = made(1, hint=0.1)
    units = Units(RECIPE, table)
    assert units.choose(fitter_of(RECIPE, labels=table.labels), probs, units.folds(folds)).by_fold


def test_a_pool_that_is_asked_for_is_taken(capsys):
    table, probs, folds = made()
    recipe = replace(RECIPE, rule=RuleConfig(kind="probability", positive="1", pool="max"))
    units, fitter = Units(recipe, table), fitter_of(recipe, labels=table.labels)
    pooled = units.choose(fitter, probs, units.folds(folds))
    units.tell(pooled, fitter)
    assert pooled.pool == "max" and list(pooled.scores) == ["max"] and not pooled.by_fold
    np.testing.assert_array_equal(units.pool(probs), pooled.probs)
    assert (
        "200 units of 1 to 5 images, 3 typically: one answer by the max of their predictions\n"
        in capsys.readouterr().out
    )


def test_a_rule_keeps_the_pool_beside_it():
    content = {"kind": "probability", "exclusive": True, "positive": "1", "unit_pool": "max"}
    assert pool_from_json(RECIPE, content) == "max" and rule_from_json(RECIPE, content).positive == "1"
    plain = replace(RECIPE, table=TableFormat(task="multiclass", label_column="label"))
    assert pool_from_json(plain, content) is None
    for bad in ({"kind": "probability"}, {"kind": "probability", "unit_pool": "median"}):
        with pytest.raises(MismatchError, match=r"names no pool of several images .* `imettk validate` again"):
            pool_from_json(RECIPE, bad)


def test_a_fold_that_chooses_another_pool_has_rules_fitted_on_that():
    """With a rule that learns: thresholds of the others, pooled as the others say."""
    recipe = Recipe(table=TableFormat(unit_columns=("study",)), rule=RuleConfig(min_labels=0))
    rng = np.random.default_rng(0)
    probs, other = rng.uniform(size=(2, 90, 3))
    targets, folds = (rng.uniform(size=(90, 3)) < probs).astype(np.uint8), np.arange(90) % 3
    fitter = fitter_of(recipe, labels=("a", "b", "c"))
    kept = honest_scores(recipe, fitter, probs, targets, folds)[1]
    _, answers = honest_scores(recipe, fitter, probs, targets, folds, by_fold={1: other})
    assert (answers[folds != 1] == kept[folds != 1]).all()
    rule = fitter.fit(other[folds != 1], targets[folds != 1], folds[folds != 1])
    assert (answers[folds == 1] == rule.apply(other[folds == 1])).all() and (answers != kept).any()


def test_a_pool_from_outside_is_one_more_row(monkeypatch):
    def smallest(probs, members, k):
        return members.reduce(np.minimum, probs)

    with pytest.raises(ConfigError, match="`pool` of RuleConfig must be auto, mean"):
        RuleConfig(pool="smallest")
    monkeypatch.setitem(UNIT_POOLS, "smallest", UnitPoolChoice(make=smallest))
    table, probs, folds = made()
    recipe = replace(RECIPE, rule=RuleConfig(kind="probability", positive="1", pool="smallest"))
    units = Units(recipe, table)
    expected = [probs[table.units == name, 1].min() for name in units.table.ids]
    np.testing.assert_allclose(units.pool(probs)[:, 1], expected, rtol=1e-6)
    chosen = Units(RECIPE, table).choose(fitter_of(RECIPE, labels=table.labels), probs, units.folds(folds))
    assert set(chosen.scores) == {"mean", "max", "top_k", "noisy_or", "smallest"}
