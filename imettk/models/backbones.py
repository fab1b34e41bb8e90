"""Feature extractors by name, from timm and from pretrainedmodels, with weights from local files only."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from imettk.config.choices import BACKBONES, Choice
from imettk.errors import ConfigError
from imettk.models.fit_weights import load_weights
from imettk.models.pretraining import check_tag, pretraining_of
from imettk.models.weights_file import find_weights
from imettk.progress import say


class Backbone(Protocol):
    """Images float32 (B, channels, H, W) -> features, pooled (B, F).

    Attributes:
        num_features: F.
    """

    num_features: int

    def maps(self, images: Tensor, num_stages: int) -> list[Tensor]:
        """Feature maps of the last stages, the last one last, (B, F, H, W) each."""

    def map_channels(self, num_stages: int) -> list[int]:
        """F of each of these maps."""

    def depth_of(self) -> dict[str, int]:
        """How deep each parameter lies, by name: 0 for the first layer."""

    def __call__(self, images: Tensor) -> Tensor: ...


class TimmBackbone(nn.Module):
    """Any classification network of timm, without its classifier."""

    def __init__(self, name: str, *, channels: int) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise ConfigError(_no_such_model("timm", name, timm.list_models()))
        check_tag(name)
        self.body: Any = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=0)
        self.num_features: int = self.body.head_hidden_size

    def forward(self, images: Tensor) -> Tensor:
        # timm knows where each network has its pool and last norm: for ConvNeXt and its like that is in the head.
        return self.body.forward_head(self.body.forward_features(images), pre_logits=True)

    def maps(self, images: Tensor, num_stages: int) -> list[Tensor]:
        if num_stages == 1:
            last = self.body.forward_features(images)
            if last.ndim == 4 and last.shape[1] == self.body.num_features:
                return [last]
        # Transformers give tokens, and some networks channels last: these come as maps of one layout.
        return self.body.forward_intermediates(images, indices=num_stages, intermediates_only=True, norm=True)

    def map_channels(self, num_stages: int) -> list[int]:
        if num_stages > 1 and not hasattr(self.body, "forward_intermediates"):
            raise ConfigError("`model.last_stages`: this network of timm gives no maps of earlier stages; set it to 1")
        return _count_channels(self, num_stages, self.body.pretrained_cfg.get("input_size", (3, 224, 224))[1:])

    def depth_of(self) -> dict[str, int]:
        from timm.models import group_parameters

        # The coarse matcher gives the stem 0 and each stage of the network the next number.
        groups = group_parameters(self.body, self.body.group_matcher(coarse=True), reverse=True)
        return {f"body.{name}": int(depth) for name, depth in groups.items()}


class PretrainedmodelsBackbone(nn.Module):
    """A network of pretrainedmodels, such as `se_resnext50_32x4d`, without its classifier."""

    def __init__(self, name: str, *, channels: int) -> None:
        super().__init__()
        import pretrainedmodels

        if name not in pretrainedmodels.model_names:
            raise ConfigError(_no_such_model("pretrainedmodels", name, pretrainedmodels.model_names))
        with warnings.catch_warnings():
            # Its torchvision networks (densenet161, resnet34, ...) still pass torchvision's old `pretrained`.
            warnings.filterwarnings("ignore", message=".*pretrained.*deprecated|Arguments other than a weight enum")
            # pretrained=None always: the default downloads over plain http.
            self.body: Any = getattr(pretrainedmodels, name)(num_classes=1000, pretrained=None)
        last = getattr(self.body, "last_linear", None)
        if not isinstance(last, nn.Linear) or hasattr(self.body, "linear0"):
            raise ConfigError(
                f"`model.backbone`: {name} of pretrainedmodels has no map of features; take another network"
            )
        self.num_features: int = last.in_features
        self.body.last_linear = nn.Identity()
        # The ResNets' stages, and the DenseNets': what comes before the last one.
        places = [self.body, getattr(self.body, "features", None)]
        named = [getattr(place, name, None) for place in places for name in ("layer3", "denseblock3")]
        self._earlier = next((each for each in named if isinstance(each, nn.Module)), None)
        if channels != 3:
            _replace_first_convolution(self.body, channels)

    def forward(self, images: Tensor) -> Tensor:
        # Some of these networks leave their last ReLU to the classifier; for the others another one changes nothing.
        return self.body.features(images).relu().mean((2, 3))

    def maps(self, images: Tensor, num_stages: int) -> list[Tensor]:
        if num_stages == 1:
            return [self.body.features(images)]
        seen: list[Tensor] = []
        assert self._earlier is not None  # `map_channels` has looked
        hook = self._earlier.register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            return [self.body.features(images), *seen][::-1]
        finally:
            hook.remove()

    def map_channels(self, num_stages: int) -> list[int]:
        if num_stages > 1 and self._earlier is None:
            raise ConfigError("`model.last_stages`: this network of pretrainedmodels has no known stages; set it to 1")
        return _count_channels(self, num_stages, (64, 64))

    def depth_of(self) -> dict[str, int]:
        # layer0 to layer4 of the ResNets are stages; other networks count their top-level blocks.
        block = re.compile(r"layer\d+|features\.[^.]+|[^.]+")
        blocks = {name: block.match(name)[0] for name, _ in self.body.named_parameters()}  # type: ignore[index]
        has_blocks = any(list(self.body.get_submodule(name).children()) for name in blocks.values())
        depths: dict[str, int] = {}
        depth = -1
        for block_name in dict.fromkeys(blocks.values()):
            # A bare convolution or norm between blocks is no stage of its own: conv1 and bn1 are one stem.
            is_bare = has_blocks and not list(self.body.get_submodule(block_name).children())
            depth += 0 if is_bare and depth >= 0 else 1
            depths[block_name] = depth
        return {f"body.{name}": depths[block_name] for name, block_name in blocks.items()}


class OwnBackbone(nn.Module):
    """A user's own: a module that turns images into a map of features, or into a list of them, the last one last.

    Its children, in their order, are its levels.
    """

    def __init__(self, body: nn.Module, *, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.body = body
        self._shape = channels, *size
        self.num_features: int = self.map_channels(1)[-1]

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images, 1)[-1].mean((2, 3))

    def maps(self, images: Tensor, num_stages: int) -> list[Tensor]:
        given = self.body(images)
        return [given] if isinstance(given, Tensor) else list(given)[-num_stages:]

    def map_channels(self, num_stages: int) -> list[int]:
        was_training = self.training
        with torch.no_grad():
            maps = self.eval().maps(torch.zeros(1, *self._shape), num_stages)
        self.train(was_training)
        if len(maps) < num_stages:
            raise ConfigError(f"`model.last_stages`: this network gives {len(maps)} maps of features, not {num_stages}")
        return [each.shape[1] for each in maps]

    def depth_of(self) -> dict[str, int]:
        levels = {name: depth for depth, (name, child) in enumerate(self.body.named_children())}
        return {f"body.{name}": levels.get(name.split(".")[0], 0) for name, _ in self.body.named_parameters()}


def _count_channels(backbone: Any, num_stages: int, size: tuple[int, int]) -> list[int]:
    """Channels of a backbone's maps, by looking at those of one grey image."""
    was_training = backbone.training
    first = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        maps = backbone.eval().maps(torch.zeros(1, first.in_channels, *size), num_stages)
    backbone.train(was_training)
    return [each.shape[1] for each in maps]


def make_backbone(
    name: str | Choice, *, channels: int, weights: str | None = None, size: tuple[int, int] = (64, 64)
) -> Any:
    """Build a `Backbone`.

    Args:
        name: a row of BACKBONES and a name in it, as in `timm:NAME`; or a user's own.
        channels: of the images; pretrained weights of a 3-channel first layer are adapted to it.
        weights: a local weights file, or a folder with `NAME.safetensors` or `NAME.pth`, `NAME.TAG` too; None for
            random weights.
        size: (height, width) of the image with which a user's own is looked at.

    Raises:
        ConfigError: no such network; the message names similar ones.
        MissingFileError: no such weights.
    """
    if not isinstance(name, str):
        backbone, model = OwnBackbone(name.load()(channels), channels=channels, size=size), "weights"
    else:
        library, _, model = name.partition(":")
        if library not in BACKBONES:
            known = " or ".join(f"{source}:NAME" for source in BACKBONES)
            raise ConfigError(f"`model.backbone` must be {known}, got {name!r}")
        row, network = BACKBONES[library], model
        if row.in_file:
            network = pretraining_of(name, weights).architecture.partition(":")[2]
        backbone = row.load()(network, channels=channels)
    if weights is not None:
        say(load_weights(backbone.body, find_weights(Path(weights), model), model))
    return backbone


def _no_such_model(library: str, name: str, known: list[str]) -> str:
    import difflib

    similar = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"`model.backbone`: {library} has no network {name!r}" + (
        f"; similar: {', '.join(similar)}" if similar else ""
    )


def _replace_first_convolution(body: nn.Module, channels: int) -> None:
    """Give the first convolution another number of input channels; its weights are random until weights are loaded."""
    name, first = next((name, module) for name, module in body.named_modules() if isinstance(module, nn.Conv2d))
    parent, _, leaf = name.rpartition(".")
    sizes: Any = (first.kernel_size, first.stride, first.padding)
    convolution = nn.Conv2d(channels, first.out_channels, *sizes)
    convolution.bias = None if first.bias is None else convolution.bias
    setattr(body.get_submodule(parent), leaf, convolution)
