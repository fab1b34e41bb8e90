"""How far probabilities are from shares of votes: a mean over rows, each in nats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.metrics.labels import EPS

KAGGLE_EPS = 1e-15  # how far Kaggle's divergence keeps probabilities from 0 and 1
Resampled = Callable[[np.ndarray], float]


def kl_divergence(probs: np.ndarray, targets: np.ndarray, *, eps: float = KAGGLE_EPS) -> float:
    """The mean over rows of the sum of t log(t / p), as Kaggle's metric for HMS 2024, where it is 0 for t = 0.

    Args:
        probs: (N, C), which are kept `eps` away from 0 and 1.
        targets: shares of votes, whose rows sum to 1, (N, C).
        eps: in (0, 0.5).
    """
    return float(_divergences(probs, targets, eps).mean())


def kl_divergence_resampled(probs: np.ndarray, targets: np.ndarray, *, eps: float = KAGGLE_EPS) -> Resampled:
    """The divergence of rows drawn with repeats."""
    divergences = _divergences(probs, targets, eps)
    return lambda rows: float(divergences[rows].mean())


def best_constant_kl_divergence(targets: np.ndarray, *, eps: float = KAGGLE_EPS) -> float:
    """The divergence of each label's mean share."""
    return kl_divergence(_mean_shares(targets), targets, eps=eps)


def vote_log_loss(probs: np.ndarray, targets: np.ndarray, *, eps: float = EPS) -> float:
    """Log loss where each vote is a row of its share: the mean over rows of the sum of -t log p; arguments as above."""
    return float(_log_losses(probs, targets, eps).mean())


def vote_log_loss_resampled(probs: np.ndarray, targets: np.ndarray, *, eps: float = EPS) -> Resampled:
    """Log loss of rows drawn with repeats."""
    losses = _log_losses(probs, targets, eps)
    return lambda rows: float(losses[rows].mean())


def best_constant_vote_log_loss(targets: np.ndarray, *, eps: float = EPS) -> float:
    """The log loss of each label's mean share."""
    return vote_log_loss(_mean_shares(targets), targets, eps=eps)


def _divergences(probs: np.ndarray, targets: np.ndarray, eps: float) -> np.ndarray:
    from scipy.special import rel_entr

    return rel_entr(targets.astype(np.float64), _kept(probs, eps)).sum(1)


def _log_losses(probs: np.ndarray, targets: np.ndarray, eps: float) -> np.ndarray:
    return -(targets * np.log(_kept(probs, eps))).sum(1)


def _kept(probs: np.ndarray, eps: float) -> np.ndarray:
    return np.clip(probs.astype(np.float64), eps, 1 - eps)


def _mean_shares(targets: np.ndarray) -> np.ndarray:
    """The same shares in all rows."""
    return np.broadcast_to(targets.mean(0, dtype=np.float64), targets.shape)
