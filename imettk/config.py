"""The one description of an experiment: frozen dataclasses, JSON in and out, a fingerprint of what changes the weights.

A recipe is read from JSON with every name and type checked; each section checks its own ranges when it is made.
Sections that change the trained weights are listed in `WEIGHT_SECTIONS`; two recipes that agree there can share
checkpoints.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from imettk.errors import ConfigError, MissingFileError
from imettk.fields import leaves, unknown_field

View = Literal["plain", "hflip", "vflip", "rot90", "rot180", "rot270", "transpose", "zoom_in", "zoom_out"]


class Section:
    """What all sections share: JSON with unknown or ill-typed fields is refused (read by pydantic)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    def _require(self, ok: bool, name: str, rule: str) -> None:
        if not ok:
            raise ConfigError(f"`{name}` of {type(self).__name__} must be {rule}, got {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class TableFormat(Section):
    """How a competition's files name their rows, labels and images; paths are relative to the data folder.

    Attributes:
        labels_csv: every label's id and name; without it the labels are those of `train_csv`, sorted.
        group_column: rows of one group never straddle train and validation.
        name_separator: what ends the group in a label's name, as in `culture::french`.
        on_missing_image: a row without an image stops `prepare`, or is dropped, counted and named.
    """

    task: Literal["multilabel", "multiclass"] = "multilabel"
    train_csv: str = "train.csv"
    sample_csv: str = "sample_submission.csv"
    id_column: str = "id"
    label_column: str = "attribute_ids"
    label_separator: str = " "
    group_column: str | None = None
    labels_csv: str | None = None
    label_id_column: str = "attribute_id"
    label_name_column: str = "attribute_name"
    name_separator: str = "::"
    train_images: str = "train"
    test_images: str = "test"
    image_suffix: str = ".png"
    on_missing_image: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        self._require(self.label_separator != "", "label_separator", "at least one character")


@dataclass(frozen=True, kw_only=True)
class FoldPlan(Section):
    """How rows are split for cross-validation; groups stay whole where the table has them."""

    num_folds: int = 5
    stratify: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        self._require(self.num_folds >= 2, "num_folds", "at least 2")


@dataclass(frozen=True, kw_only=True)
class ImageFormat(Section):
    """What reaches the network: size in pixels as (height, width), and mean and std of values in [0, 1] a channel."""

    image_size: tuple[int, int] = (256, 256)
    channels: Literal[1, 3] = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        self._require(min(self.image_size) >= 8, "image_size", "at least 8 pixels each way")
        self._require(len(self.mean) == self.channels, "mean", f"one value a channel ({self.channels})")
        self._require(len(self.std) == self.channels and min(self.std) > 0, "std", f"{self.channels} values above 0")


@dataclass(frozen=True, kw_only=True)
class ModelPlan(Section):
    """The network: a backbone of timm or pretrainedmodels, and a head.

    Attributes:
        backbone: `timm:NAME` or `pretrainedmodels:NAME`.
        weights: a local file, or a folder that holds `NAME.safetensors` or `NAME.pth`; None starts from random weights.
        layer_groups: into how many groups, from first to last layer, the backbone is split; the head is one more.
        dropout: share of features dropped before the last layer, [0, 1).
    """

    backbone: str = "timm:resnet34"
    weights: str | None = None
    layer_groups: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        library, _, name = self.backbone.partition(":")
        self._require(
            library in ("timm", "pretrainedmodels") and name != "", "backbone", "timm:NAME or pretrainedmodels:NAME"
        )
        self._require(self.layer_groups >= 1, "layer_groups", "at least 1")
        self._require(0 <= self.dropout < 1, "dropout", "in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class StagePlan(Section):
    """One stage of training; each starts with a fresh optimizer.

    Attributes:
        num_epochs: may be a fraction; a stage has at least one step.
        batch_size: samples an optimizer step.
        accumulate: micro-batches a step, a divisor of `batch_size`.
        lr: peak learning rate, one for all, or one a layer group and the head's last.
        warmup_epochs: linear, from `warmup_start` times the peak up to the peak, as warmup-scheduler defines it.
        final_lr: what cosine ends at, as a share of the peak.
        clip_norm: largest norm of the gradient; None for no limit.
        frozen_groups: this many first layer groups learn nothing, and keep their BatchNorm statistics.
    """

    num_epochs: float = 1.0
    batch_size: int = 32
    accumulate: int = 1
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: tuple[float, ...] = (1e-3,)
    weight_decay: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    warmup_start: float = 0.01
    final_lr: float = 0.0
    clip_norm: float | None = None
    frozen_groups: int = 0
    augmentation: Literal["none", "flips", "affine"] = "none"

    def __post_init__(self) -> None:
        self._require(self.num_epochs > 0, "num_epochs", "above 0")
        self._require(self.batch_size >= 1, "batch_size", "at least 1")
        self._require(
            self.accumulate >= 1 and self.batch_size % self.accumulate == 0,
            "accumulate",
            f"a divisor of batch_size ({self.batch_size})",
        )
        self._require(len(self.lr) >= 1 and min(self.lr) >= 0, "lr", "one or more values of 0 or above")
        self._require(self.weight_decay >= 0, "weight_decay", "0 or above")
        self._require(
            0 <= self.warmup_epochs <= self.num_epochs, "warmup_epochs", f"in [0, num_epochs = {self.num_epochs}]"
        )
        self._require(0 < self.warmup_start < 1, "warmup_start", "in (0, 1), as a share of the peak")
        self._require(0 <= self.final_lr <= 1, "final_lr", "in [0, 1], as a share of the peak")
        self._require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", "above 0, or none")
        self._require(self.frozen_groups >= 0, "frozen_groups", "0 or above")


@dataclass(frozen=True, kw_only=True)
class TrainPlan(Section):
    """What all stages of training share.

    Attributes:
        ema_decay: of the averaged weights that validation and inference use, (0, 1); None uses the last weights.
        precision: `auto` is bfloat16 where the hardware has it, else float16 on a GPU and float32 on a CPU.
        deterministic: on a GPU, use only algorithms that give the same bits each time.
    """

    seed: int = 0
    loss: Literal["bce", "focal", "cross_entropy"] = "bce"
    ema_decay: float | None = None
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    deterministic: bool = True

    def __post_init__(self) -> None:
        self._require(self.ema_decay is None or 0 < self.ema_decay < 1, "ema_decay", "in (0, 1), or none")


@dataclass(frozen=True, kw_only=True)
class PredictPlan(Section):
    """Test-time augmentation: the mean over `views` of each image."""

    views: tuple[View, ...] = ("plain",)
    batch_size: int = 64

    def __post_init__(self) -> None:
        self._require(len(set(self.views)) == len(self.views) >= 1, "views", "one or more different views")
        self._require(self.batch_size >= 1, "batch_size", "at least 1")


@dataclass(frozen=True, kw_only=True)
class RulePlan(Section):
    """How probabilities become answers.

    Attributes:
        kind: one threshold, one for each label group, or the most likely class.
        beta: of the F-beta score that thresholds are fitted for; 2 counts recall four times as much as precision.
        fill_empty: a row without any label gets its most likely one.
    """

    kind: Literal["threshold", "group_thresholds", "argmax"] = "threshold"
    beta: float = 2.0
    fill_empty: bool = True

    def __post_init__(self) -> None:
        self._require(self.beta > 0, "beta", "above 0")


@dataclass(frozen=True, kw_only=True)
class SessionPlan(Section):
    """One process on one machine: how long it may run and how it does its work; never changes the weights.

    Attributes:
        limit_seconds: from the session's start until the platform would kill it.
        margin_seconds: kept free at the end.
        limit_steps: stop after this many optimizer steps, whatever the clock says.
        checkpoint_seconds: longest time between two checkpoints.
        validate_epochs: epochs between two validations while training.
        device: `auto` takes the GPU where there is one.
    """

    limit_seconds: float = 9 * 3600.0
    margin_seconds: float = 300.0
    limit_steps: int | None = None
    checkpoint_seconds: float = 600.0
    validate_epochs: float = 1.0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_workers: int = 2

    def __post_init__(self) -> None:
        self._require(self.limit_seconds > 0, "limit_seconds", "above 0")
        self._require(0 <= self.margin_seconds < self.limit_seconds, "margin_seconds", "in [0, limit_seconds)")
        self._require(self.limit_steps is None or self.limit_steps >= 1, "limit_steps", "at least 1, or none")
        self._require(self.checkpoint_seconds >= 0, "checkpoint_seconds", "0 or above")
        self._require(self.validate_epochs > 0, "validate_epochs", "above 0")
        self._require(self.num_workers >= 0, "num_workers", "0 or above")


@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """One experiment, complete. `source_sha256` is the hash of a user's own `.py` recipe, else empty."""

    name: str = "unnamed"
    source_sha256: str = ""
    table: TableFormat = field(default_factory=TableFormat)
    folds: FoldPlan = field(default_factory=FoldPlan)
    images: ImageFormat = field(default_factory=ImageFormat)
    model: ModelPlan = field(default_factory=ModelPlan)
    train: TrainPlan = field(default_factory=TrainPlan)
    stages: tuple[StagePlan, ...] = (StagePlan(),)
    predict: PredictPlan = field(default_factory=PredictPlan)
    rule: RulePlan = field(default_factory=RulePlan)
    session: SessionPlan = field(default_factory=SessionPlan)

    def __post_init__(self) -> None:
        self._require(len(self.stages) >= 1, "stages", "at least one stage")
        multiclass = self.table.task == "multiclass"
        if multiclass != (self.train.loss == "cross_entropy") or multiclass != (self.rule.kind == "argmax"):
            raise ConfigError(
                f"a {self.table.task} table needs "
                + (
                    "`train.loss` cross_entropy and `rule.kind` argmax"
                    if multiclass
                    else "a `train.loss` and `rule.kind` for several labels a row, such as bce and threshold"
                )
                + f", got {self.train.loss} and {self.rule.kind}"
            )
        for position, stage in enumerate(self.stages):
            if len(stage.lr) not in (1, self.model.layer_groups + 1):
                raise ConfigError(
                    f"`stages.{position}.lr` must hold 1 value, or {self.model.layer_groups + 1} "
                    f"(model.layer_groups and the head), got {len(stage.lr)}"
                )
            if stage.frozen_groups > self.model.layer_groups:
                raise ConfigError(
                    f"`stages.{position}.frozen_groups` must be at most model.layer_groups "
                    f"({self.model.layer_groups}), got {stage.frozen_groups}"
                )


SESSION_START = (
    "IMETTK_SESSION_START"  # environment: when a session began, in seconds since the epoch; a kernel sets it
)
PREPARE_SECTIONS = ("table", "folds")
WEIGHT_SECTIONS = (*PREPARE_SECTIONS, "images", "model", "train", "stages", "source_sha256")


def fingerprint(recipe: Recipe, sections: tuple[str, ...] = WEIGHT_SECTIONS) -> str:
    """16 hex digits that change when, and only when, something in `sections` changes."""
    content = json.loads(to_json(_normal(recipe)))
    chosen = json.dumps({name: content[name] for name in sections}, sort_keys=True)
    return hashlib.sha256(chosen.encode()).hexdigest()[:16]


def differences(old: Recipe, new: Recipe, sections: tuple[str, ...] = WEIGHT_SECTIONS) -> list[str]:
    """One line for each field of `sections` that differs: its name, old and new value."""
    before, after = (dict(leaves(_normal(recipe))) for recipe in (old, new))
    names = [name for name in {**before, **after} if name.split(".")[0] in sections]
    absent = "(absent)"
    return [
        f"{name}: {before.get(name, absent)!r} -> {after.get(name, absent)!r}"
        for name in names
        if before.get(name, absent) != after.get(name, absent)
    ]


def to_json(recipe: Recipe) -> str:
    """The recipe as indented JSON that `from_json` reads back to an equal recipe."""
    return json.dumps(dataclasses.asdict(recipe), indent=2) + "\n"


def from_json(text: str, *, where: str = "recipe.json") -> Recipe:
    """Read what `to_json` wrote.

    Raises:
        ConfigError: not JSON, or a field is unknown, of the wrong type or out of range; the message names the field
            and, for an unknown one, the nearest valid name.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Recipe).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        raise ConfigError(f"{where}: {unknown_field(name, Recipe())}")
    raise ConfigError(f"{where}: {name + ': ' if name else ''}{first['msg']}, got {str(first['input'])[:80]!r}")


def read_recipe(path: Path) -> Recipe:
    """Read a saved recipe; `MissingFileError` names the stage that writes it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFileError(
            f"{path} is missing: give a RECIPE, or run `imettk prepare` first, which writes it"
        ) from None
    return from_json(text, where=str(path))


def _normal(recipe: Recipe) -> Recipe:
    """The recipe as JSON would give it back: a float field that a `.py` recipe sets to 14 holds 14.0."""
    return from_json(to_json(recipe), where=recipe.name)
