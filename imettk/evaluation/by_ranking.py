"""Judge of runs whose answers are ranked identities, or the most similar images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from imettk.config import Recipe
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.data.source import ImageSource
from imettk.data.table import read_table
from imettk.errors import MismatchError, MissingFileError
from imettk.evaluation.curve import loss_of
from imettk.evaluation.embeddings import GALLERY, TableRows, read_fold_files
from imettk.evaluation.ensemble_ranking import ensemble_rankings
from imettk.evaluation.identities import rank_test, rank_validation, read_threshold, validate_ranking
from imettk.evaluation.judge import Answers, ImageAnswerer, Judge
from imettk.evaluation.pictures import Album, draw_queries
from imettk.evaluation.pseudo import check_neighbours, check_selection, pseudo_classes, pseudo_identities
from imettk.evaluation.ranker import Gallery, Ranker
from imettk.evaluation.rules import merge_outputs
from imettk.evaluation.submit import label_rows
from imettk.experiment.prepared import Experiment, Prepared
from imettk.experiment.value_range import reader_of
from imettk.inference.predictor import Predictions
from imettk.inference.retrieval import Neighbours, find_neighbours, join_embeddings
from imettk.metrics import METRICS
from imettk.models.heads import Outputs
from imettk.postprocess.pseudo import Selection
from imettk.postprocess.ranking import Ranked
from imettk.progress import say
from imettk.tracking.files import sha256
from imettk.tracking.run_dir import RunDir

MIN_SPREAD = 0.01  # of embeddings: below it they are practically equal
PICTURE = "nearest.png"
NUM_NEAR = 5
MOST_DRAWN = 50  # pictures in it


class RankingJudge(Judge):
    """Judge of the rule `rank`."""

    @property
    def num_answers(self) -> int | None:
        return self.recipe.ranking.num_answers

    def gallery(self, prepared: Prepared, fold: int) -> np.ndarray:
        """Return the training rows if there are no class centres: only neighbours can then identify a query."""
        model = self.recipe.model
        rows = prepared.rows(fold, valid=False)
        return rows if model.embeds and model.centres == 0 else rows[:0]

    def judge_fold(self, prepared: Prepared, fold: int, outputs: Outputs, gallery: Outputs | None) -> dict[str, float]:
        """Return the loss of the rows whose identity is known; the score by class centres, or by neighbours where
        there are none; and how far embeddings are spread."""
        recipe = self.recipe
        rows, train = (prepared.rows(fold, valid=valid) for valid in (True, False))
        known = np.isin(prepared.targets[rows], prepared.targets[train])
        metrics = {"score": rank_validation(recipe, prepared, fold, outputs, gallery)}
        if "loss" in recipe.validation_scores:
            counts = np.bincount(prepared.targets[train], minlength=len(prepared.table.labels))
            known_outputs = Outputs(outputs.logits[torch.from_numpy(known)])
            targets = torch.from_numpy(prepared.targets[rows[known]])
            metrics["loss"] = float(loss_of(recipe, counts=counts)(known_outputs, targets).mean())
        if outputs.embeddings is not None:
            # The mean of unit vectors that all point the same way has length 1.
            metrics["spread"] = spread = 1 - float(outputs.embeddings.nanmean(0).norm())
            if spread < MIN_SPREAD:
                say(
                    f"warning: fold {fold}: the embeddings are nearly equal (spread {spread:.4f}), the network has "
                    "collapsed: try a lower `lr`, warmup, `embedding.soft_margin`, or mining batch_all or semi_hard"
                )
        return metrics

    def validate(self, experiment: Experiment, data_dir: Path, folds: list[int]) -> bool:
        return validate_ranking(experiment, folds)

    def require_validated(self, run: RunDir) -> None:
        """Pass: a rule is needed only to place the unknown label."""

    def require_rule(self, run: RunDir, labelled: LabelledTable, folds: list[int]) -> None:
        if self.recipe.ranking.answers == "identities":
            read_threshold(Ranker(self.recipe, labelled), run)

    def answer_test(
        self, data_dir: Path, run: RunDir, table: SampleTable, tests: Iterator[tuple[int, Predictions]]
    ) -> tuple[Answers, np.ndarray | None]:
        return rank_test(self.recipe, data_dir, run, table, tests), None

    def put_known(
        self, known: dict[str, list[str]], labelled: LabelledTable, table: SampleTable, answers: Answers
    ) -> Answers:
        """Return the answers with known ones first; labels that are not scored become the unknown one."""
        ranker = Ranker(self.recipe, labelled)
        if not ranker.scored.all():
            others = {ranker.names[label] for label in np.flatnonzero(~ranker.scored)}
            known = {
                name: [ranker.names[-1] if label in others else label for label in labels]
                for name, labels in known.items()
            }
        result = []
        for name, row in zip(table.ids, answers, strict=True):
            first = known.get(name, row)
            behind = [label for label in row if label not in first]
            result.append([*first, *behind][: max(len(first), len(row))])
        return result

    def score_answers(
        self, labelled: LabelledTable, table: SampleTable, answers: Answers, truth: np.ndarray, tests: np.ndarray | None
    ) -> tuple[str, float | None]:
        if self.recipe.ranking.answers == "images":
            return self._score_images(labelled, table, answers, truth)
        place = {label: number for number, label in enumerate(labelled.labels)}
        ranker = Ranker(self.recipe, labelled)
        ranked = np.full((len(answers), ranker.k), -1, np.int64)
        for row, names in enumerate(answers):
            numbers = [place.get(name, len(place)) for name in names[: ranker.k]]
            ranked[row, : len(numbers)] = numbers
        return ranker.metric, ranker.score(ranked, ranker.truth(truth))

    def _score_images(
        self, labelled: LabelledTable, table: SampleTable, answers: Answers, truth: np.ndarray
    ) -> tuple[str, float]:
        """Return the share of answered images, for queries of known identity, that show the same identity."""
        shows = dict(zip([*labelled.ids, *table.ids], [*labelled.targets, *truth], strict=True))
        known = np.flatnonzero(truth >= 0)
        ranked = np.full((len(known), max(map(len, answers), default=0)), -1, np.int64)
        for place, row in enumerate(known):
            ranked[place, : len(answers[row])] = [shows[name] for name in answers[row]]
        scorer = METRICS["precision_at_k"].bound(self.recipe.task.targets, {"k": self.recipe.ranking.num_answers})
        if self.recipe.score.metric is not None:
            scorer = self.recipe.scorer
        return scorer.title, scorer.score(ranked, truth[known])

    def image_answerer(self, data_dir: Path, run: RunDir, folds: list[int], labels: tuple[str, ...]) -> ImageAnswerer:
        return _RankingAnswerer(self.recipe, data_dir, run, folds, labels)

    def check_pseudo(self, selection: Selection, folds: Sequence[int]) -> None:
        check = check_neighbours if self.recipe.ranking.by == "neighbours" else check_selection
        check(self.recipe, selection, folds)

    def pseudo_labels(self, run: RunDir, selection: Selection, *, out: Path | None = None) -> None:
        write = pseudo_identities if self.recipe.ranking.by == "neighbours" else pseudo_classes
        write(self.recipe, run, selection, out=out)

    def ensemble(
        self, data_dir: Path, run: RunDir, *, members: list[Path], method: str, weights: list[float] | None
    ) -> None:
        ensemble_rankings(self.recipe, data_dir, run, members=members, method=method, weights=weights)


class _RankingAnswerer(ImageAnswerer):
    """Ranked identities of single pictures; if neighbours decide, with a drawing of the nearest known images."""

    def __init__(self, recipe: Recipe, data_dir: Path, run: RunDir, folds: list[int], labels: tuple[str, ...]) -> None:
        self._recipe, self._run = recipe, run
        self._table = read_table(recipe.table, data_dir)
        if self._table.labels != labels:
            raise MismatchError(f"{data_dir} has other labels than {run.model(folds[0])}: is --data another one?")
        self._ranker = Ranker(recipe, self._table)
        self._threshold = read_threshold(self._ranker, run)
        ranks_by_neighbours = recipe.ranking.by == "neighbours"
        self._gallery = _read_gallery(run, self._table, folds) if ranks_by_neighbours else None

    def answer(self, outputs: list[Outputs], rows: np.ndarray, pictures: Album) -> list[str]:
        if self._gallery is not None:
            queries = [part.embeddings.mean(0)[rows].numpy() for part in outputs if part.embeddings is not None]
            return self._nearest(join_embeddings(queries), self._gallery, rows, pictures)
        merged = merge_outputs(self._recipe, outputs, rows)
        return [", ".join(row) for row in self._ranked(self._ranker.by_probs(merged))]

    def _ranked(self, ranked: Ranked) -> list[list[str]]:
        return label_rows(self._ranker.answer(ranked, self._threshold), self._ranker.names)

    def _nearest(self, queries: np.ndarray, gallery: np.ndarray, rows: np.ndarray, pictures: Album) -> list[str]:
        """Draw the images nearest to each picture, and return its identities."""
        table = self._table
        answers = self._ranked(self._ranker.by_neighbours(queries, Gallery(gallery, table.targets)))
        near = find_neighbours(queries, gallery, NUM_NEAR, device=self._ranker.device)
        source = ImageSource(table, reader_of(self._recipe, self._run))
        known = Album(table, source, [self._ranker.names[target] for target in table.targets])
        first = slice(MOST_DRAWN)
        drawn = Neighbours(near.rows[first], near.similarities[first])
        draw_queries(self._run.path / PICTURE, pictures, known, rows[first], drawn, answers[first])
        say(f"{self._run.path / PICTURE}: the images nearest to {len(drawn.rows)} of {len(rows)} pictures")
        return [
            f"{', '.join(row)} (similarity {value:.3f})"
            for row, value in zip(answers, near.similarities[:, 0], strict=True)
        ]


def _read_gallery(run: RunDir, table: SampleTable, folds: list[int]) -> np.ndarray:
    """Return embeddings of the training table by all folds, joined, float32 (N, D)."""
    files, rows = read_fold_files(run.path, run.inputs), TableRows(table)
    for fold in folds:
        if fold not in files or files[fold].gallery.values["model"] != sha256(run.model(fold)):
            raise MissingFileError(
                f"fold{fold}/{GALLERY} of its model is missing: run `imettk validate` first, which writes it, or "
                "choose another --fold"
            )
    return join_embeddings([rows.scatter(files[fold].known) for fold in folds])
