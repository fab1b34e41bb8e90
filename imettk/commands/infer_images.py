"""`infer --images`: answers for single pictures, without a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from imettk.config import Recipe
from imettk.data.annotations import find_boxes
from imettk.data.containers import split_path
from imettk.data.csv_files import printable
from imettk.data.sample_table import SampleTable
from imettk.data.source import ImageSource
from imettk.errors import DataError, MissingFileError
from imettk.evaluation.judge import judge_of
from imettk.evaluation.pictures import Album
from imettk.evaluation.rules import merge_outputs
from imettk.experiment.predictions import TrainedModels, evaluate
from imettk.experiment.prepared import ImageRows, choose_compute, trained_folds
from imettk.experiment.scaling import read_scale, unscale
from imettk.experiment.value_range import reader_of
from imettk.progress import say
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_values


class ImageAnswers(NamedTuple):
    """Answers to pictures.

    Attributes:
        names: of all pictures, str (N,).
        rows: those that could be read, int64 (M,).
        texts: their answers, (M,).
        outputs: their predictions, the mean over folds and views, float (M, O).
        labels: raw names, (C,).
    """

    names: np.ndarray
    rows: np.ndarray
    texts: list[str]
    outputs: np.ndarray
    labels: tuple[str, ...]


def infer_images(recipe: Recipe, data_dir: Path, run: RunDir, images: list[Path], *, fold: int | None) -> None:
    """Print the answer to each picture; errors and arguments are those of `answer_images`."""
    answers = answer_images(recipe, data_dir, run, images, fold=fold)
    texts = dict(zip(answers.rows.tolist(), answers.texts, strict=True))
    for row, name in enumerate(answers.names):
        say(f"{name}: {texts.get(row, 'cannot be read')}")


def answer_images(
    recipe: Recipe, data_dir: Path, run: RunDir, images: Sequence[Path], *, fold: int | None
) -> ImageAnswers:
    """Answer pictures; if neighbours decide, also draw the nearest known images in `nearest.png`.

    Args:
        images: files, folders of files, or images in a container as `FILE/MEMBER`; an image with a file for each
            channel is the path with `*` in place of the channel's name.

    Raises:
        MissingFileError: there is no such file, or an earlier command has not written what it should have.
        DataError: none of the pictures can be read.
    """
    paths = _files(images)
    folds = trained_folds(run, fold)
    labels = tuple(read_values(run.model(folds[0]))["labels"])
    answerer = judge_of(recipe).image_answerer(data_dir, run, folds, labels)
    boxes = _boxes(recipe, data_dir, paths)
    table = SampleTable(_names(paths), np.array([str(path) for path in paths]), labels, (), boxes=boxes)
    source = ImageSource(table, reader_of(recipe, run))
    models = TrainedModels(recipe, run, choose_compute(recipe))
    rows = ImageRows(table, source, np.arange(len(table)))
    outputs_of_folds = []
    for number in folds:
        network, scale = models.load(number, table), read_scale(run.model(number))
        outputs = evaluate(network, rows, recipe, models.compute, views=recipe.predict.views, what=f"fold {number}")
        outputs_of_folds.append(outputs._replace(logits=unscale(outputs.logits, scale)))
    readable = np.array([row for row in rows.rows.tolist() if row not in source.faults], np.int64)
    if not len(readable):
        raise DataError(f"--images: {source.unread()} cannot be read")
    texts = answerer.answer(outputs_of_folds, readable, Album(table, source))
    return ImageAnswers(table.ids, readable, texts, merge_outputs(recipe, outputs_of_folds, readable), labels)


def _files(images: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in images:
        if path.is_dir():
            files += sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        elif path.is_file() or "*" in path.name or split_path(str(path)) is not None:
            files.append(path)
        else:
            raise MissingFileError(f"--images: {path} is neither a file nor a folder")
    if not files:
        raise MissingFileError(f"--images: no file in {', '.join(map(str, images)) or 'an empty list'}")
    return files


def _names(paths: list[Path]) -> np.ndarray:
    """Return file names, with their folders if two are the same."""
    names = [path.name for path in paths]
    return np.array(names if len(set(names)) == len(names) else [str(path) for path in paths])


def _boxes(recipe: Recipe, data_dir: Path, paths: list[Path]) -> np.ndarray | None:
    """Return the boxes that the recipe's file has for files of these names, and print which have none."""
    if recipe.table.boxes_csv is None or not (data_dir / recipe.table.boxes_csv).is_file():
        return None
    names, stems = (pd.Series([printable(name) for name in part], dtype=str) for part in
                    ([path.name for path in paths], [path.stem for path in paths]))  # fmt: skip
    remarks: list[str] = []
    boxes = find_boxes(recipe.table, data_dir, Path("--images"), names, stems, remarks, needed=False)
    for remark in remarks:
        say(f"note: {remark}")
    return boxes
