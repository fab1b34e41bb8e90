"""Content of a checkpoint: everything that the position in the training does not determine.

What is missing here is lost in a kill. Data order, augmentation, dropout and learning rates are not here on purpose:
they are functions of the position, and a second copy could only disagree.
"""

from __future__ import annotations

import math
from typing import Any

from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer

from imettk.tracking.tensors import TensorFile, all_finite
from imettk.training.averaging import WeightAverage
from imettk.training.mining import Mining
from imettk.training.optimizer import load_optimizer_state, make_optimizer, optimizer_state
from imettk.training.position import Position
from imettk.training.schedule import Span
from imettk.training.step import StepRunner


class TrainingState:
    """Network, averaged networks, optimizer, loss scale, samples' losses, best weights, and the position.

    Attributes:
        best: the weights of the best validation, in host memory; empty where they are not kept.
    """

    def __init__(
        self,
        network: nn.Module,
        ema: ModelEmaV3 | None,
        runner: StepRunner,
        mining: Mining | None,
        average: WeightAverage,
    ) -> None:
        self._network, self._ema, self._runner, self._mining = network, ema, runner, mining
        self._average = average
        self._optimizer: Optimizer | None = None
        self._loaded: TensorFile | None = None
        self.at = Position()
        self.best: dict[str, Tensor] = {}

    def enter_stage(self, span: Span, layer_groups: list[list[str]]) -> Optimizer:
        """Return a new optimizer for a stage, with the memory that it goes on with.

        That is the loaded checkpoint's if the stage had begun there, or the stage before's if the recipe keeps it.
        """
        before, self._optimizer = self._optimizer, make_optimizer(self._network, layer_groups, span.config)
        # At a stage's first step only `keep_optimizer` has something to restore; the loaded checkpoint, which a
        # rollback has gone back to, counts before what this process has in memory.
        if self.at.step > span.first_step or (span.config.keep_optimizer and self.at.step > 0):
            if self._loaded is not None:
                load_optimizer_state(self._optimizer, self._loaded.part("optimizer"), self._loaded.values["optimizer"])
            elif before is not None:
                load_optimizer_state(self._optimizer, *optimizer_state(before))
        self._loaded = None
        return self._optimizer

    def tensors(self, mining: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all tensors by name (not copies: training changes them), and plain values.

        Args:
            mining: what `Mining.tensors` returned.
        """
        moments, plain = ({}, {}) if self._optimizer is None else optimizer_state(self._optimizer)
        parts = {
            "model": self._network.state_dict(),
            "ema": {} if self._ema is None else self._ema.module.state_dict(),
            "average": self._average.tensors(),
            "optimizer": moments,
            "mining": mining,
            "best": self.best,
        }
        tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        return tensors, {
            "position": self.at.to_values(),
            "optimizer": plain,
            "scaler": self._runner.scaler.state_dict(),
            "split": self._runner.split,
        }

    def is_finite(self) -> bool:
        """Return whether all weights are finite: the last ones, the averaged and the best."""
        averaged = {} if self._ema is None else self._ema.module.state_dict()
        kept = (averaged, self._average.tensors(), self.best)
        weights = (*self._network.state_dict().values(), *(value for part in kept for value in part.values()))
        return all_finite(weights)

    def is_sound(self) -> bool:
        """Return whether the training may end here, with weights that are finite and give finite losses.

        Weights may be finite and far too large. A last step that was skipped is no proof of it, as its images may
        be odd; together with a last validation without a finite loss it is.
        """
        skipped = self.at.nonfinite_in_a_row > 0
        return self.is_finite() and not (skipped and not math.isfinite(self.at.history[-1].get("loss", math.nan)))

    def load(self, checkpoint: TensorFile, *, scale: float = 1.0) -> None:
        """Continue from a checkpoint of the same experiment.

        Args:
            scale: multiplies the loss scale.
        """
        self._network.load_state_dict(checkpoint.part("model"))
        if self._ema is not None:
            self._ema.module.load_state_dict(checkpoint.part("ema"))
        self._average.load(checkpoint.part("average"))
        if self._mining is not None:
            self._mining.load(checkpoint.part("mining"))
        self.best = checkpoint.part("best")  # no later step could give these weights back
        self.at = Position.from_values(checkpoint.values["position"])
        # Pieces of another size add up in another order: a resumed training cuts as finely as the killed one did.
        self._runner.split = max(self._runner.split, checkpoint.values["split"])
        if self._runner.scaler.is_enabled():
            scaler = checkpoint.values["scaler"]
            self._runner.scaler.load_state_dict(scaler | {"scale": scaler["scale"] * scale})
        self._loaded = checkpoint
