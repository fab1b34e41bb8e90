"""The gradient noise scale: how many samples a batch needs before its gradient is more signal than noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from imettk.data.dataset import Batch
from imettk.training.step import StageSetup, StepRunner


def simple_noise_scale(small: float, big: float, *, small_batch: int, big_batch: int) -> float:
    """Return tr(covariance of a sample's gradient) / |gradient|^2, in samples.

    By gradients of two batch sizes: McCandlish et al., arXiv 1812.06162, appendix A.1.

    Args:
        small: mean squared norm of the gradient of `small_batch` samples.
        big: the same of `big_batch` samples, more of them.

    Returns:
        Infinity if the noise hides the gradient even in the big batch.
    """
    signal = (big_batch * big - small_batch * small) / (big_batch - small_batch)
    noise = (small - big) / (1 / small_batch - 1 / big_batch)
    return noise / signal if signal > 0 else math.inf


class _Gradients(Optimizer):
    """Optimizer that takes no step, and adds up the gradients and their squared norms."""

    def __init__(self, parameters: list[Tensor]) -> None:
        super().__init__(parameters, {"lr": 0.0, "peak_lr": 0.0})
        self.count, self.squared = 0, 0.0
        self._parameters = parameters
        self._total = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for total, parameter in zip(self._total, self._parameters, strict=True):
            if parameter.grad is not None:
                self.squared += float(parameter.grad.square().sum())
                total += parameter.grad
        self.count += 1

    def squared_mean(self) -> float:
        """Return the squared norm of the mean gradient."""
        return sum(float((total / self.count).square().sum()) for total in self._total)


def measure_noise(
    runner: StepRunner, setup: StageSetup, batches: Iterator[Batch], *, first_step: int, num_steps: int
) -> float | None:
    """Return the noise scale from the gradients of some steps, none of which is taken.

    A step's batch is the small one, and all of them together are the big one.

    Returns:
        None if gradients are not finite, or no means over samples, as those of a loss over the whole batch.
    """
    if setup.loss_fn.whole_batch:
        return None
    gradients = _Gradients([value for value in setup.network.parameters() if value.requires_grad])
    quiet = setup._replace(config=replace(setup.config, clip_norm=None), optimizer=gradients, mining=None)
    for step in range(first_step, first_step + num_steps):
        runner.run(quiet, step, 0.0, batches)
    if gradients.count < 2 or not math.isfinite(gradients.squared):
        return None
    batch = setup.samples_per_step
    return simple_noise_scale(
        gradients.squared / gradients.count,
        gradients.squared_mean(),
        small_batch=batch,
        big_batch=gradients.count * batch,
    )


def describe_noise(scale: float, batch_size: int) -> str:
    """Return one line: the noise scale, and what it means for batches of this size."""
    if scale > 2 * batch_size:
        meaning = "below it: larger ones, with a higher `lr`, would need fewer steps"
    elif scale < batch_size / 2:
        meaning = "above it: smaller ones would learn as much from fewer samples"
    else:
        meaning = "near it, a compromise between few steps and few samples"
    size = "too large to measure" if math.isinf(scale) else f"about {max(1.0, float(f'{scale:.2g}')):,.0f} samples"
    return f"gradient noise scale: {size} now, more as the loss falls; batches of {batch_size} are {meaning}"
