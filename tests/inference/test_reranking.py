"""k-reciprocal re-ranking against the paper's formulas written down as loops over sets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from imettk.inference.reranking import Reranking, rank_reranked, rerank_neighbours
from imettk.inference.retrieval import find_neighbours, rank_gallery
from imettk.postprocess.ranking import Pooling


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clusters(*, num: int, images: int, spread: float, dims: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((num, dims))
    labels = np.repeat(np.arange(num), images)
    return (centres[labels] + spread * rng.standard_normal((len(labels), dims))).astype(np.float32), labels


def by_hand(queries: np.ndarray, gallery: np.ndarray, near: int, spread: int, weight: float) -> np.ndarray:
    """Similarities (Q, G), straight from section 3 of the paper, with 1 - cosine as the distance."""
    rows = unit(np.concatenate([queries, gallery]).astype(np.float64))
    cosine = rows @ rows.T
    order = [[int(one) for one in np.argsort(-line, kind="stable")] for line in cosine]

    def reciprocal(row: int, count: int) -> set[int]:
        return {one for one in order[row][: count + 1] if row in order[one][: count + 1]}

    vectors = []
    for row in range(len(rows)):
        first = reciprocal(row, near)
        grown = set(first)
        for one in first:
            half = reciprocal(one, round(near / 2))
            if len(half & first) >= 2 / 3 * len(half):
                grown |= half
        weights = {one: math.exp(cosine[row, one] - 1) for one in grown}
        vectors.append({one: value / sum(weights.values()) for one, value in weights.items()})
    means = []
    for row in range(len(rows)):
        mean: dict[int, float] = {}
        for one in order[row][:spread]:
            for place, value in vectors[one].items():
                mean[place] = mean.get(place, 0) + value / spread
        means.append(mean)
    count = len(queries)
    result = np.empty((count, len(gallery)))
    for query in range(count):
        for place in range(len(gallery)):
            mine, its = means[query], means[count + place]
            low = sum(min(mine.get(one, 0), its.get(one, 0)) for one in mine.keys() | its.keys())
            high = sum(max(mine.get(one, 0), its.get(one, 0)) for one in mine.keys() | its.keys())
            result[query, place] = (1 - weight) * low / high + weight * cosine[query, count + place]
    return result


@pytest.mark.parametrize(("near", "spread", "weight"), [(6, 3, 0.3), (5, 1, 0.0), (9, 4, 0.7)])
def test_similarities_are_the_papers(near, spread, weight):
    rows, _ = clusters(num=8, images=7, spread=0.8)
    queries, gallery = rows[::2], rows[1::2]
    found = rerank_neighbours(queries, gallery, len(gallery), reranking=Reranking(near, spread, weight))
    theirs = by_hand(queries, gallery, near, spread, weight)
    ours = np.empty_like(theirs)
    np.put_along_axis(ours, found.rows, found.similarities, axis=1)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert (np.diff(found.similarities, axis=1) <= 0).all()


def test_own_similarity_alone_is_no_reranking():
    rows, _ = clusters(num=8, images=7, spread=1.0)
    plain = find_neighbours(rows[::2], rows[1::2], 5)
    found = rerank_neighbours(rows[::2], rows[1::2], 5, reranking=Reranking(weight=1.0))
    assert (found.rows == plain.rows).all()
    np.testing.assert_allclose(found.similarities, plain.similarities, atol=1e-6)


def test_it_gains_where_an_identity_has_one_image_in_the_gallery_and_many_queries():
    rows, labels = clusters(num=40, images=12, spread=0.9)
    enrolled = np.arange(len(rows)) % 12 == 0
    queries, truth, gallery, known = rows[~enrolled], labels[~enrolled], rows[enrolled], labels[enrolled]
    plain = rank_gallery(queries, gallery, known, k=5)
    better = rank_reranked(queries, gallery, known, k=5, reranking=Reranking(10, 4))
    assert (better.labels[:, 0] == truth).mean() > (plain.labels[:, 0] == truth).mean() + 0.05
    assert all(len(set(line)) == 5 for line in better.labels.tolist())


def test_rows_without_direction_are_not_found_and_find_nothing():
    rows, labels = clusters(num=5, images=6, spread=0.3)
    queries, gallery, known = rows[::2].copy(), rows[1::2].copy(), labels[1::2]
    queries[3], gallery[0], gallery[4] = np.nan, 0, np.inf
    found = rerank_neighbours(queries, gallery, 20, reranking=Reranking(4, 2))
    assert (found.rows[3] == -1).all() and np.isnan(found.similarities[3]).all()
    others = np.delete(found.rows, 3, axis=0)
    assert not np.isin(others, [0, 4]).any() and (others[:, -7:] == -1).all()  # 13 rows of 15, of 20 asked for
    assert (rank_reranked(queries, gallery, known, k=3, reranking=Reranking(4, 2)).labels[3] == -1).all()


def test_unlabelled_rows_are_left_out_and_few_neighbours_are_enough():
    """Three identities are wanted, and the first neighbours are all of one."""
    rows, labels = clusters(num=3, images=30, spread=0.1)
    known = np.where(np.arange(len(labels)) % 2 == 0, labels, -1)
    ranked = rank_reranked(rows[:4], rows, known, k=3, reranking=Reranking(5, 2), pooling=Pooling(num_neighbours=3))
    assert (np.sort(ranked.labels, axis=1) == [0, 1, 2]).all() and (ranked.labels[:, 0] == 0).all()
    nobody = rank_reranked(rows[:4], rows, np.full(len(rows), -1), k=2, reranking=Reranking(5, 2))
    assert (nobody.labels == -1).all()


@pytest.mark.parametrize("wrong", [{"near": 0}, {"spread": 0}, {"weight": 1.5}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="have to be above 0"):
        Reranking(**wrong)


def test_at_least_one_row_is_asked_for():
    rows = np.eye(4, dtype=np.float32)
    with pytest.raises(ValueError, match="k is 0: it has to be at least 1"):
        rerank_neighbours(rows, rows, 0)
