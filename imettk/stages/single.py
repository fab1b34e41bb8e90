"""`infer --images`: answers for single pictures, without a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.source import ImageSource, make_reader
from imettk.data.table import SampleTable, read_table
from imettk.errors import MissingFileError
from imettk.inference.predictor import to_probs
from imettk.inference.retrieval import find_neighbours, join_embeddings
from imettk.postprocess.rule import Rule
from imettk.progress import say
from imettk.stages.embeddings import TableRows, read_fold_files
from imettk.stages.pictures import Album, draw_queries
from imettk.stages.ranker import Gallery, Ranker
from imettk.stages.ranking import threshold_of_test
from imettk.stages.shared import choose_compute, evaluate, load_model, trained_folds
from imettk.stages.submit import label_rows
from imettk.tracking.files import read_json
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_values

PICTURE = "nearest.png"
NUM_NEAR = 5


def infer_images(recipe: Recipe, data_dir: Path, run: RunDir, images: list[Path], *, fold: int | None) -> None:
    """Print what is on each picture; where neighbours decide, also draw the nearest known images in `nearest.png`.

    Args:
        images: files, or folders of files; of several grey files an image, the path with `*` for the channel's name.

    Raises:
        MissingFileError: there is no such file.
    """
    paths = _files(images)
    folds = trained_folds(run, fold)
    labels = tuple(read_values(run.model(folds[0]))["labels"])
    table = SampleTable(np.array([path.name for path in paths]), np.array([str(path) for path in paths]), labels, ())
    source = ImageSource(table, make_reader(recipe.images, recipe.table))
    rows, compute = np.arange(len(table)), choose_compute(recipe)
    said = [
        evaluate(load_model(run.model(one), recipe, table, compute.device), source, rows, recipe, compute,
                 views=recipe.predict.views, what=f"fold {one}")
        for one in folds
    ]  # fmt: skip
    if recipe.rule.kind == "rank" and recipe.ranking.by == "neighbours":
        queries = [one.embeddings.mean(0).numpy() for one in said if one.embeddings is not None]
        answers = _nearest(recipe, data_dir, run, folds, queries, table, source)
    else:
        scale = recipe.metric.scale if recipe.model.embeds else 1.0
        probs = np.stack([to_probs(scale * one.logits, multiclass=recipe.table.task == "multiclass") for one in said])
        merged = probs.max(1) if recipe.predict.merge == "max" else probs.mean(1)
        answers = _by_probs(recipe, data_dir, run, merged.mean(0), labels)
    for name, line in zip(table.ids, answers, strict=True):
        say(f"{name}: {line}")


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


def _by_probs(recipe: Recipe, data_dir: Path, run: RunDir, probs: np.ndarray, labels: tuple[str, ...]) -> list[str]:
    """The labels of each row with their probabilities, as text."""
    if recipe.rule.kind == "rank":
        ranker = Ranker(recipe, read_table(recipe.table, data_dir))
        ranked = ranker.by_probs(probs)
        return [
            ", ".join(row)
            for row in label_rows(ranker.answer(ranked, threshold_of_test(ranker, ranked, run)), ranker.names)
        ]
    rule = Rule.from_json(read_json(run.find("rule.json", written_by="validate")))
    answers = rule.apply(probs)
    chosen = np.eye(len(labels), dtype=bool)[answers] if answers.ndim == 1 else answers
    return [
        ", ".join(
            f"{labels[label]} ({row[label]:.2f})" for label in sorted(np.flatnonzero(mine), key=lambda one: -row[one])
        )
        or "no label"
        for row, mine in zip(probs, chosen, strict=True)
    ]


def _nearest(
    recipe: Recipe,
    data_dir: Path,
    run: RunDir,
    folds: list[int],
    queries: list[np.ndarray],
    pictures: SampleTable,
    source: ImageSource,
) -> list[str]:
    """The identities of each picture, as text, after drawing the images that are nearest to it."""
    table = read_table(recipe.table, data_dir)
    ranker = Ranker(recipe, table)
    files = read_fold_files(run.path)
    rows = TableRows(table)
    joined, gallery = join_embeddings(queries), join_embeddings([rows.scatter(files[fold].known) for fold in folds])
    assert table.targets is not None
    ranked = ranker.by_neighbours(joined, Gallery(gallery, table.targets))
    answers = label_rows(ranker.answer(ranked, threshold_of_test(ranker, ranked, run)), ranker.names)
    near = find_neighbours(joined, gallery, NUM_NEAR)
    known = ImageSource(table, make_reader(recipe.images, recipe.table))
    draw_queries(run.path / PICTURE, Album(pictures, source, [""]), Album(table, known, ranker.names), near, answers)
    say(f"{run.path / PICTURE}: the nearest known images")
    return [
        f"{', '.join(row)} (similarity {value:.3f})"
        for row, value in zip(answers, near.similarities[:, 0], strict=True)
    ]
