"""The training loop. What a step does is a function of where it is, never of what happened in this process.

The order of samples comes from (seed, epoch), augmentation from (seed, epoch, position), the device's random numbers
from (seed, step, micro-batch), stage, learning rate and frozen groups from the step. So a checkpoint holds only
weights, averaged weights, optimizer moments, loss scale and counters, and a run that continues from one ends with the
same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from imettk.config import SessionPlan, StagePlan
from imettk.data.dataset import Batch, ImageDataset, load_batches
from imettk.data.sampling import derive_seed, train_requests
from imettk.models.network import Network
from imettk.progress import progress_bar
from imettk.tracking.journal import Journal
from imettk.training.checkpoint import Checkpoint, save_checkpoint
from imettk.training.optimizer import freeze, load_optimizer_tensors, make_optimizer, optimizer_tensors, set_lr
from imettk.training.schedule import Span, lr_table, plan_spans
from imettk.training.session import Session

JOURNAL_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What to train on: `rows` int64 (N,) of the tables behind the datasets that `dataset_for(augmentation)` gives."""

    rows: np.ndarray
    dataset_for: Callable[[str], ImageDataset]


class Trainer:
    """Trains one network over as many sessions as it takes.

    Args:
        loss_fn: logits and targets -> the loss of each sample, (B,).
        layer_groups: parameter names, first layers first, the head last.
        dtype: of the forward pass: float32, or bfloat16 or float16 under autocast.
        validate: evaluation network -> scores by name; called between steps.
        folder: receives `checkpoints/`.
        experiment: plain values that every checkpoint keeps, such as the recipe's fingerprint.
    """

    def __init__(
        self,
        network: Network,
        *,
        loss_fn: Callable[[Tensor, Tensor], Tensor],
        data: TrainingData,
        stages: tuple[StagePlan, ...],
        layer_groups: list[list[str]],
        seed: int,
        ema_decay: float | None,
        device: torch.device,
        dtype: torch.dtype,
        session: Session,
        session_plan: SessionPlan,
        validate: Callable[[nn.Module], dict[str, float]],
        folder: Path,
        journal: Journal,
        experiment: dict[str, Any],
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = ModelEmaV3(self.network, decay=ema_decay, use_warmup=True) if ema_decay else None
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.spans = plan_spans(stages, len(data.rows))
        self._loss_fn, self._data, self._layer_groups = loss_fn, data, layer_groups
        self._seed, self._device, self._dtype = seed, device, dtype
        self._session, self._plan, self._validate = session, session_plan, validate
        self._folder, self._journal, self._experiment = folder / "checkpoints", journal, experiment
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        self._optimizer: torch.optim.Optimizer | None = None
        self._optimizer_memory: dict[str, Tensor] | None = None
        self._resting_norms: list[nn.Module] = []
        self._owes_validation = False
        self._validation_seconds = 0.0
        self._loss_sum, self._loss_steps = torch.zeros((), device=device), 0
        self._saved: tuple[int, bool] | None = None
        self._saved_at = time.monotonic()

    @property
    def num_steps(self) -> int:
        """Steps of the whole training."""
        return self.spans[-1].last_step

    @property
    def evaluated(self) -> nn.Module:
        """The network that counts: the averaged one where there is one."""
        return self.network if self.ema is None else self.ema.module

    def load(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of the same experiment."""
        self.network.load_state_dict(checkpoint.part("model"))
        if self.ema is not None:
            self.ema.module.load_state_dict(checkpoint.part("ema"))
        self._optimizer_memory = checkpoint.part("optimizer")
        values = checkpoint.values
        self.step, self.history = values["step"], values["history"]
        self._owes_validation, self._validation_seconds = values["owes_validation"], values["validation_seconds"]
        self._saved = self.step, self._owes_validation
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(values["scaler"])

    def fit(self) -> str | None:
        """Train until the end or until the session must end.

        Returns:
            None when done; otherwise why it paused. In both cases the last step has its checkpoint.
        """
        stop_listening = self._session.listen()
        try:
            with progress_bar("train", total=self.num_steps, done=self.step, unit="step") as bar:
                for span in self.spans:
                    owes_here = self._owes_validation and self.step == span.last_step
                    reason = self._run_span(span, bar) if self.step < span.last_step or owes_here else None
                    if reason is not None:
                        break
            if self._saved != (self.step, self._owes_validation):
                self.save()
            return reason
        finally:
            stop_listening()

    def save(self) -> None:
        """Write the checkpoint of the current step."""
        started = time.monotonic()
        tensors = {f"model.{name}": value for name, value in self.network.state_dict().items()}
        if self.ema is not None:
            tensors |= {f"ema.{name}": value for name, value in self.ema.module.state_dict().items()}
        if self._optimizer is not None:
            tensors |= {f"optimizer.{name}": value for name, value in optimizer_tensors(self._optimizer).items()}
        values = self._experiment | {
            "step": self.step,
            "history": self.history,
            "owes_validation": self._owes_validation,
            "validation_seconds": self._validation_seconds,
            "scaler": self._scaler.state_dict(),
        }
        save_checkpoint(self._folder, self.step, tensors, values)
        self._saved, self._saved_at = (self.step, self._owes_validation), time.monotonic()
        self._session.note_save(self._saved_at - started)
        self._journal.write("checkpoint", step=self.step, seconds=round(self._saved_at - started, 3))

    def _run_span(self, span: Span, bar: Any) -> str | None:
        """Run what is left of a stage; returns why it paused, or None."""
        self._enter(span)
        shares = lr_table(span.plan, num_steps=span.last_step - span.first_step, steps_per_epoch=span.steps_per_epoch)
        batches = self._batches(span)
        while True:
            if self.step >= span.last_step and not self._owes_validation:
                return None
            reason = self._session.stop_reason(steps_count=not self._owes_validation)
            if reason is not None:
                return reason
            if self._owes_validation:
                if not self._session.fits(self._validation_seconds):
                    return "no time left in the session to validate"
                self._run_validation()
                continue
            started = time.monotonic()
            share = float(shares[self.step - span.first_step])
            loss = self._train_step(span, share, batches)
            self.step += 1
            self._note_step(span, loss, time.monotonic() - started, bar)

    def _enter(self, span: Span) -> None:
        """Set up a stage: frozen groups and a fresh optimizer, or the checkpoint's where the stage had begun."""
        self._resting_norms = freeze(self.network, self._layer_groups, span.plan.frozen_groups)
        self._optimizer = make_optimizer(self.network, self._layer_groups, span.plan)
        if self._optimizer_memory is not None and self.step > span.first_step:
            load_optimizer_tensors(self._optimizer, self._optimizer_memory)
        self._optimizer_memory = None
        self._learn()

    def _learn(self) -> None:
        """Training mode, but for the BatchNorm of frozen groups."""
        self.network.train()
        for module in self._resting_norms:
            module.eval()

    def _batches(self, span: Span) -> Iterator[Batch]:
        requests = train_requests(
            self._data.rows,
            seed=self._seed,
            first_epoch=span.first_epoch,
            batch_size=span.plan.batch_size,
            accumulate=span.plan.accumulate,
            first_step=self.step - span.first_step,
            last_step=span.last_step - span.first_step,
        )
        dataset = self._data.dataset_for(span.plan.augmentation)
        return load_batches(dataset, requests, num_workers=self._plan.num_workers, pin=self._device.type == "cuda")

    def _train_step(self, span: Span, share: float, batches: Iterator[Batch]) -> Tensor:
        """One optimizer step; returns the mean loss of its samples, on the device."""
        assert self._optimizer is not None
        set_lr(self._optimizer, share)
        num_samples = min(span.plan.batch_size, len(self._data.rows))
        step_loss = torch.zeros((), device=self._device)
        for micro_batch in range(span.plan.accumulate):
            batch = next(batches)
            assert batch.targets is not None
            self._seed_device(micro_batch)
            images = batch.images.to(self._device, non_blocking=True)
            targets = batch.targets.to(self._device, non_blocking=True)
            weights = batch.weights.to(self._device, non_blocking=True)
            with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not torch.float32):
                logits = self.network(images).logits
            loss = (self._loss_fn(logits, targets) * weights).sum() / num_samples
            self._scaler.scale(loss).backward()
            step_loss += loss.detach()
        if span.plan.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), span.plan.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update(self.network, step=self.step)
        return step_loss

    def _seed_device(self, micro_batch: int) -> None:
        """Random numbers of the device (dropout) from the position; the generators' own method costs 1 us."""
        key = derive_seed(self._seed, self.step, micro_batch, 0)
        torch.default_generator.manual_seed(key)
        if self._device.type == "cuda":
            torch.cuda.default_generators[self._device.index].manual_seed(key)

    def _note_step(self, span: Span, loss: Tensor, seconds: float, bar: Any) -> None:
        """Everything between two steps that is not training: journal, bar, checkpoint, and whether to validate."""
        self._session.note_step(seconds)
        self._loss_sum += loss
        self._loss_steps += 1
        bar.update()
        if self.step % JOURNAL_STEPS == 0 or self.step == span.last_step:
            assert self._optimizer is not None
            mean_loss = float(self._loss_sum) / self._loss_steps  # the only wait for the device
            self._loss_sum.zero_()
            self._loss_steps = 0
            rates = [group["lr"] for group in self._optimizer.param_groups]
            self._journal.write("train", step=self.step, loss=mean_loss, lr=max(rates), seconds=round(seconds, 4))
            bar.set_postfix(loss=f"{mean_loss:.4f}", lr=f"{max(rates):.2e}", refresh=False)
        interval = max(1, round(self._plan.validate_epochs * span.steps_per_epoch))
        self._owes_validation = (self.step - span.first_step) % interval == 0 or self.step == span.last_step
        if time.monotonic() - self._saved_at > self._plan.checkpoint_seconds:
            self.save()

    def _run_validation(self) -> None:
        started = time.monotonic()
        scores = self._validate(self.evaluated)
        self._learn()
        self._validation_seconds = max(self._validation_seconds, time.monotonic() - started)
        self._owes_validation = False
        self.history.append({"step": self.step, **scores})
        self._journal.write("validate", step=self.step, seconds=round(time.monotonic() - started, 3), **scores)
