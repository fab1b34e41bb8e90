"""The data that `find_duplicates` keeps of each image: a hash of the file, perceptual hashes, and a thumbnail."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from imettk.data.decode import read_content
from imettk.errors import DataError
from imettk.progress import progress_bar

THUMB = 64  # side of a thumbnail in pixels
BLANK = 2.0  # standard deviation of a channel below which its perceptual hash is meaningless
CUT = 3  # pixels of the thumbnail (5%) cropped from each side, for the hashes of what a copy may have been cropped to


class Hashes(NamedTuple):
    """Hashes of N images.

    Attributes:
        files: SHA-256 of each image's files, str (N,).
        perceptual: pHash of each of K channels, uint64 (N, K).
        mirrored: pHash of the mirrored image.
        cut: pHash of the image with 5% cropped from each side.
        thumbs: uint8 (N, 64, 64, 3).
        blank: channels without content, whose pHash is arbitrary, bool (N, K).
        bad: reasons why images could not be read, by position; their other entries are meaningless.
    """

    files: np.ndarray
    perceptual: np.ndarray
    mirrored: np.ndarray
    cut: np.ndarray
    thumbs: np.ndarray
    blank: np.ndarray
    bad: dict[int, str]


def phash(channel: np.ndarray) -> int:
    """Return the perceptual hash of one channel, uint8 or float (H, W), as 64 bits.

    The 8 x 8 lowest frequencies of a 32 x 32 cosine transform, each compared with their median (Zauner 2010,
    "Implementation and Benchmarking of Perceptual Image Hash Functions", in the form of the `imagehash` library).
    """
    small = cv2.resize(channel, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8]
    return int(np.packbits(low > np.median(low)).view(">u8")[0])


def hash_images(
    load: Callable[[int], np.ndarray], files: Sequence[Sequence[str]], *, each_channel: bool = False
) -> Hashes:
    """Hash every image, in parallel.

    Args:
        load: returns an image by position, uint8 (64, 64, channels), or raises `DataError`; several threads call it.
        files: paths of each image's files.
        each_channel: hash each of the first three channels, as for microscopy; otherwise the grey image.
    """
    count, channels = len(files), 1
    if each_channel and count:
        channels = min(3, _first_readable(load, count).shape[2])
    hashes = Hashes(
        files=np.full(count, "", "<U64"),
        perceptual=np.zeros((count, channels), np.uint64),
        mirrored=np.zeros((count, channels), np.uint64),
        cut=np.zeros((count, channels), np.uint64),
        thumbs=np.zeros((count, THUMB, THUMB, 3), np.uint8),
        blank=np.zeros((count, channels), bool),
        bad={},
    )

    # One pass per image: reading the file for its hash and decoding it share the cost of the disk.
    def work(row: int) -> None:
        try:
            digest = hashlib.sha256(b"".join(read_content(path) for path in files[row]))
            pixels = load(row)
        except DataError as error:
            hashes.bad[row] = str(error)
            return
        hashes.files[row] = digest.hexdigest()
        thumb = pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, 2)
        hashes.thumbs[row] = thumb
        planes = [np.ascontiguousarray(pixels[:, :, channel]) for channel in range(channels)]
        if not each_channel:
            planes = [cv2.cvtColor(np.ascontiguousarray(thumb), cv2.COLOR_RGB2GRAY)]
        hashes.blank[row] = [plane.std() < BLANK for plane in planes]
        hashes.perceptual[row] = [phash(plane) for plane in planes]
        hashes.mirrored[row] = [phash(plane[:, ::-1]) for plane in planes]
        hashes.cut[row] = [phash(plane[CUT:-CUT, CUT:-CUT]) for plane in planes]

    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar("hash images", total=count, unit="image") as bar,
    ):
        warnings.filterwarnings("ignore", module="PIL")
        for _ in pool.map(work, range(count)):
            bar.update()
    return hashes._replace(bad=dict(sorted(hashes.bad.items())))  # threads insert in any order


def _first_readable(load: Callable[[int], np.ndarray], count: int) -> np.ndarray:
    for row in range(count):
        try:
            return load(row)
        except DataError:
            continue
    return np.zeros((THUMB, THUMB, 3), np.uint8)
