"""A sample of the numbers in image files: percentiles for black and white, and warnings about odd brightness."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.errors import DataError
from imettk.progress import progress_bar

MEASURED = 256  # images sampled, spread evenly over all
PIXELS = 16_384  # per image
DARK_LEVEL = 31  # of 255: if nearly all values lie at or below, images look black
NEARLY_ALL = 99.9  # percent
WHITE_SHARE = 0.9  # of all values: with more white, little remains to be seen


class ValueSurvey(NamedTuple):
    """Numbers of some images, as stored in their files.

    Attributes:
        numbers: sorted, float64 (M,).
        num_images: number of images sampled.
    """

    numbers: np.ndarray
    num_images: int

    def percentile(self, percent: float) -> float:
        """Return the number at or below which so many percent lie."""
        return float(np.percentile(self.numbers, percent))

    def range_between(self, low: float, high: float) -> ValueRange:
        """Return the numbers at two percentiles, as black and white.

        Raises:
            DataError: they are equal.
        """
        black, white = self.percentile(low), self.percentile(high)
        if not black < white:
            raise DataError(
                f"`images.white`: the values at {low:g}% and {high:g}% are both {black:g} in the {self.num_images} "
                "images sampled; choose percentiles further apart, or give values"
            )
        return ValueRange(black, white)


def measure_values(paths: Sequence[str], reader: ImageReader) -> ValueSurvey:
    """Return numbers of up to `MEASURED` images; the same files give the same numbers.

    Raises:
        DataError: none of them can be read.
    """
    # Spread evenly, not random: the same images give the same percentiles, and neighbours in a table are often alike.
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(MEASURED, len(paths))).astype(int)).tolist()
    faults: list[str] = []

    def sample(row: int) -> np.ndarray | None:
        try:
            numbers = reader.read_numbers(paths[row])
        except DataError as error:
            faults.append(str(error))
            return None
        return sample_numbers(numbers)

    with ThreadPoolExecutor(os.cpu_count()) as pool, progress_bar("values", total=len(chosen), unit="image") as bar:
        samples = []
        for numbers in pool.map(sample, chosen):
            bar.update(1)
            if numbers is not None and numbers.size:
                samples.append(numbers)
    if not samples:
        raise DataError(f"none of {len(chosen)} images has readable values: {min(faults, default='no number')}")
    return ValueSurvey(np.sort(np.concatenate(samples)), len(samples))


def sample_numbers(numbers: np.ndarray) -> np.ndarray:
    """Return the finite numbers of up to `PIXELS` whole pixels of an image (H, W) or (H, W, channels)."""
    pixels = numbers.reshape(-1, *numbers.shape[2:])
    places = np.arange(len(pixels))
    if len(pixels) > PIXELS:  # random places, because a fixed step might follow the columns of an image
        places = np.random.default_rng(0).integers(0, len(pixels), PIXELS)
    taken: np.ndarray = pixels[places].ravel().astype(np.float64)
    return taken[np.isfinite(taken)]


def describe_levels(histogram: np.ndarray, *, deep: bool) -> list[str]:
    """Return a warning if images look nearly black, or white.

    Args:
        histogram: number of pixels of each value, int64 (channels, 256), over all images.
        deep: they have more than 8 bits per channel; `tell_facts` warns about dark ones already.
    """
    counts = histogram.sum(0)
    if not (total := counts.sum()):
        return []
    level = int(np.searchsorted(np.cumsum(counts), NEARLY_ALL / 100 * total))
    if level <= DARK_LEVEL and not deep:
        return [
            f"the images look nearly black: {NEARLY_ALL:g}% of their values lie at or below {level} of 255; if that is "
            f"not what they show, try --images.white {max(1, level)}"
        ]
    if counts[255] > WHITE_SHARE * total:
        return [f"{counts[255] / total:.0%} of all values are white (255): is that what the images show?"]
    return []
