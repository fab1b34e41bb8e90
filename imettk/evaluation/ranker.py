"""Ranked identities, the answers made from them, and their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imettk.config import Recipe
from imettk.data.sample_table import LabelledTable
from imettk.device import choose_device
from imettk.errors import DataError
from imettk.inference.reranking import Reranking, rank_reranked
from imettk.inference.retrieval import expand_queries, find_neighbours, rank_gallery
from imettk.metrics.ranked import recall_at_k
from imettk.postprocess.honest import draw_rows
from imettk.postprocess.openset import fit_unknown, insert_unknown, threshold_for_share, unknown_auc
from imettk.postprocess.ranking import Pooling, Ranked, rank_probs, to_scored

NUM_DRAWS = 500  # of the bootstrap behind an interval


@dataclass(frozen=True)
class Gallery:
    """Images of known identity: unit embeddings float32 (G, D), NaN for unreadable ones, and labels int64 (G,)."""

    embeddings: np.ndarray
    labels: np.ndarray


def take(ranked: Ranked, rows: np.ndarray) -> Ranked:
    """Return the rankings of some queries."""
    return Ranked(ranked.labels[rows], ranked.scores[rows])


def stack(parts: list[Ranked]) -> Ranked:
    """Concatenate the rankings of several sets of queries."""
    return Ranked(np.concatenate([part.labels for part in parts]), np.concatenate([part.scores for part in parts]))


class Ranker:
    """Ranks identities for queries as a recipe says, and turns them into answers; class C is the unknown identity.

    Attributes:
        k: answers a query.
        unknown: C where the recipe has an unknown label, else None.
        device: where neighbours are looked for.
    """

    def __init__(self, recipe: Recipe, table: LabelledTable) -> None:
        self.recipe, self.labels = recipe, table.labels
        self.scorer = recipe.scorer
        self.config, self.device = recipe.ranking, choose_device(recipe.session.device)
        self.k, self.num_labels = self.config.num_answers, len(table.labels)
        self.unknown = None if recipe.table.unknown_label is None else self.num_labels
        self.names = [*table.labels, recipe.table.unknown_label or ""]
        counts = np.bincount(table.targets[table.targets >= 0], minlength=self.num_labels)
        self._frequent = np.argsort(-counts, kind="stable")
        self.scored = np.ones(self.num_labels, bool)
        if self.config.scored == "train":
            assert table.sources is not None
            own = table.targets[(table.sources == 0) & (table.targets >= 0)]
            self.scored = np.isin(np.arange(self.num_labels), own)

    @property
    def metric(self) -> str:
        """Name of the score."""
        return self.scorer.title

    def by_probs(self, probs: np.ndarray) -> Ranked:
        """Rank classes by their probability, float (N, C)."""
        return rank_probs(probs, self.depth)

    def by_neighbours(
        self,
        queries: np.ndarray,
        gallery: Gallery,
        *,
        own: np.ndarray | None = None,
        refine: bool = True,
        depth: int | None = None,
    ) -> Ranked:
        """Rank identities by their images in the gallery; queries float32 (N, D).

        Args:
            own: the gallery row that is the query itself and says nothing, int64 (N,); -1 for none.
            refine: expand queries and re-rank neighbours, where the recipe says so.
            depth: how many to rank; None is as many as answers need.
        """
        config = self.config
        pooling = Pooling(config.pool, config.num_neighbours, config.best_of, config.temperature)
        search: dict[str, Any] = {"k": depth or self.depth, "pooling": pooling, "own": own, "device": self.device}
        if refine:
            queries = self._expanded(queries, gallery.embeddings, own)
        if refine and config.rerank:
            search["reranking"] = Reranking(config.rerank, config.rerank_spread, config.rerank_weight)
            return rank_reranked(queries, gallery.embeddings, gallery.labels, **search)
        return rank_gallery(queries, gallery.embeddings, gallery.labels, **search)

    def nearest(self, queries: np.ndarray, gallery: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Return the k gallery rows nearest to each query, int64 (N, k), -1 if there are fewer."""
        return find_neighbours(self._expanded(queries, gallery, own), gallery, self.k, own=own, device=self.device).rows

    def _expanded(self, queries: np.ndarray, gallery: np.ndarray, own: np.ndarray | None) -> np.ndarray:
        """Return the queries, expanded if the recipe says so."""
        config = self.config
        if not config.expand:
            return queries
        return expand_queries(queries, gallery, config.expand, alpha=config.expand_power, own=own, device=self.device)

    @property
    def refinement(self) -> str:
        """Refinement of neighbours before they are ranked, in words; "" for none."""
        config = self.config
        parts = [f"query expansion with {config.expand} images"] if config.expand else []
        return " and ".join(parts + ([f"re-ranking by {config.rerank} common neighbours"] if config.rerank else []))

    @property
    def depth(self) -> int:
        """Number of identities to rank: all of a classifier's if some of them count as unknown."""
        if self.scored.all():
            return min(self.k, self.num_labels)
        return self.num_labels if self.config.by == "probs" else min(self.config.num_neighbours, self.num_labels)

    def truth(self, targets: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
        """Return the right answer to queries of these identities, int64 (N,); -1 for those that are not judged.

        Args:
            targets: int64 (N,), -1 for no known identity.
            known: the identities that could have been found, int64, -1 is ignored; None for all.
        """
        if not self.scored.all():
            known = np.flatnonzero(self.scored)
        if self.unknown is None:
            return targets
        can_be_found = (targets >= 0) & (True if known is None else np.isin(targets, known))
        unknown = np.where((targets >= 0) | self.config.judge_unknown, self.unknown, -1)
        return np.where(can_be_found, targets, unknown)

    def fit(self, ranked: Ranked, truth: np.ndarray) -> float | None:
        """Return the similarity (or probability) below which the unknown label comes first; None if it never does."""
        if self.unknown is None or not self.scored.all() or not self.config.judge_unknown:
            return None
        if self.config.unknown_share is not None:
            return threshold_for_share(ranked.scores[:, 0], self.config.unknown_share)
        if not (truth == self.unknown).any():
            return None
        return fit_unknown(ranked, truth, unknown=self.unknown, k=self.k)[0]

    def answer(self, ranked: Ranked, threshold: float | None) -> np.ndarray:
        """Return answers in order, best first, int64 (N, k); -1 only if there are fewer labels than k."""
        if not self.scored.all():
            assert self.unknown is not None  # the recipe has looked
            answers = to_scored(ranked.labels, self.scored, self.unknown, self.k)
        elif threshold is not None and self.unknown is not None:
            answers = insert_unknown(ranked, threshold, unknown=self.unknown)
        else:
            answers = ranked.labels
        return self._filled(answers[:, : self.k])

    def sureness(self, answers: np.ndarray, ranked: Ranked, threshold: float | None) -> np.ndarray:
        """Return the distance of the first score from where the first answer would change, float (N,).

        The unknown label is the surer, the lower the score. -inf if there is no score.
        """
        scores = ranked.scores[:, 0]
        if threshold is None:
            return scores
        gaps = np.where(answers[:, 0] == self.unknown, threshold - scores, scores - threshold)
        return np.where(np.isfinite(scores), gaps, -np.inf)

    def cross_fit(self, ranked: Ranked, truth: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return each fold's answers by a threshold fitted on the other folds, if there are any, int64 (N, k)."""
        answers = np.empty((len(truth), self.k), np.int64)
        for fold in np.unique(folds):
            mine = folds == fold
            others = mine if mine.all() else ~mine  # a single fold has no others
            answers[mine] = self.answer(take(ranked, mine), self.fit(take(ranked, others), truth[others]))
        return answers

    def _filled(self, answers: np.ndarray) -> np.ndarray:
        """Fill empty places, as of an image that cannot be read, with the most frequent labels."""
        wide = np.full((len(answers), self.k), -1, np.int64)
        wide[:, : answers.shape[1]] = answers
        neutral = [*([] if self.unknown is None else [self.unknown]), *self._frequent[self.scored[self._frequent]]]
        for row in np.flatnonzero((wide < 0).any(1)):
            has = [label for label in wide[row].tolist() if label >= 0]
            more = [label for label in neutral[: 2 * self.k] if label not in has]
            full = [*has, *more][: self.k]
            wide[row, : len(full)] = full
        return wide

    def score(self, answers: np.ndarray, truth: np.ndarray) -> float:
        """Return the score of the rows that are judged; NaN without any."""
        judged = truth >= 0
        return self.scorer.score(answers[judged], truth[judged])

    def scores(
        self, answers: np.ndarray, ranked: Ranked, truth: np.ndarray, groups: np.ndarray | None
    ) -> dict[str, Any]:
        """Return the content of `scores.json` about these rows.

        Raises:
            DataError: none of them is judged.
        """
        judged = np.flatnonzero(truth >= 0)
        if not len(judged):
            raise DataError("no row of known identity is validated, so there is nothing to score: see `folds.scheme`")
        answers, ranked, truth = answers[judged], take(ranked, judged), truth[judged]
        groups = None if groups is None else groups[judged]
        score_of = self.scorer.resampled(answers, truth)
        means = [score_of(rows) for rows in draw_rows(len(truth), groups, NUM_DRAWS)]
        result: dict[str, Any] = {
            "oof": self.scorer.score(answers, truth),
            "interval": [float(value) for value in np.quantile(means, [0.025, 0.975])],
            "top1": float((answers[:, 0] == truth).mean()),
            f"recall@{self.k}": recall_at_k(answers, truth),
            "constant": self.scorer.best_constant(truth),
            "rows": len(truth),
        }
        if not self.scorer.higher:
            result["lower_is_better"] = True
        if self.unknown is not None and self.config.judge_unknown:
            is_unknown = truth == self.unknown
            result |= {
                "unknown_rows": int(is_unknown.sum()),
                "unknown_answers": int((answers[:, 0] == self.unknown).sum()),
                "unknown_auc": unknown_auc(ranked.scores[:, 0], is_unknown),
            }
        return result
