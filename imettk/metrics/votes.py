"""Distances of probabilities from shares of votes, in nats: means over rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imettk.metrics.labels import EPS

KAGGLE_EPS = 1e-15  # Kaggle's divergence clips probabilities to [KAGGLE_EPS, 1 - KAGGLE_EPS]
Resampled = Callable[[np.ndarray], float]


def kl_divergence(probs: np.ndarray, targets: np.ndarray, *, eps: float = KAGGLE_EPS) -> float:
    """Return the mean over rows of the sum of t log(t / p), 0 for t = 0: Kaggle's metric of HMS 2024.

    Args:
        probs: (N, C), clipped to [eps, 1 - eps].
        targets: shares of votes, (N, C), rows summing to 1.
        eps: in (0, 0.5).
    """
    return float(_divergences(probs, targets, eps).mean())


def kl_divergence_resampled(probs: np.ndarray, targets: np.ndarray, *, eps: float = KAGGLE_EPS) -> Resampled:
    """Return a function that scores rows drawn with replacement; see `kl_divergence`."""
    divergences = _divergences(probs, targets, eps)
    return lambda rows: float(divergences[rows].mean())


def best_constant_kl_divergence(targets: np.ndarray, *, eps: float = KAGGLE_EPS) -> float:
    """Return the divergence of each label's mean share."""
    return kl_divergence(_mean_shares(targets), targets, eps=eps)


def vote_log_loss(probs: np.ndarray, targets: np.ndarray, *, eps: float = EPS) -> float:
    """Return log loss with each vote as a row weighted by its share: the mean over rows of the sum of -t log p.

    Arguments are those of `kl_divergence`.
    """
    return float(_log_losses(probs, targets, eps).mean())


def vote_log_loss_resampled(probs: np.ndarray, targets: np.ndarray, *, eps: float = EPS) -> Resampled:
    """Return a function that scores rows drawn with replacement; see `vote_log_loss`."""
    losses = _log_losses(probs, targets, eps)
    return lambda rows: float(losses[rows].mean())


def best_constant_vote_log_loss(targets: np.ndarray, *, eps: float = EPS) -> float:
    """Return the log loss of each label's mean share."""
    return vote_log_loss(_mean_shares(targets), targets, eps=eps)


def _divergences(probs: np.ndarray, targets: np.ndarray, eps: float) -> np.ndarray:
    from scipy.special import rel_entr

    divergences: np.ndarray = rel_entr(targets.astype(np.float64), _clip(probs, eps)).sum(1)
    return divergences


def _log_losses(probs: np.ndarray, targets: np.ndarray, eps: float) -> np.ndarray:
    losses: np.ndarray = -(targets * np.log(_clip(probs, eps))).sum(1)
    return losses


def _clip(probs: np.ndarray, eps: float) -> np.ndarray:
    return np.clip(probs.astype(np.float64), eps, 1 - eps)


def _mean_shares(targets: np.ndarray) -> np.ndarray:
    """Repeat each label's mean share in all rows."""
    return np.broadcast_to(targets.mean(0, dtype=np.float64), targets.shape)
