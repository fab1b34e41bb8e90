"""Images of all kinds, made and real, and the shortest way to read one."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from places import SHARED

from imettk.data.reader import ImageReader

DATA = SHARED / "data"
RARITIES = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")


def photos(count, first=0):
    """Return the paths of real photographs of clothing."""
    folder = DATA / "clothing" / "images"
    if not folder.is_dir():
        pytest.skip("shared/data/clothing is not here")
    return sorted(folder.glob("*.jpg"))[first : first + count]


def odd_images():
    if not (DATA / "odd_images").is_dir():
        pytest.skip("shared/data/odd_images is not here")
    return DATA / "odd_images"


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def smooth(height, width, channels=3):
    return cv2.GaussianBlur(
        cv2.resize(noise(9, 12, channels), (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), 2
    )


def as_pillow(path, mode="RGB", *, orient=True):
    with Image.open(path) as image:
        return np.asarray((ImageOps.exif_transpose(image) if orient else image).convert(mode))


def over(path, colour):
    """Return an image over a background, by Pillow, as RGB."""
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, (*colour, 255)), image).convert("RGB"))


def read(path, channels=3, size=None, **settings):
    """Return the pixels at their own size, or at `size`."""
    size = size or as_pillow(path).shape[:2]
    return ImageReader(size=size, channels=channels, **settings).read(str(path))
