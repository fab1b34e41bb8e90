"""Networks that a new recipe begins with: quick ones for a laptop, strong ones for a GPU, and what each takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHT_ENDINGS = (".safetensors", ".pth", ".bin")
DRIVER = Path("/proc/driver/nvidia/version")
T4_BYTES = 12e9  # of a T4's 15 GB, what activations may take beside weights, gradients, moments and cuDNN's workspace
T4_RATE = 7e12  # operations a second: a tenth of what its tensor cores can do, as convolutions in float16 reach there
PASSES = 3  # a training step costs three forward passes
BATCHES = (64, 48, 32, 24, 16, 8)


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """A network and how it is trained at first.

    Attributes:
        network: of timm, with the tag of its pretrained weights.
        strength: `quick` or `strong`.
        pretrained: it begins with weights, else with random ones.
        side: pixels of a square image, a multiple of `multiple`.
        square: it takes no others.
        seen_images: that training sees in all, where `epochs` allow it.
        epochs: the fewest and the most.
        lr: the peak, of the head where `layer_decay` is given.
        layer_groups: into which the backbone is split.
        averages: the weights are averaged over steps (EMA).
        gflop: of a forward pass, in 1e9 operations an image of this side.
        activation_mb: kept for the backward pass, in 1e6 bytes an image of this side under AMP; counted by the tensors
            that autograd saves, as `tools/bench/activations.py` does.
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
    gflop: float
    activation_mb: float = 0.0

    @property
    def batch_size(self) -> int:
        """The largest that fits a T4; 32 where nothing was measured."""
        if not self.activation_mb:
            return 32
        return next((size for size in BATCHES if size * self.activation_mb * 1e6 <= T4_BYTES), BATCHES[-1])

    def num_epochs(self, rows: int) -> int:
        """Return how many epochs so many rows take."""
        least, most = self.epochs
        return min(most, max(least, round(self.seen_images / max(1, rows))))

    def t4_hours(self, rows: int) -> float:
        """Return about how long training takes on a T4, by its operations alone."""
        return rows * self.num_epochs(rows) * self.gflop * 1e9 * PASSES / T4_RATE / 3600


_STRONG: Any = {
    "strength": "strong",
    "layer_decay": 0.75,
    "layer_groups": 4,
    "augmentation": "affine",
    "averages": True,
}

# In order: the first of those whose weights are there, else the first.
STARTING_POINTS: tuple[StartingPoint, ...] = (
    StartingPoint(
        network="tf_efficientnet_lite0",
        strength="quick",
        side=160,
        seen_images=4_000,
        epochs=(5, 20),
        lr=1e-3,
        gflop=0.4,
    ),
    StartingPoint(
        network="resnet18.a1_in1k", strength="quick", side=160, seen_images=4_000, epochs=(5, 20), lr=1e-3, gflop=1.9
    ),
    StartingPoint(
        network="convnext_small.fb_in22k_ft_in1k_384",
        side=384,
        seen_images=60_000,
        epochs=(8, 20),
        lr=4e-4,
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
        gflop=16.7,
        activation_mb=226,
        **_STRONG,
    ),
)
# Of random weights: few images teach a larger one no more, in three times the time.
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


def choose_start(strength: str | None, weights: Path) -> tuple[StartingPoint, bool, str]:
    """Return a starting point, whether its weights are there, and why it was chosen.

    Args:
        strength: `quick`, `strong`, or None for what this machine trains.
        weights: the folder of pretrained weights, which may not be there.
    """
    here = sorted(path.name for path in weights.iterdir()) if weights.is_dir() else []
    wanted = strength or ("strong" if DRIVER.exists() else "quick")
    points = [point for point in STARTING_POINTS if point.strength == wanted]
    there = [point for point in points if _is_there(point.network, here)]
    why = "as asked for" if strength else f"this machine has {'a' if wanted == 'strong' else 'no'} GPU"
    if there:
        return there[0], True, f"{why}, and {weights}/ has its weights"
    if wanted == "quick":
        return TINY, False, f"{why}, and {weights}/ has no weights of {' or '.join(p.network for p in points)}"
    return points[0], False, why


def _is_there(network: str, files: list[str]) -> bool:
    """Whether a file is named by a network, with the tag of its weights, another one, or none."""
    name = network.partition(".")[0]
    stems = [file.removesuffix(ending) for file in files for ending in WEIGHT_ENDINGS if file.endswith(ending)]
    return any(stem == name or stem.startswith(f"{name}.") for stem in stems)
