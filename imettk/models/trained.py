"""Weights of a network that imettk trained for other classes, as a starting point on similar data."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from imettk.errors import ConfigError
from imettk.models.weights_file import TRAINED, read_header
from imettk.progress import say


def is_trained_network(path: str) -> bool:
    """Return whether this is a `model.safetensors` of a run folder, rather than weights of a backbone."""
    return Path(path).is_file() and TRAINED in read_header(Path(path))


def load_trained(network: nn.Module, path: str, class_layers: tuple[str, ...]) -> None:
    """Load a trained network's backbone, and those parameters of its head that fit by name and shape.

    Args:
        class_layers: name prefixes of the head's per-class parameters, which are not loaded.

    Raises:
        ConfigError: it has another backbone.
    """
    weights, state = load_file(path), network.state_dict()
    fits = {
        name: value
        for name, value in weights.items()
        if name in state
        and state[name].shape == value.shape
        and not name.removeprefix("head.").startswith(class_layers)
    }
    lacking = [name for name in state if name.startswith("backbone.") and name not in fits]
    if lacking:
        raise ConfigError(
            f"`model.weights`: {path} lacks {len(lacking)} tensors of this backbone, first {lacking[0]}: "
            "was it trained with another `model.backbone` or `images.channels`?"
        )
    network.load_state_dict(fits, strict=False)
    fresh = [name for name in state if name not in fits]
    say(f"weights of {path}" + (f"; newly initialised: {', '.join(fresh)}" if fresh else ""))
