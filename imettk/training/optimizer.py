"""Parameters in groups, and the optimizer over them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from imettk.config import StagePlan


def make_optimizer(network: nn.Module, layer_groups: list[list[str]], plan: StagePlan) -> Optimizer:
    """A fresh optimizer for a stage.

    Norms and biases (parameters of fewer than two dimensions) get no weight decay; frozen groups are left out. Each
    parameter group keeps its peak learning rate as `peak_lr`.

    Args:
        layer_groups: parameter names, first layers first, the head last.
    """
    parameters = dict(network.named_parameters())
    peaks = plan.lr if len(plan.lr) > 1 else plan.lr * len(layer_groups)
    groups: list[dict[str, Any]] = []
    for names, peak in list(zip(layer_groups, peaks, strict=True))[plan.frozen_groups :]:
        for decays in (True, False):
            chosen = [parameters[name] for name in names if (parameters[name].ndim > 1) == decays]
            if chosen:
                decay = plan.weight_decay if decays else 0.0
                groups.append({"params": chosen, "lr": peak, "peak_lr": peak, "weight_decay": decay})
    if plan.optimizer == "sgd":
        return SGD(groups, momentum=0.9, nesterov=True, fused=True)
    return (Adam if plan.optimizer == "adam" else AdamW)(groups, fused=True)


def set_lr(optimizer: Optimizer, share: float) -> None:
    """Set every group's learning rate to `share` of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * share


def freeze(network: nn.Module, layer_groups: list[list[str]], num_frozen: int) -> list[nn.Module]:
    """Let all but the first `num_frozen` groups learn; returns the BatchNorm modules that rest with those."""
    frozen = {name for names in layer_groups[:num_frozen] for name in names}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and f"{name}.weight" in frozen
    ]


def optimizer_tensors(optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's memory as flat names, `INDEX.KEY`; every value of the optimizers above is a tensor."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value for index, values in state.items() for key, value in values.items() if value is not None
    }


def load_optimizer_tensors(optimizer: Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Give an optimizer over the same parameters the memory that `optimizer_tensors` took."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # Fused optimizers walk raw memory: moments must lie as the parameter does (channels-last or not).
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
