"""One loss a file. A loss takes logits and targets, and gives the loss of each sample, float32 (B,)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from imettk.losses.bce import bce
from imettk.losses.cross_entropy import cross_entropy
from imettk.losses.focal import focal

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "focal": focal, "cross_entropy": cross_entropy}
