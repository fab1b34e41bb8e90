"""One plain sentence on each metric and each column of the table of labels, for readers of a report."""

from __future__ import annotations

MEANINGS: dict[str, str] = {
    "f_beta": "Weighs precision against recall; with beta 2 a missed label costs more than a wrong one. 1 is best.",
    "accuracy": "Share of rows, or of questions, answered correctly.",
    "map_at_k": "Mean of 1 / rank of the right answer among the first k; 0 for a row without it.",
    "precision_at_k": "Share of the k answers to a query that show the same identity.",
    "log_loss": "Mean of -log of the probability given to what is true; being sure and wrong costs most. 0 is best.",
    "kl_divergence": "Distance of the predicted probabilities from the shares of votes, in nats. 0 is best.",
    "focal_loss": "Log loss in which labels that are predicted well already count little. 0 is best.",
    "roc_auc": "Probability that a true row is ranked above a false one; 0.5 is chance. A mean over labels.",
    "roc_auc_weighted": "Area under the ROC curve in which some ranges of the true positive rate count more.",
    "roc_auc_partial": "Area under the ROC curve above a minimum true positive rate.",
    "average_precision": "Area under the precision-recall curve; chance is the share of true rows. A mean over labels.",
    "probabilistic_f1": "F1 in which each answer counts by its probability; there is no threshold.",
    "gap": "Global average precision: precision along all answers, the surest first. Rewards comparable confidences.",
    "top_k": "Share of rows whose class is among the k most likely.",
    "balanced_accuracy": "Mean over classes of the share of their rows answered correctly; rare classes count fully.",
    "f1_macro": "Mean of each label's F1; rare labels count as much as frequent ones.",
    "f1_micro": "F1 of all labels of all rows together; frequent labels decide.",
    "f1_samples": "Mean of each row's F1: the overlap of its answered labels with its true ones.",
    "f_beta_macro": "Mean of each label's F-beta; rare labels count as much as frequent ones.",
    "macro_recall": "Mean over questions of the mean over their classes of the share of rows found.",
    "mcc": "Correlation of answers and truth; 0 is chance, 1 is best. Fair when classes differ in size.",
    "quadratic_kappa": "Agreement beyond chance; an error costs the square of how many grades it is off. 1 is best.",
    "rmse": "Root of the mean squared error, in units of the target; large errors dominate. 0 is best.",
    "mae": "Mean absolute error, in units of the target. 0 is best.",
    "mape": "Mean absolute error as a share of the true number. 0 is best.",
    "r2": "Share of the variance explained; 0 is no better than the mean, 1 is best.",
    "pearson": "Linear correlation of answered and true numbers. 1 is best.",
    "spearman": "Correlation of the ranks of answered and true numbers: only their order counts. 1 is best.",
}
COLUMNS: dict[str, str] = {
    "true": "rows that have the label",
    "expected": "sum of the label's probabilities: the rows it would have if they were calibrated",
    "chosen": "rows that are answered with the label",
    "hits": "rows that have the label and are answered with it",
    "precision": "share of the chosen rows that have the label",
    "recall": "share of the true rows that are answered with the label",
    "f_beta": "precision and recall in one number",
    "average_precision": "area under the label's precision-recall curve, over all thresholds",
    "threshold": "probability from which the label is answered",
    "threshold_low": "lower end of the threshold's 95% bootstrap interval",
    "threshold_high": "upper end of the threshold's 95% bootstrap interval",
    "cutpoint": "number from which this grade is answered",
    "cutpoint_low": "lower end of the cut-point's 95% bootstrap interval",
    "cutpoint_high": "upper end of the cut-point's 95% bootstrap interval",
    "share": "share of the rows that are to be answered with the label",
    "drift": "answered rows minus the rows of that share",
    "mean_true": "mean of the true numbers",
    "mean_answer": "mean of the answered numbers",
    **{name: MEANINGS[name] for name in ("rmse", "mae", "r2", "pearson", "spearman")},
}


def meaning_of(name: str) -> str:
    """Return what the metric of this name in a recipe or in `scores.json` means; "" for a user's own.

    `map_at_5` means what `map_at_k` does.
    """
    if name in MEANINGS:
        return MEANINGS[name]
    stem, _, number = name.rpartition("_")
    return MEANINGS.get(f"{stem}_k", "") if number.isdecimal() else ""
