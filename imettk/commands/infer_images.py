"""`infer --images`: answers for single pictures, without a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import Recipe
from imettk.data.annotations import find_boxes
from imettk.data.csv_files import printable
from imettk.data.labels import find_titles
from imettk.data.source import ImageSource, make_reader
from imettk.data.table import SampleTable, read_table
from imettk.errors import DataError, MismatchError, MissingFileError
from imettk.evaluation.embeddings import GALLERY, TableRows, read_fold_files
from imettk.evaluation.identities import read_threshold
from imettk.evaluation.pictures import Album, draw_queries
from imettk.evaluation.ranker import Gallery, Ranker
from imettk.evaluation.submit import label_rows
from imettk.experiment.predictions import evaluate
from imettk.experiment.prepared import choose_compute, load_model, trained_folds
from imettk.experiment.rule_file import read_rule
from imettk.inference.predictor import to_probs
from imettk.inference.retrieval import Neighbours, find_neighbours, join_embeddings
from imettk.models.heads import Outputs
from imettk.postprocess.ranking import Ranked
from imettk.postprocess.rule import Rule
from imettk.progress import say
from imettk.tracking.files import sha256
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_values

PICTURE = "nearest.png"
NUM_NEAR = 5
MOST_DRAWN = 50  # pictures in it


def infer_images(recipe: Recipe, data_dir: Path, run: RunDir, images: list[Path], *, fold: int | None) -> None:
    """Print what is on each picture; where neighbours decide, also draw the nearest known images in `nearest.png`.

    Pictures that cannot be read are named, and get no answer.

    Args:
        images: files, or folders of files; of several grey files an image, the path with `*` for the channel's name.

    Raises:
        MissingFileError: there is no such file, or none that an earlier stage has to write.
        DataError: none of the pictures can be read.
    """
    paths = _files(images)
    folds = trained_folds(run, fold)
    labels = tuple(read_values(run.model(folds[0]))["labels"])
    answerer = _Answerer(recipe, data_dir, run, folds, labels)
    boxes = _boxes(recipe, data_dir, paths)
    table = SampleTable(_names(paths), np.array([str(path) for path in paths]), labels, (), boxes=boxes)
    source = ImageSource(table, make_reader(recipe))
    rows, compute = np.arange(len(table)), choose_compute(recipe)
    said = [
        evaluate(load_model(run.model(one), recipe, table, compute.device), source, rows, recipe, compute,
                 views=recipe.predict.views, what=f"fold {one}")
        for one in folds
    ]  # fmt: skip
    read = np.array([row for row in rows.tolist() if row not in source.faults], np.int64)
    if not len(read):
        raise DataError(f"--images: {source.unread()} cannot be read")
    answers = dict(zip(read.tolist(), answerer.answer(said, read, Album(table, source, [""])), strict=True))
    for row, name in enumerate(table.ids):
        say(f"{name}: {answers.get(row, 'cannot be read')}")


def _files(images: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in images:
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
        elif path.is_file() or "*" in path.name:
            found.append(path)
        else:
            raise MissingFileError(f"--images: {path} is no file and no folder")
    if not found:
        raise MissingFileError(f"--images: no file in {', '.join(map(str, images))}")
    return found


def _names(paths: list[Path]) -> np.ndarray:
    """File names; with their folders where two are the same."""
    names = [path.name for path in paths]
    return np.array(names if len(set(names)) == len(names) else [str(path) for path in paths])


def _boxes(recipe: Recipe, data_dir: Path, paths: list[Path]) -> np.ndarray | None:
    """The boxes that the recipe's file has for files of these names; says which have none."""
    if recipe.table.boxes_csv is None or not (data_dir / recipe.table.boxes_csv).is_file():
        return None
    names, stems = (pd.Series([printable(name) for name in part], dtype=str) for part in
                    ([path.name for path in paths], [path.stem for path in paths]))  # fmt: skip
    remarks: list[str] = []
    boxes = find_boxes(recipe.table, data_dir, Path("--images"), names, stems, remarks, needed=False)
    for remark in remarks:
        say(f"note: {remark}")
    return boxes


class _Answerer:
    """Answers as the recipe's rule has them; whatever it needs is looked for before anything is predicted."""

    def __init__(self, recipe: Recipe, data_dir: Path, run: RunDir, folds: list[int], labels: tuple[str, ...]) -> None:
        self._recipe, self._run = recipe, run
        self._titles = find_titles(recipe.table, data_dir, labels) or labels
        self._ranks = recipe.rule.kind == "rank"
        self._rule = None if self._ranks else Rule.from_json(read_rule(run, recipe, labels, folds))
        if not self._ranks:
            return
        self._table = read_table(recipe.table, data_dir)
        if self._table.labels != labels:
            raise MismatchError(f"{data_dir} has other labels than {run.model(folds[0])}: is --data another one?")
        self._ranker = Ranker(recipe, self._table)
        self._threshold = read_threshold(self._ranker, run)
        if recipe.ranking.by == "neighbours":
            self._gallery = self._read_gallery(folds)

    def _read_gallery(self, folds: list[int]) -> np.ndarray:
        """Embeddings of the training table by all folds, joined, float32 (N, D)."""
        files, rows = read_fold_files(self._run.path, self._run.inputs), TableRows(self._table)
        for fold in folds:
            if fold not in files or files[fold].gallery.values["model"] != sha256(self._run.model(fold)):
                raise MissingFileError(
                    f"fold{fold}/{GALLERY} of its model is missing: run `imettk validate` first, which writes it, or "
                    "choose another --fold"
                )
        return join_embeddings([rows.scatter(files[fold].known) for fold in folds])

    def answer(self, said: list[Outputs], rows: np.ndarray, pictures: Album) -> list[str]:
        """What is on some of the pictures, as text.

        Args:
            said: of all pictures, by each fold.
            rows: the pictures, int64 (M,).
        """
        if self._ranks and self._recipe.ranking.by == "neighbours":
            queries = [one.embeddings.mean(0)[rows].numpy() for one in said if one.embeddings is not None]
            return self._nearest(join_embeddings(queries), rows, pictures)
        scale = self._recipe.metric.scale if self._recipe.model.embeds else 1.0
        multiclass = self._recipe.table.task == "multiclass"
        probs = np.stack([to_probs(scale * one.logits[:, rows], multiclass=multiclass) for one in said])
        merged = (probs.max(1) if self._recipe.predict.merge == "max" else probs.mean(1)).mean(0)
        if self._rule is None:
            return [", ".join(row) for row in self._ranked(self._ranker.by_probs(merged))]
        answers = self._rule.apply(merged)
        chosen = np.eye(len(self._titles), dtype=bool)[answers] if answers.ndim == 1 else answers
        return [self._with_probs(mine, row) for mine, row in zip(chosen, merged, strict=True)]

    def _with_probs(self, chosen: np.ndarray, probs: np.ndarray) -> str:
        """Labels of one picture with their probabilities, (C,) both, the most likely first."""
        likely = sorted(np.flatnonzero(chosen), key=lambda label: -probs[label])
        return ", ".join(f"{self._titles[label]} ({probs[label]:.2f})" for label in likely) or "no label"

    def _ranked(self, ranked: Ranked) -> list[list[str]]:
        return label_rows(self._ranker.answer(ranked, self._threshold), self._ranker.names)

    def _nearest(self, queries: np.ndarray, rows: np.ndarray, pictures: Album) -> list[str]:
        """The identities of each picture, after drawing the images that are nearest to it."""
        table = self._table
        assert table.targets is not None
        answers = self._ranked(self._ranker.by_neighbours(queries, Gallery(self._gallery, table.targets)))
        near = find_neighbours(queries, self._gallery, NUM_NEAR, device=self._ranker.device)
        source = ImageSource(table, make_reader(self._recipe))
        known = Album(table, source, self._ranker.names)
        first = slice(MOST_DRAWN)
        some = Neighbours(near.rows[first], near.similarities[first])
        draw_queries(self._run.path / PICTURE, pictures, known, rows[first], some, answers[first])
        say(f"{self._run.path / PICTURE}: the images nearest to {len(some.rows)} of {len(rows)} pictures")
        return [
            f"{', '.join(row)} (similarity {value:.3f})"
            for row, value in zip(answers, near.similarities[:, 0], strict=True)
        ]
