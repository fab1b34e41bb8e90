"""Steps on trial: how long they take, and how noisy their gradients are, before a training begins."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from imettk.training.noise_scale import measure_noise
from imettk.training.trainer import Trainer


class TrialTrainer(Trainer):
    """A trainer whose steps are only measured: its weights change, and it must not train afterwards."""

    def time_plan(self, count: int) -> tuple[list[float], float]:
        """Return the seconds of a step of each stage, the median of `count` beside compilation, and of a validation."""
        medians = []
        for span in self.spans:
            self.at.step = span.first_step
            setup = self._enter(span)
            batches, seconds = self._feed.batches(span, self.at.step), []
            for _ in range(min(count, span.last_step - span.first_step)):
                started = time.monotonic()
                self._runner.run(setup, self.at.step, 0.0, batches)
                self.at.step += 1
                seconds.append(time.monotonic() - started)
                self._session.note_step(seconds[-1])
            medians.append(float(np.median(seconds[int(self._limits.compile) :] or seconds)))
        started = time.monotonic()
        self._validate(self.evaluated)
        return medians, time.monotonic() - started

    def noise_scale(self, count: int) -> float | None:
        """Return the gradient noise scale in samples, from at most `count` steps of the longest stage.

        They are of one epoch, as its steps share no sample; None if it has a single one. No step is taken, but averages
        such as BatchNorm's change.
        """
        span = max(self.spans, key=lambda span: span.last_step - span.first_step)
        span = replace(span, config=replace(span.config, keep_optimizer=False))  # the moments at hand are not its own
        self.at.step = span.first_step
        batches = self._feed.batches(span, span.first_step)
        count = min(count, span.steps_per_epoch, span.last_step - span.first_step)
        return measure_noise(self._runner, self._enter(span), batches, first_step=span.first_step, num_steps=count)

    @property
    def start_seconds(self) -> float:
        """Seconds of the longest step so far that also compiled the network; 0 without one."""
        return self._session.start_seconds
