"""k-reciprocal re-ranking: rows that are among each other's nearest neighbours are alike (Zhong et al. 2017, arXiv
1701.08398).

It compares a query with a gallery row by the sets of their neighbours among queries and gallery, so it gains if an
identity has few images in the gallery and several among the queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from imettk.inference.retrieval import Neighbours, find_neighbours
from imettk.postprocess.ranking import Pooling, Ranked, rank_labels

CELLS = 1 << 24  # values that are held in one go


@dataclass(frozen=True)
class Reranking:
    """Settings of k-reciprocal re-ranking.

    Attributes:
        near: rows that may name each other (k1 in the paper), above 0.
        spread: rows over whose neighbour sets is averaged, the row itself among them (k2), above 0.
        weight: of the cosine similarity beside that of the sets, in [0, 1]; 1 is no re-ranking.

    Raises:
        ValueError: a number is out of its range.
    """

    near: int = 20
    spread: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        if self.near < 1 or self.spread < 1 or not 0 <= self.weight <= 1:
            raise ValueError(
                f"near {self.near} and spread {self.spread} have to be above 0, and weight {self.weight} in [0, 1]"
            )


def rerank_neighbours(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    *,
    reranking: Reranking = Reranking(),
    own: np.ndarray | None = None,
    device: torch.device | str | None = None,
) -> Neighbours:
    """Return the k gallery rows nearest to each query, by common neighbours and by cosine similarity.

    Args:
        queries, gallery, own, device: as in `find_neighbours`.

    Returns:
        As `find_neighbours`; similarities are (1 - weight) * Jaccard index + weight * cosine, in [-weight, 1].

    Raises:
        ValueError: k below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}: it has to be at least 1")
    units = _unit(np.concatenate([queries, gallery]))
    nearest = find_neighbours(units, units, reranking.near + 1, device=device).rows
    sets = _averaged(_neighbour_sets(units, nearest, reranking.near), nearest[:, : reranking.spread])
    return _compare(units, sets, k, reranking.weight, np.full(len(queries), -1) if own is None else own)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of length 1, float32; those without a direction become NaN."""
    rows = rows.astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    units[~np.isfinite(units).all(1)] = np.nan
    return units


def _reciprocal(nearest: np.ndarray, count: int) -> sparse.csr_array:
    """Return the adjacency of rows that are among each other's `count` nearest (and themselves), as ones."""
    neighbours = nearest[:, : count + 1]
    rows, columns = np.nonzero(neighbours >= 0)
    shape = len(nearest), len(nearest)
    directed = sparse.csr_array((np.ones(len(rows), np.float32), (rows, neighbours[rows, columns])), shape=shape)
    return sparse.csr_array(directed.multiply(directed.T))


def _neighbour_sets(units: np.ndarray, nearest: np.ndarray, near: int) -> sparse.csr_array:
    """Return the reciprocal neighbours of each row, weighted by their distance; the weights of a row sum to 1.

    A neighbour's own set, of half the size, is added if two thirds of it are in the set already (eq. 5).
    """
    sets, halves = _reciprocal(nearest, near), _reciprocal(nearest, round(near / 2))
    known = sets.multiply(sets @ halves.T)  # how many members of each neighbour's set the row's own set has
    known = sparse.coo_array(known)
    sizes = halves.sum(axis=1)
    taken = known.data >= 2 / 3 * sizes[known.col]
    shape = sets.shape
    chosen = sparse.csr_array((np.ones(taken.sum(), np.float32), (known.row[taken], known.col[taken])), shape=shape)
    grown = sparse.coo_array(sets + chosen @ halves)
    weights = np.empty(grown.nnz, np.float32)
    height = max(1, CELLS // units.shape[1])
    for first in range(0, grown.nnz, height):
        part = slice(first, first + height)
        weights[part] = np.einsum("nd,nd->n", units[grown.row[part]], units[grown.col[part]])
    # The paper's exp(-distance), eq. 7, with the cosine distance 1 - cosine.
    grown = sparse.csr_array((np.exp(weights - 1), (grown.row, grown.col)), shape=shape)
    totals = np.maximum(grown.sum(axis=1), np.finfo(np.float32).tiny)
    return sparse.csr_array(sparse.diags_array(1 / totals) @ grown)


def _averaged(sets: sparse.csr_array, nearest: np.ndarray) -> sparse.csr_array:
    """Return each row's set as the mean of its nearest rows' sets (local query expansion, section 3.4)."""
    there = nearest >= 0
    rows, columns = np.nonzero(there)
    shares = (1 / np.maximum(there.sum(1), 1)).astype(np.float32)[rows]
    mean = sparse.csr_array((shares, (rows, nearest[rows, columns])), shape=sets.shape)
    return sparse.csr_array(mean @ sets)


def _compare(units: np.ndarray, sets: sparse.csr_array, k: int, weight: float, own: np.ndarray) -> Neighbours:
    """Return the k best gallery rows of each query by the mixed similarity, except its `own` row, int64 (Q,)."""
    num_queries = len(own)
    of_gallery = sparse.csc_array(sets[num_queries:])
    gallery = np.nan_to_num(units[num_queries:])
    lost = np.isnan(units[:, 0])
    count = min(k, len(gallery))
    result = Neighbours(np.full((num_queries, k), -1), np.full((num_queries, k), -np.inf, np.float32))
    height = max(1, CELLS // max(1, len(gallery)))
    for first in range(0, num_queries, height):
        block = np.nan_to_num(units[first : min(first + height, num_queries)])
        mixed = weight * (block @ gallery.T)
        for place in range(len(block)):
            mixed[place] += (1 - weight) * _jaccard(sets, first + place, of_gallery)
        mixed[:, lost[num_queries:]] = -np.inf
        mine = own[first : first + len(block)]
        mixed[np.flatnonzero(mine >= 0), mine[mine >= 0]] = -np.inf
        order = np.argsort(-mixed, axis=1, kind="stable")[:, :count]
        values = np.take_along_axis(mixed, order, axis=1)
        result.rows[first : first + len(block), :count] = np.where(values > -np.inf, order, -1)
        result.similarities[first : first + len(block), :count] = values
    result.rows[lost[:num_queries]], result.similarities[lost[:num_queries]] = -1, np.nan
    return result


def _jaccard(sets: sparse.csr_array, row: int, of_gallery: sparse.csc_array) -> np.ndarray:
    """Return the Jaccard index of a row's set and each gallery row's: sum of minima / of maxima (eq. 10), (G,)."""
    common = np.zeros(of_gallery.shape[0], np.float32)
    for place in range(sets.indptr[row], sets.indptr[row + 1]):
        column, value = sets.indices[place], sets.data[place]
        cells = slice(of_gallery.indptr[column], of_gallery.indptr[column + 1])
        common[of_gallery.indices[cells]] += np.minimum(of_gallery.data[cells], value)  # rows of a column are distinct
    return common / (2 - common)  # both sum to 1


def rank_reranked(
    queries: np.ndarray,
    gallery: np.ndarray,
    labels: np.ndarray,
    *,
    k: int,
    reranking: Reranking = Reranking(),
    pooling: Pooling = Pooling(),
    own: np.ndarray | None = None,
    device: torch.device | str | None = None,
) -> Ranked:
    """Rank the k identities nearest to each query by re-ranked neighbours; otherwise as `rank_gallery`.

    Args:
        labels: of the gallery, int64 (G,); rows of -1 are left out.
        own: as in `rank_gallery`.
    """
    known = labels >= 0
    if own is not None:
        own = np.append(np.where(known, np.cumsum(known) - 1, -1), -1)[own]
    gallery, labels = gallery[known], labels[known]
    wanted, count = min(k, len(np.unique(labels))), min(pooling.num_neighbours, len(labels))
    while count:
        near = rerank_neighbours(queries, gallery, count, reranking=reranking, own=own, device=device)
        ranked = rank_labels(*near, labels, k=k, pooling=pooling)
        short = (ranked.labels[:, wanted - 1] < 0) & (ranked.labels[:, 0] >= 0)
        if pooling.pool == "vote" or count == len(labels) or not short.any():
            return ranked
        count = min(4 * count, len(labels))
    return Ranked(np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, np.float32))
