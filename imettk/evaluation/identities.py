"""`validate` and `infer` of runs whose answers are ranked identities, or the most similar images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imettk.config import Recipe
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.errors import MismatchError, MissingFileError
from imettk.evaluation.embeddings import TableRows
from imettk.evaluation.evidence import keep_unknown_curve
from imettk.evaluation.paired import keep_judged_rankings
from imettk.evaluation.pictures import NUM_HITS, NUM_SHOWN, Album, draw_rankings, list_conflicts
from imettk.evaluation.ranker import Gallery, Ranker, stack
from imettk.evaluation.scoring import tell_scores
from imettk.evaluation.submit import label_rows
from imettk.experiment.predictions import TrainedModels
from imettk.experiment.prepared import Experiment, Prepared, choose_compute, read_prepared
from imettk.experiment.rule_file import RULE, keep_rule, read_rule
from imettk.inference.predictor import Predictions, mean_of_folds
from imettk.inference.retrieval import Neighbours, find_neighbours, join_embeddings
from imettk.models.heads import Outputs
from imettk.pictures.galleries import pick_worst
from imettk.postprocess.ranking import Ranked
from imettk.progress import say
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import RunDir

NUM_NEAR = 20  # neighbours of each row that pictures and the search for label errors look at


def rank_validation(recipe: Recipe, prepared: Prepared, fold: int, outputs: Outputs, gallery: Outputs | None) -> float:
    """Return the score of a fold's validation rows while it trains, with the unknown label at its best place for them.

    Args:
        outputs: of the validation rows, logits (N, C) and embeddings (N, D).
        gallery: of the training rows; None ranks by logits.
    """
    ranker = Ranker(recipe, prepared.table)
    rows, train = (prepared.rows(fold, valid=valid) for valid in (True, False))
    truth = ranker.truth(prepared.targets[rows], np.unique(prepared.targets[train]))
    if gallery is None:
        ranked = ranker.by_probs(outputs.logits.numpy())
    else:
        assert outputs.embeddings is not None and gallery.embeddings is not None
        others = Gallery(gallery.embeddings.numpy(), prepared.targets[train])
        ranked = ranker.by_neighbours(outputs.embeddings.numpy(), others)
    return ranker.score(ranker.answer(ranked, ranker.fit(ranked, truth)), truth)


class _FoldRankings(NamedTuple):
    """Rankings of a fold's rows: refined, unrefined, and by the first view only; and the truth."""

    ranked: Ranked
    unrefined: Ranked
    first_view: Ranked
    truth: np.ndarray


class _OofRankings:
    """Out-of-fold rankings of all trained folds.

    Attributes:
        near: the nearest images of each row of the table, as far as neighbours were looked for.
    """

    def __init__(self, experiment: Experiment, folds: list[int]) -> None:
        prepared = experiment.prepared
        self.experiment, self.ranker = experiment, Ranker(experiment.recipe, prepared.table)
        self._models = TrainedModels.of(experiment)
        self.rows = np.concatenate([prepared.rows(fold, valid=True) for fold in folds])
        self.folds = prepared.folds[self.rows]
        shape = len(prepared.table), NUM_NEAR
        self.near = Neighbours(np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32))
        parts = [self._rank_fold(fold) for fold in folds]
        self.truth = np.concatenate([part.truth for part in parts])
        self.ranked = stack([part.ranked for part in parts])
        self.unrefined = stack([part.unrefined for part in parts])
        self.first_view = stack([part.first_view for part in parts])

    def supporting_image(self, query: int, label: int) -> tuple[int, float | None]:
        """Return the row of the image that speaks for an answer, and its similarity to the query.

        It is the nearest image of this label among the query's neighbours, or any training image of the label (without
        a similarity), or -1.
        """
        prepared, row = self.experiment.prepared, int(self.rows[query])
        near, labels = self.near.rows[row], prepared.targets[self.near.rows[row]]
        places = np.flatnonzero((near >= 0) & (labels == label))
        if len(places):
            return int(near[places[0]]), float(self.near.similarities[row, places[0]])
        any_image = np.flatnonzero(prepared.targets == label) if label < len(prepared.table.labels) else near[:0]
        return (int(any_image[0]) if len(any_image) else -1), None

    def _note_neighbours(self, rows: np.ndarray, queries: np.ndarray, gallery: np.ndarray, of: np.ndarray) -> None:
        """Note the nearest images of each row; `of` holds the rows of the gallery in the table."""
        near = find_neighbours(queries, gallery, NUM_NEAR, device=self.ranker.device)
        self.near.rows[rows] = np.where(near.rows >= 0, of[near.rows], -1)
        self.near.similarities[rows] = near.similarities

    def _rank_fold(self, fold: int) -> _FoldRankings:
        prepared, ranker, views = self.experiment.prepared, self.ranker, self.experiment.recipe.predict.views
        rows, gallery_rows = prepared.rows(fold, valid=True), prepared.gallery_rows(fold)
        oof = self._models.predict(fold, "oof", prepared.images(rows))
        truth = ranker.truth(prepared.targets[rows], np.unique(prepared.targets[gallery_rows]))
        if ranker.config.by == "probs":
            ranked = ranker.by_probs(oof.merged)
            first = ranker.by_probs(oof.probs[0]) if len(views) > 1 else ranked
            return _FoldRankings(ranked, ranked, first, truth)
        known = self._models.predict(fold, "gallery", prepared.images(gallery_rows))
        gallery = Gallery(known.merged_embeddings, prepared.targets[gallery_rows])
        self._note_neighbours(rows, oof.merged_embeddings, gallery.embeddings, gallery_rows)
        ranked = ranker.by_neighbours(oof.merged_embeddings, gallery)
        plain = ranker.by_neighbours(oof.merged_embeddings, gallery, refine=False) if ranker.refinement else ranked
        first = ranked
        if len(views) > 1:
            assert oof.embeddings is not None and known.embeddings is not None
            first = ranker.by_neighbours(oof.embeddings[0], Gallery(known.embeddings[0], gallery.labels))
        return _FoldRankings(ranked, plain, first, truth)


def validate_ranking(experiment: Experiment, folds: list[int]) -> bool:
    """Write `oof.safetensors` (and `gallery.safetensors`) of these folds, `rule.json` and `scores.json`; print them.

    Returns:
        Whether a threshold was fitted on these rows.
    """
    recipe, run, whole_table = experiment.recipe, experiment.run, experiment.prepared.table
    oof = _OofRankings(experiment, folds)
    ranker, table = oof.ranker, whole_table.take(oof.rows)
    answers, scores = judge(ranker, oof.ranked, oof.truth, oof.folds, table)
    if ranker.refinement:
        plain = ranker.cross_fit(oof.unrefined, oof.truth, oof.folds)
        scores["without_refinement"] = ranker.score(plain, oof.truth)
    if len(views := recipe.predict.views) > 1:
        alone = ranker.cross_fit(oof.first_view, oof.truth, oof.folds)
        scores["views"] = {views[0]: ranker.score(alone, oof.truth), "together": scores["oof"]}
    threshold = ranker.fit(oof.ranked, oof.truth)
    if threshold is not None:
        keep_unknown_curve(run, ranker, oof.ranked, oof.truth, threshold)
    keep_rule(run, {"kind": "rank", "unknown_threshold": threshold}, recipe, whole_table.labels, folds)
    write_json(run.path / "scores.json", scores)
    keep_judged_rankings(run, table, answers, oof.truth)
    _draw(oof, answers, threshold)
    tell_ranking(ranker, scores, threshold)
    return threshold is not None and ranker.config.unknown_share is None


def judge(
    ranker: Ranker, ranked: Ranked, truth: np.ndarray, folds: np.ndarray, table: LabelledTable
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return answers, int64 (N, k), each fold's with a threshold of the others, and the content of `scores.json`.

    Args:
        table: of these rows.
    """
    answers = ranker.cross_fit(ranked, truth, folds)
    of_folds = {str(fold): ranker.score(answers[folds == fold], truth[folds == fold]) for fold in np.unique(folds)}
    scores: dict[str, Any] = {"metric": ranker.scorer.name, "title": ranker.metric, "folds": of_folds}
    scores |= ranker.scores(answers, ranked, truth, table.groups)
    if not ranker.scored.all():
        scores["all_identities"] = ranker.score(ranked.labels[:, : ranker.k], table.targets)
    return answers, scores


def _draw(oof: _OofRankings, answers: np.ndarray, threshold: float | None) -> None:
    """Draw the surest wrong rankings, and some of all; if there are neighbours, list probable label errors too."""
    prepared, run_dir = oof.experiment.prepared, oof.experiment.run.path
    names, targets = oof.ranker.names, prepared.targets
    labels = [names[target] for target in targets]
    album = Album(prepared.table, prepared.source, labels)
    sureness = oof.ranker.sureness(answers, oof.ranked, threshold)
    worst = pick_worst(answers, sureness, np.where(oof.truth >= 0, oof.truth, answers[:, 0]), NUM_SHOWN)
    spread = np.linspace(0, len(answers) - 1, min(NUM_SHOWN, len(answers))).astype(int)
    for name, chosen, title in (
        ("worst", worst, "Queries whose first answer is wrong, the surest first"),
        ("some", spread, "Queries and their answers"),
    ):
        given = [answers[query][answers[query] >= 0][:NUM_HITS].tolist() for query in chosen]
        supporting = [
            [oof.supporting_image(query, label) for label in row] for query, row in zip(chosen, given, strict=True)
        ]
        draw_rankings(
            run_dir / f"ranking_{name}.png",
            album,
            oof.rows[chosen],
            [[names[label] for label in row] for row in given],
            [names[oof.truth[query]] for query in chosen],
            supporting,
            title=title,
        )
    say(f"{run_dir / 'ranking_worst.png'}, ranking_some.png: queries, and the images that speak for their answers")
    if oof.ranker.config.by == "neighbours":
        list_conflicts(run_dir, album, oof.near, targets, labels, task=prepared.task)


def tell_ranking(ranker: Ranker, scores: dict[str, Any], threshold: float | None) -> None:
    """Print the scores of answers, and details about identities."""
    tell_scores(scores, _details(ranker, scores, threshold))
    if _answers_unknown(ranker) and threshold is None and ranker.scored.all():
        say(
            f"note: no validation row is of an unknown identity, so {ranker.names[-1]} is never answered: "
            "set --folds.unknown-identities, or --ranking.unknown-share"
        )


def _answers_unknown(ranker: Ranker) -> bool:
    return ranker.unknown is not None and ranker.config.judge_unknown


def _details(ranker: Ranker, scores: dict[str, Any], threshold: float | None) -> Iterator[str]:
    yield f"top-1 {scores['top1']:.4f}, recall@{ranker.k} {scores[f'recall@{ranker.k}']:.4f}"
    if "all_identities" in scores:
        yield f"{ranker.metric} over all {len(ranker.scored)} identities {scores['all_identities']:.4f}"
        yield f"(that above: {int(ranker.scored.sum())} identities that are scored, and {ranker.names[-1]})"
    if "without_refinement" in scores:
        yield f"{ranker.refinement}: {ranker.scorer.gain(scores['oof'], scores['without_refinement']):+.4f}"
    if ranker.unknown is None:
        return
    if not _answers_unknown(ranker):
        yield f"of {scores['rows']} rows; those of no known identity are not judged"
        return
    yield (
        f"{scores['unknown_rows'] / scores['rows']:.1%} of the rows are of no known identity, and {ranker.names[-1]} "
        f"is the first answer to {scores['unknown_answers'] / scores['rows']:.1%}"
    )
    if scores["unknown_auc"] is not None:
        yield f"AUC of known against unknown {scores['unknown_auc']:.4f}"
    if threshold is not None:
        yield f"{ranker.names[-1]} comes before answers below {threshold:.4f}"


def rank_test(
    recipe: Recipe, data_dir: Path, run: RunDir, table: SampleTable, tests: Iterator[tuple[int, Predictions]]
) -> list[list[str]]:
    """Return answers to the rows of the test table, best first: labels, or ids of images.

    Args:
        tests: predictions of the test table, fold by fold.
    """
    prepared = read_prepared(recipe, data_dir, run)
    ranker, models = Ranker(recipe, prepared.table), TrainedModels(recipe, run, choose_compute(recipe))
    if ranker.config.by == "probs":
        ranked = ranker.by_probs(mean_of_folds(test for _, test in tests))
        return label_rows(ranker.answer(ranked, threshold_of_test(ranker, ranked, run)), ranker.names)
    parts = [(test.merged_embeddings, _embed_table(models, prepared, fold)) for fold, test in tests]
    queries, gallery = (join_embeddings([pair[side] for pair in parts]) for side in (0, 1))
    if ranker.config.answers == "images":
        return nearest_images(ranker, queries, table.ids, gallery, prepared.table.ids)
    own = TableRows(prepared.table).own(table.ids)
    ranked = ranker.by_neighbours(queries, Gallery(gallery, prepared.targets), own=own)
    return label_rows(ranker.answer(ranked, threshold_of_test(ranker, ranked, run)), ranker.names)


def _embed_table(models: TrainedModels, prepared: Prepared, fold: int) -> np.ndarray:
    """Return embeddings of the training table by a fold's model, float32 (N, D); NaN for rows outside the gallery."""
    parts = [
        (rows, models.predict(fold, name, prepared.images(rows)).merged_embeddings)
        for rows, name in ((prepared.rows(fold, valid=True), "oof"), (prepared.gallery_rows(fold), "gallery"))
        if len(rows)
    ]
    embedded = np.full((len(prepared.table), parts[0][1].shape[1]), np.nan, np.float32)
    for rows, embeddings in parts:
        embedded[rows] = embeddings
    return embedded


def nearest_images(
    ranker: Ranker, queries: np.ndarray, ids: np.ndarray, gallery: np.ndarray, gallery_ids: np.ndarray
) -> list[list[str]]:
    """Return the ids of each query's k nearest images among gallery and queries, without the query itself.

    An id that is in both, as that of a test image with a pseudo label, counts among the queries only.

    Args:
        queries: float32 (N, D); NaN if the image cannot be read: such a query gets the first images.
        ids: of these, str (N,).
    """
    others = ~np.isin(gallery_ids, ids)
    everything, names = np.concatenate([queries, gallery[others]]), np.concatenate([ids, gallery_ids[others]])
    near = ranker.nearest(queries, everything, np.arange(len(queries)))
    answers = [[str(names[row]) for row in line if row >= 0] for line in near]
    return [
        line or [str(name) for name in names[: ranker.k + 1] if name != query_id][: ranker.k]
        for line, query_id in zip(answers, ids, strict=True)
    ]


def threshold_of_test(ranker: Ranker, ranked: Ranked, run: RunDir) -> float | None:
    """Return the unknown label's threshold in the test set, fitted or by the wanted share."""
    if ranker.config.unknown_share is not None:
        return ranker.fit(ranked, np.zeros(len(ranked.labels), np.int64))
    return read_threshold(ranker, run)


def read_threshold(ranker: Ranker, run: RunDir) -> float | None:
    """Return the threshold that `validate` fitted for the unknown label; None if it needs none, or never comes.

    Raises:
        MissingFileError: there is no `rule.json`, and no wanted share in its place.
    """
    if ranker.unknown is None or not ranker.scored.all():
        return None
    if run.find_optional(RULE) is None:
        if ranker.config.unknown_share is not None:
            return None
        raise MissingFileError(
            f"{RULE} is not in {run.path}: run `imettk validate` first, which fits the place of {ranker.names[-1]}; "
            "if all rows train, give --ranking.unknown-share instead"
        )
    content = read_rule(run, ranker.recipe, ranker.labels)
    if not isinstance(threshold := content.get("unknown_threshold", ""), (float, type(None))):
        raise MismatchError(f"{RULE} is damaged ({threshold!r} is not a threshold): run `imettk validate` again")
    return threshold
