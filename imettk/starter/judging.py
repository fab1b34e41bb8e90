"""The competition's metric, and the answers it takes: labels, numbers, or probabilities, and of which label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from imettk.config import RuleConfig, TableFormat
from imettk.data.csv_files import LISTED
from imettk.errors import ConfigError, DataError
from imettk.metrics import METRICS, find_metric, metric_names
from imettk.metrics.labels import Average
from imettk.metrics.metric import Metric
from imettk.starter.finding import Finding
from imettk.starter.guess_columns import Choices, plain_name
from imettk.starter.guess_sample import Sample
from imettk.starter.questions import Question, Ranked
from imettk.tasks import TASKS
from imettk.tasks.task import grades_of, numbers_of

# Names of classes for the absence of something: a single probability is hardly ever theirs.
NEGATIVE = re.compile(
    r"0(\.0*)?|no|none|not?[ _-].*|negative|neg|normal|healthy|benign|absent|false|background|clean|good|control|other",
    re.IGNORECASE,
)
WHOLE = re.compile(r"[+-]?[0-9]+")


class Judging(NamedTuple):
    """A competition's metric and the rule that makes the answers it judges.

    Attributes:
        metric: a row of METRICS, None for that of the question's rule.
        rule: the rule, None for that of the question.
        finding: a line about the metric.
        doubt: a decision left to the user, if there is one.
    """

    metric: str | None
    rule: RuleConfig | None
    finding: Finding
    doubt: str | None = None


def judges_grades(metric: str | None, labels: Iterable[str]) -> bool:
    """Return whether labels are numbers, and this metric depends on the distance between them."""
    named = None if metric is None else find_metric(metric)
    return named is not None and named[0].ordered and numbers_of([*labels]) is not None


def judge(
    question: Question,
    labels: Sequence[str],
    form: TableFormat,
    sample: Sample | None,
    ranked: Ranked | None,
    choices: Choices,
    *,
    every_row: bool = True,
) -> Judging:
    """Return the requested metric, or the most likely one, and the rule that makes the answers it judges.

    Args:
        labels: all labels, sorted.
        every_row: each row of the training table has a label.

    Raises:
        ConfigError: there is no such metric, or it depends on distances, and labels are words.
        DataError: the sample asks for a single probability of one of many labels, without naming it.
    """
    metric = choices.metric
    row = None if metric is None else _find_row(metric, question, labels)
    if TASKS[question.task].numeric:
        return _by_numbers(question, form, sample, metric)
    pairs = sample is not None and sample.shows_pairs(labels)
    reason = _why_probabilities(labels, form, sample, ranked, pairs)
    if TASKS[question.task].votes:
        reason = "the default for votes"
    if TASKS[question.task].asks_columns:
        reason = None  # questions are answered with classes
    elif row is not None:
        reason = "as requested" if row[0].needs == "probs" else None
    if reason is None:
        return _by_labels(question, labels, metric, every_row=every_row)
    likeliest = _likeliest(question, form, pairs=pairs)
    chosen, doubt, what = metric or likeliest[0], None, "a probability for each label"
    rule = RuleConfig(kind="probability")
    wants = (row or (METRICS[chosen], {}))[0].wants
    if pairs or "pairs" in wants:
        what, rule = "a label and its probability", replace(rule, pairs=1)
    elif not form.label_answers:
        positive, doubt = _positive(labels, form, sample)
        what, rule = f"the probability of {positive or labels[0]}", replace(rule, positive=positive)
    if "calibrate" in wants:
        rule = replace(rule, calibrate=wants["calibrate"])
    finding = Finding("metric", f"{chosen} of {what}", reason + _others(likeliest, metric), "--metric")
    return Judging(chosen, rule, finding, doubt)


def _find_row(metric: str, question: Question, labels: Sequence[str]) -> tuple[Metric, Mapping[str, Any]]:
    """Return the metric of this name, with the parameters that the name implies, such as the k of `map_at_5`.

    Raises:
        ConfigError: there is no such metric, or it depends on distances, and labels are words.
    """
    row = find_metric(metric)
    if row is None:
        raise ConfigError(f"--metric must be one of {metric_names()}, got {metric!r}")
    if row[0].ordered and not TASKS[question.task].numeric and numbers_of(labels) is None:
        raise ConfigError(
            f"--metric {metric} depends on the distance between grades, but {', '.join(labels[:4])} are not numbers: "
            "write numbers in their place"
        )
    return row


def _by_numbers(question: Question, form: TableFormat, sample: Sample | None, metric: str | None) -> Judging:
    """Return a metric of numbers, answered with whole ones if the sample submission has no others."""
    usual, targets = question.rule.usual_metric, TASKS[question.task].targets
    fits = [usual, *(name for name, row in METRICS.items() if targets in row.targets and name != usual)]
    whole = sample is not None and all(WHOLE.fullmatch(cell) for cell in sample.cells) and len(sample.cells) > 1
    what = f"{metric or usual} of whole numbers, as in {form.sample_csv}" if whole else metric or usual
    reason = "as requested" if metric else f"the default{_others(fits, None)}"
    finding = Finding("metric", what, reason, "--metric")
    wants = {} if metric is None or (named := find_metric(metric)) is None else dict(named[0].wants)
    if "kind" not in wants and whole:
        wants = {"whole": True}
    return Judging(metric, replace(question.rule, **wants) if wants else None, finding)


def _why_probabilities(
    labels: Sequence[str], form: TableFormat, sample: Sample | None, ranked: Ranked | None, pairs: bool
) -> str | None:
    """Return the reason why the sample asks for probabilities; None if it asks for labels."""
    if sample is None or ranked is not None:
        return None
    if pairs:
        return "each cell of the sample submission has a label and a number"
    if form.label_answers:
        return "the sample submission has a column for each label" if sample.shows_probabilities else None
    if sample.shows_probabilities and sample.has_fractions and not set(sample.cells) & set(labels):
        return f"the sample submission has numbers such as {sample.cells[0]}"
    if sample.shows_probabilities and any(plain_name(label) == plain_name(sample.answers[0]) for label in labels):
        return f"the sample submission's column is named after the label {sample.answers[0]}"
    # When in doubt, answer with probabilities: graders refuse a probability in place of a label, but score a label in
    # place of a probability in silence, and much lower (.740 instead of .988 AUC on melanoma).
    if _are_0_and_1(labels) and sample.shows_probabilities:
        return "labels are 0 and 1, which are mostly judged by their probability"
    return None


def _by_labels(question: Question, labels: Sequence[str], metric: str | None, *, every_row: bool) -> Judging:
    """Return a metric of labels, and a rule that aims at its F-beta if it is one."""
    targets, usual, rule = TASKS[question.task].targets, question.rule.usual_metric, question.rule
    fits = [name for name, row in METRICS.items() if targets in row.targets and row.needs == METRICS[usual].needs]
    others = _others([usual, *(name for name in fits if name != usual)], None)
    reason = "as requested" if metric else f"the default{others}"
    goal = None if metric is None else _goal_of(metric, targets)
    if goal is not None and question.several:
        rule = replace(rule, beta=goal[0], average=goal[1])
        if goal[1] == "macro":  # a mean over labels: each can have a threshold of its own
            rule = replace(rule, **question.each_label)
    if goal is None and metric is not None and grades_of(labels) is not None:
        named = find_metric(metric)
        rule = replace(rule, **{} if named is None else named[0].wants)
    if question.several and not every_row:
        rule = replace(rule, min_labels=0)
    changed = None if rule == question.rule else rule
    return Judging(metric, changed, Finding("metric", metric or usual, reason, "--metric"))


def _goal_of(metric: str, targets: str) -> tuple[float, Average] | None:
    """Return the beta and the average of a metric that is an F-beta of such targets, otherwise None."""
    row = find_metric(metric)
    return None if row is None or targets not in row[0].targets else row[0].bound(targets, row[1]).goal


def _likeliest(question: Question, form: TableFormat, *, pairs: bool) -> list[str]:
    """Return the metrics of such probabilities, the most likely first."""
    task = TASKS[question.task]
    fits = [name for name, row in METRICS.items() if task.targets in row.targets and row.needs == "probs"]
    if pairs:
        return sorted(fits, key=lambda name: "pairs" not in METRICS[name].wants)
    if question.metric is not None:
        return sorted(fits, key=lambda name: name != question.metric)
    # One column of the training table holds classes, and the submission has a column for each.
    of_classes = task.exclusive and bool(form.label_answers) and not form.label_columns
    first = ["log_loss", "roc_auc"] if of_classes else ["roc_auc", "log_loss"]
    return first + [name for name in fits if name not in first and "pairs" not in METRICS[name].wants]


def _others(names: Sequence[str], metric: str | None) -> str:
    """Return the end of a reason that lists the other metrics that fit, empty if one was requested."""
    others = [name for name in names[1:] if name != metric]
    more = ", ..." if len(others) > LISTED else ""
    return "" if metric is not None or not others else f"; alternatives: {', '.join(others[:LISTED])}{more}"


def _are_0_and_1(labels: Sequence[str]) -> bool:
    """Return whether labels are 0 and 1, or 0.0 and 1.0."""
    return {label.removesuffix(".0") for label in labels} == {"0", "1"}


def _positive(labels: Sequence[str], form: TableFormat, sample: Sample | None) -> tuple[str | None, str | None]:
    """Return the label of a single column of probabilities, and a line if that is in doubt.

    Raises:
        DataError: it may be any of more than two labels.
    """
    if len(labels) == 1:
        return None, None
    column = form.filled_columns[0]
    if alike := [label for label in labels if plain_name(label) == plain_name(column)]:
        return alike[0], None
    if _are_0_and_1(labels):
        return max(labels), None
    if len(labels) > 2:
        raise DataError(
            f"{sample.csv if sample else 'the sample submission'}: column {column} is for the probability of a single "
            f"one of {len(labels)} labels, which cannot be guessed: name the column after its label"
        )
    affirmative = [label for label in labels if not NEGATIVE.fullmatch(label)]
    positive = affirmative[0] if len(affirmative) == 1 else labels[-1]
    return positive, (
        f"column {column} may be the probability of {labels[0]} or of {labels[1]}, and {positive} is a guess: see the "
        "competition's page, and change `positive` in the recipe if it is wrong"
    )
