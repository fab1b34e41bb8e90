"""MixUp and CutMix (timm's) for targets of any kind; all draws are a function of a key."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from timm.data.mixup import Mixup
from torch import Tensor

from imettk.config.stage import StageConfig


def make_mixing(config: StageConfig) -> Mixing | None:
    """Return the mixing of a stage; None if it has neither MixUp nor CutMix."""
    if not (config.mixup or config.cutmix):
        return None
    return Mixing(mixup=config.mixup, cutmix=config.cutmix, mode=config.mix_mode, share=config.mix_share)


class Mixing:
    """Mixes each sample of a batch with the one at its mirrored place, images and targets alike.

    Args:
        mixup: alpha of MixUp (Zhang et al., arXiv 1710.09412), 0 for none.
        cutmix: alpha of CutMix (Yun et al., arXiv 1905.04899), 0 for none.
        mode: one draw for the batch, for each pair or for each sample.
        share: of draws that mix.
    """

    def __init__(self, *, mixup: float, cutmix: float, mode: Literal["batch", "pair", "elem"], share: float) -> None:
        self._arguments = dict(mixup_alpha=mixup, cutmix_alpha=cutmix, mode=mode, prob=share, label_smoothing=0.0)

    def __call__(self, images: Tensor, targets: Tensor, *, key: int) -> tuple[Tensor, Tensor]:
        """Mix B samples.

        Args:
            images: (B, H, W, channels), in any type of number.
            targets: float32 (B, C); NaN is unknown, and makes unknown what it is mixed into.
            key: seeds all draws.

        Returns:
            Images float32 and targets, in the same shapes. The last of an odd number of samples is not mixed.
        """
        even = len(images) // 2 * 2
        if even == 0:
            return images, targets
        np.random.seed(key & 0xFFFFFFFF)  # timm draws from numpy's global generator
        pixels = images.permute(0, 3, 1, 2).to(torch.float32, copy=True)
        # timm mixes class indices. Given the places in the batch as classes, it returns how much of every other sample
        # each one holds, which mixes targets of any kind.
        places = torch.arange(even, device=images.device)
        pixels[:even], parts = Mixup(num_classes=even, **self._arguments)(pixels[:even], places)
        unknown = targets[:even].isnan()
        mixed = parts @ targets[:even].masked_fill(unknown, 0)
        mixed = mixed.masked_fill((parts > 0).to(parts) @ unknown.to(parts) > 0, torch.nan)
        mixed = torch.cat([mixed, targets[even:]])
        return pixels.permute(0, 2, 3, 1), mixed
