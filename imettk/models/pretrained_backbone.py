"""Networks of pretrainedmodels as backbones."""

from __future__ import annotations

import re
import warnings
from typing import Any

from torch import Tensor, nn

from imettk.errors import ConfigError
from imettk.models.backbone import Levels, count_channels, name_levels, unknown_model_message
from imettk.models.image_sizes import Size, run_on_shapes


class PretrainedmodelsBackbone(nn.Module):
    """A network of pretrainedmodels, such as `se_resnext50_32x4d`, without its classifier.

    Args:
        size: of the images; None skips the check.

    Raises:
        ConfigError: there is no such network, or it has no feature map.
        SizeMisfit: it cannot take images of this size.
    """

    def __init__(self, name: str, *, channels: int, size: Size | None = None) -> None:
        super().__init__()
        import pretrainedmodels

        if name not in pretrainedmodels.model_names:
            raise ConfigError(unknown_model_message("pretrainedmodels", name, pretrainedmodels.model_names))
        with warnings.catch_warnings():
            # Its torchvision networks (densenet161, resnet34, ...) still pass torchvision's old `pretrained`.
            warnings.filterwarnings("ignore", message=".*pretrained.*deprecated|Arguments other than a weight enum")
            # Always pretrained=None: the default downloads over plain http.
            self.body: Any = getattr(pretrainedmodels, name)(num_classes=1000, pretrained=None)
        last = getattr(self.body, "last_linear", None)
        if not isinstance(last, nn.Linear) or hasattr(self.body, "linear0"):
            raise ConfigError(
                f"`model.backbone`: {name} of pretrainedmodels has no feature map; choose another network"
            )
        self.num_features: int = last.in_features
        self.body.last_linear = nn.Identity()
        # The levels before the last one, as ResNets and DenseNets name them: 1 to 3, as the stem is level 0.
        modules = dict(self.body.named_modules())
        names = [name for name in ("layer", "features.denseblock") if f"{name}3" in modules]
        self._earlier = [modules[f"{name}{level}"] for name in names for level in (1, 2, 3)]
        if channels != 3:
            _replace_first_convolution(self.body, channels)
        self._channels, self._size = channels, size or (64, 64)
        if size is not None:
            run_on_shapes(lambda backbone, images: backbone(images), self, channels=channels, size=size)

    def forward(self, images: Tensor) -> Tensor:
        # Some of these networks apply their last ReLU in the classifier; for the others a second one changes nothing.
        return self.body.features(images).relu().mean((2, 3))

    def maps(self, images: Tensor, levels: Levels) -> list[Tensor]:
        if levels == 1:
            return [self.body.features(images)]
        last = len(self._earlier) + 1
        chosen = range(last + 1)[-levels:] if isinstance(levels, int) else levels
        seen: list[Tensor] = []
        hooks = [
            self._earlier[level - 1].register_forward_hook(lambda module, inputs, output: seen.append(output))
            for level in chosen
            if level < last
        ]
        try:
            features = self.body.features(images)
        finally:
            for hook in hooks:
                hook.remove()
        return [*seen, features] if last in chosen else seen

    def map_channels(self, levels: Levels) -> list[int]:
        if levels != 1 and not self._earlier:
            raise ConfigError(
                f"{name_levels(levels)}: this network of pretrainedmodels has no known levels; use "
                "`model.last_levels` 1"
            )
        last = len(self._earlier) + 1
        if levels > last if isinstance(levels, int) else (levels[0] < 1 or levels[-1] > last):
            raise ConfigError(f"{name_levels(levels)}: this network of pretrainedmodels has the levels 1 to {last}")
        return count_channels(self, levels, self._channels, self._size)

    def depth_of(self, *, by_block: bool = False) -> dict[str, int]:
        # layer0 to layer4 of ResNets are levels; other networks count their top-level blocks.
        block = re.compile(r"layer\d+|features\.[^.]+|[^.]+")
        blocks = {name: block.match(name)[0] for name, _ in self.body.named_parameters()}  # type: ignore[index]
        has_blocks = any(list(self.body.get_submodule(name).children()) for name in blocks.values())
        depths: dict[str, int] = {}
        depth = -1
        for block_name in dict.fromkeys(blocks.values()):
            # A bare convolution or norm between blocks is not a level: conv1 and bn1 are one stem.
            is_bare = has_blocks and not list(self.body.get_submodule(block_name).children())
            depth += 0 if is_bare and depth >= 0 else 1
            depths[block_name] = depth
        return {f"body.{name}": depths[block_name] for name, block_name in blocks.items()}


def _replace_first_convolution(body: nn.Module, channels: int) -> None:
    """Give the first convolution another number of input channels; its weights stay random until weights are loaded."""
    name, first = next((name, module) for name, module in body.named_modules() if isinstance(module, nn.Conv2d))
    parent, _, leaf = name.rpartition(".")
    sizes: Any = (first.kernel_size, first.stride, first.padding)
    convolution = nn.Conv2d(channels, first.out_channels, *sizes)
    convolution.bias = None if first.bias is None else convolution.bias
    setattr(body.get_submodule(parent), leaf, convolution)
