"""Groups of parameters, the optimizer over them, and its memory as plain tensors."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from imettk.config.optimizers import UNFIT_OPTIMIZERS
from imettk.config.stage import StageConfig
from imettk.errors import ConfigError, MismatchError
from imettk.training.frozen import learning_names

# Counts that some of timm's optimizers keep in their parameter groups, by their name in a checkpoint.
GROUP_COUNTS = {"steps": "step", "lookahead_steps": "lookahead_step"}


def make_optimizer(network: nn.Module, layer_groups: list[list[str]], config: StageConfig) -> Optimizer:
    """Return a new optimizer for a stage.

    Norms and biases (parameters of fewer than two dimensions) get no weight decay; what is frozen is left out. Each
    parameter group keeps its peak learning rate as `peak_lr`.

    Args:
        layer_groups: parameter names, first layers first, the head last.
    """
    parameters, learning = dict(network.named_parameters()), learning_names(network, layer_groups, config)
    groups: list[dict[str, Any]] = []
    for names, peak in list(zip(layer_groups, peak_rates(config, len(layer_groups)), strict=True))[
        config.frozen_groups :
    ]:
        for decays in (True, False):  # always both, in this order: the optimizer's memory goes by index
            chosen = [parameters[name] for name in names if name in learning and (parameters[name].ndim > 1) == decays]
            if chosen:
                decay = config.weight_decay if decays else 0.0
                groups.append({"params": chosen, "lr": peak, "peak_lr": peak, "weight_decay": decay})
    optimizer = _optimizer_over(groups, config.optimizer)
    if config.lookahead:
        from timm.optim import Lookahead

        optimizer = Lookahead(optimizer, k=config.lookahead)
    return optimizer


def _optimizer_over(groups: list[dict[str, Any]], name: str) -> Optimizer:
    """Return the optimizer with this name over parameter groups."""
    if name.startswith("timm:"):
        return _timm_optimizer(name.removeprefix("timm:"), groups)
    if name == "sgd":
        optimizer = SGD(groups, momentum=0.9, nesterov=True, fused=True)
        for parameter in (parameter for group in groups for parameter in group["params"]):
            # Otherwise the first step allocates it uninitialised, and leaves it so if the loss scale overflows.
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer
    return (Adam if name == "adam" else AdamW)(groups, fused=True)


def peak_rates(config: StageConfig, num_groups: int) -> tuple[float, ...]:
    """Return the peak learning rate of each layer group, the head's last."""
    if config.layer_decay is not None:
        return tuple(config.lr[0] * config.layer_decay ** (num_groups - 1 - group) for group in range(num_groups))
    return config.lr if len(config.lr) > 1 else config.lr * num_groups


def _timm_optimizer(name: str, groups: list[dict[str, Any]]) -> Optimizer:
    import timm.optim

    known = set(timm.optim.list_optimizers()) - set(UNFIT_OPTIMIZERS)
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1)
        guess = f"; did you mean timm:{nearest[0]}?" if nearest else ""
        raise ConfigError(
            f"`optimizer` timm:{name} is not among those of timm {timm.__version__} that can be resumed{guess}"
        )
    # Optimizers whose weight decay falls with the square of the rate measure it against this one.
    highest = max(group["peak_lr"] for group in groups)
    try:
        optimizer: Optimizer = timm.optim.create_optimizer_v2(groups, opt=name, lr=highest)
    except (AssertionError, ImportError, ValueError) as error:
        raise ConfigError(f"`optimizer` timm:{name} cannot be made here: {error}") from None
    return optimizer


def set_lr(optimizer: Optimizer, share: float) -> None:
    """Set every group's learning rate to `share` of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * share


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the optimizer's state: tensors by `INDEX.KEY`, and everything else as plain values.

    Some of timm's keep numbers beside their moments, or counts in their parameter groups.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for index, memory in optimizer.state_dict()["state"].items():
        for key, value in memory.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            elif value is not None:
                plain[f"{index}.{key}"] = value
    counts: dict[str, dict[str, int]] = {name: {} for name in GROUP_COUNTS}
    for number, group in enumerate(optimizer.param_groups):
        for name, key in GROUP_COUNTS.items():
            if isinstance(count := group.get(key), Tensor):
                tensors[f"group.{number}"] = count
            elif count is not None:
                counts[name][str(number)] = count
    return tensors, {"state": plain, **counts}


def load_optimizer_state(optimizer: Optimizer, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    """Restore the state that `optimizer_state` returned into an optimizer over the same parameters.

    Raises:
        MismatchError: an earlier version wrote it, with a corrected weight decay that it measured wrongly.
    """
    is_earlier = "lookahead_steps" not in plain
    rates = {group["peak_lr"] for group in optimizer.param_groups}
    if is_earlier and len(rates) > 1 and optimizer.defaults.get("corrected_weight_decay"):
        raise MismatchError(
            "the checkpoint is of an earlier version, which measured the corrected weight decay of this optimizer "
            "against the first layer group's rate: finish the training with that version, or start it again"
        )
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    groups = optimizer.state_dict()["param_groups"]
    for name, key in GROUP_COUNTS.items():
        for number, count in plain.get(name, {}).items():  # earlier versions knew no Lookahead
            groups[int(number)][key] = count
    for name, value in {**tensors, **plain["state"]}.items():
        index, _, key = name.partition(".")
        if index == "group":
            groups[int(key)]["step"] = value
            continue
        parameter = parameters[int(index)]
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            # Fused optimizers walk raw memory: moments need the strides of their parameter (channels-last or not).
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})
