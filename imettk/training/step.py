"""One optimizer step over its micro-batches, and its faults: memory that runs out, a loss that is not finite.

A step either happens as a whole or leaves no trace: when it is skipped or starts again, gradients are dropped and
BatchNorm's statistics restored. A resumed run could not know of half a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import NamedTuple

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from imettk.config.session import SessionConfig
from imettk.config.stage import StageConfig
from imettk.data.dataset import Batch
from imettk.data.sampling import derive_seed
from imettk.errors import DeviceError, DistributedOutOfMemoryError
from imettk.losses.output_loss import OutputLoss
from imettk.models.recompute import recompute_activations
from imettk.progress import say
from imettk.training.feed import TrainingData
from imettk.training.mining import Mining
from imettk.training.mixing import Mixing
from imettk.training.optimizer import set_lr
from imettk.training.process_group import Compute, ProcessGroup


class StageSetup(NamedTuple):
    """Everything that the steps of a stage share.

    Attributes:
        network: the trainer's own, or its wrapper for several processes.
        loss_fn: the network's outputs and targets -> the loss of each sample, (B,).
        samples_per_step: over all micro-batches and processes.
        mining: records the samples' losses, or None.
        mixing: of images and targets, or None.
        least_samples: the fewest of a micro-batch, also after halving.
        resting_norms: frozen BatchNorm modules, which keep their statistics, by name.
    """

    config: StageConfig
    network: nn.Module
    optimizer: torch.optim.Optimizer
    loss_fn: OutputLoss
    samples_per_step: int
    mixing: Mixing | None
    mining: Mining | None
    least_samples: int
    resting_norms: Mapping[str, nn.Module]

    def train_mode(self) -> None:
        """Switch the network to training mode, except for frozen BatchNorm."""
        self.network.train()
        for module in self.resting_norms.values():
            module.eval()


class StepResult(NamedTuple):
    """Mean loss of a step's samples; `finite` says that the step was taken, and not skipped."""

    loss: float
    finite: bool


class _Piece(NamedTuple):
    """Rows, int64 (B,), of a micro-batch or a part of it, and their losses, plain and weighted, float32 (B,)."""

    rows: Tensor
    losses: Tensor
    weighted: Tensor


class StepRunner:
    """Takes optimizer steps; random numbers are a function of (seed, step, micro-batch, rank).

    Args:
        limits: the session's settings, of which one is whether activations are computed again.

    Attributes:
        split: into how many pieces each micro-batch is cut; doubles when the device runs out of memory.
        scaler: the loss scale of float16; idle with other types.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        data: TrainingData,
        ema: ModelEmaV3 | None,
        compute: Compute,
        limits: SessionConfig,
    ) -> None:
        device, dtype, recomputes = compute.device, compute.dtype, limits.recompute_activations
        self._network, self._ema, self._processes = network, ema, compute.processes
        self._num_outputs, self._task = data.num_outputs, data.task
        self._prior = None if data.prior is None else torch.from_numpy(data.prior).to(device)
        self._device = device
        self._seed = derive_seed(data.seed, compute.processes.rank)
        self._autocast: AbstractContextManager[object] = (
            nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype)
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        self._scales = self.scaler.is_enabled()
        self._parameters = list(network.parameters())
        self.split = compute.split
        self._gradients: dict[tuple[int, float], Tensor] = {}
        parameters = {name for name, _ in network.named_parameters()}
        # BatchNorm's running statistics change in the forward pass: a step that is not taken must give them back.
        buffers = [value for name, value in network.state_dict(keep_vars=True).items() if name not in parameters]
        statistics = [value for value in buffers if value.is_floating_point()]
        counters = [value for value in buffers if not value.is_floating_point()]
        if recomputes:
            recompute_activations(network)
        self._kept = [(live, [torch.empty_like(value) for value in live]) for live in (statistics, counters) if live]
        # A forward pass that runs again during the backward pass changes them a second time, which is undone as well.
        self._kept_forward = [(live, list(map(torch.empty_like, live))) for live, _ in self._kept if recomputes]

    def run(self, setup: StageSetup, step: int, share: float, batches: Iterator[Batch]) -> StepResult:
        """Take one step.

        Args:
            step: its number, from 0.
            share: of the peak learning rate.
            batches: an iterator whose next items are the step's micro-batches.

        Raises:
            DeviceError: memory does not even suffice for the fewest samples that can train.
        """
        set_lr(setup.optimizer, share)
        if self._kept:  # one fused copy, in case the step is skipped or starts again
            _copy_buffers(self._kept, back=False)
        taken: list[Batch] = []  # kept, should the step have to start again
        while True:
            try:
                pieces = self._backward(setup, step, batches, taken)
                break
            except torch.OutOfMemoryError:
                pass  # leave the handler first: its traceback holds the tensors that must go
            self._halve(setup, step, max(len(batch.images) for batch in taken))
        # Python's sum: for a few hundred numbers it is faster than torch's.
        total = sum(chain.from_iterable(piece.weighted.tolist() for piece in pieces))
        loss = self._processes.all_reduce_sum(total) / setup.samples_per_step
        # The loss is the same number in all processes, so all of them take or skip the step.
        finite = self._update(setup, math.isfinite(loss))
        if finite and setup.mining is not None:
            for piece in pieces:
                setup.mining.record(piece.rows, piece.losses)
        if finite and self._ema is not None:
            self._ema.update(self._network, step=step)  # its warmup is a function of the step, too
        return StepResult(loss, finite)

    def _update(self, setup: StageSetup, finite: bool) -> bool:
        """Update the weights if loss and gradient are finite; return whether they are."""
        if setup.config.clip_norm is not None:
            self.scaler.unscale_(setup.optimizer)
            norm = nn.utils.clip_grad_norm_(self._parameters, setup.config.clip_norm)
            if not self._scales:
                finite = finite and math.isfinite(norm)
        if self._scales and finite:
            self.scaler.step(setup.optimizer)  # skips by itself where the gradient overflows
            self.scaler.update()
        elif self._scales:
            self.scaler.update(self.scaler.get_scale() * self.scaler.get_backoff_factor())
        elif finite:
            setup.optimizer.step()
        if not finite:
            _copy_buffers(self._kept, back=True)
        self._drop_gradients()
        return finite

    def _drop_gradients(self) -> None:
        # What `zero_grad` does, without the profiler's range around it, which costs more than the rest.
        for parameter in self._parameters:
            parameter.grad = None

    def _backward(self, setup: StageSetup, step: int, batches: Iterator[Batch], taken: list[Batch]) -> list[_Piece]:
        """Compute the gradients of all micro-batches, in pieces of which memory holds one at a time."""
        accumulate = setup.config.accumulate
        done: list[_Piece] = []
        for place in range(accumulate):
            if place == len(taken):
                taken.append(next(batches))
            batch = taken[place] if self._device.type == "cpu" else self._to_device(taken[place])
            pieces = [batch] if self.split == 1 else _split(batch, self.split, setup.least_samples)
            for number, piece in enumerate(pieces, place * self.split):
                is_last = place == accumulate - 1 and piece is pieces[-1]
                if self._processes.size == 1 or is_last:
                    done.append(self._forward_backward(setup, step, number, piece))
                else:
                    with setup.network.no_sync():  # type: ignore[operator]  # only the last averages over processes
                        done.append(self._forward_backward(setup, step, number, piece))
        return done

    def _forward_backward(self, setup: StageSetup, step: int, number: int, batch: Batch) -> _Piece:
        """Compute the gradients of a piece, and return its losses."""
        processes = self._processes
        key = self._seed_device(step, number)
        images, targets = batch.images, batch.targets
        assert targets is not None
        if setup.mixing is not None or setup.config.label_smoothing:
            targets = self._task.soften(targets, self._num_outputs)
        if setup.config.label_smoothing:
            targets = self._smooth(targets, setup.config)
        if setup.mixing is not None:
            images, targets = setup.mixing(images, targets, key=key)
        with self._autocast:
            outputs = setup.network(images, **batch.beside)
        count = len(images)
        if gathers := processes.size > 1 and setup.loss_fn.whole_batch:  # such as triplets, which pair all samples
            # Every process has the loss of all; its gradient reaches each through its own samples.
            outputs = type(outputs)(*(None if part is None else _gather(part, processes) for part in outputs))
            targets = processes.all_gather_with_grad(targets)
        losses = setup.loss_fn(outputs, targets)
        # The gradient of the mean over the step's samples is passed in: cheaper than taking the mean and going back
        # through it. Processes average their gradients, so each gives `size` times its part.
        gradient = self._even_gradient(setup, len(losses), losses.dtype)
        if batch.weights is not None:
            gradient = gradient * batch.weights
        _copy_buffers(self._kept_forward, back=False)
        torch.autograd.backward((losses,), (self.scaler.scale(gradient) if self._scales else gradient,))
        _copy_buffers(self._kept_forward, back=True)
        losses = losses.detach()
        if gathers:
            losses = losses[count * processes.rank : count * (processes.rank + 1)]
        return _Piece(batch.rows, losses, losses if batch.weights is None else losses * batch.weights)

    def _smooth(self, targets: Tensor, config: StageConfig) -> Tensor:
        if config.smoothing_by == "even":
            return self._task.smooth(targets, config.label_smoothing)
        assert self._prior is not None  # as the recipe asks for it
        return self._task.smooth_towards(targets, config.label_smoothing, self._prior)

    def _even_gradient(self, setup: StageSetup, count: int, dtype: torch.dtype) -> Tensor:
        """Return `size` / samples of the step for each of `count` samples; made once, as it is needed in every step."""
        value = self._processes.size / setup.samples_per_step
        if (gradient := self._gradients.get((count, value))) is None:
            gradient = torch.full((count,), value, dtype=dtype, device=self._device)
            self._gradients[count, value] = gradient
        return gradient

    def _to_device(self, batch: Batch) -> Batch:
        def move(tensor: Tensor) -> Tensor:
            return tensor.to(self._device, non_blocking=True)

        targets, weights, metadata = (
            part if part is None else move(part) for part in (batch.targets, batch.weights, batch.metadata)
        )
        rows = move(batch.rows)
        return Batch(move(batch.images), targets, weights, batch.positions, rows, metadata=metadata)

    def _seed_device(self, step: int, number: int) -> int:
        """Seed the device's random numbers (dropout) by the position, and return the seed.

        The generators are seeded directly: `torch.manual_seed` also walks every other device, in each micro-batch.
        """
        key = derive_seed(step, number, state=self._seed)
        torch.default_generator.manual_seed(key)
        if self._device.type == "cuda":
            torch.cuda.default_generators[self._device.index].manual_seed(key)
        return key

    def _halve(self, setup: StageSetup, step: int, micro_batch: int) -> None:
        """Undo what the step has done, and halve the pieces that it starts again with."""
        self._drop_gradients()
        _copy_buffers(self._kept, back=True)
        least = setup.least_samples
        if micro_batch // least <= self.split:
            how_many = "one sample" if least == 1 else "two samples (BatchNorm needs as many)"
            raise DeviceError(
                f"out of memory on {self._device} in step {step} even with {how_many} at a time: "
                "choose smaller images or another backbone"
            )
        if self._processes.size > 1:
            # The other processes wait in their backward pass for this one: the launcher has to restart them all.
            raise DistributedOutOfMemoryError(
                f"out of memory on {self._device} in step {step} with micro-batches of "
                f"{-(-micro_batch // self.split)}: set `accumulate` of the stage higher"
            )
        self.split *= 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        say(
            f"warning: out of memory in step {step}: micro-batches of {micro_batch // self.split or 1} from now on, "
            "the same effective batch"
        )


def _copy_buffers(pairs: list[tuple[list[Tensor], list[Tensor]]], *, back: bool) -> None:
    """Copy live buffers to those that are kept, or back, in fused operations."""
    for live, kept in pairs:
        torch._foreach_copy_(*((live, kept) if back else (kept, live)))


def _gather(part: Tensor, processes: ProcessGroup) -> Tensor:
    """Return a part of the outputs for the samples of all processes, (B, ...), or (masks, B, C) for logits by mask."""
    if part.ndim < 3:
        return processes.all_gather_with_grad(part)
    return processes.all_gather_with_grad(part.transpose(0, 1).contiguous()).transpose(0, 1)


def _split(batch: Batch, count: int, least: int) -> list[Batch]:
    """Cut a batch into `count` pieces of nearly equal size; into fewer if one would have less than `least` samples."""
    size = len(batch.images)
    count = max(1, min(count, size // least))
    parts = [slice(size * piece // count, size * (piece + 1) // count) for piece in range(count)]
    return [Batch(*(None if field is None else field[part] for field in batch)) for part in parts]  # type: ignore[arg-type]
