"""Duplicates among images: same bytes, same pixels, or the same photo cropped, resized, mirrored or saved again.

Perceptual hashes (and embeddings if there are any) only propose pairs: at a distance of a few bits most pairs are
different things of the same shape. A second look aligns the two thumbnails and measures how much of the picture remains
unexplained where they differ most.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import cv2
import numpy as np

from imettk.data.hashes import THUMB, Hashes
from imettk.progress import progress_bar

LIMIT = 14  # maximum Hamming distance of a pair's hashes, of 64 bits, per channel
RESIDUAL = 0.45  # maximum unexplained difference of a duplicate; see `second_look`
LIKENESS = 0.8  # minimum correlation of 16 x 16 colour thumbnails for a second look
BLOCK = 256  # rows compared at once: all pairs together would need N^2 bytes


class Pair(NamedTuple):
    """Two images that may be duplicates.

    Attributes:
        first, second: their positions.
        kind: the same file, the same pixels in another file, or similar.
        distance: Hamming distance of the hashes, the largest over the channels.
        mirrored: one is the mirror image of the other.
        residual: result of the second look; 0 for the same pixels.
    """

    first: int
    second: int
    kind: Literal["bytes", "pixels", "near"]
    distance: int
    mirrored: bool
    residual: float

    @property
    def same(self) -> bool:
        """True if the second look accepts the pair as duplicates."""
        return self.residual <= RESIDUAL


def near_pairs(
    hashes: np.ndarray, others: np.ndarray, limit: int, *, blank: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs (i < j) whose hashes differ in at most `limit` bits in every channel; none is missed.

    Exhaustive on purpose: at a distance of 14 of 64 bits, an index of hashes would visit most of the table anyway.

    Args:
        hashes: uint64 (N, K), of the images i.
        others: uint64 (N, K), of the images j: the same hashes, or those of the images transformed in some way.
        blank: bool (N, K), channels without content, which are not compared; a pair needs at least one other channel.

    Returns:
        int64 (M, 2) positions, and int64 (M,) largest distance over the channels.
    """
    pairs, distances = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    filled = np.ones(hashes.shape, bool) if blank is None else ~blank
    # Blocks of rows against all later ones: the distances of a block fit in memory, and half of all pairs are skipped.
    for first in range(0, len(hashes), BLOCK):
        rows = slice(first, first + BLOCK)
        largest = np.zeros((len(hashes[rows]), len(hashes) - first), np.uint8)
        compared = np.zeros(largest.shape, bool)
        for channel in range(hashes.shape[1]):
            both = filled[rows, None, channel] & filled[None, first:, channel]
            bits = _count_bits(hashes[rows, None, channel] ^ others[None, first:, channel])
            np.maximum(largest, bits * both, out=largest)
            compared |= both
        matches = np.argwhere((largest <= limit) & compared)
        matches = matches[matches[:, 0] < matches[:, 1]]
        pairs.append(matches + first)
        distances.append(largest[matches[:, 0], matches[:, 1]].astype(np.int64))
    return np.concatenate(pairs), np.concatenate(distances)


def similar_pairs(embeddings: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs (i < j) of embeddings whose cosine similarity is at least `limit`.

    Args:
        embeddings: unit norm, float32 (N, D).

    Returns:
        int64 (M, 2) positions, and float32 (M,) similarities.
    """
    pairs, values = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    for first in range(0, len(embeddings), BLOCK):
        similarity = embeddings[first : first + BLOCK] @ embeddings[first:].T
        matches = np.argwhere(similarity >= limit)
        matches = matches[matches[:, 0] < matches[:, 1]]
        pairs.append(matches + first)
        values.append(similarity[matches[:, 0], matches[:, 1]])
    return np.concatenate(pairs), np.concatenate(values)


def _count_bits(values: np.ndarray) -> np.ndarray:
    """Return the number of set bits of uint64 values, uint8 of the same shape."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.bitwise_count(values)
    # Older numpy: sums of bits in pairs, nibbles and bytes (Hacker's Delight, figure 5-2).
    values = values - ((values >> np.uint64(1)) & np.uint64(0x5555555555555555))
    values = (values & np.uint64(0x3333333333333333)) + ((values >> np.uint64(2)) & np.uint64(0x3333333333333333))
    values = (values + (values >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return ((values * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.uint8)


def second_look(thumb: np.ndarray, other: np.ndarray) -> float:
    """Return how much of a thumbnail another one does not explain, uint8 (64, 64, 3) both; 0 is nothing.

    The other is aligned by the affine map of highest correlation (ECC, Evangelidis and Psarakis 2008), and matched in
    brightness by one gain and offset for all channels, so that another colour is not explained away. The measure is the
    difference in the worst 1% of 16 x 16 blocks, in units of the first one's contrast, because two garments on the same
    floor agree nearly everywhere. On clothing photos, 98% of copies (cropped by up to 8% per side, brightened, a third
    of the size, JPEG at quality 10) lie below 0.45, and all pairs of different things above 0.5.
    """
    # Blurred, so that JPEG artefacts and resampling do not count as differences.
    first, second = (cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32) for image in (thumb, other))
    affine = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        _, affine = cv2.findTransformECC(first.mean(2), second.mean(2), affine, cv2.MOTION_AFFINE, criteria, None, 1)
    except cv2.error:  # it does not converge: the two have nothing in common
        return 1.0
    inverse = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(second, affine, (THUMB, THUMB), flags=inverse)
    # Pixels that the aligned thumbnail covers completely: a cropped copy is compared only where it overlaps.
    seen = cv2.warpAffine(np.ones((THUMB, THUMB), np.float32), affine, (THUMB, THUMB), flags=inverse) > 0.999
    if seen.mean() < 0.5:  # aligned mostly out of the picture, any residual would be small
        return 1.0
    a, b = first[seen] - first[seen].mean(), laid[seen] - laid[seen].mean()
    gain = float((a * b).sum() / max(float((b * b).sum()), 1e-6))
    if gain <= 0:  # one is the negative of the other
        return 1.0
    off = np.zeros_like(first)
    off[seen] = np.abs(a - gain * b)
    blocks = cv2.resize(off.max(2), (16, 16), interpolation=cv2.INTER_AREA)
    return float(np.quantile(blocks, 0.99) / max(float(a.std()), 1e-6))


def find_duplicates(
    hashes: Hashes,
    same_pixels: Callable[[int, int], bool],
    *,
    limit: int = LIMIT,
    proposed: np.ndarray | None = None,
) -> list[Pair]:
    """Return pairs of images that may be duplicates, each once; of identical files, each with the next one only.

    Args:
        same_pixels: compares two images, by position, at full size.
        limit: maximum Hamming distance of perceptual hashes for a second look, per channel.
        proposed: further pairs for a second look, by position, int64 (M, 2); see `similar_pairs`.
    """
    good = np.ones(len(hashes.files), bool)
    good[list(hashes.bad)] = False
    rows = np.flatnonzero(good)
    distinct = rows[np.unique(hashes.files[rows], return_index=True)[1]]  # one image per file content
    pairs = {(a, b): Pair(a, b, "bytes", 0, False, 0.0) for a, b in _neighbours(hashes.files[rows], rows)}
    candidates = _candidates(hashes, np.sort(distinct), limit, proposed)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar("second look", total=len(candidates), unit="pair") as bar,
    ):
        for pair in pool.map(lambda candidate: _look(hashes, same_pixels, *candidate), candidates):
            bar.update()
            known = pairs.get((pair.first, pair.second))
            if known is None or pair.residual < known.residual:
                pairs[pair.first, pair.second] = pair
    return [pairs[key] for key in sorted(pairs)]


def _neighbours(keys: np.ndarray, rows: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of consecutive rows with equal keys: K copies of one image make K - 1 pairs instead of K^2 / 2."""
    order = np.argsort(keys, kind="stable")
    same = keys[order[1:]] == keys[order[:-1]]
    return list(zip(rows[order[:-1]][same].tolist(), rows[order[1:]][same].tolist(), strict=True))


def _candidates(
    hashes: Hashes, rows: np.ndarray, limit: int, proposed: np.ndarray | None
) -> list[tuple[int, int, int, bool]]:
    """Return (first, second, distance, mirrored) of the pairs among these rows that deserve a second look."""
    small = np.stack([_tiny(thumb) for thumb in hashes.thumbs[rows]]) if len(rows) else np.zeros((0, 16, 16, 3))
    plain, mirrored, cut = (values[rows] for values in (hashes.perceptual, hashes.mirrored, hashes.cut))
    blank = hashes.blank[rows]
    distance_of: dict[tuple[int, int, bool], int] = {}
    thumbs = np.array([hashlib.sha256(thumb).hexdigest() for thumb in hashes.thumbs[rows]])
    for first, second in _neighbours(thumbs, rows):  # a blank image has no hash to be found by
        distance_of[first, second, False] = 0
    for images, others, is_mirrored in (
        (plain, plain, False),
        (plain, cut, False),
        (cut, plain, False),
        (plain, mirrored, True),
    ):
        pairs, distances = near_pairs(images, others, limit, blank=blank)
        # Colours rule out most pairs cheaply: a second look takes milliseconds, and there may be millions of pairs.
        alike = _likeness(small, pairs, is_mirrored) >= LIKENESS
        for (a, b), distance in zip(rows[pairs[alike]].tolist(), distances[alike].tolist(), strict=True):
            distance_of[a, b, is_mirrored] = min(distance_of.get((a, b, is_mirrored), 64), distance)
    if proposed is not None:
        places = np.full(len(hashes.files), -1)
        places[rows] = np.arange(len(rows))
        pairs = places[proposed]
        pairs = pairs[(pairs >= 0).all(1)]
        mirror = _likeness(small, pairs, True) > _likeness(small, pairs, False)
        others = np.where(mirror[:, None], mirrored[pairs[:, 1]], plain[pairs[:, 1]])
        distances = _count_bits(plain[pairs[:, 0]] ^ others).max(1, initial=0)
        for (a, b), distance, is_mirrored in zip(
            rows[pairs].tolist(), distances.tolist(), mirror.tolist(), strict=True
        ):
            distance_of.setdefault((a, b, is_mirrored), distance)
    return [(a, b, distance, is_mirrored) for (a, b, is_mirrored), distance in distance_of.items()]


def _likeness(small: np.ndarray, pairs: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return the correlation of the colours of each pair (M, 2), float (M,)."""
    correlations = [np.zeros(0)]
    for start in range(0, len(pairs), 10_000):  # in blocks: each pair copies two thumbnails
        images, others = small[pairs[start : start + 10_000].T]
        correlations.append(np.einsum("mhwc,mhwc->m", images, others[:, :, ::-1] if mirrored else others))
    return np.concatenate(correlations)


def _tiny(thumb: np.ndarray) -> np.ndarray:
    """Return 16 x 16 colours without their mean, of unit norm, so that dot products are correlations."""
    small = cv2.resize(thumb, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def _look(
    hashes: Hashes, same_pixels: Callable[[int, int], bool], a: int, b: int, distance: int, mirrored: bool
) -> Pair:
    thumb, other = hashes.thumbs[a], hashes.thumbs[b]
    if not mirrored and np.array_equal(thumb, other) and same_pixels(a, b):
        return Pair(a, b, "pixels", distance, False, 0.0)
    if hashes.blank[a].all():
        return Pair(a, b, "near", distance, False, 1.0)
    residual = second_look(thumb, other[:, ::-1] if mirrored else other)
    return Pair(a, b, "near", distance, mirrored, residual)


def components(count: int, pairs: list[Pair]) -> np.ndarray:
    """Return the component of each image, int64 (N,): images connected by duplicate pairs share a number."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    joined = np.array([(pair.first, pair.second) for pair in pairs if pair.same], np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def merge_groups(groups: np.ndarray | None, parts: np.ndarray) -> np.ndarray:
    """Return the finest groups that split neither of two groupings, int64 (N,); any dtype (N,) both."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(parts)
    first = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    second = np.unique(parts, return_inverse=True)[1] + count  # a bipartite graph between the two kinds of group
    graph = coo_matrix((np.ones(count), (first, second)), shape=(2 * count, 2 * count))
    return connected_components(graph, directed=False)[1][first].astype(np.int64)


def rows_to_drop(parts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the rows except the first of each component, int64 (M,)."""
    first = np.unique(parts[rows], return_index=True)[1]
    return np.delete(rows, first)


def answers_of_duplicates(parts: np.ndarray, labels: np.ndarray, known: np.ndarray) -> tuple[dict[int, str], int]:
    """Return the answers of unlabelled images that are duplicates of labelled ones.

    Args:
        parts: component of each image, int64 (N,).
        labels: text, str (N,).
        known: images with a label, bool (N,).

    Returns:
        The answers by position, and the number of images without one because labels of their duplicates differ.
    """
    texts: dict[int, set[str]] = {}
    for row in np.flatnonzero(known):
        texts.setdefault(int(parts[row]), set()).add(str(labels[row]))
    wanted = [int(row) for row in np.flatnonzero(~known) if int(parts[row]) in texts]
    answers = {row: next(iter(texts[parts[row]])) for row in wanted if len(texts[parts[row]]) == 1}
    return answers, len(wanted) - len(answers)
