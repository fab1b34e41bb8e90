"""Rows of METRICS as they are made: kinds of metrics, their titles, and the ranges of their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

from imettk.metrics.auc import class_constant, constant, for_classes
from imettk.metrics.labels import Average, best_constant_f_beta, f_beta, f_beta_resampled
from imettk.metrics.metric import Metric

# Forms of targets.
LABELS, CLASSES, GRADES = "labels", "classes", "grades"
VALUES, VOTES, QUESTIONS = "values", "votes", "questions"
Functions = tuple[Any, Any, Any]


def f_beta_title(params: Mapping[str, Any]) -> str:
    """Return the name in print of an F-beta, such as `macro F1`."""
    average = "" if params["average"] == "samples" else f"{params['average']} "
    return f"{average}F{params['beta']:g}"


def check_beta(params: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the parameter `beta`, or None."""
    return None if params["beta"] > 0 else f"beta must be above 0, got {params['beta']}"


def check_f_beta(params: Mapping[str, Any]) -> str | None:
    """Return what is wrong with `beta` or `average`, or None."""
    if wrong := check_beta(params):
        return wrong
    known = params["average"] in get_args(Average)
    return None if known else f"average must be {' or '.join(get_args(Average))}, got {params['average']!r}"


def check_k(params: Mapping[str, Any]) -> str | None:
    """Return what is wrong with `k`, or None."""
    return None if params["k"] >= 1 else f"k must be at least 1, got {params['k']}"


def check_gamma(params: Mapping[str, Any]) -> str | None:
    """Return what is wrong with `gamma`, or None."""
    return None if params["gamma"] >= 0 else f"gamma must be 0 or above, got {params['gamma']}"


def check_eps(params: Mapping[str, Any]) -> str | None:
    """Return what is wrong with `eps`, or None."""
    return None if 0 < params["eps"] < 0.5 else f"eps must be in (0, 0.5), got {params['eps']}"


def check_above(params: Mapping[str, Any]) -> str | None:
    """Return what is wrong with `above`, or None."""
    return None if 0 <= params["above"] < 1 else f"above must be in [0, 1), got {params['above']}"


def of_columns(score: Callable[..., float], resampled: Any, title: Callable[..., str], **more: Any) -> Metric:
    """A metric of probabilities, column by column, to which the order of rows is all that counts."""
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


def of_answers(
    labels: Functions | None,
    classes: Functions | None,
    title: str,
    low: float = 0,
    values: Functions | None = None,
    **more: Any,
) -> Metric:
    """A metric of answers of labels, of classes and grades, and of numbers: score, best constant answer, bootstrap."""
    given = {LABELS: labels, CLASSES: classes, GRADES: classes, VALUES: values}
    rows = {form: functions for form, functions in given.items() if functions is not None}
    score, best, resampled = ({form: row[place] for form, row in rows.items()} for place in range(3))
    return Metric(
        "answers",
        tuple(rows),
        score,
        lambda params: title.format(**params),
        best_constant=best,
        resampled={form: function for form, function in resampled.items() if function is not None},
        low=low,
        high=1,
        **more,
    )


def f_beta_of(**params: Any) -> tuple[Any, Any, Any]:
    """What `of_answers` takes, of F-beta of labels."""
    return partial(f_beta, **params), partial(best_constant_f_beta, **params), partial(f_beta_resampled, **params)


def of_values(title: str, score: Any, best: Any, resampled: Any = None, **more: Any) -> Metric:
    """A metric of numbers."""
    return Metric("values", (VALUES,), score, lambda params: title, best_constant=best, resampled=resampled, **more)
