"""Settings of training that its stages share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from imettk.config.choices import LOSSES
from imettk.config.earlier import takes_focal
from imettk.config.section import MOST_EPOCHS, Parameter, Section


@takes_focal
@dataclass(frozen=True, kw_only=True)
class TrainConfig(Section):
    """Settings that all stages of a training share.

    Attributes:
        loss: a row of LOSSES, or a user's own as `recipe:name`.
        loss_params: its parameters by name; others are the loss's defaults.
        target_scale: scale in which numbers are learned: `standard` subtracts the mean of the training rows and divides
            by their standard deviation; `log` does the same with log(1 + number). The loss scaled_bce always takes
            shares of the range.
        vote_weight: weight rows in the loss by their number of votes to this power, divided by its mean over the
            training rows; 0 weights all alike. A mixed sample has the weight of its first row.
        ema_decay: of the averaged weights that validation and inference use, (0, 1); None uses the last weights.
        average_last: number of weights, at least 2, whose mean is validated, saved and used by inference: those at the
            last validations of the last stage, or at the ends of its last cosine cycles if it has several. BatchNorm's
            statistics are estimated again for it. With `keep` best it is kept if it is better than all weights before
            it. 0 for none.
        precision: `auto` is bfloat16 if the hardware has it, else float16 on a GPU and float32 on a CPU. On a CPU with
            bfloat16 a network with depthwise convolutions is timed in both when its training begins.
        deterministic: on a GPU, only use algorithms that give the same bits each time.
        validate_epochs: epochs between validations; each stage also ends with one.
        watch: what plateau, early stop and the choice of the best weights follow; `focal` is the focal loss over all
            validation rows, whatever loss the network is trained with.
        keep: the weights of the last step, or those of the best validation.
        teacher: prediction files (such as another run's oof.safetensors of all folds) whose probabilities are mixed
            into the targets: distillation.
        teacher_weight: share of the teacher in the targets, (0, 1].
        sync_batchnorm: with several GPUs, compute BatchNorm statistics over the whole batch.
    """

    seed: int = 0
    loss: str = "bce"
    loss_params: dict[str, Parameter] = field(default_factory=dict)
    target_scale: Literal["standard", "log"] = "standard"
    vote_weight: float = 0.0
    ema_decay: float | None = None
    average_last: int = 0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    deterministic: bool = True
    validate_epochs: float = 1.0
    watch: Literal["loss", "score", "focal"] = "loss"
    keep: Literal["last", "best"] = "last"
    teacher: tuple[str, ...] = ()
    teacher_weight: float = 0.5
    sync_batchnorm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(validate_epochs=MOST_EPOCHS)
        self._one_of("loss", LOSSES)
        self._require(self.ema_decay is None or 0 < self.ema_decay < 1, "ema_decay", "in (0, 1), or none")
        self._require(self.average_last == 0 or self.average_last >= 2, "average_last", "0, or at least 2")
        self._require(
            self.average_last == 0 or self.ema_decay is None,
            "average_last",
            "0 beside `ema_decay`: only one average can be validated and saved",
        )
        self._require(self.validate_epochs > 0, "validate_epochs", "above 0")
        self._require(0 <= self.vote_weight <= 4, "vote_weight", "in [0, 4]")
        self._require(0 < self.teacher_weight <= 1, "teacher_weight", "in (0, 1]")
