"""Exact nearest neighbours of queries in a gallery, and the identities that these stand for.

Similarities are computed a block at a time, and few of a block are looked at twice: at first only the largest of each
group of neighbouring gallery rows counts, and the k best rows lie in the k best of these groups. Sorting all of a block
would take several times as long as computing it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from imettk.postprocess.ranking import Pooling, Ranked, rank_labels

QUERIES, GALLERY = 1024, 16384  # rows of a block of similarities, and its columns: 64 MB
GROUP = 16  # neighbouring gallery rows that are looked at as one
CELLS = 1 << 22  # neighbours of queries that are held in one go


class Neighbours(NamedTuple):
    """Rows of the gallery, the most alike first, int64 (Q, k), and their cosine similarities, float32 (Q, k)."""

    rows: np.ndarray
    similarities: np.ndarray


def find_neighbours(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    *,
    own: np.ndarray | None = None,
    device: torch.device | str | None = None,
) -> Neighbours:
    """Return the k gallery rows of highest cosine similarity to each query: exact, of equal ones the first row first.

    Args:
        queries: float32 (Q, D), of any length.
        gallery: float32 (G, D), of any length.
        own: the gallery row that is the query itself, and is left out, int64 (Q,); -1 for none.
        device: where to compute; None is the CPU.

    Returns:
        Similarities in [-1, 1]. A gallery row without direction (zeros, or anything not finite) is never found, and
        what is missing where there are fewer rows than k is -1 and -inf. A query without direction has -1 and NaN.

    Raises:
        ValueError: k below 1, or shapes that do not fit.
    """
    return _search(queries, gallery, k, own, None, device)


class _Found(NamedTuple):
    """Best rows so far, in the order of rows, int64 and float32 (R, up to k)."""

    rows: Tensor
    similarities: Tensor


class _Block(NamedTuple):
    """A block of gallery rows, laid out so that the rows of a group stand W columns apart.

    Attributes:
        unit: float32 (GROUP * W, D), zeros where the last group has too few rows.
        rows: of the gallery, int64 (W, GROUP), -1 where there is none.
        missing: how many the last group has too few.
        first: of the gallery rows that it was made of.
        columns: of each of these, int64; -1 for those that cannot be found.
    """

    unit: Tensor
    rows: Tensor
    missing: int
    first: int
    columns: Tensor

    def compare(self, unit: Tensor, own: Tensor | None, out: Tensor) -> Tensor:
        """Return similarities to queries (R, D), float32 (R, GROUP * W), -inf for rows that must not be found."""
        cells = torch.mm(unit, self.unit.T, out=out)
        if self.missing:
            cells.view(len(cells), GROUP, -1)[:, -self.missing :, -1] = -torch.inf
        if own is not None:
            place = own - self.first
            column = self.columns[place.clamp(0, len(self.columns) - 1)]
            hit = ((place >= 0) & (place < len(self.columns)) & (column >= 0)).nonzero()[:, 0]
            cells[hit, column[hit]] = -torch.inf
        return cells

    def candidates(self, cells: Tensor, k: int) -> _Found:
        """Return all rows of the k groups with the highest maxima: among them are the k best of the block."""
        width = len(self.rows)
        groups = _best(cells.view(len(cells), GROUP, width).amax(1).clamp_(max=1), k)
        columns = groups[:, :, None] + width * torch.arange(GROUP, device=cells.device)
        near = cells.gather(1, columns.view(len(cells), -1))
        return _Found(self.rows[groups].view(len(cells), -1), near.clamp_(max=1))


@torch.inference_mode()
def _search(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    own: np.ndarray | None,
    allowed: np.ndarray | None,
    device: torch.device | str | None,
) -> Neighbours:
    """Search as `find_neighbours` does, among the gallery rows that are allowed, bool (G,)."""
    if k < 1:
        raise ValueError(f"k is {k}: it has to be at least 1")
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"queries {queries.shape} and gallery {gallery.shape} have to be (Q, D) and (G, D)")
    if own is not None and own.shape != (len(queries),):
        raise ValueError(f"own {own.shape} has to be a row for each query, ({len(queries)},)")
    device = torch.device(device or "cpu")
    height = max(1, min(QUERIES, CELLS // k))
    parts = [slice(first, first + height) for first in range(0, len(queries), height)]
    owns = [None if own is None else torch.from_numpy(own[part].astype(np.int64)).to(device) for part in parts]
    found: list[_Found | None] = [None] * len(parts)
    for block in _blocks(gallery, allowed, device):
        cells = torch.empty(height, len(block.unit), device=device)
        for number, part in enumerate(parts):
            unit = _unit_rows(queries[part], device)[0]
            near = block.candidates(block.compare(unit, owns[number], cells[: len(unit)]), k)
            found[number] = _merge(found[number], near, k)
    result = Neighbours(np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, np.float32))
    for part, best in zip(parts, found, strict=True):
        if best is not None:
            _write(best, result.rows[part], result.similarities[part])
        lost = ~_unit_rows(queries[part], device)[1].cpu().numpy()
        result.rows[part][lost], result.similarities[part][lost] = -1, np.nan
    return result


def _blocks(gallery: np.ndarray, allowed: np.ndarray | None, device: torch.device) -> Iterator[_Block]:
    """Yield the gallery in blocks, without the rows that cannot be found."""
    for first in range(0, len(gallery), GALLERY):
        unit, usable = _unit_rows(gallery[first : first + GALLERY], device)
        if allowed is not None:
            usable &= torch.from_numpy(allowed[first : first + GALLERY]).to(device)
        (kept,) = usable.nonzero(as_tuple=True)
        width = -(-len(kept) // GROUP)
        if not width:
            continue
        rows = torch.full((width * GROUP,), -1, device=device)
        rows[: len(kept)] = kept + first
        laid = torch.zeros(GROUP, width, unit.shape[1], device=device)
        place = torch.arange(len(kept), device=device)
        laid[place % GROUP, place // GROUP] = unit[kept]
        columns = torch.full((len(unit),), -1, device=device)
        columns[kept] = place % GROUP * width + place // GROUP
        yield _Block(laid.view(GROUP * width, -1), rows.view(width, GROUP), len(rows) - len(kept), first, columns)


def _unit_rows(rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return rows of length 1, float32 (R, D), and which have a direction, bool (R,); the others become 0."""
    unit = torch.from_numpy(np.array(rows, np.float32)).to(device)  # a copy: it may be read-only
    norms = torch.linalg.vector_norm(unit, dim=1)
    usable = norms.isfinite() & (norms > 0)
    unit.div_(norms[:, None])
    unit[~usable] = 0
    return unit, usable


def _best(values: Tensor, k: int) -> Tensor:
    """Return the columns of the k highest values of each row, rising, int64 (R, up to k); of equal ones the first."""
    if values.shape[1] <= k:
        return torch.arange(values.shape[1], device=values.device).expand(values.shape)
    lowest, columns = torch.topk(values, k, dim=1, sorted=False)
    # torch.topk takes any of equal values: rows in which some were left out are sorted again, stably.
    (tied,) = ((values >= lowest.amin(1, keepdim=True)).sum(1) > k).nonzero(as_tuple=True)
    if len(tied):
        columns[tied] = values[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    return columns.sort(dim=1).values


def _merge(found: _Found | None, near: _Found, k: int) -> _Found:
    """Return the k best of both; all rows of `near` come later in the gallery."""
    rows = near.rows if found is None else torch.cat([found.rows, near.rows], 1)
    values = near.similarities if found is None else torch.cat([found.similarities, near.similarities], 1)
    columns = _best(values, k)
    return _Found(rows.gather(1, columns), values.gather(1, columns))


def _write(best: _Found, rows: np.ndarray, similarities: np.ndarray) -> None:
    """Write into arrays (R, k), the best first."""
    kept = torch.where(best.similarities > -torch.inf, best.similarities.clamp(min=-1), -torch.inf)
    values, order = kept.sort(dim=1, descending=True, stable=True)
    width = values.shape[1]
    rows[:, :width] = best.rows.gather(1, order).masked_fill_(values == -torch.inf, -1).cpu().numpy()
    similarities[:, :width] = values.cpu().numpy()


def join_embeddings(parts: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """Join embeddings of several models: their cosine is the weighted mean of the parts', float32 (N, sum of D).

    Args:
        parts: float (N, D_i) each, of any length; a row without direction in one of them becomes NaN.
        weights: of the parts, none negative; None for equal ones.
    """
    shares = np.ones(len(parts)) if weights is None else np.asarray(weights, np.float64)
    if len(shares) != len(parts) or not (shares >= 0).all() or not shares.sum() > 0:
        raise ValueError(f"weights {weights} have to be one for each of {len(parts)} parts, and not negative")
    if len({len(part) for part in parts}) != 1:
        raise ValueError(f"parts have {', '.join(str(len(part)) for part in parts)} rows, these have to be as many")
    units = [_unit_rows(part, torch.device("cpu")) for part in parts]
    roots = np.sqrt(shares / shares.sum()).tolist()
    joined = torch.cat([unit * root for (unit, _), root in zip(units, roots, strict=True)], 1)
    joined[~torch.stack([usable for _, usable in units]).all(0)] = torch.nan
    return joined.numpy()


def expand_queries(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    *,
    alpha: float = 3.0,
    own: np.ndarray | None = None,
    device: torch.device | str | None = None,
) -> np.ndarray:
    """Add to each query its k nearest gallery rows, unit float32 (Q, D): alpha query expansion (arXiv 1711.02512).

    Args:
        alpha: the weight of a row is its similarity to this power, 0 if negative; that of the query is 1.
        queries, gallery, own, device: as in `find_neighbours`; a query without direction becomes NaN.
    """
    near = find_neighbours(queries, gallery, k, own=own, device=device)
    positive = near.similarities > 0
    weights = torch.from_numpy(np.where(positive, np.where(positive, near.similarities, 0) ** alpha, 0))
    expanded = np.empty(queries.shape, np.float32)
    height = max(1, CELLS // (k * max(1, queries.shape[1])))
    for first in range(0, len(queries), height):
        part = slice(first, first + height)
        total, usable = _unit_rows(queries[part], torch.device("cpu"))
        if len(gallery):
            rows = near.rows[part]  # -1 is the last one, and weighs nothing
            found, _ = _unit_rows(gallery[rows.reshape(-1)], torch.device("cpu"))
            total += torch.einsum("qk,qkd->qd", weights[part], found.view(*rows.shape, -1))
        total /= torch.linalg.vector_norm(total, dim=1, keepdim=True)
        total[~usable] = torch.nan
        expanded[part] = total.numpy()
    return expanded


def rank_gallery(
    queries: np.ndarray,
    gallery: np.ndarray,
    labels: np.ndarray,
    *,
    k: int,
    pooling: Pooling = Pooling(),
    own: np.ndarray | None = None,
    device: torch.device | str | None = None,
) -> Ranked:
    """Rank the k identities nearest to each query; `rank_labels` says how.

    A query whose neighbours are of fewer than k identities is searched again with 4 times as many, until it has k or
    the gallery has no more. This is not done for `vote`: shares of another number of neighbours would not compare.

    Args:
        queries, gallery, own, device: as in `find_neighbours`.
        labels: of the gallery, int64 (G,); rows of -1 are left out.
    """
    wanted = min(k, len(np.unique(labels[labels >= 0])))
    ranked = Ranked(np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, np.float32))
    short, count = np.arange(len(queries)), min(pooling.num_neighbours, len(gallery))
    while len(short) and wanted:
        height = max(1, CELLS // count)
        for rows in (short[first : first + height] for first in range(0, len(short), height)):
            own_rows = None if own is None else own[rows]
            near = _search(queries[rows], gallery, count, own_rows, labels >= 0, device)
            ranked.labels[rows], ranked.scores[rows] = rank_labels(*near, labels, k=k, pooling=pooling)
        if pooling.pool == "vote" or count == len(gallery):
            break
        # A query without any neighbour (its image cannot be read) will never have one.
        short = short[(ranked.labels[short, wanted - 1] < 0) & (ranked.labels[short, 0] >= 0)]
        count = min(4 * count, len(gallery))
    return ranked
