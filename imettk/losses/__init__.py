"""One loss a file. A loss takes logits and targets, and gives the loss of each sample, float32 (B,).

A loss that is defined over the batch as a whole has the attribute `whole_batch`, which is true. It gives (B,) too:
shares whose mean is the loss, so that a share depends on the other samples.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from imettk.losses.asymmetric import asymmetric
from imettk.losses.bce import bce
from imettk.losses.cross_entropy import cross_entropy
from imettk.losses.fbeta import soft_f_beta
from imettk.losses.focal import focal
from imettk.losses.focal_lovasz import focal_lovasz
from imettk.losses.hard_negative import hard_negative_bce
from imettk.losses.lovasz import lovasz

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": bce,
    "focal": focal,
    "f_beta": soft_f_beta,
    "lovasz": lovasz,
    "focal_lovasz": focal_lovasz,
    "hard_negative_bce": hard_negative_bce,
    "asymmetric": asymmetric,
    "cross_entropy": cross_entropy,
}


def make_loss(name: str, *, gamma: float, alpha: float, constant_weight: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of this name; the rest is for `focal` alone."""
    if name == "focal":
        return partial(focal, gamma=gamma, alpha=alpha, constant_weight=constant_weight)
    return LOSSES[name]
