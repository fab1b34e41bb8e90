"""Settings of a stage of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from imettk.config.choices import AUGMENTATIONS, LOSSES, SAMPLERS
from imettk.config.optimizers import UNFIT_OPTIMIZERS
from imettk.config.section import MOST_EPOCHS, MOST_PIXELS, MOST_ROWS, Parameter, Section
from imettk.config.transforms import parse
from imettk.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class StageConfig(Section):
    """A stage of training; each starts with a new optimizer unless it keeps the last one's. Shares lie in [0, 1].

    Attributes:
        num_epochs: may be a fraction; a stage has at least one step.
        batch_size: samples in an optimizer step, over all processes.
        accumulate: micro-batches in a step, a divisor of `batch_size`.
        optimizer: adam, adamw, sgd (Nesterov momentum 0.9), or timm:NAME.
        lookahead: steps between synchronisations with slowly moving weights (Lookahead), at least 1; 0 for none.
        lr: peak learning rate, one for all layer groups, or one for each with the head's last.
        layer_decay: factor of a layer group's learning rate, relative to the group after it; needs a single `lr`.
        schedule: the learning rate after the warmup. `steps`: `step_lrs` after `step_epochs`. `triangular`: linear down
            to `final_lr`. `plateau`: times `plateau_factor` after each `plateau_validations` in a row without gain.
        schedule_part: part of the course of cosine or triangular that this stage runs, as two shares of it; stages that
            share one course divide it: (0, 0.6), then (0.6, 1).
        warmup_epochs: length of the linear rise from `warmup_start` times the peak to the peak, as in warmup-scheduler.
        final_lr: end of cosine and triangular and lower limit of plateau, as a share of the peak.
        num_cycles: warm restarts: how often cosine or triangular falls from its peak to `final_lr`, at least 1.
        cycle_factor: length of a cycle relative to the one before it, in [1, 10].
        cycle_decay: peak of a cycle relative to the one before it, (0, 1].
        step_epochs: epochs of this stage after which the learning rate changes.
        step_lrs: learning rates after them, as shares of the peak.
        early_stop: end the stage after this many validations in a row without gain; None for never.
        min_gain: least change of the watched metric that counts as gain.
        clip_norm: largest norm of the gradient; None for no limit.
        keep_optimizer: begin with the moments of the stage before, which has the same optimizer and frozen groups.
        frozen_groups: number of first layer groups that do not learn and keep their BatchNorm statistics.
        freeze_batchnorm: BatchNorm of the backbone keeps its statistics, weights and biases in this stage (that of the
            head learns): for micro-batches too small for statistics, down to one sample.
        augmentation: a row of AUGMENTATIONS, or a user's own: (size, channels) -> transforms of albumentations.
        transforms: transforms after `augmentation`, as text: albumentations' and RandAugment, AugMix, Noise and Warp,
            such as "OneOf([MotionBlur(5), GaussNoise()], p=0.3)"; a `size` that is left out is the stage's.
        erasing: share of images that lose a random rectangle after augmentation (random erasing).
        sampler: `balanced` draws every class equally often; `identities` fills batches with `images_per_identity`
            images of each of batch_size / images_per_identity classes (PK batches); `hard_first` begins an epoch with
            the samples that had the largest loss in the last one.
        images_per_identity: K of PK batches; an identity with fewer images repeats some.
        cover_identities: draw each identity once an epoch, and more often only to fill the last batch; False draws
            identities at random, for as many batches as the images would fill.
        loss: of this stage, a row of LOSSES or a user's own as `recipe:name`; None takes `train.loss`.
        loss_params: its parameters by name; others are taken from `train.loss_params` if the loss is the same.
        class_weights: weights of the classes in the loss, or of each label's presence, from the fold's training rows:
            `inverse` to their number, to its square root (`sqrt`), or to the effective number of Cui et al.
            (`effective`); their mean over the rows is 1. Validation's loss has no weights.
        effective_beta: beta of the effective number, in (0, 1).
        label_weights: weights by label, above 0, which multiply those of `class_weights`; other labels have 1.
        label_smoothing: share of a target that is spread, in [0, 1).
        smoothing_by: how it is spread: evenly over all classes, or over yes and no of a label; or by `counts`, as the
            fold's training rows are distributed.
        image_size: (height, width) of this stage in pixels; None takes `images.image_size`.
        mixup: alpha of MixUp's Beta distribution, 0 for none.
        cutmix: alpha of CutMix's; if both are set, each is used half of the time.
        mix_mode: draw the mix once for a batch, for each pair of samples, or for each sample.
        mix_share: share of batches (pairs, samples) to mix.
        mix_classes: MixUp and CutMix take any two samples, two of the same class, or two of different classes; a sample
            that has no such partner in its batch stays as it is.
        mosaic: share of batches in which each image becomes a quarter of a mosaic of four; MixUp and CutMix take the
            others.
        hard_examples: share of samples, those with the largest loss in the last epoch, to draw once more in this one.
    """

    num_epochs: float = 1.0
    batch_size: int = 32
    accumulate: int = 1
    optimizer: str = "adamw"
    lookahead: int = 0
    lr: tuple[float, ...] = (1e-3,)
    layer_decay: float | None = None
    weight_decay: float = 0.05
    schedule: Literal["cosine", "triangular", "steps", "plateau", "constant"] = "cosine"
    schedule_part: tuple[float, float] = (0.0, 1.0)
    warmup_epochs: float = 0.0
    warmup_start: float = 0.01
    final_lr: float = 0.0
    num_cycles: int = 1
    cycle_factor: float = 1.0
    cycle_decay: float = 1.0
    step_epochs: tuple[float, ...] = ()
    step_lrs: tuple[float, ...] = ()
    plateau_factor: float = 0.5
    plateau_validations: int = 4
    early_stop: int | None = None
    min_gain: float = 1e-4
    clip_norm: float | None = None
    keep_optimizer: bool = False
    frozen_groups: int = 0
    freeze_batchnorm: bool = False
    augmentation: str = "none"
    transforms: tuple[str, ...] = ()
    erasing: float = 0.0
    sampler: str = "shuffle"
    images_per_identity: int = 4
    cover_identities: bool = True
    loss: str | None = None
    loss_params: dict[str, Parameter] = field(default_factory=dict)
    class_weights: Literal["none", "inverse", "sqrt", "effective"] = "none"
    effective_beta: float = 0.999
    label_weights: dict[str, Parameter] = field(default_factory=dict)
    label_smoothing: float = 0.0
    smoothing_by: Literal["even", "counts"] = "even"
    image_size: tuple[int, int] | None = None
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_mode: Literal["batch", "pair", "elem"] = "batch"
    mix_share: float = 1.0
    mix_classes: Literal["any", "same", "other"] = "any"
    mosaic: float = 0.0
    hard_examples: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of("augmentation", AUGMENTATIONS)
        self._check_transforms()
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
            self.batch_size >= 2 * self.accumulate or self.freeze_batchnorm,
            "accumulate",
            f"at most half of `batch_size` ({self.batch_size}): BatchNorm cannot train on micro-batches of one sample "
            "(`freeze_batchnorm` keeps it from training)",
        )
        self._require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", "above 0, or none")
        self._require(self.frozen_groups >= 0, "frozen_groups", "0 or above")
        self._require(
            self.image_size is None or min(self.image_size) >= 8, "image_size", "at least 8 pixels each way, or none"
        )
        self._require(self.mixup >= 0, "mixup", "0 or above")
        self._require(self.cutmix >= 0, "cutmix", "0 or above")
        self._require(0 < self.mix_share <= 1, "mix_share", "in (0, 1]")
        mixes_pairs = self.mixup > 0 or self.cutmix > 0
        self._require(mixes_pairs or self.mix_classes == "any", "mix_classes", "any without `mixup` and `cutmix`")
        self._require(0 <= self.mosaic <= 1, "mosaic", "in [0, 1]")
        self._require(0 <= self.hard_examples <= 1, "hard_examples", "in [0, 1]")
        self._check_sampling()
        self._check_targets()
        self._check_rates()
        self._check_cycles()
        self._check_history()

    @property
    def mixes(self) -> bool:
        """True if samples are mixed, and targets with them."""
        return self.mixup > 0 or self.cutmix > 0 or self.mosaic > 0

    @property
    def depends_on_losses(self) -> bool:
        """True if the samples of an epoch depend on the losses of the epoch before."""
        return self.hard_examples > 0 or SAMPLERS[self.sampler].by_losses

    @property
    def weighs_classes(self) -> bool:
        """True if its loss weighs classes or labels."""
        return self.class_weights != "none" or len(self.label_weights) > 0

    def _check_transforms(self) -> None:
        """Check that each transform parses; `check_transforms` tries it, as albumentations takes seconds to import."""
        are_text = all(isinstance(text, str) for text in self.transforms)
        self._require(are_text, "transforms", 'text, such as "HorizontalFlip(p=0.5)"')
        try:
            for text in self.transforms:
                parse(text)
        except ConfigError as error:
            raise ConfigError(f"`transforms` of StageConfig: {error}") from None

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

    def _check_targets(self) -> None:
        self._require(0 <= self.label_smoothing < 1, "label_smoothing", "in [0, 1)")
        spreads = self.label_smoothing > 0 or self.smoothing_by == "even"
        self._require(spreads, "smoothing_by", "even unless `label_smoothing` is above 0")
        self._require(0 < self.effective_beta < 1, "effective_beta", "in (0, 1)")
        above = all(isinstance(value, int | float) and value > 0 for value in self.label_weights.values())
        self._require(above, "label_weights", "numbers above 0 by label")

    def _check_rates(self) -> None:
        name = self.optimizer.removeprefix("timm:")
        known = self.optimizer in ("adam", "adamw", "sgd") or self.optimizer.startswith("timm:")
        self._require(known, "optimizer", "adam, adamw, sgd or timm:NAME")
        self._require(name not in UNFIT_OPTIMIZERS, "optimizer", f"another one: {UNFIT_OPTIMIZERS.get(name)}")
        self._require(self.lookahead >= 0, "lookahead", "0 for none, or at least 1")
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
        self._require(
            len(self.schedule_part) == 2
            and 0 <= self.schedule_part[0] < self.schedule_part[1] <= 1
            and (self.schedule in ("cosine", "triangular") or self.schedule_part == (0, 1)),
            "schedule_part",
            "two rising shares in [0, 1], and (0, 1) unless `schedule` is cosine or triangular",
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

    def _check_cycles(self) -> None:
        falls = self.schedule in ("cosine", "triangular")
        self._require(self.num_cycles >= 1, "num_cycles", "at least 1")
        whole = falls and self.schedule_part == (0, 1)
        self._require(
            self.num_cycles == 1 or whole,
            "num_cycles",
            "1 unless `schedule` is cosine or triangular, and `schedule_part` all of it",
        )
        self._require(1 <= self.cycle_factor <= 10, "cycle_factor", "in [1, 10]")
        self._require(0 < self.cycle_decay <= 1, "cycle_decay", "in (0, 1]")
        changed = self.cycle_factor != 1 or self.cycle_decay != 1
        self._require(
            self.num_cycles > 1 or not changed, "num_cycles", "above 1 where `cycle_factor` or `cycle_decay` is not 1"
        )

    def _check_history(self) -> None:
        self._require(0 < self.plateau_factor < 1, "plateau_factor", "in (0, 1)")
        self._require(self.plateau_validations >= 1, "plateau_validations", "at least 1")
        self._require(self.early_stop is None or self.early_stop >= 1, "early_stop", "at least 1, or none")
        self._require(self.min_gain >= 0, "min_gain", "0 or above")
