"""BatchNorm's running statistics for weights that no step has trained, such as a mean of weights.

torch's `update_bn` does the same. It takes neither metadata nor mixed precision, cannot stop between two batches, and
leaves dropout on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable

import torch
from torch import nn

from imettk.data.dataset import Batch
from imettk.training.process_group import Compute, ProcessGroup
from imettk.training.schedule import Span

BatchNorm = nn.modules.batchnorm._BatchNorm
MOST_SAMPLES = 10_000  # more hardly change the statistics (Wu & Johnson 2021, arXiv 2105.07576, section 3)


def num_steps(span: Span) -> int:
    """Return the steps whose batches are passed through the network: an epoch, of `MOST_SAMPLES` at most."""
    return min(span.steps_per_epoch, math.ceil(MOST_SAMPLES / span.config.batch_size))


def learning_norms(network: nn.Module, resting: Collection[str] = ()) -> list[BatchNorm]:
    """Return the BatchNorm modules that keep running statistics, without those of these names."""
    return [
        module
        for name, module in network.named_modules()
        if isinstance(module, BatchNorm) and module.running_mean is not None and name not in resting
    ]


@torch.no_grad()
def estimate_statistics(
    network: nn.Module,
    batches: Iterable[Batch],
    *,
    compute: Compute,
    resting: Collection[str] = (),
    stop_reason: Callable[[], str | None] = lambda: None,
) -> str | None:
    """Replace the running statistics of BatchNorm by their means over batches of training images.

    Only BatchNorm is in training mode. Dropout and stochastic depth change the variance behind them, and inference,
    for which the statistics are made, has neither (Li et al. 2019, arXiv 1801.05134).

    Args:
        batches: of several processes, this one's part; all of them end with the mean over the processes.
        resting: names of BatchNorm modules that keep their statistics, as those of frozen groups do.
        stop_reason: asked before each batch.

    Returns:
        The reason to stop, or None after the last batch. The statistics of a stopped call are good for nothing; the
        next call starts again, and draws no random number.
    """
    norms = learning_norms(network, resting)
    if not norms:
        return None
    device, dtype = compute.device, compute.dtype
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.training, norm.momentum = True, None  # None: the mean of all batches, each with the same weight
    reason = None
    try:
        for batch in batches:
            if (reason := stop_reason()) is not None:
                break
            beside = {name: part.to(device, non_blocking=True) for name, part in batch.beside.items()}
            with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
                network(batch.images.to(device, non_blocking=True), **beside)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.training, norm.momentum = False, momentum
    if reason is None:
        _average_over_processes(norms, compute.processes)
    return reason


def _average_over_processes(norms: list[BatchNorm], processes: ProcessGroup) -> None:
    if processes.size == 1:
        return
    statistics = [part for norm in norms for part in (norm.running_mean, norm.running_var) if part is not None]
    mean = processes.all_gather(torch.cat(statistics)[None]).mean(0)
    for part, value in zip(statistics, mean.split_with_sizes([len(part) for part in statistics]), strict=True):
        part.copy_(value)
