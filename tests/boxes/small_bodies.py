"""Small networks of timm behind the interface of a trainer, and pixels that are large enough for them."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from imettk.data.dataset import Batch
from imettk.data.sampling import BatchRequest
from imettk.models.network import Outputs

SIDE = 32
VIT: dict[str, Any] = {"model_name": "vit_tiny_patch16_224", "img_size": SIDE, "patch_size": 8, "embed_dim": 16} | {
    "depth": 2,
    "num_heads": 2,
}
NOISE = {"drop_path_rate": 0.3, "proj_drop_rate": 0.2}  # of a ViT


class Pixels(torch.utils.data.Dataset):
    """Random images, 24 of 4 classes, as in the tests of the trainer."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (24, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)
        self.targets = torch.randint(0, 4, (24,), generator=generator)

    def __getitem__(self, request: BatchRequest) -> Batch:
        rows = torch.from_numpy(request.rows)
        return Batch(self.images[rows], self.targets[rows], None, torch.from_numpy(request.positions), rows)


class SmallNetwork(nn.Module):
    """A network of timm where `Network` has it, at `backbone.body`, with a linear head on its features."""

    def __init__(self, model_name: str, **settings: Any) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.backbone = nn.Module()
        self.backbone.body = timm.create_model(model_name, num_classes=0, **settings)
        self.head = nn.Linear(self.backbone.body.num_features, 4)

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.head(self.backbone.body(images.permute(0, 3, 1, 2).float() / 255)))

    def groups(self) -> list[list[str]]:
        names = [name for name, _ in self.named_parameters()]
        return [[name for name in names if name.startswith(part)] for part in ("backbone.", "head.")]
