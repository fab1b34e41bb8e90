"""Fitters of rules for labels, and of `argmax`: fits to all or some rows, tables and curves of a rule."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, fbeta_score

from imettk.config import RuleConfig
from imettk.config.choices import RULES
from imettk.postprocess.fitters import FitContext, make_fitter, rule_class
from imettk.postprocess.rule import Likeliest, Shares, Thresholds, relative_to_row

# Rules that need no more than a plan; what needs labels and a metric has tests of its own.
OWN_TESTS = ("cutpoints", "argmax_each")
FITTED = {name: row.load() for name, row in RULES.items() if "answers" in row.gives and name not in OWN_TESTS}
GROUPS = ("x", "y", "x", "y")
PLANS = [
    *(RuleConfig(kind=kind) for kind in FITTED),
    *(RuleConfig(kind=kind, average="macro", beta=1.0, min_labels=0) for kind in FITTED),
    *(
        RuleConfig(kind=kind, relative=True, max_labels=2)
        for kind in ("threshold", "group_thresholds", "class_thresholds")
    ),
    RuleConfig(kind="share", relative=True, max_labels=2),
    *(RuleConfig(kind="class_thresholds", shrink_to=other) for other in ("one", "groups", "shares")),
    RuleConfig(kind="class_thresholds", shrink_to="one", shrink_strength=None),
]


def plan_id(plan):
    return "-".join(map(str, (plan.kind, plan.average, plan.relative, plan.shrink_to, plan.shrink_strength)))


def fitter_of(plan, **context):
    return make_fitter(FITTED[plan.kind], FitContext(plan, GROUPS, **context))


def table(seed=0, num_rows=60):
    """Return probabilities with few decimals (many ties), targets that they partly explain, and folds."""
    rng = np.random.default_rng(seed)
    probs = np.round(rng.random((num_rows, 4)), 2).astype(np.float32)
    targets = (probs + rng.normal(0, 0.3, probs.shape) > (0.4, 0.6, 0.8, 0.9)).astype(np.uint8)
    return probs, targets, np.arange(num_rows) % 3


def targets_for(plan, targets):
    return targets if "labels" in RULES[plan.kind].targets else targets.argmax(1)


@pytest.mark.parametrize("plan", PLANS, ids=plan_id)
def test_a_fit_to_some_rows_is_that_of_these_rows_alone(plan):
    probs, targets, folds = table()
    targets, fitter = targets_for(plan, targets), fitter_of(plan)
    fit = fitter.on(probs, targets, folds)
    assert fit(np.arange(60)) == fitter.fit(probs, targets, folds)
    rng = np.random.default_rng(1)
    for rows in (np.flatnonzero(folds != 1), rng.integers(0, 60, 60), rng.permutation(60)[:20]):
        assert fit(rows) == fitter.fit(probs[rows], targets[rows], folds[rows])


@pytest.mark.parametrize("plan", PLANS, ids=plan_id)
def test_a_rule_comes_back_from_json_and_keeps_to_its_plan(plan):
    probs, targets, folds = table()
    kind, fitter = FITTED[plan.kind], fitter_of(plan)
    rule = fitter.fit(probs, targets_for(plan, targets), folds)
    assert type(rule) is fitter.rule is rule_class(kind) and rule_class(kind).from_json(rule.to_json()) == rule
    answers = rule.apply(probs)
    if plan.kind == "argmax":
        assert rule == Likeliest() and answers.tolist() == [max(range(4), key=list(row).__getitem__) for row in probs]
    elif plan.kind != "top":
        assert (rule.relative, rule.min_labels, rule.max_labels) == (plan.relative, plan.min_labels, plan.max_labels)
        counts = answers.sum(1)
        assert counts.min() >= plan.min_labels and counts.max() <= (plan.max_labels or 4)


def test_only_a_rule_that_learns_nothing_needs_no_other_rows():
    assert [name for name, fitter_type in FITTED.items() if not fitter_type.learns] == ["argmax"]


@pytest.mark.parametrize("average", ["samples", "macro", "micro"])
@pytest.mark.parametrize("seed", range(3))
def test_one_threshold_and_one_number_of_labels_are_the_best_of_all(average, seed):
    probs, targets, _ = table(seed)

    def score(chosen):
        return fbeta_score(targets, chosen, beta=2, average=average, zero_division=0)

    ranks = np.argsort(np.argsort(-probs, axis=1, kind="stable"), axis=1)
    best = {
        "threshold": max(score(probs >= value) for value in [*np.unique(probs), 2]),
        "top": max(score(ranks < count) for count in range(1, 5)),
    }
    for kind, expected in best.items():
        rule = fitter_of(RuleConfig(kind=kind, average=average, min_labels=0)).fit(probs, targets)
        assert score(rule.apply(probs)) == pytest.approx(expected)


def distinct(num_rows=60):
    """Return probabilities without ties, and targets that they partly explain."""
    rng = np.random.default_rng(3)
    probs = rng.permutation(num_rows * 4).reshape(num_rows, 4).astype(np.float32) / (num_rows * 4)
    return probs, (probs + rng.normal(0, 0.3, probs.shape) > (0.4, 0.6, 0.8, 0.9)).astype(np.uint8)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("shrink_to", "kind"), [("one", "threshold"), ("groups", "group_thresholds")])
def test_with_all_strength_thresholds_are_those_that_they_are_pulled_toward(shrink_to, kind, relative):
    probs, targets = distinct()
    plan = RuleConfig(kind="class_thresholds", shrink_to=shrink_to, shrink_strength=1e9, relative=relative)
    pulled, toward = (
        fitter_of(rule_plan).fit(probs, targets) for rule_plan in (plan, RuleConfig(kind=kind, relative=relative))
    )
    assert pulled.thresholds == pytest.approx(toward.thresholds, abs=1e-5)


@pytest.mark.parametrize("relative", [False, True])
def test_with_all_strength_labels_have_their_shares(relative):
    probs, targets = distinct()
    plan = RuleConfig(kind="class_thresholds", shrink_to="shares", shrink_strength=1e9, relative=relative, min_labels=0)
    rule = fitter_of(plan).fit(probs, targets)
    shared = Shares(shares=tuple(targets.mean(0)), relative=relative).apply(probs).sum(0).tolist()
    assert rule.apply(probs).sum(0).tolist() == shared and (relative or shared == targets.sum(0).tolist())
    unshrunk = fitter_of(RuleConfig(kind="class_thresholds", relative=relative, min_labels=0)).fit(probs, targets)
    assert unshrunk.apply(probs).sum(0).tolist() != shared


def test_a_strength_is_chosen_on_the_folds_that_are_given(monkeypatch):
    probs, targets, folds = table()
    used = []

    def choose(fit_each, fit_toward, probs, targets, parts, goal):
        used.append(parts.tolist())
        return 0.0, {}

    monkeypatch.setattr("imettk.postprocess.label_fitters.choose_strength", choose)
    fitter = fitter_of(RuleConfig(kind="class_thresholds", shrink_to="one", shrink_strength=None))
    for member in (folds, None, np.zeros(60, int)):
        assert fitter.fit(probs, targets, member) == fitter_of(RuleConfig(kind="class_thresholds")).fit(probs, targets)
    assert used == [folds.tolist(), *[[row % 5 for row in range(60)]] * 2]


def test_groups_of_all_or_of_one_label_are_the_rules_beside_it():
    probs, targets, _ = table()

    def fit(kind, groups):
        return make_fitter(FITTED[kind], FitContext(RuleConfig(kind=kind), groups)).fit(probs, targets)

    assert fit("group_thresholds", ("x",) * 4) == fit("threshold", GROUPS)
    assert fit("group_thresholds", ("d", "c", "b", "a")) == fit("class_thresholds", GROUPS)
    low, high, *others = fit("group_thresholds", GROUPS).thresholds
    assert others == [low, high]


def test_a_quick_fit_of_thresholds_for_each_label_is_that_of_one_for_all():
    probs, targets, _ = table()
    quick = {
        name: fitter_of(RuleConfig(kind=name)).fit_quickly(probs, targets) for name in ("threshold", "class_thresholds")
    }
    assert quick["class_thresholds"] == quick["threshold"] == fitter_of(RuleConfig()).fit(probs, targets)


@pytest.mark.parametrize("plan", PLANS, ids=plan_id)
def test_columns_of_the_table_of_labels_have_a_row_a_label(plan):
    probs, targets, _ = table()
    fitter, truth = fitter_of(plan), targets_for(plan, targets)
    rule = fitter.fit(probs, truth)
    columns = fitter.describe(rule, probs, truth, None)
    expected = {
        Thresholds: {"threshold", "threshold_low", "threshold_high"} if plan.kind != "top" else set(),
        Shares: {"share", "drift"},
        Likeliest: set(),
    }
    assert set(columns) == expected[type(rule)] and all(len(values) == 4 for values in columns.values())
    if "threshold" in columns:
        assert (
            tuple(columns["threshold"]) == rule.thresholds
            and (columns["threshold_low"] <= columns["threshold_high"]).all()
        )
    if "share" in columns:
        assert columns["share"] == pytest.approx(targets.mean(0))
        assert columns["drift"].tolist() == (rule.apply(probs).sum(0) - targets.sum(0)).tolist()


def test_intervals_of_thresholds_are_those_of_unshrunk_fits_to_whole_groups():
    probs, targets, _ = table()
    groups, plan = np.arange(60) // 4, RuleConfig(kind="class_thresholds", shrink_to="one")
    fitter = fitter_of(plan)
    columns = fitter.describe(fitter.fit(probs, targets), probs, targets, groups)
    rng, plain = np.random.default_rng(0), fitter_of(RuleConfig(kind="class_thresholds"))
    draws = []
    for _ in range(40):
        rows = np.concatenate([np.flatnonzero(groups == group) for group in rng.integers(0, 15, 15)])
        draws.append(plain.fit(probs[rows], targets[rows]).thresholds)
    np.testing.assert_allclose(columns["threshold_low"], np.quantile(draws, 0.025, axis=0))
    np.testing.assert_allclose(columns["threshold_high"], np.quantile(draws, 0.975, axis=0))


@pytest.mark.parametrize("plan", PLANS, ids=plan_id)
def test_the_curve_is_scikit_learns_with_the_thresholds_of_the_rule_in_it(plan):
    probs, targets, _ = table()
    fitter, truth, at = fitter_of(plan), targets_for(plan, targets), np.array([0.1, 0.35, 0.8])
    rule = fitter.fit(probs, truth)
    traced = fitter.trace(rule, probs, truth, at)
    if plan.kind == "argmax":
        assert traced is None
        return
    scale = relative_to_row(probs) if plan.relative else probs
    for threshold, score in zip(at, traced["scores"], strict=True):
        chosen = scale >= threshold
        assert score == pytest.approx(
            fbeta_score(targets, chosen, beta=plan.beta, average=plan.average, zero_division=0)
        )
    average = "" if plan.average == "samples" else f"{plan.average} "
    assert traced["metric"] == f"{average}F{plan.beta:g}" and traced["relative"] is plan.relative
    assert traced["own"] == sorted({value for value in getattr(rule, "thresholds", ()) if value <= 1})


def test_a_shake_up_has_the_score_as_it_is_in_the_middle():
    probs, targets, _ = table()
    targets[:, 3] = 0  # a label that nobody has cannot be rare

    def score(answers):
        return f1_score(targets, answers, average="macro", zero_division=0)

    fitter = fitter_of(RuleConfig(kind="share", min_labels=0))
    rule = fitter.fit(probs, targets)
    labels, rows, scores = fitter.shake_up(rule, probs, targets, score)
    counts = targets.sum(0)
    assert rows.tolist() == counts[labels].tolist() and labels.tolist() == sorted(
        range(4), key=lambda label_index: (counts[label_index] == 0, counts[label_index])
    )
    assert scores.shape == (4, 11) and scores[:, 5] == pytest.approx([score(rule.apply(probs))] * 4)
    for label, row in zip(labels, scores, strict=True):
        for step, value in zip(range(-5, 6), row, strict=True):
            shares = np.array(counts, float)
            shares[label] = max(shares[label] + step, 0)
            assert value == pytest.approx(score(Shares(shares=tuple(shares / 60)).apply(probs)))
    assert len(set(scores.round(6).ravel().tolist())) > 5


@pytest.mark.parametrize("kind", [kind for kind in FITTED if kind != "share"])
def test_a_rule_without_promises_has_no_shake_up(kind):
    probs, targets, _ = table()
    fitter = fitter_of(RuleConfig(kind=kind))
    assert fitter.shake_up(fitter.fit(probs, targets), probs, targets, lambda answers: 0.0) is None


@pytest.mark.parametrize(("shares", "expected"), [("csv", [0.5, 0.25, 0.0, 1.0]), ("mean", None)])
def test_given_shares_stand_alone_or_are_averaged(shares, expected):
    probs, targets, _ = table()
    table_shares = np.array([0.5, 0.25, 0.0, 1.0])
    plan = RuleConfig(kind="share", shares=shares, shares_csv="shares.csv")
    rule = fitter_of(plan, given_shares=table_shares).fit(probs, targets)
    assert rule.shares == pytest.approx(
        expected or [(first + second) / 2 for first, second in zip(table_shares, targets.mean(0), strict=True)]
    )
