"""Your own backbone and head: a few convolutions, and attention that chooses where on the sheet to look.

    imettk demo                                    make the data for this example, in runs/demo/data
    imettk prepare examples/own_network.py --data runs/demo/data --run-dir runs/network
    imettk train --data runs/demo/data --run-dir runs/network
    imettk validate --data runs/demo/data --run-dir runs/network
    imettk infer --data runs/demo/data --run-dir runs/network

Each works without the other: `--model.backbone timm:resnet18` keeps the head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from imettk.config import (
    FoldConfig,
    ImageFormat,
    ModelConfig,
    Recipe,
    SessionConfig,
    StageConfig,
    TableFormat,
    TrainConfig,
)


class SmallNet(nn.Sequential):
    """Images float32 (B, channels, H, W), normalised -> a map of features (B, 64, H / 8, W / 8).

    Its children, in order, are the levels that `model.layer_groups` and `layer_decay` refer to.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(*(_level(*widths) for widths in ((channels, 16), (16, 32), (32, 64))))


def _level(inputs: int, outputs: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class AttentionHead(nn.Module):
    """Maps (B, F, H, W), one for each of `num_features` -> logits (B, num_outputs).

    Each output averages the features of the last map with attention weights of its own, a softmax over places.
    """

    # These start fresh when weights of a training with other labels are loaded; by default the whole head does.
    class_layers = ("where", "what")

    def __init__(self, num_features: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        self.where = nn.Conv2d(num_features[-1], num_outputs, 1)
        self.what = nn.Conv2d(num_features[-1], num_outputs, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits (B, num_outputs)."""
        weights = torch.softmax(self.where(maps[-1]).flatten(2).float(), 2)
        return (weights * self.what(maps[-1]).flatten(2)).sum(2)


def recipe() -> Recipe:
    """Return the demo's recipe with both; each level learns at 0.8 of the rate of the next one."""
    return Recipe(
        name="network",
        table=TableFormat(group_column="group", labels_csv="labels.csv"),
        folds=FoldConfig(num_folds=3),
        images=ImageFormat(image_size=(48, 48), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelConfig(backbone="recipe:SmallNet", head="recipe:AttentionHead", layer_groups=3),
        train=TrainConfig(ema_decay=0.95),
        stages=(StageConfig(num_epochs=8, lr=(6e-3,), layer_decay=0.8, warmup_epochs=1, augmentation="affine"),),
        session=SessionConfig(num_workers=0),
    )
