"""Networks that a new recipe starts with: quick ones for a laptop, strong ones for a GPU, and the cost of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

WEIGHT_ENDINGS = (".safetensors", ".pth", ".bin")
DRIVER = Path("/proc/driver/nvidia/version")  # there if a GPU is; asking torch would import it, for seconds
T4_BYTES = 12e9  # of a T4's 15 GB; the rest is for weights, gradients, moments and cuDNN's workspace
T4_RATE = 7e12  # operations per second: convolutions in float16 reach a tenth of the tensor cores' peak
PASSES = 3  # a training step costs about three forward passes
BATCHES = (64, 48, 32, 24, 16, 8)


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """A network and the first settings to train it with.

    Attributes:
        network: timm's name, with the tag of its pretrained weights.
        strength: `quick` or `strong`.
        pretrained: training starts from pretrained weights, not random ones.
        side: side of a square image in pixels, a multiple of `multiple`.
        square: the network takes square images only.
        seen_images: images that training sees in total, within the limits of `epochs`.
        epochs: the minimum and the maximum.
        lr: the peak learning rate; with `layer_decay`, that of the head.
        layer_groups: number of groups into which the backbone is split.
        averages: weights are averaged over steps (EMA).
        levels: number of the last levels whose features a classifier joins, in the head `pooled` if more than one.
        freezes_batchnorm: BatchNorm keeps the statistics that the pretrained weights were trained with.
        gflop: 1e9 operations of a forward pass for one image of this side.
        activation_mb: 1e6 bytes kept for the backward pass under AMP for one image of this side: the size of the
            tensors that autograd saves, as `tools/bench/activations.py` counts them.
    """

    network: str
    strength: str
    pretrained: bool = True
    side: int
    multiple: int = 32
    square: bool = False
    seen_images: int
    epochs: tuple[int, int]
    lr: float
    layer_decay: float | None = None
    layer_groups: int = 1
    augmentation: str = "flips"
    averages: bool = False
    levels: int = 1
    freezes_batchnorm: bool = False
    gflop: float
    activation_mb: float = 0.0

    @property
    def batch_size(self) -> int:
        """The largest batch that fits a T4; 32 if nothing was measured."""
        if not self.activation_mb:
            return 32
        return next((size for size in BATCHES if size * self.activation_mb * 1e6 <= T4_BYTES), BATCHES[-1])

    def num_epochs(self, rows: int) -> int:
        """Return the number of epochs for so many rows."""
        least, most = self.epochs
        return min(most, max(least, round(self.seen_images / max(1, rows))))

    def t4_hours(self, rows: int) -> float:
        """Estimate the hours of training on a T4 from the number of operations."""
        return rows * self.num_epochs(rows) * self.gflop * 1e9 * PASSES / T4_RATE / 3600


_QUICK: Any = {
    "strength": "quick",
    "side": 160,
    "seen_images": 4_000,
    "epochs": (5, 20),
    "lr": 1e-3,
    "levels": 2,
    "freezes_batchnorm": True,
}
_STRONG: Any = {
    "strength": "strong",
    "layer_decay": 0.75,
    "layer_groups": 4,
    "augmentation": "affine",
    "averages": True,
}

# In order of preference: the first whose weights are there is chosen, or the first of all.
STARTING_POINTS: tuple[StartingPoint, ...] = (
    StartingPoint(network="tf_efficientnet_lite0", gflop=0.4, **_QUICK),
    StartingPoint(network="resnet18.a1_in1k", gflop=1.9, **_QUICK),
    StartingPoint(
        network="convnext_small.fb_in22k_ft_in1k_384",
        side=384,
        seen_images=60_000,
        epochs=(8, 20),
        lr=4e-4,
        levels=2,
        gflop=51.0,
        activation_mb=259,
        **_STRONG,
    ),
    StartingPoint(
        network="eva02_small_patch14_336.mim_in22k_ft_in1k",
        side=336,
        multiple=14,
        square=True,
        seen_images=60_000,
        epochs=(8, 20),
        lr=3e-4,
        gflop=24.8,
        activation_mb=127,
        **_STRONG,
    ),
    StartingPoint(
        network="tf_efficientnetv2_s.in21k_ft_in1k",
        side=384,
        seen_images=60_000,
        epochs=(10, 25),
        lr=1e-3,
        levels=2,
        freezes_batchnorm=True,
        gflop=16.7,
        activation_mb=226,
        **_STRONG,
    ),
)
# For training from random weights: with few images a larger network learns no more, in three times the time.
TINY = StartingPoint(
    network="test_resnet",
    strength="quick",
    pretrained=False,
    side=128,
    multiple=16,
    seen_images=16_000,
    epochs=(5, 60),
    lr=2e-3,
    gflop=0.1,
)


class Start(NamedTuple):
    """A chosen starting point, with the reason; `has_weights` if its pretrained weights are there."""

    point: StartingPoint
    has_weights: bool
    reason: str


def choose_start(strength: str | None, weights: Path) -> Start:
    """Choose a starting point whose weights are there, if possible.

    Args:
        strength: `quick`, `strong`, or None for what this machine can train.
        weights: the folder of pretrained weights, which may not exist.
    """
    files = sorted(path.name for path in weights.iterdir()) if weights.is_dir() else []
    wanted = strength or ("strong" if DRIVER.exists() else "quick")
    points = [point for point in STARTING_POINTS if point.strength == wanted]
    available = [point for point in points if _is_there(point.network, files)]
    reason = "as requested" if strength else f"this machine has {'a' if wanted == 'strong' else 'no'} GPU"
    if available:
        return Start(available[0], True, f"{reason}, and {weights}/ has its weights")
    if wanted == "quick":
        networks = " or ".join(point.network for point in points)
        return Start(TINY, False, f"{reason}, and {weights}/ has no weights of {networks}")
    return Start(points[0], False, reason)


def _is_there(network: str, files: list[str]) -> bool:
    """Return whether a file is named after a network, with any tag of weights or none."""
    name = network.partition(".")[0]
    stems = [file.removesuffix(ending) for file in files for ending in WEIGHT_ENDINGS if file.endswith(ending)]
    return any(stem == name or stem.startswith(f"{name}.") for stem in stems)
