"""Duplicates: right verdicts on pairs judged by eye, recall on copies made here, and seconds for 30,000 images.

`python tools/bench/duplicates.py [--check] [--quick]`; photos and judged pairs are `../shared/data/clothing`. The limit
of the second look was chosen on the first 250 photos (by name); recall is reported on the last 500.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from table import Row, arguments_of, finish, print_machine

from imettk.data.duplicates import LIKENESS, LIMIT, Pair, find_duplicates, near_pairs
from imettk.data.hashes import THUMB, Hashes, hash_images
from imettk.data.reader import ImageReader

CLOTHING = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "clothing"


def cut(image: np.ndarray, share: float, rng: np.random.Generator | None) -> np.ndarray:
    """Crop each side by up to this share; without random numbers by all of it."""
    height, width = image.shape[:2]
    shares = np.full(4, share) if rng is None else rng.uniform(0, share, 4)
    top, bottom, left, right = (shares * (height, height, width, width)).astype(int)
    return image[top : height - bottom, left : width - right]


def saved(image: np.ndarray, quality: int) -> np.ndarray:
    """Encode as a JPEG of this quality, and decode."""
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)  # type: ignore[return-value]


COPIES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "JPEG at quality 30": lambda image, rng: saved(image, 30),
    "a third of the size": lambda image, rng: cv2.resize(image, None, fx=0.33, fy=0.33, interpolation=cv2.INTER_AREA),
    "mirrored": lambda image, rng: image[:, ::-1],
    "cut by up to 3% a side": lambda image, rng: cut(image, 0.03, rng),
    "cut by up to 5% a side": lambda image, rng: cut(image, 0.05, rng),
    "cut by 5% a side": lambda image, rng: cut(image, 0.05, None),
    "brighter by 10%": lambda image, rng: np.clip(image * 1.1 + 5, 0, 255).astype(np.uint8),
    "cut, mirrored, saved again": lambda image, rng: saved(cut(image, 0.03, rng)[:, ::-1], 50),
}


def hashes_of(paths: list[str], images: list[Any]) -> Hashes:
    """Find duplicates among images in memory; paths only stand for their files."""
    thumbs = [
        cv2.cvtColor(cv2.resize(i, (THUMB, THUMB), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB) for i in images
    ]
    hashes = hash_images(lambda row: thumbs[row], [[path] for path in paths])
    hashes.files[:] = [f"{row}" for row in range(len(paths))]  # a copy is another file
    return hashes


def judged_rows() -> Iterator[Row]:
    """Compare verdicts on the pairs judged by eye, and count other pairs found among all photos."""
    paths = sorted((CLOTHING / "images").glob("*.jpg"))
    reader = ImageReader(size=(THUMB, THUMB))
    hashes = hash_images(lambda row: reader.read(str(paths[row])), [[str(path)] for path in paths])
    pairs = find_duplicates(hashes, lambda a, b: False)
    found = {frozenset((paths[pair.first].stem, paths[pair.second].stem)) for pair in pairs if pair.same}
    with open(CLOTHING / "near_dup_pairs.csv", encoding="utf-8") as file:
        judged = {frozenset((row["image_a"], row["image_b"])): row["verdict_by_eye"] for row in csv.DictReader(file)}
    sure = {pair: verdict == "duplicate" for pair, verdict in judged.items() if verdict != "unsure"}
    right = np.mean([(pair in found) == is_one for pair, is_one in sure.items()])
    yield Row(f"right verdicts on {len(sure)} judged pairs", [float(right)], "", (), 1.0, True)
    yield Row("pairs found among all photos", [len(found)], "")
    yield Row("of these neither judged one nor unsure", [sum(pair not in judged for pair in found)], "")


def recall_rows(count: int) -> Iterator[Row]:
    """Return the share of copies that are found among the originals."""
    rng = np.random.default_rng(0)
    paths = [str(path) for path in sorted((CLOTHING / "images").glob("*.jpg"))[-count:]]
    originals = [cv2.imread(path) for path in paths]
    for name, change in COPIES.items():
        copies = [change(image, rng) for image in originals]  # type: ignore[arg-type]
        pairs = find_duplicates(hashes_of([*paths, *paths], [*originals, *copies]), lambda a, b: False)
        hit = {pair.first for pair in pairs if pair.same and pair.second == pair.first + count}
        wrong = [pair for pair in pairs if pair.same and pair.second % count != pair.first % count]
        yield Row(f"recall: {name}", [len(hit) / count], "")
        yield Row("  wrong pairs beside them", [len(_strangers(wrong, count))], "")


def _strangers(pairs: list[Pair], count: int) -> set[tuple[int, int]]:
    """Count the different photos that were paired, by any of their copies."""
    return {(min(a, b), max(a, b)) for pair in pairs for a, b in [(pair.first % count, pair.second % count)]}


def time_rows(count: int, rounds: int) -> Iterator[Row]:
    """Time all pairs of hashes within the limit, and the second look at each."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, (count, 1), np.uint64)
    hashes[1::100] = hashes[::100] ^ np.uint64(0b1011)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        pairs, _ = near_pairs(hashes, hashes, LIMIT)
        for _ in range(3):  # the mirrored ones, and those that were cut
            near_pairs(hashes, hashes[::-1].copy(), LIMIT)
        seconds.append(time.perf_counter() - started)
    assert len(pairs) >= count // 100
    yield Row(f"pairs of {count:,} images after hashing, s", seconds, "", (), 60.0)


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    print_machine("opencv-python-headless", "numpy")
    print(f"limit {LIMIT} bits of 64, likeness {LIKENESS}; shares, counts and seconds\n")
    rows = list(time_rows(3_000 if arguments.quick else 30_000, 1 if arguments.quick else 3))
    if CLOTHING.is_dir():
        rows = [*judged_rows(), *recall_rows(20 if arguments.quick else 500), *rows]
    else:
        print(f"{CLOTHING} is not here: no verdicts and no recall", file=sys.stderr)
    finish(rows, arguments)


if __name__ == "__main__":
    main()
