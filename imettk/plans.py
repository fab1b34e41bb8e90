"""What a recipe says of data, network and answers: frozen dataclasses that check their own ranges when made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from imettk.errors import ConfigError

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
