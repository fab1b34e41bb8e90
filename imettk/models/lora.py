"""Low-rank adapters on the linear layers of a backbone while it trains (LoRA, Hu et al., arXiv 2106.09685).

peft puts them in. A trained model holds them merged, under the names of the plain network: only training needs peft.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from imettk.config.model import ModelConfig
from imettk.errors import ConfigError
from imettk.extras import how_to_install
from imettk.models.image_sizes import Size, run_on_shapes

BASE = ".base_layer."  # between the names of an adapted layer and of its own tensors, as peft names them
DOWN, UP = ".lora_A.default.weight", ".lora_B.default.weight"


def require_adapters(network: Any, config: ModelConfig, size: Size) -> list[str]:
    """Return the names of the backbone's linear layers that take adapters.

    Args:
        network: a `Network`, as `config` has it.
        size: (height, width) of images that it accepts.

    Raises:
        ConfigError: there are none, or peft is missing.
    """
    if importlib.util.find_spec("peft") is None:
        raise ConfigError(f"`model.lora_rank` needs peft; set it to 0, or {how_to_install('lora', 'peft')}")
    called = _called_layers(network, size)
    if not called:
        raise ConfigError(
            f"`model.lora_rank` must be 0: {config.backbone} has no linear layers; adapters are for transformers"
        )
    chosen = [name for name in called if _is_chosen(name, config)]
    if not chosen:
        raise ConfigError(
            f"`model.lora_layers` {config.lora_layers!r} matches no linear layer of {config.backbone}, such as "
            f"{_short(called[0])}"
        )
    return chosen


def add_adapters(network: Any, config: ModelConfig, size: Size) -> str:
    """Put adapters into a network's backbone, in place, and return a line about them.

    They begin as no change: A is random (Kaiming), B is zero. Everything else of the backbone is frozen.

    Args:
        network, size: as in `require_adapters`.
    """
    layers = require_adapters(network, config, size)
    linear = [name for name, module in network.backbone.named_modules() if isinstance(module, nn.Linear)]
    left = [name for name in linear if name not in layers and _is_chosen(name, config)]
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules=layers, bias="none")
    inject_adapter_in_model(settings, network.backbone)
    sizes = {name: value.numel() for name, value in network.backbone.named_parameters()}
    share = sum(size for name, size in sizes.items() if is_adapter(name)) / sum(sizes.values())
    text = f"LoRA of rank {config.lora_rank} on {len(layers)} linear layers: {share:.1%} of the backbone learns"
    return text + (
        f"; it passes over {len(left)}, whose weight the network reads itself: {_short(left[0])}" if left else ""
    )


def is_adapter(name: str) -> bool:
    """Return whether a parameter with this name belongs to an adapter."""
    return name.endswith((DOWN, UP))


def merge_adapters(tensors: Mapping[str, Tensor], *, rank: int, alpha: float) -> dict[str, Tensor]:
    """Return a network's weights with its adapters merged, W + alpha / rank * B A, under the plain network's names.

    Averaged weights merge the averages of A and B, which is not the average of their products.
    """
    merged: dict[str, Tensor] = {}
    for name, value in tensors.items():
        layer, base, leaf = name.rpartition(BASE)
        if base and leaf == "weight":
            value = value + (alpha / rank) * (tensors[layer + UP] @ tensors[layer + DOWN])
        if not is_adapter(name):
            merged[f"{layer}.{leaf}" if base else name] = value
    return merged


def _is_chosen(name: str, config: ModelConfig) -> bool:
    return re.search(config.lora_layers, _short(name)) is not None


def _short(name: str) -> str:
    """Return the name of a layer as its library has it."""
    return name.removeprefix("body.")


def _called_layers(network: Any, size: Size) -> list[str]:
    """Return the names of the backbone's linear layers that are called; some networks only read a layer's weight."""

    def run(copied: Any, images: Tensor) -> set[str]:
        called: set[str] = set()
        for name, module in copied.backbone.named_modules():
            if isinstance(module, nn.Linear):
                module.register_forward_pre_hook(lambda *_, name=name: called.add(name))
        copied(images.permute(0, 2, 3, 1))
        return called

    called = run_on_shapes(run, network, channels=network.mean.shape[1], size=size)
    return [name for name, _ in network.backbone.named_modules() if name in called]
