"""Settings of training: its stages, what they share, and the sessions that run them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from imettk.config.choices import AUGMENTATIONS, LOSSES, SAMPLERS
from imettk.config.earlier import takes_focal
from imettk.config.section import MOST_EPOCHS, MOST_PIXELS, MOST_ROWS, Parameter, Section

MOST_PROCESSES = 256
# Environment variables of a session's processes. The session's start as `time.monotonic()` has it, which no change of
# the clock moves; set by a kernel, and by `imettk train` for its processes.
SESSION_START = "IMETTK_SESSION_START"
# The number of pieces to cut micro-batches into; set when several processes start again because memory ran out.
SPLIT = "IMETTK_SPLIT"
EXIT_OUT_OF_MEMORY = 75  # exit code of a process that needs this


@dataclass(frozen=True, kw_only=True)
class StageConfig(Section):
    """A stage of training; each starts with a fresh optimizer. Shares lie in [0, 1].

    Attributes:
        num_epochs: may be a fraction; a stage has at least one step.
        batch_size: samples in an optimizer step, over all processes.
        accumulate: micro-batches in a step, a divisor of `batch_size`.
        optimizer: adam, adamw, sgd (Nesterov momentum 0.9), or timm:NAME.
        lr: peak learning rate, one for all layer groups, or one for each with the head's last.
        layer_decay: factor of a layer group's learning rate, relative to the group after it; needs a single `lr`.
        schedule: the learning rate after the warmup. `steps`: `step_lrs` after `step_epochs`. `triangular`: linear down
            to `final_lr`. `plateau`: times `plateau_factor` after each `plateau_validations` in a row without gain.
        warmup_epochs: length of the linear rise from `warmup_start` times the peak to the peak, as in warmup-scheduler.
        final_lr: end of cosine and triangular and lower limit of plateau, as a share of the peak.
        step_epochs: epochs of this stage after which the learning rate changes.
        step_lrs: learning rates after them, as shares of the peak.
        early_stop: end the stage after this many validations in a row without gain; None for never.
        min_gain: least change of the watched metric that counts as gain.
        clip_norm: largest norm of the gradient; None for no limit.
        frozen_groups: number of first layer groups that do not learn and keep their BatchNorm statistics.
        augmentation: a row of AUGMENTATIONS, or a user's own: (size, channels) -> transforms of albumentations.
        erasing: share of images that lose a random rectangle after augmentation (random erasing).
        sampler: `balanced` draws every class equally often; `identities` fills batches with `images_per_identity`
            images of each of batch_size / images_per_identity classes (PK batches); `hard_first` begins an epoch with
            the samples that had the largest loss in the last one.
        images_per_identity: K of PK batches; an identity with fewer images repeats some.
        cover_identities: draw each identity once an epoch, and more often only to fill the last batch; False draws
            identities at random, for as many batches as the images would fill.
        loss: of this stage, a row of LOSSES or a user's own as `recipe:name`; None takes `train.loss`.
        loss_params: its parameters by name; others are taken from `train.loss_params` if the loss is the same.
        label_smoothing: share of a target that is spread evenly: over all classes, or over yes and no of a label.
        image_size: (height, width) of this stage in pixels; None takes `images.image_size`.
        mixup: alpha of MixUp's Beta distribution, 0 for none.
        cutmix: alpha of CutMix's; if both are set, each is used half of the time.
        mix_mode: draw the mix once for a batch, for each pair of samples, or for each sample.
        mix_share: share of batches (pairs, samples) to mix.
        hard_examples: share of samples, those with the largest loss in the last epoch, to draw once more in this one.
    """

    num_epochs: float = 1.0
    batch_size: int = 32
    accumulate: int = 1
    optimizer: str = "adamw"
    lr: tuple[float, ...] = (1e-3,)
    layer_decay: float | None = None
    weight_decay: float = 0.05
    schedule: Literal["cosine", "triangular", "steps", "plateau", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    warmup_start: float = 0.01
    final_lr: float = 0.0
    step_epochs: tuple[float, ...] = ()
    step_lrs: tuple[float, ...] = ()
    plateau_factor: float = 0.5
    plateau_validations: int = 4
    early_stop: int | None = None
    min_gain: float = 1e-4
    clip_norm: float | None = None
    frozen_groups: int = 0
    augmentation: str = "none"
    erasing: float = 0.0
    sampler: str = "shuffle"
    images_per_identity: int = 4
    cover_identities: bool = True
    loss: str | None = None
    loss_params: dict[str, Parameter] = field(default_factory=dict)
    label_smoothing: float = 0.0
    image_size: tuple[int, int] | None = None
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_mode: Literal["batch", "pair", "elem"] = "batch"
    mix_share: float = 1.0
    hard_examples: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of("augmentation", AUGMENTATIONS)
        self._one_of("sampler", SAMPLERS, own=False)
        self._at_most(num_epochs=MOST_EPOCHS, batch_size=MOST_ROWS, image_size=MOST_PIXELS)
        self._one_of("loss", LOSSES)
        self._require(self.num_epochs > 0, "num_epochs", "above 0")
        self._require(self.batch_size >= 1, "batch_size", "at least 1")
        self._require(
            self.accumulate >= 1 and self.batch_size % self.accumulate == 0,
            "accumulate",
            f"a divisor of batch_size ({self.batch_size})",
        )
        self._require(  # batch statistics of a single sample have no variance
            self.batch_size >= 2 * self.accumulate,
            "accumulate",
            f"at most half of `batch_size` ({self.batch_size}): BatchNorm cannot train on micro-batches of one sample",
        )
        self._require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", "above 0, or none")
        self._require(self.frozen_groups >= 0, "frozen_groups", "0 or above")
        self._require(0 <= self.label_smoothing < 1, "label_smoothing", "in [0, 1)")
        self._require(
            self.image_size is None or min(self.image_size) >= 8, "image_size", "at least 8 pixels each way, or none"
        )
        self._require(self.mixup >= 0, "mixup", "0 or above")
        self._require(self.cutmix >= 0, "cutmix", "0 or above")
        self._require(0 < self.mix_share <= 1, "mix_share", "in (0, 1]")
        self._require(0 <= self.hard_examples <= 1, "hard_examples", "in [0, 1]")
        self._check_sampling()
        self._check_rates()
        self._check_history()

    @property
    def depends_on_losses(self) -> bool:
        """True if the samples of an epoch depend on the losses of the epoch before."""
        return self.hard_examples > 0 or SAMPLERS[self.sampler].by_losses

    def _check_sampling(self) -> None:
        self._require(0 <= self.erasing <= 1, "erasing", "in [0, 1]")
        self._require(
            self.images_per_identity >= 1
            and (not SAMPLERS[self.sampler].by_identity or self.batch_size % self.images_per_identity == 0),
            "images_per_identity",
            f"at least 1 and, for identities, a divisor of batch_size ({self.batch_size})",
        )
        # Hard examples are added to an epoch of every row once; other samplers choose themselves how often a row comes.
        self._require(
            self.hard_examples == 0 or self.sampler == "shuffle", "hard_examples", "0 unless `sampler` is shuffle"
        )

    def _check_rates(self) -> None:
        known = self.optimizer in ("adam", "adamw", "sgd") or self.optimizer.startswith("timm:")
        self._require(known, "optimizer", "adam, adamw, sgd or timm:NAME")
        self._require(len(self.lr) >= 1 and min(self.lr) >= 0, "lr", "one or more values of 0 or above")
        self._require(
            self.layer_decay is None or (0 < self.layer_decay <= 1 and len(self.lr) == 1),
            "layer_decay",
            "in (0, 1] and beside a single lr, or none",
        )
        self._require(self.weight_decay >= 0, "weight_decay", "0 or above")
        self._require(
            0 <= self.warmup_epochs <= self.num_epochs, "warmup_epochs", f"in [0, num_epochs = {self.num_epochs}]"
        )
        self._require(0 < self.warmup_start < 1, "warmup_start", "in (0, 1), as a share of the peak")
        self._require(0 <= self.final_lr <= 1, "final_lr", "in [0, 1], as a share of the peak")
        rising = self.step_epochs == tuple(sorted(set(self.step_epochs))) and min(self.step_epochs, default=1) > 0
        self._require(rising, "step_epochs", "rising and above 0")
        has_steps = (len(self.step_epochs) > 0) == (self.schedule == "steps")
        self._require(has_steps, "step_epochs", "given with schedule steps, and with no other")
        self._require(
            len(self.step_lrs) == len(self.step_epochs) and min(self.step_lrs, default=0) >= 0,
            "step_lrs",
            f"one share of the peak, 0 or above, for each of the {len(self.step_epochs)} step_epochs",
        )

    def _check_history(self) -> None:
        self._require(0 < self.plateau_factor < 1, "plateau_factor", "in (0, 1)")
        self._require(self.plateau_validations >= 1, "plateau_validations", "at least 1")
        self._require(self.early_stop is None or self.early_stop >= 1, "early_stop", "at least 1, or none")
        self._require(self.min_gain >= 0, "min_gain", "0 or above")


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
        self._require(self.validate_epochs > 0, "validate_epochs", "above 0")
        self._require(0 <= self.vote_weight <= 4, "vote_weight", "in [0, 4]")
        self._require(0 < self.teacher_weight <= 1, "teacher_weight", "in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class SessionConfig(Section):
    """A session on one machine: how long it may run and how it works. None of this changes what is computed.

    Attributes:
        limit_seconds: from the session's start until the platform would kill it.
        margin_seconds: time kept free at the end; a step that hangs is ended in its last quarter.
        limit_steps: stop after this many optimizer steps, whatever the clock shows.
        checkpoint_seconds: longest time between checkpoints.
        nonfinite_steps: number of steps in a row with a loss that is not finite that are skipped; after them training
            goes back to the last good checkpoint once, and the next time it stops.
        device: `auto` takes the GPU if there is one.
        num_processes: processes that share each batch on one machine; None is one for each GPU.
        num_workers: loader processes, over all of these.
        num_threads: threads of torch on the CPU; None is one for each core. Fewer leave cores to loaders and other
            processes: in bfloat16 the threads of an operation spin until the last one is done, and beside two busy
            neighbours a step with two threads takes over ten times as long as with one. Another number adds in another
            order, so a training keeps the number that it began with to end with the same bits.
        tensorboard: write scalars for TensorBoard beside the journal.
    """

    limit_seconds: float = 9 * 3600.0
    margin_seconds: float = 300.0
    limit_steps: int | None = None
    checkpoint_seconds: float = 600.0
    nonfinite_steps: int = 10
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_processes: int | None = None
    num_workers: int = 2
    num_threads: int | None = None
    tensorboard: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(num_processes=MOST_PROCESSES, num_workers=MOST_PROCESSES, num_threads=MOST_PROCESSES)
        self._require(self.limit_seconds > 0, "limit_seconds", "above 0")
        self._require(0 <= self.margin_seconds < self.limit_seconds, "margin_seconds", "in [0, limit_seconds)")
        self._require(self.limit_steps is None or self.limit_steps >= 1, "limit_steps", "at least 1, or none")
        self._require(self.checkpoint_seconds >= 0, "checkpoint_seconds", "0 or above")
        self._require(self.nonfinite_steps >= 1, "nonfinite_steps", "at least 1")
        self._require(self.num_processes is None or self.num_processes >= 1, "num_processes", "at least 1, or none")
        self._require(self.num_workers >= 0, "num_workers", "0 or above")
        self._require(self.num_threads is None or self.num_threads >= 1, "num_threads", "at least 1, or none")
