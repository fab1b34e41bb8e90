"""Precision of a training: one that the hardware has, that this CPU computes correctly, and that is the fastest."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import nn

from imettk.config import Recipe
from imettk.device import bfloat16_convolutions_fail, meets_single_pixels
from imettk.experiment.prepared import make_network
from imettk.progress import say
from imettk.training.process_group import Compute

ROUNDS = 4  # of a step in each precision; the first is not counted
MOST_IMAGES = 8  # of such a step
CLEARLY = 0.95  # float32 must take less than this share of bfloat16's time


class TrainingPrecision:
    """Settles the precision of each fold's training, once for all folds of a session.

    `auto` on a CPU with bfloat16 times both for networks with depthwise convolutions: these are slower in bfloat16
    there, and all others faster. A training keeps what its checkpoint recorded: another precision gives other bits.

    Args:
        compute: as the recipe names it and the hardware has it.
    """

    def __init__(self, recipe: Recipe, compute: Compute, num_labels: int) -> None:
        self._recipe, self._compute, self._num_labels = recipe, compute, num_labels
        self._float32 = replace(compute, dtype=torch.float32)

    def settle(self, recorded: str | None) -> Compute:
        """Return the device and precision of a fold.

        Args:
            recorded: the dtype in the fold's checkpoint; None if the training begins.
        """
        automatic, compute = self._recipe.train.precision == "auto", self._compute
        if compute.device.type != "cpu" or compute.dtype is not torch.bfloat16:
            return compute
        if automatic and recorded == str(torch.float32):
            return self._float32
        if self._gives_wrong_gradients:
            return self._float32
        return self._float32 if automatic and recorded is None and self._is_slower else compute

    @cached_property
    def _network(self) -> nn.Module:
        return make_network(self._recipe, self._num_labels)

    @cached_property
    def _gives_wrong_gradients(self) -> bool:
        """True if bfloat16 gives wrong gradients here, which is printed."""
        wrong = bfloat16_convolutions_fail() and self._meets_single_pixels(self._network)
        if wrong:
            self._say(
                "note: float32 in place of bfloat16: at this image size a convolution sees maps of one pixel, whose "
                f"gradients torch {torch.__version__} gets wrong on this CPU"
            )
        return wrong

    @cached_property
    def _is_slower(self) -> bool:
        """True if bfloat16 is slower here; the times are printed."""
        if not has_depthwise(self._network):
            return False
        size, channels = self._recipe.images.image_size, self._recipe.images.channels
        number = max(2, min(MOST_IMAGES, self._recipe.stages[0].batch_size))
        single, half = time_precisions(self._network, (number, *size, channels))
        slower = self._compute.processes.broadcast_object(single < CLEARLY * half)
        taken, left = ("float32", "bfloat16") if slower else ("bfloat16", "float32")
        seconds = f"{number} images take {single:.3f} s a step in float32, {half:.3f} s in bfloat16"
        self._say(f"precision: {taken} and not {left}, as this network has depthwise convolutions: {seconds}")
        return slower

    def _meets_single_pixels(self, network: nn.Module) -> bool:
        images = self._recipe.images
        sizes = {stage.image_size or images.image_size for stage in self._recipe.stages}
        zeros = partial(torch.zeros, dtype=torch.uint8)
        return any(meets_single_pixels(network, zeros((1, *size, images.channels))) for size in sizes)

    def _say(self, text: str) -> None:
        if self._compute.processes.is_main:
            say(text)


def has_depthwise(network: nn.Module) -> bool:
    """Return whether some convolution of a network has a group for each of its input channels."""
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return any(module.groups == module.in_channels > 1 for module in convolutions)


def time_precisions(network: nn.Module, shape: tuple[int, int, int, int]) -> tuple[float, float]:
    """Return the seconds of a forward and backward pass on the CPU, in float32 and in bfloat16, the best of several.

    The network's gradients and running statistics are of no use afterwards.

    Args:
        shape: of the images, (B, H, W, channels).
    """
    images = torch.zeros(shape, dtype=torch.uint8)
    network.train()
    best = [float("inf"), float("inf")]
    for number in range(ROUNDS):  # in turn, so that a busy moment slows both
        for place, half in enumerate((False, True)):
            begun = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                outputs = network(images)
            sum(part.float().square().sum() for part in outputs if part is not None).backward()
            network.zero_grad()
            if number > 0:
                best[place] = min(best[place], time.perf_counter() - begun)
    return best[0], best[1]
