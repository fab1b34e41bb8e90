"""Mean of a training's weights at its last marks: stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407).

    step      ...  40 ... 50 ... 60        marks: the last K validations (or ends of cosine cycles) of the last stage
    average        w40    + w50  + w60     a running mean, in every checkpoint
    after 60       BatchNorm's statistics -> validation -> model.safetensors

Marks are functions of the plan alone, so a resumed training averages the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from imettk.config.training import TrainConfig
from imettk.errors import ConfigError
from imettk.training.batch_statistics import estimate_statistics, learning_norms, num_steps
from imettk.training.feed import Feed
from imettk.training.position import Position
from imettk.training.process_group import Compute
from imettk.training.recorder import Recorder
from imettk.training.schedule import Span, cycle_ends, validated_steps
from imettk.training.session import Session, flag_of, reason_of


class WeightAverage:
    """Running mean of a network's weights at the last marks, as a network of its own; it does nothing without marks.

    Args:
        trained: the network whose weights are averaged.
        span: the last stage.
    """

    def __init__(
        self,
        trained: nn.Module,
        span: Span,
        config: TrainConfig,
        compute: Compute,
        session: Session,
        recorder: Recorder,
    ) -> None:
        self._trained, self._config = trained, config
        self._span, self._marks = span, last_marks(span, config)
        self._compute, self._session, self._recorder = compute, session, recorder
        # torch's own: parameters are averaged, buffers are those of the last mark.
        self._mean = AveragedModel(trained) if self._marks else None

    def replan(self, span: Span) -> None:
        """Move the marks with the last stage, which begins earlier if a stage before it has ended early."""
        self._span, self._marks = span, last_marks(span, self._config)

    def at_end(self, step: int) -> nn.Module | None:
        """Return the mean as a network after the training's last step, None before it."""
        return None if self._mean is None or step < self._marks[-1] else self._mean.module

    def note_step(self, step: int) -> None:
        """Add the weights to the mean if this many steps are a mark."""
        if self._mean is not None and step in self._marks:
            self._mean.update_parameters(self._trained)

    def steps_left(self, step: int) -> int:
        """Return the steps whose batches `finish` takes before the validation at this step."""
        network = self.at_end(step)
        return num_steps(self._span) if network is not None and learning_norms(network) else 0

    def finish(self, feed: Feed, at: Position, resting: Collection[str]) -> str | None:
        """Estimate BatchNorm's statistics for the mean after the last step, and do nothing before it.

        Args:
            resting: names of BatchNorm modules that keep their statistics.

        Returns:
            The reason why the session ends before the statistics are complete, or None.
        """
        network, started = self.at_end(at.step), time.monotonic()
        if network is None:
            return None
        batches = feed.batches_after(self._span, num_steps(self._span))
        reason = estimate_statistics(
            network,
            batches,
            compute=self._compute,
            resting=resting,
            stop_reason=lambda: self._stop_reason(at.validation_seconds),
        )
        if reason is None:
            self._recorder.average(at.step, self._marks, time.monotonic() - started)
        return reason

    def tensors(self) -> dict[str, Tensor]:
        """Return the mean and the number of weights in it by name, for a checkpoint."""
        return {} if self._mean is None else self._mean.state_dict()

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""
        if self._mean is not None:
            self._mean.load_state_dict(tensors)

    def _stop_reason(self, validation_seconds: float) -> str | None:
        """Return why to stop, the same in all processes: one that went on would wait for the others forever.

        Args:
            validation_seconds: of the validation that follows.
        """
        reason = self._session.stop_reason(validation_seconds=validation_seconds)
        (flag,) = self._compute.processes.all_reduce_flags([flag_of(reason)])
        return reason_of(flag)


def last_marks(span: Span, config: TrainConfig) -> tuple[int, ...]:
    """Return the steps after which the weights are averaged, in order; none if the recipe asks for no average.

    Args:
        span: the last stage.

    Raises:
        ConfigError: the stage has fewer marks than that.
    """
    validations = validated_steps([span], config.validate_epochs)
    cycles = [span.first_step + end for end in cycle_ends(span.config, steps_per_epoch=span.steps_per_epoch)]
    marks = validations if span.config.num_cycles == 1 else cycles
    if len(marks) < config.average_last:
        raise ConfigError(
            f"`train.average_last` must be at most {len(marks)}, the number of validations in the last stage, got "
            f"{config.average_last}: set it lower, or `train.validate_epochs`"
        )
    return tuple(marks[len(marks) - config.average_last :])
