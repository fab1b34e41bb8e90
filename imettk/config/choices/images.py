"""Readers of image files, augmentations and transforms, samplers, and views of test-time augmentation."""

from __future__ import annotations

from dataclasses import dataclass

from imettk.config.choices.choice import Choice


@dataclass(frozen=True, kw_only=True)
class SamplerChoice(Choice):
    """A sampler: `make` is (data.samplers.Sampler, the epoch's random numbers, epoch) -> rows of an epoch, int64 (M,).

    Attributes:
        by_identity: each batch has several images of each of its classes.
        by_losses: an epoch's order depends on the losses of the epoch before.
    """

    by_identity: bool = False
    by_losses: bool = False


@dataclass(frozen=True, kw_only=True)
class ViewChoice(Choice):
    """A view of test-time augmentation: `make` is images float32 (B, channels, H, W) -> images.

    Attributes:
        crop: the number of the random crop that is cut first; None takes the centre.
    """

    crop: int | None = None


# (path) -> numbers (H, W) or (H, W, channels); uint8 values are displayed as they are, others scaled by
# `images.white`.
# None stands for `data.reader` itself, which recognises a file by its content.
READERS: dict[str, Choice] = {"files": Choice(make=None)}

_AUGMENTATIONS = (
    "none",
    "flips",
    "affine",
    "strokes",
    "aggressive",
    "square",
    "whale_heavy",
    "dihedral",
    "protein",
    "lesion",
    "leaves",
    "pasture",
    "retina",
    "pets",
    "randaugment",
    "augmix",
    "gridmask",
    "spectrogram",
)
# (size, channels) -> transforms of albumentations.
AUGMENTATIONS: dict[str, Choice] = {name: Choice(make=f"imettk.data.pipelines:{name}") for name in _AUGMENTATIONS}

# Transforms by the name that `stages.transforms` gives them; all others there are albumentations'.
TRANSFORMS: dict[str, Choice] = {
    "AugMix": Choice(make="imettk.data.auto_augment:AugMix"),
    "Noise": Choice(make="imettk.data.noise:Noise"),
    "RandAugment": Choice(make="imettk.data.auto_augment:RandAugment"),
    "Warp": Choice(make="imettk.data.warp:Warp"),
}

SAMPLERS: dict[str, SamplerChoice] = {
    "shuffle": SamplerChoice(make="imettk.data.samplers:shuffled"),
    "balanced": SamplerChoice(make="imettk.data.samplers:balanced"),
    "identities": SamplerChoice(make="imettk.data.samplers:by_identity", by_identity=True),
    # `make` gives the first epoch, before there are losses to sort by.
    "hard_first": SamplerChoice(make="imettk.data.samplers:shuffled", by_losses=True),
}

_TURNS = (
    "hflip",
    "vflip",
    "rot90",
    "rot180",
    "rot270",
    "transpose",
    "transverse",
    "rot45",
    "rot135",
    "rot225",
    "rot315",
)
_NUM_CROPS = 4
VIEWS: dict[str, ViewChoice] = {
    name: ViewChoice(make=f"imettk.inference.tta:{name}") for name in ("plain", *_TURNS, "zoom_in", "zoom_out")
} | {f"crop{number}": ViewChoice(make="imettk.inference.tta:plain", crop=number) for number in range(_NUM_CROPS)}
