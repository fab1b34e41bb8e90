"""Parameters that do not learn in a stage, and the BatchNorm that keeps its statistics there."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from imettk.config.stage import StageConfig


def learning_names(network: nn.Module, layer_groups: list[list[str]], config: StageConfig) -> set[str]:
    """Return the names of the parameters that learn in a stage; one in no layer group never does.

    Frozen BatchNorm keeps its weight and bias beside its statistics, as torchvision's FrozenBatchNorm2d does for
    object detection, whose batches are as small.
    """
    learning = {name for names in layer_groups[config.frozen_groups :] for name in names}
    if config.freeze_batchnorm:
        places = [place for place in batch_norms(network) if not _is_in_head(place, layer_groups)]
        learning -= {f"{place}.{name}" for place in places for name in ("weight", "bias")}
    return learning


def freeze(network: nn.Module, layer_groups: list[list[str]], config: StageConfig) -> dict[str, _BatchNorm]:
    """Freeze the parameters that do not learn, and return the BatchNorm modules that keep their statistics, by name."""
    learning = learning_names(network, layer_groups, config)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in learning)
    return resting_norms(network, layer_groups, config)


def resting_norms(network: nn.Module, layer_groups: list[list[str]], config: StageConfig) -> dict[str, _BatchNorm]:
    """Return the BatchNorm modules that keep their statistics in a stage, by name."""
    learning = learning_names(network, layer_groups, config)

    def rests(place: str, norm: _BatchNorm) -> bool:
        if norm.affine:
            return f"{place}.weight" not in learning
        return config.freeze_batchnorm and not _is_in_head(place, layer_groups)

    return {place: norm for place, norm in batch_norms(network).items() if rests(place, norm)}


def least_samples(network: nn.Module, layer_groups: list[list[str]], config: StageConfig) -> int:
    """Return the fewest samples of a micro-batch: two if some BatchNorm learns, as one sample has no variance."""
    return 1 if len(resting_norms(network, layer_groups, config)) == len(batch_norms(network)) else 2


def batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """Return the BatchNorm modules of a network by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}


def _is_in_head(place: str, layer_groups: list[list[str]]) -> bool:
    """Return whether a module is in the head, whose parameters come last, perhaps behind some of the backbone's."""
    return layer_groups[-1][-1].partition(".")[0] == place.partition(".")[0]
