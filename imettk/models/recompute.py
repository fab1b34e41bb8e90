"""Activations computed again in the backward pass instead of kept: memory for time (arXiv 1604.06174).

timm's networks do so block by block, each with the random numbers of its first computation: a step has the same bits
as without.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from imettk.errors import ConfigError
from imettk.models.image_sizes import Size, run_on_shapes
from imettk.models.network import Network

FIELD = "`session.recompute_activations`"


def recompute_activations(network: nn.Module, *, enable: bool = True) -> None:
    """Have a network's backbone compute its blocks' activations again when a backward pass needs them.

    Raises:
        ConfigError: the backbone cannot do that.
    """
    body: Any = network.get_submodule("backbone.body")
    try:
        body.set_grad_checkpointing(enable)
    except (AttributeError, AssertionError):  # timm asserts that it stays off where a network does not have it
        raise ConfigError(_message(f"{type(body).__name__} keeps all activations")) from None


def require_recomputation(network: Network, size: Size) -> None:
    """Raise `ConfigError` unless the network, as built, keeps fewer bytes for the backward pass by recomputation."""
    recompute_activations(network)
    recompute_activations(network, enable=False)

    def count(copied: Any, images: Tensor) -> list[int]:
        pixels, kept = images.permute(0, 2, 3, 1), []
        for enable in (False, True):
            recompute_activations(copied, enable=enable)
            kept.append(_count_kept_bytes(copied, pixels))
        return kept

    before, after = run_on_shapes(count, network, channels=network.mean.shape[1], size=size)
    if after >= before:
        body = type(network.get_submodule("backbone.body")).__name__
        raise ConfigError(_message(f"{body} keeps all activations with this `model.head` and `model.last_levels`"))


def _count_kept_bytes(network: nn.Module, images: Tensor) -> int:
    """Return the bytes of the tensors that a forward pass keeps for its backward pass, parameters included."""
    kept: dict[int, Any] = {}  # by storage, as several tensors may be views of one; holding them keeps addresses apart

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        kept[storage._cdata] = storage
        return value

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        network(images)
    return sum(storage.nbytes() for storage in kept.values())


def _message(why: str) -> str:
    return f"{FIELD} must be False: {why}; choose another `model.backbone`, or raise `accumulate` to save memory"
