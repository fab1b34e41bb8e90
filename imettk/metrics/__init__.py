"""How answers are judged, one family a module; each metric is a row of METRICS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from imettk.metrics.labels import (
    Average,
    accuracy,
    accuracy_resampled,
    best_constant_accuracy,
    best_constant_class_log_loss,
    best_constant_f_beta,
    best_constant_log_loss,
    class_log_loss,
    f_beta,
    f_beta_resampled,
    focal_loss,
    log_loss,
)
from imettk.metrics.metric import Metric, Needs, Scorer, bind
from imettk.metrics.ranked import best_constant_ranking, map_at_k, map_at_k_resampled, precision_at_k

LABELS, CLASSES = "labels", "classes"  # forms of targets


def _f_beta_title(params: Mapping[str, Any]) -> str:
    average = "" if params["average"] == "samples" else f"{params['average']} "
    return f"{average}F{params['beta']:g}"


def _check_f_beta(params: Mapping[str, Any]) -> str | None:
    if not params["beta"] > 0:
        return f"beta must be above 0, got {params['beta']}"
    known = params["average"] in get_args(Average)
    return None if known else f"average must be {' or '.join(get_args(Average))}, got {params['average']!r}"


def _check_k(params: Mapping[str, Any]) -> str | None:
    return None if params["k"] >= 1 else f"k must be at least 1, got {params['k']}"


def _check_gamma(params: Mapping[str, Any]) -> str | None:
    return None if params["gamma"] >= 0 else f"gamma must be 0 or above, got {params['gamma']}"


METRICS: dict[str, Metric] = {
    "f_beta": Metric(
        "answers",
        (LABELS,),
        f_beta,
        _f_beta_title,
        params={"beta": 2.0, "average": "samples"},
        check=_check_f_beta,
        best_constant=best_constant_f_beta,
        resampled=f_beta_resampled,
        low=0,
        high=1,
    ),
    "accuracy": Metric(
        "answers",
        (CLASSES,),
        accuracy,
        lambda params: "accuracy",
        best_constant=best_constant_accuracy,
        resampled=accuracy_resampled,
        low=0,
        high=1,
    ),
    "map_at_k": Metric(
        "ranked",
        (CLASSES,),
        map_at_k,
        lambda params: f"MAP@{params['k']}",
        params={"k": 5},
        check=_check_k,
        best_constant=best_constant_ranking,
        resampled=map_at_k_resampled,
        low=0,
        high=1,
    ),
    "precision_at_k": Metric(
        "ranked",
        (CLASSES,),
        precision_at_k,
        lambda params: f"precision@{params['k']}",
        params={"k": 5},
        check=_check_k,
        low=0,
        high=1,
    ),
    "log_loss": Metric(
        "probs",
        (LABELS, CLASSES),
        {LABELS: log_loss, CLASSES: class_log_loss},
        lambda params: "log loss",
        higher=False,
        best_constant={LABELS: best_constant_log_loss, CLASSES: best_constant_class_log_loss},
        low=0,
    ),
    "focal_loss": Metric(
        "probs",
        (LABELS,),
        focal_loss,
        lambda params: "focal loss",
        higher=False,
        params={"gamma": 2.0},
        check=_check_gamma,
        low=0,
    ),
}

__all__ = ["METRICS", "Metric", "Needs", "Scorer", "bind"]
