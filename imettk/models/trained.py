"""Weights of a network that imettk has trained before, for other classes: on similar data, as a better start."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from imettk.errors import ConfigError
from imettk.models.weights_file import TRAINED, read_header
from imettk.progress import say


def is_trained_network(path: str) -> bool:
    """Return whether this is a `model.safetensors` of a run folder, not the weights of a backbone alone."""
    return Path(path).is_file() and TRAINED in read_header(Path(path))


def load_trained(network: nn.Module, path: str, class_layers: tuple[str, ...]) -> None:
    """Take over its backbone, and of its head what fits by name and shape.

    Args:
        class_layers: how the names of the head's parameters begin that belong to single classes: these start anew.

    Raises:
        ConfigError: its backbone is another one.
    """
    state, own = load_file(path), network.state_dict()
    fits = {
        name: value
        for name, value in state.items()
        if name in own and own[name].shape == value.shape and not name.removeprefix("head.").startswith(class_layers)
    }
    lacking = [name for name in own if name.startswith("backbone.") and name not in fits]
    if lacking:
        raise ConfigError(
            f"`model.weights`: {path} lacks {len(lacking)} tensors of this backbone, first {lacking[0]}: "
            "was it trained with another `model.backbone` or `images.channels`?"
        )
    network.load_state_dict(fits, strict=False)
    fresh = [name for name in own if name not in fits]
    say(f"weights of {path}" + (f"; {', '.join(fresh)} start anew" if fresh else ""))
