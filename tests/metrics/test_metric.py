"""The rows of METRICS on random tables: bootstraps, best constants against all constants, bound parameters."""

import itertools
import json
import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, fbeta_score
from sklearn.metrics import log_loss as sklearn_log_loss

from imettk.errors import ConfigError
from imettk.metrics import METRICS, Metric, bind, find_metric

OF_LABELS = ("labels", "classes")  # metrics of numbers: see `test_values`
EVERY = [(name, form) for name, row in METRICS.items() for form in row.targets if form in OF_LABELS]


def truth_of(form, rng, num_rows=40, num_labels=7):
    """Return targets in which every label occurs and every row has one."""
    if form == "classes":
        return np.append(np.arange(num_labels), rng.integers(0, num_labels, num_rows - num_labels))
    table = (rng.random((num_rows, num_labels)) < 0.4).astype(np.uint8)
    table[np.arange(num_rows), np.arange(num_rows) % num_labels] = 1
    return table


def given_of(needs, form, rng, targets, num_labels=7):
    """Return random answers or probabilities that are slightly better than chance."""
    if needs == "ranked":
        return np.argsort(rng.random((len(targets), num_labels)), axis=1)[:, :3]
    if form == "classes":
        probs = (rng.dirichlet(np.ones(num_labels), len(targets)) + 0.2 * np.eye(num_labels)[targets]) / 1.2
        return (probs if needs == "probs" else probs.argmax(1)).astype(np.float32 if needs == "probs" else np.int64)
    probs = ((rng.random(targets.shape) + 0.4 * targets) / 1.4).astype(np.float32)
    return probs if needs == "probs" else probs > 0.5


def extremes_of(needs, form, targets, num_labels=7):
    """Return answers that are right everywhere, and answers that are wrong everywhere."""
    if form == "labels":
        right = targets > 0 if needs == "answers" else targets.astype(np.float32)
        return right, 1 - right if needs == "probs" else ~right
    if needs == "probs":
        right = np.eye(num_labels, dtype=np.float32)[targets]
        return right, np.roll(right, 1, axis=1)
    wrong = (targets + 1) % num_labels
    return (targets, wrong) if needs == "answers" else (np.tile(targets[:, None], 3), np.tile(wrong[:, None], 3))


@pytest.mark.parametrize(("name", "form"), EVERY)
@pytest.mark.parametrize("seed", range(5))
def test_scores_are_finite_and_within_their_bounds(name, form, seed):
    rng, scorer = np.random.default_rng(seed), METRICS[name].bound(form, {"k": 2} if name == "top_k" else {})
    targets = truth_of(form, rng)
    right, wrong = extremes_of(scorer.needs, form, targets)
    if name == "quadratic_kappa":  # the next grade is nearly right
        wrong = 6 - targets
    tables = [given_of(scorer.needs, form, rng, targets), right, wrong]
    scores = [scorer.score(answers, targets) for answers in tables]
    assert np.isfinite(scores).all() and all(scorer.metric.low <= score <= scorer.high for score in scores)
    best, worst = (scores[1], scores[2]) if scorer.higher else (-scores[1], -scores[2])
    assert worst < (scores[0] if scorer.higher else -scores[0]) < best
    ends = {scorer.metric.low, scorer.high} - {math.inf}
    assert any(scores[1] == pytest.approx(end, abs=1e-5) for end in ends), "what is right scores as well as can be"


@pytest.mark.parametrize(("name", "form"), EVERY)
def test_a_bootstrap_sample_scores_as_its_rows_do(name, form):
    rng, scorer = np.random.default_rng(0), METRICS[name].bound(form)
    targets = truth_of(form, rng)
    answers = given_of(scorer.needs, form, rng, targets)
    score_of = scorer.resampled(answers, targets)
    assert score_of(np.arange(len(targets))) == pytest.approx(scorer.score(answers, targets), abs=1e-12)
    for size in (1, 40, 77):
        rows = rng.integers(0, len(targets), size)
        assert score_of(rows) == pytest.approx(scorer.score(answers[rows], targets[rows]), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("average", ["samples", "macro", "micro"])
def test_a_bootstrap_of_every_average_is_scikit_learns(average):
    rng = np.random.default_rng(1)
    targets, answers = truth_of("labels", rng), rng.random((40, 7)) < 0.3
    score_of = METRICS["f_beta"].bound("labels", {"beta": 0.5, "average": average}).resampled(answers, targets)
    for _ in range(5):
        rows = rng.integers(0, 40, 40)
        expected = fbeta_score(targets[rows], answers[rows], beta=0.5, average=average, zero_division=0)
        assert score_of(rows) == pytest.approx(expected)


def test_without_a_bootstrap_of_its_own_each_sample_is_scored_anew():
    seen = []

    def score(answers, targets, *, scale):
        seen.append((answers.tolist(), targets.tolist()))
        return scale * len(answers)

    plain = Metric("answers", ("classes",), score, lambda params: "plain", params={"scale": 2.0})
    score_of = plain.bound("classes").resampled(np.array([5, 6, 7]), np.array([0, 1, 2]))
    assert seen == [] and score_of(np.array([2, 2])) == 4.0 and seen == [([7, 7], [2, 2])]


def mean_reciprocal_rank(ranked, targets):
    return np.mean(
        [1 / (list(row).index(label) + 1) if label in row else 0 for row, label in zip(ranked, targets, strict=True)]
    )


def scores_of_constants(name, form, targets, params):
    """Return the score of each constant answer by scikit-learn or a plain loop; targets of three labels, 12 rows."""
    num_rows, steps = len(targets), np.arange(13) / 12  # shares of labels are among these
    if name == "accuracy":
        return [accuracy_score(targets, np.full(num_rows, label)) for label in range(3)]
    if name == "map_at_k":
        orders = itertools.permutations(range(3), params["k"])
        return [mean_reciprocal_rank([order] * num_rows, targets) for order in orders]
    if name == "f_beta":
        tables = [np.tile(answer, (num_rows, 1)) for answer in itertools.product((0, 1), repeat=3)]
        return [fbeta_score(targets, table, zero_division=0, **params) for table in tables]
    assert name == "log_loss"
    if form == "classes":
        mixes = [mix for mix in itertools.product(steps, repeat=3) if sum(mix) == pytest.approx(1) and min(mix) > 0]
        return [sklearn_log_loss(targets, np.tile(mix, (num_rows, 1)), labels=range(3)) for mix in mixes]
    by_label = [
        min(sklearn_log_loss(column, np.full(num_rows, share), labels=[0, 1]) for share in steps)
        for column in targets.T
    ]
    return [np.mean(by_label)]


OLDER = ("f_beta", "accuracy", "map_at_k", "precision_at_k", "log_loss", "focal_loss")  # all others: against graders
BETAS = [{"beta": beta, "average": average} for beta in (0.5, 2.0) for average in ("samples", "macro", "micro")]
CONSTANTS = [
    *(("f_beta", "labels", params) for params in BETAS),
    *(("map_at_k", "classes", {"k": k}) for k in (1, 2, 3)),
    *(("accuracy", "classes", {}), ("log_loss", "classes", {}), ("log_loss", "labels", {})),
]


@pytest.mark.parametrize(("name", "form", "params"), CONSTANTS)
@pytest.mark.parametrize("seed", range(3))
def test_the_best_constant_answer_is_the_best_of_all(name, form, params, seed):
    scorer = METRICS[name].bound(form, params)
    targets = truth_of(form, np.random.default_rng(seed), num_rows=12, num_labels=3)
    scores = scores_of_constants(name, form, targets, params)
    best = max(scores) if scorer.higher else min(scores)
    assert scorer.best_constant(targets) == pytest.approx(best, abs=1e-6)


def test_each_metric_with_a_best_constant_is_among_those():
    targets = {form: truth_of(form, np.random.default_rng(0)) for form in ("labels", "classes")}
    has = {(name, form) for name, form in EVERY if METRICS[name].bound(form).best_constant(targets[form]) is not None}
    assert {pair for pair in has if pair[0] in OLDER} == {(name, form) for name, form, _ in CONSTANTS}


@pytest.mark.parametrize(("name", "form"), EVERY)
def test_no_row_has_no_score(name, form):
    rng = np.random.default_rng(0)
    targets = truth_of(form, rng)
    answers = given_of(METRICS[name].needs, form, rng, targets)
    scorer = METRICS[name].bound(form)
    assert math.isnan(scorer.score(answers[:0], targets[:0])) and scorer.best_constant(targets[:0]) is None


@pytest.mark.parametrize(
    ("name", "form", "params", "title"),
    [
        ("f_beta", "labels", {}, "F2"),
        ("f_beta", "labels", {"beta": 0.5, "average": "macro"}, "macro F0.5"),
        ("map_at_k", "classes", {"k": 3}, "MAP@3"),
        ("precision_at_k", "classes", {}, "precision@5"),
        ("log_loss", "classes", {}, "log loss"),
        ("roc_auc_partial", "labels", {}, "ROC AUC above 0.8 TPR"),
        ("f_beta_macro", "classes", {"beta": 0.5}, "macro F0.5"),
        ("top_k", "classes", {"k": 3}, "top-3 accuracy"),
    ],
)
def test_a_title_is_short_and_names_what_matters(name, form, params, title):
    assert METRICS[name].bound(form, params).title == title


def bound(name, given=None, **defaults):
    row = METRICS[name]
    return bind(name, row, row.targets[0], defaults=defaults, given=given or {}).params


def test_parameters_are_given_or_the_recipes_or_the_metrics_own():
    assert bound("f_beta") == METRICS["f_beta"].params == {"beta": 2.0, "average": "samples"}
    assert bound("f_beta", beta=1.0, k=7) == {"beta": 1.0, "average": "samples"}, "k is another metric's"
    assert bound("f_beta", {"beta": 3.0}, beta=1.0, average="micro") == {"beta": 3.0, "average": "micro"}
    assert METRICS["f_beta"].params == {"beta": 2.0, "average": "samples"}, "the row is as it was"


def test_an_int_is_taken_where_a_float_belongs_as_json_has_only_numbers():
    params = bound("f_beta", json.loads('{"beta": 1}'))
    assert params["beta"] == 1.0 and type(params["beta"]) is float


FLAG = Metric("answers", ("labels",), lambda given, targets, strict: 0.0, lambda params: "", params={"strict": True})


@pytest.mark.parametrize(
    ("name", "given", "line"),
    [
        ("accuracy", {"beta": 1.0}, "`score.params` holds beta, but the metric accuracy has no parameters"),
        ("f_beta", {"bta": 1.0, "a": 2}, "`score.params` holds a, bta, but the metric f_beta has beta, average"),
        ("f_beta", {"beta": "2"}, "`score.params` beta must be float for the metric f_beta, got '2'"),
        ("f_beta", {"beta": True}, "`score.params` beta must be float for the metric f_beta, got True"),
        ("f_beta", {"average": 1}, "`score.params` average must be str for the metric f_beta, got 1"),
        ("map_at_k", {"k": 2.0}, "`score.params` k must be int for the metric map_at_k, got 2.0"),
        ("map_at_k", {"k": True}, "`score.params` k must be int for the metric map_at_k, got True"),
        ("flag", {"strict": 1}, "`score.params` strict must be bool for the metric flag, got 1"),
    ],
)
def test_unknown_and_ill_typed_parameters_are_refused_in_one_line(name, given, line):
    row = METRICS.get(name, FLAG)
    with pytest.raises(ConfigError) as caught:
        bind(name, row, row.targets[0], defaults={}, given=given)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("name", "given", "line"),
    [
        ("f_beta", {"beta": 0}, "beta must be above 0, got 0.0"),
        ("f_beta", {"beta": math.nan}, "beta must be above 0, got nan"),
        (
            "f_beta",
            {"average": "weighted"},
            "average must be samples or macro or micro, got 'weighted'",
        ),
        ("map_at_k", {"k": 0}, "k must be at least 1, got 0"),
        ("precision_at_k", {"k": -1}, "k must be at least 1, got -1"),
        ("focal_loss", {"gamma": -0.5}, "gamma must be 0 or above, got -0.5"),
        ("log_loss", {"eps": 0}, "eps must be in (0, 0.5), got 0.0"),
        ("f_beta_macro", {"beta": 0}, "beta must be above 0, got 0.0"),
        ("roc_auc_partial", {"above": 1}, "above must be in [0, 1), got 1.0"),
        (
            "roc_auc_weighted",
            {"edges": "a"},
            "edges and weights must be numbers, such as '0 0.4 1' and '2 1', got 'a' and '2 1'",
        ),
        *(
            ("roc_auc_weighted", {"edges": edges}, f"edges must be two or more rising numbers in [0, 1], got {edges!r}")
            for edges in ("0", "0 0.4 0.4", "-1 0.4 1", "0 0.4 1.1", "0 nan 1")
        ),
        *(
            (
                "roc_auc_weighted",
                {"weights": weights},
                f"weights must be 2 numbers for these edges, 0 or above and not all 0, got {weights!r}",
            )
            for weights in ("1", "1 2 3", "-1 2", "0 0", "nan 1", "1 inf")
        ),
    ],
)
def test_parameters_out_of_range_are_refused_in_one_line(name, given, line):
    with pytest.raises(ConfigError) as caught:
        bound(name, given)
    assert str(caught.value) == f"`score.params` for the metric {name}: {line}"


@pytest.mark.parametrize(
    ("name", "row", "params"),
    [
        ("map_at_5", "map_at_k", {"k": 5}),
        ("precision_at_10", "precision_at_k", {"k": 10}),
        ("top_3", "top_k", {"k": 3}),
        ("map_at_k", "map_at_k", {}),
        ("roc_auc", "roc_auc", {}),
    ],
)
def test_a_name_may_hold_the_number(name, row, params):
    assert find_metric(name) == (METRICS[row], params)


@pytest.mark.parametrize(
    "name", ["map_at_", "map_at_05", "map_at_5.0", "map_at_-1", "map_at_\u0665", "roc_auc_5", "auc", "k"]
)
def test_what_is_no_name_has_no_row(name):
    assert find_metric(name) is None
