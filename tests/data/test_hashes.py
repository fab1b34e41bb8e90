"""Perceptual hashes equal a plain recomputation."""

import cv2
import numpy as np
from image_samples import photos
from PIL import Image

from imettk.data.hashes import phash


def test_hashes_are_near_those_of_a_plain_recomputation_with_scipy():
    from scipy.fft import dctn

    for path in photos(12):
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), float)
        low = dctn(grey, norm="ortho")[:8, :8]
        theirs = int("".join("1" if value else "0" for value in (low > np.median(low)).ravel()), 2)
        ours = phash(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        assert (int(ours) ^ theirs).bit_count() <= 4
        assert (int(phash(grey)) ^ theirs).bit_count() <= 2
