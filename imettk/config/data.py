"""Settings of folds, images and their cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imettk.config.choices import READERS
from imettk.config.section import MOST_LISTED, MOST_PIXELS, Section
from imettk.config.white import WHITE_RULE, parse_white


@dataclass(frozen=True, kw_only=True)
class FoldConfig(Section):
    """Split of the rows for cross-validation; groups stay whole if the table has them.

    Attributes:
        stratify: spread the rows of each label evenly over the folds.
        scheme: `deal` gives every row a fold. `hold_out`: each fold validates one image (or `hold_out_share`) of every
            identity with at least `hold_out_from` images, and all other rows only train. `none`: all rows train in
            every fold, without validation.
        hold_out_share: share of an identity's images that a fold holds out, rounded down; None holds out one image.
        unknown_identities: share of the identities that a fold holds out completely, each fold different ones, as
            examples of unknown identities.
        min_images: identities with fewer images neither train nor validate; they are in the gallery only.
    """

    num_folds: int = 5
    stratify: bool = True
    seed: int = 0
    scheme: Literal["deal", "hold_out", "none"] = "deal"
    hold_out_from: int = 3
    hold_out_share: float | None = None
    unknown_identities: float = 0.0
    min_images: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(num_folds=MOST_LISTED, seed=2**32 - 1)  # scikit-learn accepts no larger seed
        self._require(self.num_folds >= 2, "num_folds", "at least 2")
        self._require(self.seed >= 0, "seed", "0 or above")
        self._require(self.hold_out_from >= 2, "hold_out_from", "at least 2")
        self._require(
            self.hold_out_share is None or 0 < self.hold_out_share <= 0.5, "hold_out_share", "in (0, 0.5], or none"
        )
        most = 1 / self.num_folds  # each fold holds out other identities
        self._require(0 <= self.unknown_identities <= most, "unknown_identities", f"in [0, 1 / num_folds = {most:g}]")
        self._require(self.min_images >= 1, "min_images", "at least 1")


@dataclass(frozen=True, kw_only=True)
class ImageFormat(Section):
    """Way from a file to an input of the network; sizes are (height, width) in pixels.

    Attributes:
        mean: of values in [0, 1], one for each channel, like `std`. None takes those that the weights were trained
            with, as their file or library states them; ImageNet's for random weights. A training keeps the values that
            it began with.
        load_size: size in which images are read and cached, before augmentation; None is `image_size`. A larger one
            leaves room for random crops.
        fit: how an image gets `image_size` if no augmentation does it, as in validation: resized, or its centre cut out
            for images with a scale of their own (`protein`).
        channels: 1 for grey, 3 for RGB, more for several grey files or one file with as many channels.
        aspect: `stretch` resizes to a square (or to any `load_size`). `crop_marginal` first cuts images whose aspect
            ratio exceeds `aspect_limit` down to it. `pad` keeps the aspect ratio and adds a border; `shorter_side`
            keeps it and cuts the overhang.
        aspect_limit: largest ratio that `crop_marginal` does not cut, 1 or above.
        box_margin: margin around boxes on each side, in percent of their width or height.
        background: value behind transparent pixels and in borders, one for all channels or one for each, 0 to 255.
        reader: `files` reads JPEG, PNG, TIFF, WebP and every other format of Pillow, arrays of numpy and DICOM,
            recognised by content. A user's own is (path) -> numbers (H, W) or (H, W, channels), uint8 as displayed or
            any other type for `white` to scale; with `table.channel_files` it is called once for each file.
        orient: turn images as their EXIF or TIFF header states.
        reduced_decode: decode a JPEG at 1/2, 1/4 or 1/8 if that is still large enough: at least twice as fast.
        fast_resize: shrink by up to 2 bilinearly, which still reads every pixel; False always averages areas.
        max_pixels: an image with more counts as bad.
        white: values of black and white in images with more than 8 bits a channel: the value of white, such as 4095 or
            `12 bits` (black is 0); a window, such as `-160..240`; or percentiles of the training images, such as
            `1%..99.5%`, which `prepare` measures. Larger values are white too. None takes what each file states: the
            window of a DICOM file, the largest value that the bits of a TIFF can hold, else 65535.
        frame: image to take from a file with several: counted from 0, below 0 from the last, or `middle`. None takes
            the first of a picture's frames and refuses stacks.
        on_bad_image: a bad image stops training, or is skipped: left out if `prepare` found it, else without weight.
            Predictions never stop: it gets the mean prediction of all other images.
    """

    image_size: tuple[int, int] = (256, 256)
    load_size: tuple[int, int] | None = None
    fit: Literal["resize", "centre_crop"] = "resize"
    channels: int = 3
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    aspect: Literal["stretch", "crop_marginal", "pad", "shorter_side"] = "stretch"
    aspect_limit: float = 2.0
    box_margin: float = 0.0
    background: tuple[int, ...] = (0,)
    reader: str = "files"
    orient: bool = True
    reduced_decode: bool = True
    fast_resize: bool = True
    max_pixels: int = 178_956_970  # Pillow's limit against decompression bombs
    white: int | float | str | None = None
    frame: int | Literal["middle"] | None = None
    on_bad_image: Literal["error", "skip"] = "error"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of("reader", READERS)
        self._at_most(image_size=MOST_PIXELS, load_size=MOST_PIXELS, channels=512)
        self._require(min(self.image_size) >= 8, "image_size", "at least 8 pixels each way")
        self._require(
            self.load_size is None or min(self.load_size) >= 8, "load_size", "at least 8 pixels each way, or none"
        )
        larger = self.load_size is not None and all(
            a >= b for a, b in zip(self.load_size, self.image_size, strict=True)
        )
        self._require(self.fit == "resize" or larger, "fit", "resize, unless `load_size` is at least `image_size`")
        self._require(self.channels >= 1, "channels", "at least 1")
        number, std = self.channels, self.std
        self._require(self.mean is None or len(self.mean) == number, "mean", f"one value a channel ({number}), or none")
        fits = std is None or (len(std) == number and min(std) > 0)
        self._require(fits, "std", f"{number} values above 0, or none")
        self._require(self.aspect_limit >= 1, "aspect_limit", "1 or above")
        self._require(self.box_margin >= 0, "box_margin", "0 percent or above")
        self._require(
            len(self.background) in (1, self.channels) and 0 <= min(self.background) <= max(self.background) <= 255,
            "background",
            f"1 or {self.channels} values from 0 to 255",
        )
        self._require(self.max_pixels >= 1, "max_pixels", "at least 1")
        self._require(self.white is None or parse_white(self.white) is not None, "white", WHITE_RULE)


@dataclass(frozen=True, kw_only=True)
class CacheConfig(Section):
    """Copies of all images in `load_size`, decoded once by `prepare` and read in every epoch.

    Attributes:
        kind: `pixels` stores raw pixels; `jpeg` re-encodes them, smaller and with a slight loss; `auto` takes pixels if
            they fit into `max_gb`, else JPEG if that fits, else no cache.
        max_gb: largest size of the cache, in 1e9 bytes.
        quality: of JPEG, 1 to 100.
    """

    kind: Literal["none", "auto", "pixels", "jpeg"] = "auto"
    max_gb: float = 12.0
    quality: int = 95

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.max_gb > 0, "max_gb", "above 0")
        self._require(1 <= self.quality <= 100, "quality", "in [1, 100]")
