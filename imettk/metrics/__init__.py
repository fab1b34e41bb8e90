"""Metrics, which judge answers: one family per module, each metric a row of METRICS."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from imettk.metrics.agreement import (
    balanced_accuracy,
    balanced_accuracy_resampled,
    best_constant_balanced_accuracy,
    best_constant_class_balanced_accuracy,
    best_constant_mcc,
    best_constant_quadratic_kappa,
    class_balanced_accuracy,
    class_mcc,
    mcc,
    mcc_resampled,
    quadratic_kappa,
    quadratic_kappa_resampled,
)
from imettk.metrics.auc import (
    average_precision,
    average_precision_resampled,
    best_constant_class_gap,
    best_constant_gap,
    check_ranges,
    class_gap,
    class_gap_resampled,
    for_classes,
    gap,
    gap_resampled,
    roc_auc,
    roc_auc_partial,
    roc_auc_partial_resampled,
    roc_auc_resampled,
    roc_auc_weighted,
    roc_auc_weighted_resampled,
)
from imettk.metrics.f1 import (
    best_constant_class_f_beta_macro,
    best_constant_class_probabilistic_f1,
    best_constant_probabilistic_f1,
    class_f_beta_macro,
    probabilistic_f1,
)
from imettk.metrics.labels import (
    EPS,
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
from imettk.metrics.questions import (
    best_constant_macro_recall,
    best_constant_question_accuracy,
    best_constant_question_log_loss,
    macro_recall,
    macro_recall_resampled,
    question_accuracy,
    question_log_loss,
)
from imettk.metrics.ranked import (
    best_constant_ranking,
    best_constant_top_k,
    map_at_k,
    map_at_k_resampled,
    precision_at_k,
    top_k,
    top_k_resampled,
)
from imettk.metrics.rows import (
    CLASSES,
    LABELS,
    QUESTIONS,
    VOTES,
    answer_metric,
    check_above,
    check_beta,
    check_eps,
    check_f_beta,
    check_gamma,
    check_k,
    column_metric,
    f_beta_functions,
    f_beta_title,
    value_metric,
)
from imettk.metrics.values import (
    best_constant_correlation,
    best_constant_mae,
    best_constant_mape,
    best_constant_r2,
    best_constant_rmse,
    mae,
    mae_resampled,
    mape,
    mape_resampled,
    pearson,
    pearson_resampled,
    r2,
    r2_resampled,
    rmse,
    rmse_resampled,
    spearman,
)
from imettk.metrics.votes import (
    KAGGLE_EPS,
    best_constant_kl_divergence,
    best_constant_vote_log_loss,
    kl_divergence,
    kl_divergence_resampled,
    vote_log_loss,
    vote_log_loss_resampled,
)

METRICS: dict[str, Metric] = {
    "f_beta": Metric(
        "answers",
        (LABELS,),
        f_beta,
        f_beta_title,
        params={"beta": 2.0, "average": "samples"},
        check=check_f_beta,
        goal=lambda params: (params["beta"], params["average"]),
        best_constant=best_constant_f_beta,
        resampled=f_beta_resampled,
        low=0,
        high=1,
    ),
    "accuracy": Metric(
        "answers",
        (CLASSES, QUESTIONS),
        {CLASSES: accuracy, QUESTIONS: question_accuracy},
        lambda params: "accuracy",
        best_constant={CLASSES: best_constant_accuracy, QUESTIONS: best_constant_question_accuracy},
        resampled={CLASSES: accuracy_resampled},
        cuts="accuracy",
        low=0,
        high=1,
    ),
    "map_at_k": Metric(
        "ranked",
        (CLASSES,),
        map_at_k,
        lambda params: f"MAP@{params['k']}",
        params={"k": 5},
        check=check_k,
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
        check=check_k,
        low=0,
        high=1,
    ),
    "log_loss": Metric(
        "probs",
        (LABELS, CLASSES, VOTES, QUESTIONS),
        {LABELS: log_loss, CLASSES: class_log_loss, VOTES: vote_log_loss, QUESTIONS: question_log_loss},
        lambda params: "log loss",
        higher=False,
        params={"eps": EPS},
        check=check_eps,
        best_constant={
            LABELS: best_constant_log_loss,
            CLASSES: best_constant_class_log_loss,
            QUESTIONS: best_constant_question_log_loss,
            VOTES: best_constant_vote_log_loss,
        },
        resampled={VOTES: vote_log_loss_resampled},
        wants={"calibrate": "temperature"},
        low=0,
    ),
    "kl_divergence": Metric(
        "probs",
        (VOTES,),
        kl_divergence,
        lambda params: "KL divergence",
        higher=False,
        params={"eps": KAGGLE_EPS},
        check=check_eps,
        best_constant=best_constant_kl_divergence,
        resampled=kl_divergence_resampled,
        wants={"calibrate": "temperature"},
        low=0,
    ),
    "focal_loss": Metric(
        "probs",
        (LABELS,),
        focal_loss,
        lambda params: "focal loss",
        higher=False,
        params={"gamma": 2.0},
        check=check_gamma,
        low=0,
    ),
    "roc_auc": column_metric(roc_auc, roc_auc_resampled, lambda params: "ROC AUC"),
    "roc_auc_weighted": column_metric(
        roc_auc_weighted,
        roc_auc_weighted_resampled,
        lambda params: "weighted ROC AUC",
        params={"edges": "0 0.4 1", "weights": "2 1"},
        check=lambda params: check_ranges(**params),
    ),
    "roc_auc_partial": column_metric(
        roc_auc_partial,
        roc_auc_partial_resampled,
        lambda params: f"ROC AUC above {params['above']:.6g} TPR",
        params={"above": 0.8},
        check=check_above,
        high=lambda params: 1 - params["above"],
    ),
    "average_precision": column_metric(
        average_precision, average_precision_resampled, lambda params: "average precision"
    ),
    "probabilistic_f1": Metric(
        "probs",
        (LABELS, CLASSES),
        {LABELS: probabilistic_f1, CLASSES: for_classes(probabilistic_f1)},
        lambda params: "probabilistic F1",
        best_constant={LABELS: best_constant_probabilistic_f1, CLASSES: best_constant_class_probabilistic_f1},
        low=0,
        high=1,
    ),
    "gap": Metric(
        "probs",
        (LABELS, CLASSES),
        {LABELS: gap, CLASSES: class_gap},
        lambda params: "GAP",
        best_constant={LABELS: best_constant_gap, CLASSES: best_constant_class_gap},
        resampled={LABELS: gap_resampled, CLASSES: class_gap_resampled},
        wants={"pairs": 1, "positive": None},
        low=0,
        high=1,
    ),
    "top_k": Metric(
        "probs",
        (CLASSES,),
        top_k,
        lambda params: f"top-{params['k']} accuracy",
        params={"k": 5},
        check=check_k,
        best_constant=best_constant_top_k,
        resampled=top_k_resampled,
        low=0,
        high=1,
    ),
    "balanced_accuracy": answer_metric(
        (balanced_accuracy, best_constant_balanced_accuracy, balanced_accuracy_resampled),
        (class_balanced_accuracy, best_constant_class_balanced_accuracy, None),
        "balanced accuracy",
    ),
    "f1_macro": answer_metric(
        f_beta_functions(average="macro", beta=1.0),
        (partial(class_f_beta_macro, beta=1.0), partial(best_constant_class_f_beta_macro, beta=1.0), None),
        "macro F1",
        cuts="f1_macro",
        goal=lambda params: (1.0, "macro"),
    ),
    # With exactly one class per row, each wrong answer is one false negative and one false positive: micro F1 is
    # accuracy.
    "f1_micro": answer_metric(
        f_beta_functions(average="micro", beta=1.0),
        (accuracy, best_constant_accuracy, accuracy_resampled),
        "micro F1",
        cuts="accuracy",
        goal=lambda params: (1.0, "micro"),
    ),
    "f1_samples": answer_metric(
        f_beta_functions(average="samples", beta=1.0), None, "F1", goal=lambda params: (1.0, "samples")
    ),
    "f_beta_macro": answer_metric(
        f_beta_functions(average="macro"),
        (class_f_beta_macro, best_constant_class_f_beta_macro, None),
        "macro F{beta:g}",
        params={"beta": 2.0},
        check=check_beta,
        goal=lambda params: (params["beta"], "macro"),
    ),
    "macro_recall": Metric(
        "answers",
        (QUESTIONS,),
        macro_recall,
        lambda params: "macro recall",
        params={"weights": ""},
        best_constant=best_constant_macro_recall,
        resampled=macro_recall_resampled,
        low=0,
        high=1,
    ),
    "mcc": answer_metric((mcc, best_constant_mcc, mcc_resampled), (class_mcc, best_constant_mcc, None), "MCC", low=-1),
    "quadratic_kappa": answer_metric(
        None,
        (quadratic_kappa, best_constant_quadratic_kappa, quadratic_kappa_resampled),
        "quadratic kappa",
        values=(quadratic_kappa, best_constant_quadratic_kappa, quadratic_kappa_resampled),
        cuts="quadratic_kappa",
        ordered=True,
        wants={"kind": "cutpoints"},
        low=-1,
    ),
    "rmse": value_metric("RMSE", rmse, best_constant_rmse, rmse_resampled, higher=False, low=0),
    "mae": value_metric("MAE", mae, best_constant_mae, mae_resampled, higher=False, low=0),
    "mape": value_metric("MAPE", mape, best_constant_mape, mape_resampled, higher=False, low=0),
    "r2": value_metric("R2", r2, best_constant_r2, r2_resampled, params={"weights": "", "pooled": False}, high=1),
    "pearson": value_metric("Pearson's r", pearson, best_constant_correlation, pearson_resampled, low=-1, high=1),
    "spearman": value_metric("Spearman's rho", spearman, best_constant_correlation, low=-1, high=1),
}


def find_metric(name: str) -> tuple[Metric, dict[str, Any]] | None:
    """Return a metric's row by its name in a recipe, and the parameters that are part of the name; None if unknown.

    `map_at_5` is the row `map_at_k` with k = 5; the same holds for every row whose name ends in `_k`.
    """
    if name in METRICS:
        return METRICS[name], {}
    stem, _, number = name.rpartition("_")
    row = METRICS.get(f"{stem}_k")
    return None if row is None or not re.fullmatch("0|[1-9][0-9]*", number) else (row, {"k": int(number)})


def metric_names() -> str:
    """Return all metric names that a recipe accepts, as text for a message."""
    return f"{', '.join(METRICS)} (k may be a number, as in map_at_5)"


__all__ = ["LABELS", "METRICS", "Metric", "Needs", "Scorer", "bind", "find_metric", "metric_names"]
