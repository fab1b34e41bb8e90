"""`validate` and `infer` where answers are ranked identities, or the images that are most alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imettk.config import Recipe
from imettk.data.sample_table import SampleTable
from imettk.errors import MismatchError, MissingFileError
from imettk.evaluation.embeddings import TableRows
from imettk.evaluation.evidence import keep_unknown_curve
from imettk.evaluation.pictures import NUM_HITS, NUM_SHOWN, Album, draw_rankings, list_conflicts
from imettk.evaluation.ranker import Gallery, Ranker, stack
from imettk.evaluation.submit import label_rows
from imettk.experiment.predictions import predict_file
from imettk.experiment.prepared import Prepared, choose_compute, read_prepared
from imettk.experiment.rule_file import RULE, keep_rule, read_rule
from imettk.inference.predictor import Predictions
from imettk.inference.retrieval import Neighbours, find_neighbours, join_embeddings
from imettk.models.heads import Outputs
from imettk.pictures.galleries import pick_worst
from imettk.postprocess.ranking import Ranked
from imettk.progress import say
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import RunDir
from imettk.training.process_group import Compute

NUM_NEAR = 20  # neighbours of each row that pictures and the search for label errors look at


def rank_validation(recipe: Recipe, prepared: Prepared, fold: int, said: Outputs, gallery: Outputs | None) -> float:
    """MAP@k of a fold's validation rows while it trains, with the unknown label at its best place for these rows.

    Args:
        said: of the validation rows, logits (N, C) and embeddings (N, D).
        gallery: of the training rows; None ranks by logits.
    """
    ranker = Ranker(recipe, prepared.table)
    rows, train = (prepared.rows(fold, valid=valid) for valid in (True, False))
    truth = ranker.truth(prepared.targets[rows], np.unique(prepared.targets[train]))
    if gallery is None:
        ranked = ranker.by_probs(said.logits.numpy())
    else:
        assert said.embeddings is not None and gallery.embeddings is not None
        others = Gallery(gallery.embeddings.numpy(), prepared.targets[train])
        ranked = ranker.by_neighbours(said.embeddings.numpy(), others)
    return ranker.score(ranker.answer(ranked, ranker.fit(ranked, truth)), truth)


class _FoldRankings(NamedTuple):
    """Identities as they are ranked for a fold's rows; without refinement; by the first view alone; and the truth."""

    ranked: Ranked
    unrefined: Ranked
    first_view: Ranked
    truth: np.ndarray


class _Validated:
    """Out-of-fold rankings of all trained folds."""

    def __init__(self, recipe: Recipe, prepared: Prepared, run: RunDir, folds: list[int]) -> None:
        self.ranker = Ranker(recipe, prepared.table)
        self._recipe, self._prepared, self._run = recipe, prepared, run
        self._compute = choose_compute(recipe)
        self.rows = np.concatenate([prepared.rows(fold, valid=True) for fold in folds])
        self.folds = prepared.folds[self.rows]
        shape = len(prepared.table), NUM_NEAR
        self.near = Neighbours(np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32))
        parts = [self._of_fold(fold) for fold in folds]
        self.truth = np.concatenate([part.truth for part in parts])
        self.ranked = stack([part.ranked for part in parts])
        self.unrefined = stack([part.unrefined for part in parts])
        self.first_view = stack([part.first_view for part in parts])

    def _look_around(
        self, rows: np.ndarray, queries: np.ndarray, gallery_rows: np.ndarray, gallery: np.ndarray
    ) -> None:
        """Note the nearest images of each row, in numbers of the table."""
        near = find_neighbours(queries, gallery, NUM_NEAR, device=self.ranker.device)
        self.near.rows[rows] = np.where(near.rows >= 0, gallery_rows[near.rows], -1)
        self.near.similarities[rows] = near.similarities

    def _of_fold(self, fold: int) -> _FoldRankings:
        prepared, ranker = self._prepared, self.ranker
        rows = prepared.rows(fold, valid=True)
        oof = predict_fold(self._recipe, prepared, self._run, fold, rows, "oof", self._compute)
        gallery_rows = prepared.gallery_rows(fold)
        truth = ranker.truth(prepared.targets[rows], np.unique(prepared.targets[gallery_rows]))
        if ranker.plan.by == "probs":
            ranked = ranker.by_probs(oof.merged)
            first = ranker.by_probs(oof.probs[0]) if len(self._recipe.predict.views) > 1 else ranked
            return _FoldRankings(ranked, ranked, first, truth)
        beside = predict_fold(self._recipe, prepared, self._run, fold, gallery_rows, "gallery", self._compute)
        gallery = Gallery(beside.merged_embeddings, prepared.targets[gallery_rows])
        self._look_around(rows, oof.merged_embeddings, gallery_rows, gallery.embeddings)
        ranked = ranker.by_neighbours(oof.merged_embeddings, gallery)
        plain = ranker.by_neighbours(oof.merged_embeddings, gallery, refine=False) if ranker.refinement else ranked
        first = ranked
        if len(self._recipe.predict.views) > 1:
            assert oof.embeddings is not None and beside.embeddings is not None
            first = ranker.by_neighbours(oof.embeddings[0], Gallery(beside.embeddings[0], gallery.labels))
        return _FoldRankings(ranked, plain, first, truth)


def validate_ranking(recipe: Recipe, prepared: Prepared, run: RunDir, folds: list[int]) -> bool:
    """Write `oof.safetensors` (and `gallery.safetensors`) of these folds, `rule.json` and `scores.json`; print them.

    Returns:
        Whether a threshold was fitted on these rows.
    """
    done = _Validated(recipe, prepared, run, folds)
    ranker, table = done.ranker, prepared.table.take(done.rows)
    answers, scores = judge(ranker, done.ranked, done.truth, done.folds, table)
    if ranker.refinement:
        plain = ranker.cross_fit(done.unrefined, done.truth, done.folds)
        scores["without_refinement"] = ranker.score(plain, done.truth)
    if len(views := recipe.predict.views) > 1:
        alone = ranker.cross_fit(done.first_view, done.truth, done.folds)
        scores["views"] = {views[0]: ranker.score(alone, done.truth), "together": scores["oof"]}
    threshold = ranker.fit(done.ranked, done.truth)
    if threshold is not None:
        keep_unknown_curve(run, ranker, done.ranked, done.truth, threshold)
    keep_rule(run, {"kind": "rank", "unknown_threshold": threshold}, recipe, prepared.table.labels, folds)
    write_json(run.path / "scores.json", scores)
    _draw(prepared, run, done, answers, threshold)
    tell_ranking(ranker, scores, threshold)
    return threshold is not None and ranker.plan.unknown_share is None


def judge(
    ranker: Ranker, ranked: Ranked, truth: np.ndarray, folds: np.ndarray, table: SampleTable
) -> tuple[np.ndarray, dict[str, Any]]:
    """Out-of-fold answers, int64 (N, k), each fold's with a threshold of the others, and what `scores.json` says.

    Args:
        table: of these rows.
    """
    assert table.targets is not None
    answers = ranker.cross_fit(ranked, truth, folds)
    of_folds = {str(fold): ranker.score(answers[folds == fold], truth[folds == fold]) for fold in np.unique(folds)}
    scores: dict[str, Any] = {"metric": ranker.scorer.name, "title": ranker.metric, "folds": of_folds}
    scores |= ranker.scores(answers, ranked, truth, table.groups)
    if not ranker.scored.all():
        scores["all_identities"] = ranker.score(ranked.labels[:, : ranker.k], table.targets)
    return answers, scores


def _draw(prepared: Prepared, run: RunDir, done: _Validated, answers: np.ndarray, threshold: float | None) -> None:
    """The surest wrong rankings, and some of all; probable label errors where there are neighbours."""
    names, targets = done.ranker.names, prepared.targets
    album = Album(prepared.table, prepared.source, [names[target] for target in targets])
    sureness = done.ranker.sureness(answers, done.ranked, threshold)
    worst = pick_worst(answers, sureness, np.where(done.truth >= 0, done.truth, answers[:, 0]), NUM_SHOWN)
    some = np.linspace(0, len(answers) - 1, min(NUM_SHOWN, len(answers))).astype(int)
    for name, chosen, title in (
        ("worst", worst, "Queries whose first answer is wrong, the surest first"),
        ("some", some, "Queries and their answers"),
    ):
        given = [answers[query][answers[query] >= 0][:NUM_HITS].tolist() for query in chosen]
        witnesses = [
            [_witness(done, prepared, query, label) for label in labels]
            for query, labels in zip(chosen, given, strict=True)
        ]
        draw_rankings(
            run.path / f"ranking_{name}.png",
            album,
            done.rows[chosen],
            [[names[label] for label in labels] for labels in given],
            [names[done.truth[query]] for query in chosen],
            witnesses,
            title=title,
        )
    say(f"{run.path / 'ranking_worst.png'}, ranking_some.png: queries and what speaks for their answers")
    if done.ranker.plan.by == "neighbours":
        labels = [names[target] for target in targets]
        list_conflicts(run.path, album, done.near, targets, labels, task=prepared.task)


def _witness(done: _Validated, prepared: Prepared, query: int, label: int) -> tuple[int, float | None]:
    """The nearest image of this label among the neighbours of a query, else any of its training images, else -1."""
    row = int(done.rows[query])
    near, labels = done.near.rows[row], prepared.targets[done.near.rows[row]]
    found = np.flatnonzero((near >= 0) & (labels == label))
    if len(found):
        return int(near[found[0]]), float(done.near.similarities[row, found[0]])
    any_image = np.flatnonzero(prepared.targets == label) if label < len(prepared.table.labels) else near[:0]
    return (int(any_image[0]) if len(any_image) else -1), None


def tell_ranking(ranker: Ranker, scores: dict[str, Any], threshold: float | None) -> None:
    """Print what a user looks for."""
    for fold, value in scores["folds"].items():
        say(f"  fold {fold}   {ranker.metric} {value:.4f}")
    low, high = scores["interval"]
    constant = "" if scores["constant"] is None else f"   (best constant answer {scores['constant']:.4f})"
    say(f"  OOF      {ranker.metric} {scores['oof']:.4f}{constant}")
    say(f"           95% interval {low:.4f} to {high:.4f}")
    say(f"           top-1 {scores['top1']:.4f}, recall@{ranker.k} {scores[f'recall@{ranker.k}']:.4f}")
    if "all_identities" in scores:
        count = int(ranker.scored.sum())
        say(f"           {ranker.metric} over all {len(ranker.scored)} identities {scores['all_identities']:.4f}")
        say(f"           (that above: {count} identities that are scored, and {ranker.names[-1]})")
    if "without_refinement" in scores:
        gain = ranker.scorer.gain(scores["oof"], scores["without_refinement"])
        say(f"           {ranker.refinement}: {gain:+.4f}")
    if ranker.unknown is None:
        return
    if not ranker.plan.judge_unknown:
        say(f"           of {scores['rows']} rows; those of no known identity are not judged")
        return
    share = scores["unknown_rows"] / scores["rows"]
    say(
        f"           {share:.1%} of the rows are of no known identity, and {ranker.names[-1]} is the first answer to "
        f"{scores['unknown_answers'] / scores['rows']:.1%}"
    )
    if scores["unknown_auc"] is not None:
        say(f"           AUC of known against unknown {scores['unknown_auc']:.4f}")
    if threshold is not None:
        say(f"           {ranker.names[-1]} stands before answers below {threshold:.4f}")
    elif ranker.scored.all():
        say(
            f"note: no validation row is of an unknown identity, so {ranker.names[-1]} is never answered: "
            "set --folds.unknown-identities, or --ranking.unknown-share"
        )


def predict_fold(
    recipe: Recipe, prepared: Prepared, run: RunDir, fold: int, rows: np.ndarray, name: str, compute: Compute
) -> Predictions:
    """Predictions of some rows of the training table by a fold's model, kept in `NAME.safetensors`."""
    return predict_file(run, fold, name, prepared.table, prepared.source, rows, recipe, compute)


def rank_test(
    recipe: Recipe, data_dir: Path, run: RunDir, table: SampleTable, tests: Iterator[tuple[int, Predictions]]
) -> list[list[str]]:
    """Answers for the rows of the test table, best first: labels, or ids of images.

    Args:
        tests: predictions of the test table, fold by fold.
    """
    prepared = read_prepared(recipe, data_dir, run)
    ranker, compute = Ranker(recipe, prepared.table), choose_compute(recipe)
    total, count = np.zeros(()), 0
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for fold, test in tests:
        if ranker.plan.by == "probs":
            total, count = total + test.merged, count + 1
        else:
            parts.append((test.merged_embeddings, _all_rows(recipe, prepared, run, fold, compute)))
    if ranker.plan.by == "probs":
        ranked = ranker.by_probs((total / count).astype(np.float32))
        return label_rows(ranker.answer(ranked, threshold_of_test(ranker, ranked, run)), ranker.names)
    queries, gallery = (join_embeddings([pair[side] for pair in parts]) for side in (0, 1))
    if ranker.plan.answers == "images":
        return nearest_images(ranker, queries, table.ids, gallery, prepared.table.ids)
    own = TableRows(prepared.table).own(table.ids)
    ranked = ranker.by_neighbours(queries, Gallery(gallery, prepared.targets), own=own)
    return label_rows(ranker.answer(ranked, threshold_of_test(ranker, ranked, run)), ranker.names)


def _all_rows(recipe: Recipe, prepared: Prepared, run: RunDir, fold: int, compute: Compute) -> np.ndarray:
    """Embeddings of the training table by a fold's model, float32 (N, D); NaN where a row is not to be found."""
    valid, gallery_rows = prepared.rows(fold, valid=True), prepared.gallery_rows(fold)
    parts = [
        (rows, predict_fold(recipe, prepared, run, fold, rows, name, compute).merged_embeddings)
        for rows, name in ((valid, "oof"), (gallery_rows, "gallery"))
        if len(rows)
    ]
    everything = np.full((len(prepared.table), parts[0][1].shape[1]), np.nan, np.float32)
    for rows, embeddings in parts:
        everything[rows] = embeddings
    return everything


def nearest_images(
    ranker: Ranker, queries: np.ndarray, ids: np.ndarray, gallery: np.ndarray, gallery_ids: np.ndarray
) -> list[list[str]]:
    """Of each query the ids of its k nearest images among gallery and queries, itself left out.

    An id that is in both, as of a test image with a pseudo label, is looked for among the queries alone.

    Args:
        queries: float32 (N, D); without direction where the image cannot be read: such a query gets the first images.
        ids: of these, str (N,).
    """
    others = ~np.isin(gallery_ids, ids)
    everything, names = np.concatenate([queries, gallery[others]]), np.concatenate([ids, gallery_ids[others]])
    near = ranker.nearest(queries, everything, np.arange(len(queries)))
    answers = [[str(names[row]) for row in line if row >= 0] for line in near]
    return [
        line or [str(name) for name in names[: ranker.k + 1] if name != own][: ranker.k]
        for line, own in zip(answers, ids, strict=True)
    ]


def threshold_of_test(ranker: Ranker, ranked: Ranked, run: RunDir) -> float | None:
    """Where the unknown label comes in the test set: as `validate` has fitted it, or by the wanted share."""
    if ranker.plan.unknown_share is not None:
        return ranker.fit(ranked, np.zeros(len(ranked.labels), np.int64))
    return read_threshold(ranker, run)


def read_threshold(ranker: Ranker, run: RunDir) -> float | None:
    """Where `validate` has put the unknown label; None where it needs no threshold, or never comes.

    Raises:
        MissingFileError: there is no `rule.json`, and no wanted share in its place.
    """
    if ranker.unknown is None or not ranker.scored.all():
        return None
    if run.find_optional(RULE) is None:
        if ranker.plan.unknown_share is not None:
            return None
        raise MissingFileError(
            f"{RULE} is not in {run.path}: run `imettk validate` first, which finds out where {ranker.names[-1]} "
            "stands; where all rows train there is --ranking.unknown-share instead"
        )
    content = read_rule(run, ranker.recipe, ranker.labels)
    if not isinstance(threshold := content.get("unknown_threshold", ""), (float, type(None))):
        raise MismatchError(f"{RULE} is damaged, {threshold!r} is no threshold: run `imettk validate` again")
    return threshold
