"""What a recipe says of its folds, images and their cache: frozen dataclasses that check their own ranges when made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imettk.config.choices import READERS
from imettk.config.section import MOST_LISTED, MOST_PIXELS, Section
from imettk.config.white import WHITE_RULE, parse_white


@dataclass(frozen=True, kw_only=True)
class FoldConfig(Section):
    """How rows are split for cross-validation; groups stay whole where the table has them.

    Attributes:
        stratify: deal each label's rows evenly.
        scheme: `deal` gives every row a fold; `hold_out` lets each fold validate one image (or `hold_out_share`) of
            every identity that has `hold_out_from` images or more, and all others only train; with `none` all rows
            train in every fold, and nothing is validated.
        hold_out_share: of an identity's images that a fold holds out, rounded down; None is one image.
        unknown_identities: share of the identities that a fold holds out as a whole, each fold others: they are what
            an unknown identity looks like.
        min_images: identities with fewer images neither train nor validate; they only stand in the gallery.
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
        self._at_most(num_folds=MOST_LISTED, seed=2**32 - 1)
        self._require(self.num_folds >= 2, "num_folds", "at least 2")
        self._require(self.seed >= 0, "seed", "0 or above")
        self._require(self.hold_out_from >= 2, "hold_out_from", "at least 2")
        self._require(
            self.hold_out_share is None or 0 < self.hold_out_share <= 0.5, "hold_out_share", "in (0, 0.5], or none"
        )
        most = 1 / self.num_folds
        self._require(0 <= self.unknown_identities <= most, "unknown_identities", f"in [0, 1 / num_folds = {most:g}]")
        self._require(self.min_images >= 1, "min_images", "at least 1")


@dataclass(frozen=True, kw_only=True)
class ImageFormat(Section):
    """What reaches the network, and how a file becomes that; sizes are (height, width) in pixels.

    Attributes:
        mean: of values in [0, 1], one a channel, as is `std`. None follows the weights: what they were trained with,
            as their file or their library says; ImageNet's for random weights. A training keeps what it began with.
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
        reader: `files` reads JPEG, PNG, TIFF, WebP and whatever else Pillow knows, arrays of numpy and DICOM, by their
            content. One's own is (path) -> numbers (H, W) or (H, W, channels): bytes are taken as they are seen, others
            by `white`; with `table.channel_files` it is called for each file, for one channel.
        orient: turn images as EXIF, or a TIFF, says.
        reduced_decode: decode a JPEG at 1/2, 1/4 or 1/8 where that is still large enough: twice as fast or more.
        fast_resize: bilinear up to a factor of 2, where it still reads every pixel; False takes the area mean.
        max_pixels: an image with more is a bad one.
        white: which values are black and white in images of more than 8 bits a channel: the value that is white, such
            as 4095, or `12 bits` (0 is black); a window, `-160..240`; or percentiles of the training images,
            `1%..99.5%`, which `prepare` measures. All above is white too. None takes what each file says: 65535, in a
            TIFF of fewer bits their largest value, in DICOM its window.
        frame: which one of a file that holds several, from 0, below 0 from the last, or `middle`. None takes the first
            of a picture's, and refuses stacks.
        on_bad_image: in training, a bad image is an error, or skipped: left out where `prepare` found it, else without
            weight. Predictions never fail for it: it gets the mean of the others.
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
    max_pixels: int = 178_956_970
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
        super().__post_init__()
        self._require(self.max_gb > 0, "max_gb", "above 0")
        self._require(1 <= self.quality <= 100, "quality", "in [1, 100]")
