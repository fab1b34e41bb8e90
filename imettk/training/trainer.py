"""The training loop: a step is a function of its position, never of what happened in this process.

The order of samples comes from (seed, epoch), augmentation from (seed, epoch, position), the device's random numbers
from (seed, step, micro-batch, rank), stage, learning rate and frozen groups from the step and the recorded history. So
a checkpoint holds only weights, averaged weights, optimizer moments, loss scale, samples' losses, history and counters,
and a run that continues from one ends with the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from timm.utils import ModelEmaV3
from torch import Tensor, nn

from imettk.config import Recipe
from imettk.errors import TrainingError
from imettk.progress import progress_bar
from imettk.tracking.tensors import TensorFile
from imettk.training.averaging import WeightAverage
from imettk.training.checkpoint import Checkpoints
from imettk.training.compiled import compiled
from imettk.training.feed import Feed, TrainingData, check_batches
from imettk.training.frozen import freeze, least_samples
from imettk.training.history import is_gain, validations_without_gain
from imettk.training.mining import Mining
from imettk.training.mixing import make_mixing
from imettk.training.position import Position
from imettk.training.process_group import Compute, place_network
from imettk.training.recorder import Recorder
from imettk.training.saving import Saving
from imettk.training.schedule import Span, lr_shares, plan_spans, validation_interval
from imettk.training.session import Session, flag_of, reason_of
from imettk.training.state import TrainingState
from imettk.training.step import StageSetup, StepRunner

ROLLBACK_SCALE = 1 / 16  # of the loss scale after a rollback: the same overflow must not come again


class _Diverged(Exception):
    """Too many steps in a row without a finite loss, or a training that ends with a network that outputs NaN."""


class Trainer:
    """Trains one network over as many sessions as it takes.

    Args:
        network: images (B, H, W, channels) -> outputs with `logits` (B, C).
        recipe: its sections `stages`, `train` and `session` are followed.
        layer_groups: parameter names, first layers first, the head last.
        session: decides when to stop.
        validate: evaluation network -> scores by name; called between steps, by every process.
        recorder: receives every event.
    """

    def __init__(
        self,
        network: nn.Module,
        data: TrainingData,
        *,
        recipe: Recipe,
        layer_groups: list[list[str]],
        compute: Compute,
        session: Session,
        validate: Callable[[nn.Module], dict[str, float]],
        checkpoints: Checkpoints,
        recorder: Recorder,
    ) -> None:
        config, processes = recipe.train, compute.processes
        self.network = place_network(network, compute, sync_batchnorm=config.sync_batchnorm)
        self.ema = ModelEmaV3(self.network, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
        self._data, self._stages, self._config, self._layer_groups = data, recipe.stages, config, layer_groups
        self._compute, self._processes, self._lower_is_better = compute, processes, recipe.lower_is_better()
        self._session, self._limits, self._validate = session, recipe.session, validate
        self._checkpoints, self._recorder = checkpoints, recorder
        self._samples = [data.samples_per_epoch(stage) for stage in self._stages]
        self.spans = plan_spans(self._stages, self._samples)
        self._average = WeightAverage(self.network, self.spans[-1], config, compute, session, recorder)
        self._runner = StepRunner(self.network, data=data, ema=self.ema, compute=compute, limits=recipe.session)
        mines = any(stage.depends_on_losses for stage in self._stages)
        self._mining = Mining(data.rows, seed=data.seed, compute=compute) if mines else None
        self._state = TrainingState(self.network, self.ema, self._runner, self._mining, self._average)
        workers, pin = recipe.session.num_workers, compute.device.type == "cuda"
        self._feed = Feed(data, self._mining, processes=processes, num_workers=workers, pin=pin)
        self._saving = Saving(
            checkpoints,
            self._state,
            self._mining,
            processes=processes,
            session=session,
            limits=recipe.session,
            recorder=recorder,
        )
        self._least = [least_samples(network, layer_groups, stage) for stage in self._stages]
        check_batches(data, self.spans, processes.size, self._least)

    @property
    def num_steps(self) -> int:
        """Steps of the whole training as planned now; an early stop shortens it."""
        return self.spans[-1].last_step

    @property
    def num_groups(self) -> int:
        """Number of layer groups, the head's included."""
        return len(self._layer_groups)

    @property
    def evaluated(self) -> nn.Module:
        """Network that is validated and saved: an averaged one if there is one."""
        averages = (self._average.at_end(self.at.step), None if self.ema is None else self.ema.module)
        return next((average for average in averages if average is not None), self.network)

    @property
    def at(self) -> Position:
        """Position of the training."""
        return self._state.at

    def final_weights(self) -> dict[str, Tensor]:
        """Return the weights for inference: the last ones, or those of the best validation."""
        return self._state.best or self.evaluated.state_dict()

    def load(self, checkpoint: TensorFile, *, scale: float = 1.0) -> None:
        """Continue from a checkpoint of the same experiment; `scale` multiplies its loss scale."""
        self._state.load(checkpoint, scale=scale)
        self._saving.note_loaded()
        self._replan()

    def fit(self) -> str | None:
        """Train until the end or until the session must end.

        Returns:
            None when done; otherwise why it paused, one of `session.REASONS`. In both cases the last step has its
            checkpoint, unless the disk is full.

        Raises:
            TrainingError: the loss stays infinite or not a number.
        """
        hidden = not self._processes.is_main
        try:
            with progress_bar("train", total=self.num_steps, done=self.at.step, unit="step", hidden=hidden) as bar:
                reason = self._run(bar)
            self._saving.wait()
            if self._processes.broadcast_object(not self._saving.is_current):
                self._saving.save()
        finally:
            self._saving.wait()
        # No process leaves before the last checkpoint is written; one that fails leaves at once, which the others see.
        self._processes.all_reduce_flags([0])
        return reason

    def _run(self, bar: Any) -> str | None:
        """Run stage after stage; return why the training paused, or None."""
        bad_step: int | None = None
        while (span := self._current_span()) is not None:
            bar.total = self.num_steps
            try:
                if (reason := self._run_span(span, bar)) is not None:
                    return reason
                if (
                    self._current_span() is None
                    and self._processes.all_reduce_flags([int(not self._state.is_sound())])[0]
                ):
                    raise _Diverged
            except _Diverged:
                # A second divergence at the same place is no accident; far behind it, it is another fault.
                again = bad_step is not None and self.at.step <= bad_step + self._limits.nonfinite_steps
                bad_step = self.at.step
                self._roll_back(again=again)
                bar.n = self.at.step
        return None

    def _current_span(self) -> Span | None:
        for span in self.spans:
            if self.at.step < span.last_step or (self.at.validation_pending and self.at.step == span.last_step):
                return span
        return None

    def _run_span(self, span: Span, bar: Any) -> str | None:
        """Run the rest of a stage; return why the training paused, or None."""
        setup = self._enter(span)
        shares = self._lr_shares(span)
        interval = validation_interval(span, self._config.validate_epochs)
        batches = self._feed.batches(span, self.at.step)
        at = self.at
        while at.step < span.last_step or at.validation_pending:
            reason = self._agree_to_stop(at, span)
            if reason is not None:
                return reason
            if at.validation_pending:
                if (reason := self._average.finish(self._feed, at, setup.resting_norms)) is not None:
                    return reason
                if self._run_validation(span, setup):
                    return None
                shares = self._lr_shares(span)
                continue
            started = time.monotonic()
            result = self._runner.run(setup, at.step, shares[at.step - span.first_step], batches)
            at.step += 1
            seconds = time.monotonic() - started
            self._session.note_step(seconds)
            self._average.note_step(at.step)
            at.note_verdict(result.finite)
            # Pending, not done: a kill before the validation leaves a checkpoint that begins with it.
            at.validation_pending = (at.step - span.first_step) % interval == 0 or at.step == span.last_step
            bar.update()
            self._recorder.step(at, result, setup.optimizer, seconds, bar, flush=at.step == span.last_step)
            if at.nonfinite_in_a_row >= self._limits.nonfinite_steps:
                raise _Diverged
        return None

    def _agree_to_stop(self, at: Position, span: Span) -> str | None:
        """Write a checkpoint if it is due, and return why to stop, the same in all processes, or None."""
        validation_seconds = None
        if at.validation_pending:
            # Until one has been measured: a sample takes at most what it takes in training.
            expected = self._session.estimate(self._data.num_valid / min(span.config.batch_size, len(self._data.rows)))
            validation_seconds = at.validation_seconds or expected
            validation_seconds += self._session.estimate(self._average.steps_left(at.step))
        reason = self._session.stop_reason(validation_seconds=validation_seconds)
        save = self._saving.is_due()
        if self._processes.size > 1:  # all must stop at the same step: a process that went on would wait forever
            flags = [flag_of(reason), int(save and self._processes.is_main)]
            flag, saves = self._processes.all_reduce_flags(flags)
            reason, save = reason_of(flag), bool(saves)
        if save and reason is None:
            self._saving.save()
        return reason

    def _enter(self, span: Span) -> StageSetup:
        """Set up a stage: frozen groups, and a new optimizer or, if the stage had begun, the checkpoint's."""
        config, device = span.config, self._compute.device
        resting_norms = freeze(self.network, self._layer_groups, config)
        setup = StageSetup(
            config=config,
            network=self._processes.wrap(compiled(self.network, self._limits, self._session, device), device),
            optimizer=self._state.enter_stage(span, self._layer_groups),
            loss_fn=self._data.loss_for(config),
            samples_per_step=min(config.batch_size, span.samples_per_epoch),
            mixing=make_mixing(config),
            mining=self._mining if config.depends_on_losses else None,
            least_samples=self._least[span.stage],
            resting_norms=resting_norms,
        )
        setup.train_mode()
        return setup

    def _run_validation(self, span: Span, setup: StageSetup) -> bool:
        """Validate, and act on the result; return whether the stage ends early."""
        started = time.monotonic()
        # Between two steps each process has its own BatchNorm statistics, and those of process 0 are saved.
        self._processes.broadcast(list(self.evaluated.buffers()))
        scores = self._processes.broadcast_object(self._validate(self.evaluated))
        setup.train_mode()
        at, watched, lower = self.at, self._config.watch, self._lower_is_better
        seconds = self._processes.broadcast_object(time.monotonic() - started)
        at.validation_seconds = max(at.validation_seconds, seconds)
        at.validation_pending = False
        self._saving.note_validation()
        at.history.append({"step": at.step, "stage": span.stage, **scores})
        self._recorder.validation(at.step, seconds, scores)
        if self._config.keep == "best" and is_gain(scores[watched], at.best, lower_is_better=lower):
            at.best = scores[watched]
            self._state.best = {name: value.cpu().clone() for name, value in self.evaluated.state_dict().items()}
        if span.config.early_stop is None or at.step == span.last_step:
            return False
        without = validations_without_gain(
            at.metrics(span.stage, watched), lower_is_better=lower, min_gain=span.config.min_gain
        )
        if without < span.config.early_stop:
            return False
        at.early_ends[span.stage] = at.step - span.first_step
        self._replan()
        self._recorder.early_stop(at.step, span.stage, without)
        return True

    def _replan(self) -> None:
        """Plan the stages again, after one has ended early in this session or in an earlier one."""
        self.spans = plan_spans(self._stages, self._samples, self.at.early_ends)
        self._average.replan(self.spans[-1])

    def _lr_shares(self, span: Span) -> list[float]:
        metrics = self.at.metrics(span.stage, self._config.watch)
        return lr_shares(span, metrics, lower_is_better=self._lower_is_better)

    def _roll_back(self, *, again: bool) -> None:
        """Go back to the last checkpoint from before the losses were not finite, with a lower loss scale."""
        self._saving.wait()
        self._processes.all_reduce_flags([0])
        bad_step, count = self.at.step, self.at.nonfinite_in_a_row
        good = None if again else self._checkpoints.find(_has_finite_losses)
        if good is None:
            what = f"the weights were infinite or not a number after the last step, {bad_step}"
            if count and (count >= self._limits.nonfinite_steps or self._state.is_finite()):
                steps = f"{count} steps in a row up to step" if count > 1 else "step"
                what = f"the loss was infinite or not a number in {steps} {bad_step}"
            raise TrainingError(
                what
                + (", also after going back to the last good checkpoint" if again else ", with no checkpoint before it")
                + ": lower the learning rate, set clip_norm, or train in float32"
            )
        self.load(good, scale=ROLLBACK_SCALE)
        self._recorder.rollback(self.at, bad_step)


def _has_finite_losses(checkpoint: TensorFile) -> bool:
    return bool(checkpoint.values["position"]["nonfinite_in_a_row"] == 0)
