"""Neighbours are those of scikit-learn and of a plain sort; ties, odd rows and short galleries are as promised."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from imettk.inference import retrieval
from imettk.inference.retrieval import expand_queries, find_neighbours, join_embeddings, rank_gallery
from imettk.postprocess.ranking import Pooling, rank_labels

BLOCKS = [(1024, 16384), (7, 40), (64, 16), (20, 9)]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def made(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def unit(rows):
    return rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=-1, keepdims=True)


def plain(queries, gallery, k, own=None):
    """By a stable sort of all similarities, in float64; all rows have to be usable."""
    similarities = unit(queries) @ unit(gallery).T
    if own is not None:
        similarities[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
    rows = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(similarities, rows, 1)


@pytest.fixture(params=BLOCKS, ids=str)
def blocks(request, monkeypatch):
    """Sizes of blocks: a result must not depend on them."""
    monkeypatch.setattr(retrieval, "QUERIES", request.param[0])
    monkeypatch.setattr(retrieval, "GALLERY", request.param[1])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("k", [1, 5, 100])
def test_neighbours_are_those_of_scikit_learn_and_a_plain_sort(blocks, k, device):
    queries, gallery = made(50, 12), 3 * made(203, 12, seed=1)
    found = find_neighbours(queries, gallery, k, device=device)
    assert (found.rows.dtype, found.similarities.dtype) == (np.int64, np.float32)
    distances, rows = (
        NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(gallery).kneighbors(queries)
    )
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.similarities, 1 - distances, atol=1e-6)
    np.testing.assert_array_equal(found.rows, plain(queries, gallery, k)[0])


def test_a_query_does_not_find_its_own_row(blocks):
    gallery = made(90, 6)
    own = np.arange(90)
    own[::4] = -1
    found = find_neighbours(gallery, gallery, 7, own=own)
    np.testing.assert_array_equal(found.rows, plain(gallery, gallery, 7, own)[0])
    assert not (found.rows == own[:, None])[own >= 0].any()
    assert (found.rows[::4, 0] == np.arange(0, 90, 4)).all() and found.similarities.max() <= 1


@pytest.mark.parametrize("k", [1, 4, 30, 200])
def test_equal_similarities_come_in_the_order_of_rows(blocks, k):
    """Rows of 16 entries of 1 or -1 have length 4: similarities are exact, and only nine differ."""
    rng = np.random.default_rng(0)
    queries, gallery = (rng.choice([-1.0, 1.0], (count, 16)).astype(np.float32) for count in (40, 150))
    gallery[100:] = gallery[:50]
    found = find_neighbours(queries, gallery, k)
    rows, similarities = plain(queries, gallery, k)
    np.testing.assert_array_equal(found.rows[:, :150], rows)
    np.testing.assert_array_equal(found.similarities[:, :150], similarities.astype(np.float32))


def test_many_equal_rows_across_blocks_come_in_order():
    gallery = np.ones((40_000, 4), np.float32)
    gallery[:17_000:2] *= -1
    found = find_neighbours(gallery[1:3], gallery, 30)
    assert found.rows.tolist() == [list(range(1, 61, 2)), list(range(0, 60, 2))]


def test_no_similarity_leaves_the_range_of_a_cosine():
    """Rounding takes many beyond; what then is equal comes in order."""
    gallery = np.repeat(made(200, 37), 3, axis=0)
    for queries, end in ((gallery[::3], 1), (-gallery[::3], -1)):
        found = find_neighbours(queries, gallery, 600)
        assert found.similarities.max() <= 1 and found.similarities.min() >= -1
        assert (found.similarities[:, ::599][:, int(end < 0)] == end).any()
        for rows, similarities in zip(*found, strict=True):
            np.testing.assert_array_equal(rows, rows[np.lexsort((rows, -similarities))])


def test_rows_without_direction_find_nothing_and_are_not_found(blocks):
    queries, gallery = made(9, 5), made(60, 5, seed=1)
    clean = gallery.copy()
    for row, value in ((0, np.nan), (20, np.inf), (21, 0), (59, -np.inf)):
        gallery[row] = 0
        gallery[row, 2] = value
    queries[1, 0], queries[2, 4], queries[3] = np.nan, np.inf, 0
    found = find_neighbours(queries, gallery, 58, own=np.where(np.arange(9) == 8, 30, -1))
    assert (found.rows[1:4] == -1).all() and np.isnan(found.similarities[1:4]).all()
    usable = np.setdiff1d(np.arange(60), [0, 20, 21, 59])
    for query in (0, 4, 5, 6, 7, 8):
        kept = usable[usable != 30] if query == 8 else usable
        rows, similarities = plain(queries[[query]], clean[kept], 58)
        np.testing.assert_array_equal(found.rows[query, : len(kept)], kept[rows[0]])
        np.testing.assert_allclose(found.similarities[query, : len(kept)], similarities[0], atol=1e-6)
        assert (found.rows[query, len(kept) :] == -1).all()
        assert (found.similarities[query, len(kept) :] == -np.inf).all()


def test_lengths_do_not_matter_and_inputs_stay():
    queries, gallery = made(5, 8), made(30, 8, seed=1)
    kept = queries.copy(), gallery.copy()
    for array in (queries, gallery):
        array.flags.writeable = False
    expected = find_neighbours(queries, gallery, 30)
    scaled = find_neighbours(queries * 1e6, gallery * np.geomspace(1e-6, 1e6, 30, dtype=np.float32)[:, None], 30)
    np.testing.assert_array_equal(scaled.rows, expected.rows)
    np.testing.assert_array_equal(find_neighbours(queries[:, ::-1], gallery[:, ::-1], 30).rows, expected.rows)
    assert (queries == kept[0]).all() and (gallery == kept[1]).all()


@pytest.mark.parametrize("num_queries, num_gallery", [(0, 4), (3, 0), (0, 0)])
def test_empty_sides(num_queries, num_gallery):
    queries, gallery = np.ones((num_queries, 4), np.float32), np.ones((num_gallery, 4), np.float32)
    found = find_neighbours(queries, gallery, 2, own=np.full(num_queries, -1))
    assert found.rows.shape == found.similarities.shape == (num_queries, 2)
    assert (found.rows == -1).all() and (found.similarities == -np.inf).all()
    assert expand_queries(queries, gallery, 2).tolist() == (queries / 2).tolist()
    assert (rank_gallery(queries, gallery, np.zeros(num_gallery, np.int64), k=3).labels[:, 1:] == -1).all()


def test_what_does_not_fit_is_refused():
    ones = np.ones((3, 4), np.float32)
    for arguments in ((ones, ones, 0), (ones, ones[:, :3], 1), (ones[0], ones, 1)):
        with pytest.raises(ValueError, match=r"ha(s|ve) to be"):
            find_neighbours(*arguments)
    with pytest.raises(ValueError, match="own"):
        find_neighbours(ones, ones, 1, own=np.zeros(2, np.int64))


def test_the_cosine_of_joined_embeddings_is_the_weighted_mean_of_cosines():
    parts = [made(20, 3), 100 * made(20, 7, seed=1), made(20, 5, seed=2)]
    cosines = [unit(part) @ unit(part).T for part in parts]
    for weights in (None, (1, 3, 0), (0.2, 0.2, 0.6)):
        joined = join_embeddings(parts, weights)
        assert joined.shape == (20, 15) and joined.dtype == np.float32
        np.testing.assert_allclose(joined @ joined.T, np.average(cosines, axis=0, weights=weights), atol=1e-6)
    parts[1][4, 0], parts[0][5] = np.nan, 0
    assert np.flatnonzero(np.isnan(join_embeddings(parts)).all(1)).tolist() == [4, 5]
    assert np.isfinite(np.delete(join_embeddings(parts), [4, 5], 0)).all()


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, -1), (0, 0)])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        join_embeddings([made(3, 2), made(3, 2)], weights)
    with pytest.raises(ValueError, match="rows"):
        join_embeddings([made(3, 2), made(4, 2)])


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
def test_expanded_queries_are_a_plain_loops(alpha, monkeypatch):
    monkeypatch.setattr(retrieval, "CELLS", 100)
    queries, gallery = made(12, 4), made(9, 4, seed=1)
    own = np.arange(12) - 3
    own[own < 0] = -1
    expanded = expand_queries(queries, gallery, 6, alpha=alpha, own=own)
    rows, similarities = plain(queries, gallery, 6, own)
    for query in range(12):
        total = unit(queries[query])
        for row, similarity in zip(rows[query], similarities[query], strict=True):
            if similarity > 0:
                total = total + similarity**alpha * unit(gallery[row])
        np.testing.assert_allclose(expanded[query], total / np.linalg.norm(total), atol=1e-5)
    gallery[-1], queries[0] = np.nan, np.nan  # the last row is what -1 points to
    again = expand_queries(queries, gallery, 9)
    assert np.isnan(again[0]).all() and np.isfinite(again[1:]).all()


def best_by_loop(queries, gallery, labels, k, own):
    """Each label's best image by a loop over all, labels (Q, k)."""
    similarities = unit(queries) @ unit(gallery).T
    answers = np.full((len(queries), k), -1)
    for query, row in enumerate(similarities):
        row[own[query] if own[query] >= 0 else []] = -np.inf
        best = {label: row[labels == label].max() for label in set(labels.tolist()) - {-1}}
        named = sorted((label for label in best if best[label] > -np.inf), key=lambda label: -best[label])[:k]
        answers[query, : len(named)] = named
    return answers


@pytest.mark.parametrize("num_neighbours", [1, 3, 300])
@pytest.mark.parametrize("k", [3, 12])
def test_identities_are_never_short_where_the_gallery_has_more(k, num_neighbours, monkeypatch):
    monkeypatch.setattr(retrieval, "CELLS", 200)
    rng = np.random.default_rng(0)
    queries, gallery = made(40, 5), made(160, 5, seed=1)
    labels = rng.choice([-1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], 160)
    labels[7] = 9  # the only one
    own = np.where(rng.random(40) < 0.5, rng.integers(0, 160, 40), -1)
    own[0] = 7
    ranked = rank_gallery(queries, gallery, labels, k=k, pooling=Pooling(num_neighbours=num_neighbours), own=own)
    np.testing.assert_array_equal(ranked.labels, best_by_loop(queries, gallery, labels, k, own))
    queries[3] = np.nan
    assert (rank_gallery(queries, gallery, labels, k=k, pooling=Pooling(num_neighbours=2)).labels[3] == -1).all()


@pytest.mark.parametrize("pool", ["mean", "vote"])
def test_other_pools_see_the_neighbours_that_were_asked_for(pool):
    queries, gallery = made(30, 5), made(100, 5, seed=1)
    labels = np.random.default_rng(1).integers(0, 30, 100)
    ranked = rank_gallery(queries, gallery, labels, k=4, pooling=Pooling(pool, 60, best_of=2, temperature=0.2))
    near = find_neighbours(queries, gallery, 60)
    expected = rank_labels(*near, labels, k=4, pooling=Pooling(pool, best_of=2, temperature=0.2))
    np.testing.assert_array_equal(ranked.labels, expected.labels)
    np.testing.assert_array_equal(ranked.scores, expected.scores)
    short = rank_gallery(queries, gallery, labels, k=4, pooling=Pooling(pool, num_neighbours=2)).labels
    assert (short < 0).any() == (pool == "vote")
