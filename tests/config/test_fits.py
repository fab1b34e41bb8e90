"""Rows of the names in a recipe, a user's own code included, and messages about names that do not fit."""

from dataclasses import replace

import pytest

from imettk.config import RankConfig, Recipe, RuleConfig, ScoreConfig, StageConfig, TableFormat, TrainConfig
from imettk.config.choices import LOSSES, RULES, Loss, RuleChoice
from imettk.config.fits import fitted_rule, loss_row, lower_is_better, rule_row, scorer_of
from imettk.config.own import register_source
from imettk.errors import ConfigError
from imettk.metrics import METRICS, Metric

FILE, UNREAD = "f" * 64, "0" * 64  # SHA-256 of a recipe's file that has been run, and of one that has not


def own_function(*given, **params):
    return 0.25


OWN_LOSS = Loss(make=own_function, targets=("classes",), takes="embeddings")
OWN_RULE = RuleChoice(make=own_function, targets=("labels",), metric="log_loss", gives=("probs",))
OWN_METRIC = Metric("probs", ("labels",), own_function, lambda params: "mine", higher=False, params={"beta": 1.0})
NAMES = {"function": own_function, "loss": OWN_LOSS, "rule": OWN_RULE, "metric": OWN_METRIC, "rank": RULES["rank"]}
register_source(FILE, NAMES)


def recipe_of(task="multilabel", *, loss=None, rule=None, metric=None, params=None, watch="loss", file="", **sections):
    usual = {"multilabel": ("bce", "threshold"), "multiclass": ("cross_entropy", "argmax")}[task]
    return Recipe(
        table=TableFormat(task=task, label_column="label"),
        train=TrainConfig(loss=loss or usual[0], watch=watch),
        rule=sections.pop("rules", RuleConfig(kind=rule or usual[1])),
        ranking=RankConfig(by="probs", num_answers=3),
        score=ScoreConfig(metric=metric, params=params or {}),
        source_sha256=file,
        **sections,
    )


def test_a_name_is_its_row_and_a_users_own_row_is_used_unchanged():
    assert loss_row(Recipe(), "focal") is LOSSES["focal"] and rule_row(Recipe()) is RULES["threshold"]
    recipe = recipe_of(rule="recipe:rule", metric="recipe:metric", file=FILE)
    assert loss_row(recipe, "recipe:loss") is OWN_LOSS and rule_row(recipe) is OWN_RULE
    assert scorer_of(recipe).metric is OWN_METRIC and scorer_of(recipe).title == "mine"


@pytest.mark.parametrize("fields", [{"class_weights": "sqrt"}, {"label_weights": {"a": 2.0}}])
def test_weights_of_classes_need_a_loss_that_takes_them(fields):
    stages = (StageConfig(), StageConfig(**fields))
    assert recipe_of(stages=stages).stages[1].weighs_classes
    with pytest.raises(ConfigError, match=r"`stages.1.class_weights` must be none.* f_beta takes .*: use bce or focal"):
        recipe_of(loss="f_beta", stages=stages)
    with pytest.raises(ConfigError, match=r"the loss corn takes no weights of classes$"):
        Recipe(
            table=TableFormat(task="ordinal"),
            train=TrainConfig(loss="corn"),
            rule=RuleConfig(kind="cutpoints"),
            stages=stages,
        )


@pytest.mark.parametrize(
    ("task", "form", "metric"), [("multilabel", "labels", "f_beta"), ("multiclass", "classes", "accuracy")]
)
def test_a_plain_function_fits_the_task_and_is_judged_like_its_default_rule(task, form, metric):
    recipe = recipe_of(task, loss="recipe:function", rule="recipe:function", file=FILE)
    loss, rule = loss_row(recipe, "recipe:function"), rule_row(recipe)
    assert (loss.make, loss.targets, loss.takes) == (own_function, (form,), "logits")
    assert (rule.make, rule.targets, rule.metric) == (own_function, (form,), metric)
    assert rule.gives == ("answers", "probs") and scorer_of(recipe).metric is METRICS[metric]


@pytest.mark.parametrize(
    ("task", "rule", "needs"),
    [("multilabel", "top", "answers"), ("multiclass", "argmax", "answers"), ("multiclass", "rank", "ranked")],
)
def test_a_plain_function_is_a_metric_of_the_rules_outputs(task, rule, needs):
    scorer = recipe_of(task, rule=rule, metric="recipe:function", file=FILE).scorer
    assert (scorer.needs, scorer.title, scorer.higher) == (needs, "function", True)
    assert scorer.score([1], [1]) == 0.25


def test_code_in_a_file_that_has_not_been_run_is_unknown():
    recipe = recipe_of(loss="recipe:loss", rule="recipe:rule", metric="recipe:metric", file=UNREAD)
    assert loss_row(recipe, "recipe:loss") is rule_row(recipe) is scorer_of(recipe) is None
    assert scorer_of(recipe_of(rule="recipe:rule", file=UNREAD)) is None, "whose default is not known either"
    for name in ("scorer", "rule_row"):
        with pytest.raises(ConfigError, match=r"is defined in the recipe's own file: give that \.py file as RECIPE"):
            getattr(recipe, name)


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"rules": RuleConfig(beta=0.5, average="micro")}, {"beta": 0.5, "average": "micro"}),
        ({"rules": RuleConfig(beta=0.5), "params": {"beta": 3}}, {"beta": 3.0, "average": "samples"}),
        (
            {"metric": "recipe:metric", "rules": RuleConfig(beta=0.5), "file": FILE},
            {"beta": 1.0},
        ),  # a parameter of the same name is its own,
        ({"metric": "focal_loss"}, {"gamma": 2.0}),
        ({"metric": "focal_loss", "params": {"gamma": 1.5}}, {"gamma": 1.5}),
        ({"task": "multiclass", "rule": "rank"}, {"k": 3}),
        ({"task": "multiclass", "rule": "rank", "params": {"k": 2}}, {"k": 2}),
        ({"task": "multiclass", "rule": "rank", "metric": "map_at_2"}, {"k": 2}),
        ({"task": "multiclass", "rule": "rank", "metric": "map_at_2", "params": {"k": 2}}, {"k": 2}),
        ({"task": "multiclass", "metric": "top_2"}, {"k": 2}),
        ({"task": "multiclass"}, {}),
    ],
)
def test_a_metrics_parameters_are_given_or_from_rule_and_ranking_or_its_defaults(choices, expected):
    params = scorer_of(recipe_of(**choices)).params
    assert params == expected and all(type(params[key]) is type(value) for key, value in expected.items())


@pytest.mark.parametrize(
    ("task", "watch", "metric", "lower"),
    [
        ("multilabel", "loss", None, True),
        ("multilabel", "loss", "f_beta", True),
        ("multilabel", "score", None, False),
        ("multilabel", "score", "log_loss", True),
        ("multilabel", "focal", None, True),
        ("multiclass", "loss", None, True),
        ("multiclass", "score", None, False),
        ("multiclass", "score", "log_loss", True),
    ],
)
def test_lower_losses_are_better_and_scores_follow_their_metric(task, watch, metric, lower):
    recipe = recipe_of(task, watch=watch, metric=metric)
    assert lower_is_better(recipe) is recipe.lower_is_better() is lower


OF_PROBS = "roc_auc", "roc_auc_weighted", "roc_auc_partial", "average_precision", "probabilistic_f1"
OF_CLASSES = "balanced_accuracy", "f1_macro", "f1_micro", "f_beta_macro", "mcc", "quadratic_kappa"
OF_LABELS = "balanced_accuracy", "f1_macro", "f1_micro", "f1_samples", "f_beta_macro", "mcc"
LABEL_METRICS = ", ".join(("f_beta", "log_loss", "focal_loss", *OF_PROBS, "gap", *OF_LABELS))
LABEL_METRICS_OF_PROBS = " or ".join(("log_loss", "focal_loss", *OF_PROBS, "gap"))
CLASS_METRICS = " or ".join(("accuracy", "log_loss", *OF_PROBS, "gap", "top_k", *OF_CLASSES))
LABEL_RULES = "threshold, group_thresholds, class_thresholds, top, share, probability"
CLASS_LOSSES = "cross_entropy, arcface, cosface, triplet, contrastive"


@pytest.mark.parametrize(
    ("choices", "line"),
    [
        (
            {"task": "multiclass", "loss": "focal"},
            "the targets of a multiclass table are classes: `train.loss` focal does not take them "
            f"(use {CLASS_LOSSES})",
        ),
        (
            {"rule": "argmax"},
            f"the targets of a multilabel table are labels: `rule.kind` argmax does not take them (use {LABEL_RULES})",
        ),
        (
            {"metric": "accuracy"},
            "the targets of a multilabel table are labels: `score.metric` accuracy does not take them "
            f"(use {LABEL_METRICS})",
        ),
        (
            {"task": "multiclass", "loss": "focal", "rule": "top"},
            "the targets of a multiclass table are classes: "
            f"`train.loss` focal does not take them (use {CLASS_LOSSES}), and "
            "`rule.kind` top does not take them (use argmax, cutpoints, probability, rank)",
        ),
        (
            {"loss": "recipe:loss", "file": FILE},
            "the targets of a multilabel table are labels: `train.loss` recipe:loss does not take them "
            "(use bce, focal, f_beta, lovasz, focal_lovasz, focal_lovasz_hard, hard_negative_bce, asymmetric)",
        ),
        (
            {"task": "multiclass", "metric": "map_at_k"},
            "`score.metric` map_at_k judges ranked answers, and `rule.kind` argmax gives answers and probabilities: "
            f"use {CLASS_METRICS}",
        ),
        (
            {"task": "multiclass", "rule": "rank", "metric": "log_loss"},
            "`score.metric` log_loss judges probabilities, and `rule.kind` rank gives ranked answers: use map_at_k or "
            "precision_at_k",
        ),
        (
            {"task": "multiclass", "metric": "map_at_2"},
            "`score.metric` map_at_2 judges ranked answers, and `rule.kind` argmax gives answers and probabilities: "
            f"use {CLASS_METRICS}",
        ),
        (
            {"task": "multiclass", "rule": "rank", "metric": "map_at_2", "params": {"k": 3}},
            "`score.metric` map_at_2 and `score.params` k 3 differ: leave out one",
        ),
        (
            {"task": "multiclass", "rule": "rank", "metric": "map_at_4"},
            "k of `score.metric` map_at_4 must be at most `ranking.num_answers`, 3, got 4",
        ),
        (
            {"task": "multiclass", "rule": "rank", "metric": "map_at_0"},
            "`score.params` for the metric map_at_0: k must be at least 1, got 0",
        ),
        (
            {"rule": "recipe:rule", "metric": "f_beta", "file": FILE},
            "`score.metric` f_beta judges answers, and `rule.kind` recipe:rule gives probabilities: "
            f"use {LABEL_METRICS_OF_PROBS}",
        ),
        (
            {"rule": "recipe:rank", "file": FILE},
            "the targets of a multilabel table are labels: `rule.kind` recipe:rank does not take them "
            f"(use {LABEL_RULES})",
        ),
    ],
)
def test_a_misfit_is_one_line_with_the_names_that_fit(choices, line):
    with pytest.raises(ConfigError) as caught:
        recipe_of(**choices)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("metric", "params", "rule", "expected"),
    [
        (None, {}, {}, (2.0, "samples")),
        (None, {}, {"beta": 0.5, "average": "micro"}, (0.5, "micro")),
        ("f1_macro", {}, {}, (1.0, "macro")),
        ("f1_micro", {}, {}, (1.0, "micro")),
        ("f1_samples", {}, {}, (1.0, "samples")),
        ("f_beta", {"beta": 0.5, "average": "macro"}, {}, (0.5, "macro")),
        ("f_beta_macro", {"beta": 3}, {}, (3.0, "macro")),
        ("f1_macro", {}, {"beta": 1.5}, (1.5, "samples")),
        ("f1_macro", {}, {"average": "micro"}, (2.0, "micro")),
        ("log_loss", {}, {}, (2.0, "samples")),
        ("recipe:metric", {}, {}, (2.0, "samples")),
    ],
)
def test_thresholds_are_fitted_for_the_metric_unless_the_rule_sets_its_own_goal(metric, params, rule, expected):
    plan = RuleConfig(max_labels=3, **rule)
    recipe = recipe_of(metric=metric, params=params, rules=plan, file=FILE if metric == "recipe:metric" else "")
    assert fitted_rule(recipe) == recipe.fitted_rule == replace(plan, beta=expected[0], average=expected[1])
    assert recipe.rule == plan, "what the recipe says stays as it is"


def pairs(metric, columns=()):
    return Recipe(
        table=TableFormat(task="multiclass", label_column="label", answer_columns=columns),
        train=TrainConfig(loss="cross_entropy"),
        rule=RuleConfig(kind="probability", pairs=None if metric == "alone" else 1),
        score=ScoreConfig(metric="gap" if metric == "alone" else metric),
    )


def test_pairs_need_a_metric_of_pairs():
    assert pairs("gap").scorer.targets == "classes" and pairs("alone", ("a", "b")).scorer.targets == "classes"
    for choices, line in (
        (("roc_auc",), "`rule.pairs` serves `score.metric` gap, and it is roc_auc: leave it out"),
        (("gap", ("a", "b")), "`rule.pairs` puts labels and their probabilities into one column, and "
            "`table.answer_columns` names 2: leave one of them out"),
        (("alone",), "`score.metric` gap judges labels with their probability: set `rule.pairs` to 1"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            pairs(*choices)
        assert str(caught.value) == line
    with pytest.raises(ConfigError, match="`positive` of RuleConfig must be none with `pairs`, which name labels"):
        RuleConfig(kind="probability", pairs=1, positive="a")
    with pytest.raises(ConfigError, match="`pairs` of RuleConfig must be 1 or above, or none, got 0"):
        RuleConfig(kind="probability", pairs=0)


def test_a_metrics_name_is_kept_as_given():
    scorer = recipe_of("multiclass", rule="rank", metric="map_at_2").scorer
    assert (scorer.name, scorer.title, scorer.metric) == ("map_at_2", "MAP@2", METRICS["map_at_k"])


def test_an_unknown_metric_is_refused_with_all_names():
    with pytest.raises(ConfigError) as caught:
        ScoreConfig(metric="map_at_x")
    line = str(caught.value)
    assert "\n" not in line and line.endswith("got 'map_at_x'") and "(k may be a number, as in map_at_5)" in line
    assert all(name in line for name in METRICS)
