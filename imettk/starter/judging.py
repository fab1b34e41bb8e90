"""By which metric a competition judges, and what it wants written: labels, or probabilities, and of which label."""

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

# Names of classes that say that something is not there: a single probability is hardly theirs.
NEGATIVE = re.compile(
    r"0(\.0*)?|no|none|not?[ _-].*|negative|neg|normal|healthy|benign|absent|false|background|clean|good|control|other",
    re.IGNORECASE,
)


WHOLE = re.compile(r"[+-]?[0-9]+")


class Judging(NamedTuple):
    """How a competition judges.

    Attributes:
        metric: a row of METRICS, None for that of the question's rule.
        rule: what answers, None for that of the question.
        finding: the line that says so.
        doubt: what a person has to decide, None where nothing is in doubt.
    """

    metric: str | None
    rule: RuleConfig | None
    finding: Finding
    doubt: str | None = None


def judges_grades(metric: str | None, labels: Iterable[str]) -> bool:
    """Return whether labels are numbers, and this metric judges how far they are apart."""
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
    """Return the metric that was asked for, or the likeliest, and the rule that gives what it judges.

    Args:
        labels: sorted.
        form: of the tables.
        every_row: each row of the training table has a label.

    Raises:
        ConfigError: there is no such metric, or it judges grades, and labels are words.
        DataError: the sample asks for a single probability, and of which of many labels cannot be told.
    """
    metric = choices.metric
    row = None if metric is None else _find_row(metric, question, labels)
    if TASKS[question.task].numeric:
        return _by_numbers(question, form, sample, metric)
    pairs = sample is not None and sample.shows_pairs(labels)
    reason = _wants_probabilities(labels, form, sample, ranked, pairs)
    if TASKS[question.task].votes:
        reason = "the usual one of votes"
    if TASKS[question.task].asks_columns:
        reason = None  # a column holds classes
    elif row is not None:
        reason = "as asked for" if row[0].needs == "probs" else None
    if reason is None:
        return _by_labels(question, labels, metric, every_row=every_row)
    likeliest = _likeliest(question, form, pairs=pairs)
    chosen, doubt, what = metric or likeliest[0], None, "a probability a label"
    rule = RuleConfig(kind="probability")
    wants = (row or (METRICS[chosen], {}))[0].wants
    if pairs or "pairs" in wants:
        what, rule = "a label and its probability", replace(rule, pairs=1)
    elif not form.label_answers:
        positive, doubt = _positive(labels, form, sample)
        what, rule = f"the probability of {positive or labels[0]}", replace(rule, positive=positive)
    if "calibrate" in wants:
        rule = replace(rule, calibrate=wants["calibrate"])
    finding = Finding("metric", f"{chosen}, of {what}", reason + _others(likeliest, metric), "--metric")
    return Judging(chosen, rule, finding, doubt)


def _find_row(metric: str, question: Question, labels: Sequence[str]) -> tuple[Metric, Mapping[str, Any]]:
    """The metric of a name, with the parameters that the name says."""
    row = find_metric(metric)
    if row is None:
        raise ConfigError(f"--metric must be one of {metric_names()}, got {metric!r}")
    if row[0].ordered and not TASKS[question.task].numeric and numbers_of(labels) is None:
        raise ConfigError(
            f"--metric {metric} judges how far grades are apart, and {', '.join(labels[:4])} are no numbers: write "
            "numbers in their place"
        )
    return row


def _by_numbers(question: Question, form: TableFormat, sample: Sample | None, metric: str | None) -> Judging:
    """Numbers are the answers, whole ones where the sample submission has nothing else."""
    usual, targets = question.rule.usual_metric, TASKS[question.task].targets
    fits = [usual, *(name for name, row in METRICS.items() if targets in row.targets and name != usual)]
    whole = sample is not None and all(WHOLE.fullmatch(cell) for cell in sample.cells) and len(sample.cells) > 1
    what = f"{metric or usual}, of whole numbers as in {form.sample_csv}" if whole else metric or usual
    reason = "as asked for" if metric else f"the usual one{_others(fits, None)}"
    finding = Finding("metric", what, reason, "--metric")
    wants = {} if metric is None or (named := find_metric(metric)) is None else dict(named[0].wants)
    if "kind" not in wants and whole:
        wants = {"whole": True}
    return Judging(metric, replace(question.rule, **wants) if wants else None, finding)


def _wants_probabilities(
    labels: Sequence[str], form: TableFormat, sample: Sample | None, ranked: Ranked | None, pairs: bool
) -> str | None:
    """Why probabilities are wanted, as far as can be told; None for labels."""
    if sample is None or ranked is not None:
        return None
    if pairs:
        return "the sample has a label and a number in each cell"
    if form.label_answers:
        return "the sample has a column a label" if sample.shows_probabilities else None
    if sample.shows_probabilities and sample.has_fractions and not set(sample.cells) & set(labels):
        return f"the sample holds numbers such as {sample.cells[0]}"
    if sample.shows_probabilities and any(plain_name(label) == plain_name(sample.answers[0]) for label in labels):
        return f"the sample's column is called like the label {sample.answers[0]}"
    # A label in place of a probability costs a score in silence, a probability in place of a label is refused.
    if _are_0_and_1(labels) and sample.shows_probabilities:
        return "labels are 0 and 1, which are mostly judged by their probability"
    return None


def _by_labels(question: Question, labels: Sequence[str], metric: str | None, *, every_row: bool) -> Judging:
    """Labels are the answers, as many as the F-beta wants by which they are judged."""
    targets, usual, rule = TASKS[question.task].targets, question.rule.usual_metric, question.rule
    fits = [name for name, row in METRICS.items() if targets in row.targets and row.needs == METRICS[usual].needs]
    others = _others([usual, *(name for name in fits if name != usual)], None)
    reason = "as asked for" if metric else f"the usual one{others}"
    goal = None if metric is None else _goal_of(metric, targets)
    if goal is not None and question.several:
        rule = replace(rule, beta=goal[0], average=goal[1])
        if goal[1] == "macro":  # a mean over labels, which do not depend on each other
            rule = replace(rule, **question.each_label)
    if goal is None and metric is not None and grades_of(labels) is not None:
        named = find_metric(metric)
        rule = replace(rule, **{} if named is None else named[0].wants)
    if question.several and not every_row:
        rule = replace(rule, min_labels=0)
    changed = None if rule == question.rule else rule
    return Judging(metric, changed, Finding("metric", metric or usual, reason, "--metric"))


def _goal_of(metric: str, targets: str) -> tuple[float, Average] | None:
    row = find_metric(metric)
    return None if row is None or targets not in row[0].targets else row[0].bound(targets, row[1]).goal


def _likeliest(question: Question, form: TableFormat, *, pairs: bool) -> list[str]:
    """Metrics of such probabilities, the likeliest first."""
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
    others = [name for name in names[1:] if name != metric]
    more = ", ..." if len(others) > LISTED else ""
    return "" if metric is not None or not others else f"; or {', '.join(others[:LISTED])}{more}"


def _are_0_and_1(labels: Sequence[str]) -> bool:
    return {label.removesuffix(".0") for label in labels} == {"0", "1"}


def _positive(labels: Sequence[str], form: TableFormat, sample: Sample | None) -> tuple[str | None, str | None]:
    """The label of a single column of probabilities, and what is in doubt about it."""
    if len(labels) == 1:
        return None, None
    column = form.filled_columns[0]
    if alike := [label for label in labels if plain_name(label) == plain_name(column)]:
        return alike[0], None
    if _are_0_and_1(labels):
        return max(labels), None
    if len(labels) > 2:
        raise DataError(
            f"{sample.csv if sample else 'the sample submission'}: a single column for the probability of one of "
            f"{len(labels)} labels: of which cannot be told; call the column by its label"
        )
    yes = [label for label in labels if not NEGATIVE.fullmatch(label)]
    positive = yes[0] if len(yes) == 1 else labels[-1]
    return positive, (
        f"column {column} may be the probability of {labels[0]} or of {labels[1]}: {positive} is a guess; see the "
        "competition's page, and change `positive` in the recipe"
    )
