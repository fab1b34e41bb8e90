"""Logits and targets for losses over labels, and each such loss as a plain loop."""

import math

import torch


def logits_of(num_samples=6, num_classes=5, seed=0):
    return torch.randn(num_samples, num_classes, generator=torch.Generator().manual_seed(seed)) * 4


def targets_of(num_samples=6, num_classes=5, seed=1):
    chosen = torch.rand(num_samples, num_classes, generator=torch.Generator().manual_seed(seed)) < 0.4
    chosen[0], chosen[1] = False, True  # a row without labels, and one with all
    return chosen.to(torch.uint8)


def log_sigmoid(value):
    return -math.log1p(math.exp(-value)) if value >= 0 else value - math.log1p(math.exp(value))


def bce_by_hand(logits, targets):
    return [
        sum(-log_sigmoid(logit if target else -logit) for logit, target in zip(*row, strict=True)) / len(row[0])
        for row in zip(logits, targets, strict=True)
    ]


def focal_by_hand(logits, targets, gamma=2.0, alpha=0.25):
    rows = []
    for row_logits, row_targets in zip(logits, targets, strict=True):
        total = 0.0
        for logit, target in zip(row_logits, row_targets, strict=True):
            prob = 1 / (1 + math.exp(-logit))
            prob_of_truth, weight = (prob, alpha) if target else (1 - prob, 1 - alpha)
            total += -weight * (1 - prob_of_truth) ** gamma * math.log(prob_of_truth)
        rows.append(total / len(row_logits))
    return rows


def sigmoid(logit):
    return math.exp(log_sigmoid(logit))


def f_beta_by_hand(logits, targets, beta=2.0):
    rows = []
    for row_logits, row_targets in zip(logits, targets, strict=True):
        hits = predicted = labels = 0.0
        for logit, target in zip(row_logits, row_targets, strict=True):
            hits += sigmoid(logit) * target
            predicted += sigmoid(logit)
            labels += target
        smoothing = max(0.0, 1 - labels)
        f_beta = ((1 + beta * beta) * hits + smoothing) / (predicted + beta * beta * labels + smoothing)
        rows.append(1 - f_beta)
    return rows


def jaccard_loss(mistakes, present):
    """Return 1 - Jaccard index of the true labels and a prediction with these mistakes."""
    return len(mistakes) / len(present | mistakes) if mistakes else 0.0


def lovasz_by_hand(logits, targets):
    size, num_classes = len(logits), len(logits[0])
    shares = [0.0] * size
    for column in range(num_classes):
        for sign in (1, -1):
            present = {row for row in range(size) if (targets[row][column] > 0.5) == (sign > 0)}
            errors = [1 - sign * logits[row][column] * (1 if row in present else -1) for row in range(size)]
            mistakes = set()
            for row in sorted(range(size), key=lambda row: -errors[row]):
                step = jaccard_loss(mistakes | {row}, present) - jaccard_loss(mistakes, present)
                mistakes.add(row)
                shares[row] += size * step * max(0.0, errors[row]) / 2 / num_classes
    return shares


def focal_lovasz_by_hand(logits, targets):
    rows = []
    for row_logits, row_targets, share in zip(logits, targets, lovasz_by_hand(logits, targets), strict=True):
        for logit, target in zip(row_logits, row_targets, strict=True):
            prob_of_truth = sigmoid(logit if target else -logit)
            share -= (1 - prob_of_truth) ** 2 * math.log(prob_of_truth)
        rows.append(share)
    return rows


def hard_negative_by_hand(logits, targets, share=0.25):
    rows = []
    for row_logits, row_targets in zip(logits, targets, strict=True):
        present, absent = [], []
        for logit, target in zip(row_logits, row_targets, strict=True):
            loss = -target * log_sigmoid(logit) - (1 - target) * log_sigmoid(-logit)
            (present if target > 0.5 else absent).append(loss)
        counted = present + sorted(absent, reverse=True)[: max(1, round(share * len(absent)))]
        rows.append(sum(counted) / len(counted))
    return rows


def asymmetric_by_hand(logits, targets, gamma_positive=1.0, gamma_negative=4.0, clip=0.05):
    rows = []
    for row_logits, row_targets in zip(logits, targets, strict=True):
        total = 0.0
        for logit, target in zip(row_logits, row_targets, strict=True):
            prob, shifted = sigmoid(logit), max(0.0, sigmoid(logit) - clip)
            if target:
                total -= (1 - prob) ** gamma_positive * math.log(prob)
            else:
                total -= shifted**gamma_negative * math.log(1 - shifted)
        rows.append(total / len(row_logits))
    return rows


def by_hand(function, logits, targets, **options):
    return torch.tensor(function(logits.double().tolist(), targets.tolist(), **options), dtype=torch.float32)


def focal_lovasz_hard_by_hand(logits, targets):
    parts = focal_lovasz_by_hand(logits, targets), hard_negative_by_hand(logits, targets)
    return [sum(values) for values in zip(*parts, strict=True)]


PLAIN = {
    "bce": bce_by_hand,
    "focal": focal_by_hand,
    "f_beta": f_beta_by_hand,
    "lovasz": lovasz_by_hand,
    "focal_lovasz": focal_lovasz_by_hand,
    "focal_lovasz_hard": focal_lovasz_hard_by_hand,
    "hard_negative_bce": hard_negative_by_hand,
    "asymmetric": asymmetric_by_hand,
}


def decisions_of(num_samples=30, num_classes=7, seed=7):
    return torch.rand(num_samples, num_classes, generator=torch.Generator().manual_seed(seed)) < 0.5
