"""MixUp and CutMix (timm's), and mosaics, for targets of any kind; all draws are a function of a key."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from timm.data.mixup import Mixup
from torch import Tensor

from imettk.config.stage import StageConfig
from imettk.training.mosaic import make_mosaics

Classes = Literal["any", "same", "other"]


def make_mixing(config: StageConfig) -> Mixing | None:
    """Return the mixing of a stage; None if it mixes nothing."""
    if not config.mixes:
        return None
    return Mixing(
        mixup=config.mixup,
        cutmix=config.cutmix,
        mode=config.mix_mode,
        share=config.mix_share,
        classes=config.mix_classes,
        mosaic=config.mosaic,
    )


class Mixing:
    """Mixes each sample of a batch with the one at its mirrored place, or with three others, images and targets alike.

    Args:
        mixup: alpha of MixUp (Zhang et al., arXiv 1710.09412), 0 for none.
        cutmix: alpha of CutMix (Yun et al., arXiv 1905.04899), 0 for none.
        mode: one draw for the batch, for each pair or for each sample.
        share: of draws that mix.
        classes: MixUp and CutMix take any two samples, or two of the same class, or of different ones.
        mosaic: share of batches that become mosaics, see `make_mosaics`; the others have MixUp and CutMix.
    """

    def __init__(
        self,
        *,
        mixup: float,
        cutmix: float,
        mode: Literal["batch", "pair", "elem"],
        share: float,
        classes: Classes = "any",
        mosaic: float = 0.0,
    ) -> None:
        self._arguments = dict(mixup_alpha=mixup, cutmix_alpha=cutmix, mode=mode, prob=share, label_smoothing=0.0)
        self._mixes_pairs, self._classes, self._mosaic = bool(mixup or cutmix), classes, mosaic

    def __call__(self, images: Tensor, targets: Tensor, *, key: int) -> tuple[Tensor, Tensor]:
        """Mix B samples.

        Args:
            images: (B, H, W, channels), in any type of number.
            targets: float32 (B, C); NaN is unknown, and makes unknown what it is mixed into.
            key: seeds all draws.

        Returns:
            Images float32 and targets, in the same shapes. A sample without a partner is not mixed: the last of an odd
            number, and one for which there is no other of a class that fits.
        """
        if len(images) < 2:
            return images, targets
        pixels = images.permute(0, 3, 1, 2)
        if self._mosaic:
            generator = np.random.Generator(np.random.Philox(key=key))
            if generator.random() < self._mosaic:
                pixels, parts = make_mosaics(pixels.to(torch.float32), generator)
                return pixels.permute(0, 2, 3, 1), _mix_targets(parts, targets)
        if not self._mixes_pairs:
            return images, targets
        paired = self._pair(targets)
        if isinstance(paired, Tensor) and not len(paired):
            return images, targets
        np.random.seed(key & 0xFFFFFFFF)  # timm draws from numpy's global generator
        pixels, targets = pixels.to(torch.float32, copy=True), targets.clone()
        chosen = pixels[paired]
        # timm mixes class indices. Given the places in the batch as classes, it returns how much of every other sample
        # each one holds, which mixes targets of any kind.
        places = torch.arange(len(chosen), device=images.device)
        pixels[paired], parts = Mixup(num_classes=len(chosen), **self._arguments)(chosen, places)
        targets[paired] = _mix_targets(parts, targets[paired])
        return pixels.permute(0, 2, 3, 1), targets

    def _pair(self, targets: Tensor) -> slice | Tensor:
        """Return the samples to mix in an order in which partners are at mirrored places."""
        if self._classes == "any":
            return slice(len(targets) // 2 * 2)
        classes = _likeliest(targets).cpu().numpy()
        pairs = pair_within(classes) if self._classes == "same" else pair_across(classes)
        return torch.from_numpy(np.concatenate([pairs[:, 0], pairs[::-1, 1]])).to(targets.device)


def _likeliest(targets: Tensor) -> Tensor:
    """Return the number of each sample's class, int64 (B,), from shares of classes or from cumulative grades.

    Smoothed targets and pseudo labels count as the class that they most likely are.
    """
    if bool(((targets.sum(1) - 1).abs() < 1e-3).all()):
        return targets.argmax(1)
    places: Tensor = torch.unique(targets > 0.5, dim=0, return_inverse=True)[1]
    return places


def pair_within(classes: np.ndarray) -> np.ndarray:
    """Return pairs of samples of the same class, int64 (P, 2): all but the last of a class with an odd number."""
    order = np.argsort(classes, kind="stable")
    ranked = classes[order]
    firsts = np.flatnonzero((np.arange(len(order)) - np.searchsorted(ranked, ranked)) % 2 == 0)
    firsts = firsts[firsts + 1 < len(order)]
    firsts = firsts[ranked[firsts] == ranked[firsts + 1]]
    return np.stack([order[firsts], order[firsts + 1]], 1)


def pair_across(classes: np.ndarray) -> np.ndarray:
    """Return pairs of samples of different classes, int64 (P, 2): as many as there can be.

    Sorted by class, each sample of the first half has its partner half the batch further: the same class again only if
    that class has more than half of the samples. The middle one of an odd number is left out.
    """
    order, half = np.argsort(classes, kind="stable"), len(classes) // 2
    firsts, seconds = order[:half], order[len(order) - half :]
    differ = classes[firsts] != classes[seconds]
    return np.stack([firsts[differ], seconds[differ]], 1)


def _mix_targets(parts: Tensor, targets: Tensor) -> Tensor:
    """Mix targets (B, C) by the part of each sample (column) in each mix (row), (B, B); NaN makes a mix unknown."""
    unknown = targets.isnan()
    mixed = parts @ targets.masked_fill(unknown, 0)
    return mixed.masked_fill((parts > 0).to(parts) @ unknown.to(parts) > 0, torch.nan)
