"""What a recipe says of data, network and answers: frozen dataclasses that check their own ranges when made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from imettk.errors import ConfigError

View = Literal[
    "plain", "hflip", "vflip", "rot90", "rot180", "rot270", "transpose", "transverse", "rot45", "rot135", "rot225",
    "rot315", "zoom_in", "zoom_out", "crop0", "crop1", "crop2", "crop3",
]  # fmt: skip


def _has_group(pattern: str) -> bool:
    try:
        return re.compile(pattern).groups > 0
    except re.error:
        return False


class Section:
    """What all sections share: JSON with unknown or ill-typed fields is refused (read by pydantic)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    def _require(self, ok: bool, name: str, rule: str) -> None:
        if not ok:
            raise ConfigError(f"`{name}` of {type(self).__name__} must be {rule}, got {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class ExtraTable(Section):
    """More rows to train on, in the columns of the training table: external or pseudo-labelled.

    Attributes:
        csv: relative to the data folder, as is `images`.
        image_suffix: None takes that of the training table.
        weight: how often each row comes in an epoch; 0.5 takes half of the rows, others each time.
        predictions: the file beside a csv of `imettk pseudo`: each fold trains on what its own models say of these
            rows, which have not seen the fold's validation rows, and leaves out those that they are not sure of.
        validates: its rows are dealt to folds too, by themselves, and validate where they do not train; else they
            train in every fold.
    """

    csv: str
    images: str
    image_suffix: str | None = None
    weight: float = 1.0
    predictions: str | None = None
    validates: bool = False

    def __post_init__(self) -> None:
        self._require(self.weight > 0, "weight", "above 0")
        self._require(self.predictions is None or not self.validates, "validates", "false for pseudo labels")


@dataclass(frozen=True, kw_only=True)
class TableFormat(Section):
    """How a competition's files name their rows, labels and images; paths are relative to the data folder.

    Attributes:
        labels_csv: every label's id and name; without it the labels are those of `train_csv`, sorted.
        group_column: rows of one group never straddle train and validation.
        group_pattern: or a regular expression for the id, whose first group names it; an id without a match is alone.
        answer_column: of the sample submission, where it differs from `label_column`.
        only_group: learn the labels of this group alone, as one of several models; others in a row are passed over.
        name_separator: what ends the group in a label's name, as in `culture::french`.
        image_suffix: what follows the id in a file's name; empty where the id holds it.
        channel_files: where an image is several grey files, what stands for `*` in `image_suffix`, one name a channel.
        on_missing_image: a row without an image stops `prepare`, or is dropped, counted and named.
        boxes_csv: the part of each image that is looked at, for train and test; images without a row are seen whole.
        box_id_column: holds ids, or names of image files.
        box_columns: left, top, right and bottom, or centre x, centre y, width and height.
        box_format: `corners` in pixels, or `centre` as shares of the image's width and height.
        turned_csv: ids, or names of image files, one a line, of images to turn by 180 degrees (after their box is cut).
        left_out_csv: those of training rows to leave out.
    """

    task: Literal["multilabel", "multiclass"] = "multilabel"
    train_csv: str = "train.csv"
    sample_csv: str = "sample_submission.csv"
    id_column: str = "id"
    label_column: str = "attribute_ids"
    label_separator: str = " "
    group_column: str | None = None
    group_pattern: str | None = None
    answer_column: str | None = None
    only_group: str | None = None
    labels_csv: str | None = None
    label_id_column: str = "attribute_id"
    label_name_column: str = "attribute_name"
    name_separator: str = "::"
    train_images: str = "train"
    test_images: str = "test"
    image_suffix: str = ".png"
    channel_files: tuple[str, ...] = ()
    on_missing_image: Literal["error", "drop"] = "error"
    boxes_csv: str | None = None
    box_id_column: str = "Image"
    box_columns: tuple[str, str, str, str] = ("x0", "y0", "x1", "y1")
    box_format: Literal["corners", "centre"] = "corners"
    turned_csv: str | None = None
    left_out_csv: str | None = None
    extra: tuple[ExtraTable, ...] = ()

    def __post_init__(self) -> None:
        self._require(
            self.group_column is None or self.group_pattern is None, "group_pattern", "none beside a group_column"
        )
        self._require(
            self.group_pattern is None or _has_group(self.group_pattern),
            "group_pattern",
            "a regular expression with a group",
        )
        self._require(self.only_group is None or self.labels_csv is not None, "only_group", "none without labels_csv")
        self._require(self.label_separator != "", "label_separator", "at least one character")
        suffixes = [self.image_suffix, *(extra.image_suffix for extra in self.extra if extra.image_suffix is not None)]
        self._require(
            all(("*" in suffix) == bool(self.channel_files) for suffix in suffixes),
            "image_suffix",
            "with a * where `channel_files` are given, and without where not",
        )


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
    """What reaches the network, and how a file becomes that; sizes are (height, width) in pixels.

    Attributes:
        mean: of values in [0, 1], one a channel, as is `std`.
        load_size: that images are read and cached in, before augmentation; None is `image_size`. Larger leaves room
            for random crops.
        fit: how an image becomes `image_size` where no augmentation makes it so, as in validation: resized, or its
            centre cut out, for what has a scale of its own (`protein`).
        channels: 1 for grey, 3 for RGB; more for several grey files, or one file that has so many.
        aspect: `stretch` resizes to a square (or to `load_size`, whatever it is); `crop_marginal` cuts only images
            whose aspect ratio is off by more than `aspect_limit`, then stretches; `pad` keeps it and adds a border;
            `shorter_side` keeps it and cuts what lies over.
        aspect_limit: largest ratio that `crop_marginal` leaves alone, 1 or above.
        box_margin: added to boxes on each side, in percent of their width or height.
        background: behind transparent pixels and in borders, one value or one a channel, 0 to 255.
        orient: turn images as EXIF says.
        reduced_decode: decode a JPEG at 1/2, 1/4 or 1/8 where that is still large enough: twice as fast or more.
        fast_resize: bilinear up to a factor of 2, where it still reads every pixel; False takes the area mean.
        max_pixels: an image with more is a bad one.
        on_bad_image: in training, a bad image is an error, or skipped: left out where `prepare` found it, else without
            weight. Predictions never fail for it: it gets the mean of the others.
    """

    image_size: tuple[int, int] = (256, 256)
    load_size: tuple[int, int] | None = None
    fit: Literal["resize", "centre_crop"] = "resize"
    channels: int = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    aspect: Literal["stretch", "crop_marginal", "pad", "shorter_side"] = "stretch"
    aspect_limit: float = 2.0
    box_margin: float = 0.0
    background: tuple[int, ...] = (0,)
    orient: bool = True
    reduced_decode: bool = True
    fast_resize: bool = True
    max_pixels: int = 178_956_970
    on_bad_image: Literal["error", "skip"] = "error"

    def __post_init__(self) -> None:
        self._require(min(self.image_size) >= 8, "image_size", "at least 8 pixels each way")
        self._require(
            self.load_size is None or min(self.load_size) >= 8, "load_size", "at least 8 pixels each way, or none"
        )
        larger = self.load_size is not None and all(
            a >= b for a, b in zip(self.load_size, self.image_size, strict=True)
        )
        self._require(self.fit == "resize" or larger, "fit", "resize, unless `load_size` is at least `image_size`")
        self._require(self.channels >= 1, "channels", "at least 1")
        self._require(len(self.mean) == self.channels, "mean", f"one value a channel ({self.channels})")
        self._require(len(self.std) == self.channels and min(self.std) > 0, "std", f"{self.channels} values above 0")
        self._require(self.aspect_limit >= 1, "aspect_limit", "1 or above")
        self._require(self.box_margin >= 0, "box_margin", "0 percent or above")
        self._require(
            len(self.background) in (1, self.channels) and 0 <= min(self.background) <= max(self.background) <= 255,
            "background",
            f"1 or {self.channels} values from 0 to 255",
        )
        self._require(self.max_pixels >= 1, "max_pixels", "at least 1")


@dataclass(frozen=True, kw_only=True)
class CachePlan(Section):
    """Images as `prepare` leaves them, read once and decoded in `load_size`: every later epoch starts from there.

    Attributes:
        kind: `pixels` keeps them as they are; `jpeg` re-encodes them, for less space and a little loss; `auto` takes
            pixels where they fit `max_gb`, else JPEG where that fits, else none.
        max_gb: space that it may take, in units of 1e9 bytes.
        quality: of the JPEGs, 1 to 100.
    """

    kind: Literal["none", "auto", "pixels", "jpeg"] = "auto"
    max_gb: float = 12.0
    quality: int = 95

    def __post_init__(self) -> None:
        self._require(self.max_gb > 0, "max_gb", "above 0")
        self._require(1 <= self.quality <= 100, "quality", "in [1, 100]")


@dataclass(frozen=True, kw_only=True)
class ModelPlan(Section):
    """The network: a backbone of timm or pretrainedmodels, and a head.

    Attributes:
        backbone: `timm:NAME` or `pretrainedmodels:NAME`.
        weights: a local file, or a folder that holds `NAME.safetensors` or `NAME.pth`; None starts from random weights.
        layer_groups: into how many groups, from first to last layer, the backbone is split; the head is one more.
        head: `linear` on averaged features; `relu` with a ReLU before the average (iMet 2019); `wide` joins average
            and maximum: BatchNorm, dropout, linear to `hidden`, ReLU, BatchNorm, dropout, linear (HPA 2018).
        last_stages: of how many last stages the features are joined, 1 or 2.
        hidden: width of the `wide` head.
        dropout: share of features dropped before linear layers, [0, 1).
    """

    backbone: str = "timm:resnet34"
    weights: str | None = None
    layer_groups: int = 1
    head: Literal["linear", "relu", "wide"] = "linear"
    last_stages: int = 1
    hidden: int = 1024
    dropout: float = 0.0

    def __post_init__(self) -> None:
        library, _, name = self.backbone.partition(":")
        self._require(
            library in ("timm", "pretrainedmodels") and name != "", "backbone", "timm:NAME or pretrainedmodels:NAME"
        )
        self._require(self.layer_groups >= 1, "layer_groups", "at least 1")
        self._require(self.last_stages in (1, 2), "last_stages", "1 or 2")
        self._require(self.hidden >= 1, "hidden", "at least 1")
        self._require(0 <= self.dropout < 1, "dropout", "in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class PredictPlan(Section):
    """Test-time augmentation.

    Attributes:
        views: of each image; `crop0` to `crop3` are crops of `images.image_size` from `images.load_size` at random
            places, which only the view and the image's row decide; beside them, other views are of the centre.
        merge: of the views' probabilities, their mean or the largest.
    """

    views: tuple[View, ...] = ("plain",)
    merge: Literal["mean", "max"] = "mean"
    batch_size: int = 64

    def __post_init__(self) -> None:
        self._require(len(set(self.views)) == len(self.views) >= 1, "views", "one or more different views")
        self._require(self.batch_size >= 1, "batch_size", "at least 1")


@dataclass(frozen=True, kw_only=True)
class RulePlan(Section):
    """How probabilities become answers, and by which F-beta they are judged.

    Attributes:
        kind: `threshold` is one for all labels, `group_thresholds` one for each label group, `class_thresholds` one for
            each label; `top` gives every row the same number of labels; `share` gives each label a share of the rows;
            `argmax` is the most likely class.
        beta: of the F-beta score that rules are fitted for; 2 counts recall four times as much as precision.
        average: of the F-beta: a mean over samples, over labels (`macro`), or all counted as one (`micro`).
        min_labels: a row gets so many labels at least, its most likely ones.
        max_labels: and at most so many; None for no limit.
        relative: thresholds are on probabilities divided by the largest of their row.
        shrink_to: class thresholds are pulled toward that of all labels (`one`), of their group, or the one at which
            the label keeps its share of rows; the more, the rarer the label.
        shrink_strength: a label with so many rows goes halfway; None finds one by cross-validation. From 20 to 200 all
            were better than none on the tables of `tools/bench/decisions.py`, and 50 hardly worse than the best.
        shares: of `share`, those of the training rows, of `shares_csv`, or the mean of both.
        shares_csv: columns `label` and `share`, relative to the data folder.
    """

    kind: Literal["threshold", "group_thresholds", "class_thresholds", "top", "share", "argmax"] = "threshold"
    beta: float = 2.0
    average: Literal["samples", "macro", "micro"] = "samples"
    min_labels: int = 1
    max_labels: int | None = None
    relative: bool = False
    shrink_to: Literal["none", "one", "groups", "shares"] = "none"
    shrink_strength: float | None = 50.0
    shares: Literal["train", "csv", "mean"] = "train"
    shares_csv: str | None = None

    def __post_init__(self) -> None:
        self._require(self.beta > 0, "beta", "above 0")
        self._require(self.min_labels >= 0, "min_labels", "0 or above")
        self._require(
            self.max_labels is None or self.max_labels >= max(1, self.min_labels), "max_labels", "min_labels or above"
        )
        self._require(
            self.shrink_to == "none" or self.kind == "class_thresholds",
            "shrink_to",
            "none unless `kind` is class_thresholds",
        )
        self._require(
            self.shrink_strength is None or self.shrink_strength >= 0, "shrink_strength", "0 or above, or none"
        )
        self._require(
            (self.shares_csv is None) == (self.shares == "train"),
            "shares_csv",
            "given with shares csv or mean, and only then",
        )
