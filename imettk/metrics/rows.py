"""Builders of METRICS' rows: kinds of metrics, their titles, and the checks of their parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, get_args

from imettk.metrics.auc import class_constant, constant, for_classes
from imettk.metrics.labels import Average, best_constant_f_beta, f_beta, f_beta_resampled
from imettk.metrics.metric import Metric, Params, Resampled, Score

# Forms of targets.
LABELS, CLASSES, GRADES = "labels", "classes", "grades"
VALUES, VOTES, QUESTIONS = "values", "votes", "questions"
Functions = tuple[Score, Score, Resampled | None]  # score, score of the best constant answer, bootstrap


def f_beta_title(params: Params) -> str:
    """Return the printed name of an F-beta, such as `macro F1`."""
    average = "" if params["average"] == "samples" else f"{params['average']} "
    return f"{average}F{params['beta']:g}"


def check_beta(params: Params) -> str | None:
    """Return what is wrong with the parameter `beta`, or None."""
    return None if params["beta"] > 0 else f"beta must be above 0, got {params['beta']}"


def check_f_beta(params: Params) -> str | None:
    """Return what is wrong with `beta` or `average`, or None."""
    if wrong := check_beta(params):
        return wrong
    known = params["average"] in get_args(Average)
    return None if known else f"average must be {' or '.join(get_args(Average))}, got {params['average']!r}"


def check_k(params: Params) -> str | None:
    """Return what is wrong with `k`, or None."""
    return None if params["k"] >= 1 else f"k must be at least 1, got {params['k']}"


def check_gamma(params: Params) -> str | None:
    """Return what is wrong with `gamma`, or None."""
    return None if params["gamma"] >= 0 else f"gamma must be 0 or above, got {params['gamma']}"


def check_eps(params: Params) -> str | None:
    """Return what is wrong with `eps`, or None."""
    return None if 0 < params["eps"] < 0.5 else f"eps must be in (0, 0.5), got {params['eps']}"


def check_above(params: Params) -> str | None:
    """Return what is wrong with `above`, or None."""
    return None if 0 <= params["above"] < 1 else f"above must be in [0, 1), got {params['above']}"


def column_metric(score: Score, resampled: Resampled, title: Callable[[Params], str], **more: Any) -> Metric:
    """Return a metric that scores probabilities column by column and depends only on the order of rows."""
    return Metric(
        "probs",
        (LABELS, CLASSES),
        {LABELS: score, CLASSES: for_classes(score)},
        title,
        best_constant={LABELS: constant(score), CLASSES: class_constant(score)},
        resampled={LABELS: resampled, CLASSES: for_classes(resampled)},
        low=0,
        **({"high": 1} | more),
    )


def answer_metric(
    labels: Functions | None,
    classes: Functions | None,
    title: str,
    low: float = 0,
    values: Functions | None = None,
    **more: Any,
) -> Metric:
    """Return a metric of answers: labels, classes or grades, or numbers.

    Args:
        labels, classes, values: (score, best constant score, bootstrap) for that form of targets.
    """
    by_form = {LABELS: labels, CLASSES: classes, GRADES: classes, VALUES: values}
    rows = {form: functions for form, functions in by_form.items() if functions is not None}
    return Metric(
        "answers",
        tuple(rows),
        {form: score for form, (score, _, _) in rows.items()},
        lambda params: title.format(**params),
        best_constant={form: best for form, (_, best, _) in rows.items()},
        resampled={form: resampled for form, (_, _, resampled) in rows.items() if resampled is not None},
        low=low,
        high=1,
        **more,
    )


def f_beta_functions(**params: Any) -> Functions:
    """Return F-beta's functions for labels, as `answer_metric` takes them."""
    return partial(f_beta, **params), partial(best_constant_f_beta, **params), partial(f_beta_resampled, **params)


def value_metric(title: str, score: Score, best: Score, resampled: Resampled | None = None, **more: Any) -> Metric:
    """Return a metric of numbers."""
    return Metric("values", (VALUES,), score, lambda params: title, best_constant=best, resampled=resampled, **more)
