"""`infer --images`: answers for single pictures, without a table."""

from __future__ import annotations

from pathlib import Path

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
from imettk.experiment.predictions import evaluate
from imettk.experiment.prepared import choose_compute, load_model, trained_folds
from imettk.experiment.scaling import read_scale, unscale
from imettk.experiment.value_range import reader_of
from imettk.progress import say
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_values


def infer_images(recipe: Recipe, data_dir: Path, run: RunDir, images: list[Path], *, fold: int | None) -> None:
    """Print what is on each picture; where neighbours decide, also draw the nearest known images in `nearest.png`.

    Pictures that cannot be read are named, and get no answer.

    Args:
        images: files, or folders of files, or images in a container as `FILE/MEMBER`; of several grey files an image,
            the path with `*` for the channel's name.

    Raises:
        MissingFileError: there is no such file, or none that an earlier stage has to write.
        DataError: none of the pictures can be read.
    """
    paths = _files(images)
    folds = trained_folds(run, fold)
    labels = tuple(read_values(run.model(folds[0]))["labels"])
    answerer = judge_of(recipe).image_answerer(data_dir, run, folds, labels)
    boxes = _boxes(recipe, data_dir, paths)
    table = SampleTable(_names(paths), np.array([str(path) for path in paths]), labels, (), boxes=boxes)
    source = ImageSource(table, reader_of(recipe, run))
    rows, compute = np.arange(len(table)), choose_compute(recipe)
    said = []
    for one in folds:
        network, scale = load_model(run.model(one), recipe, table, compute.device), read_scale(run.model(one))
        outputs = evaluate(network, source, rows, recipe, compute, views=recipe.predict.views, what=f"fold {one}")
        said.append(outputs._replace(logits=unscale(outputs.logits, scale)))
    read = np.array([row for row in rows.tolist() if row not in source.faults], np.int64)
    if not len(read):
        raise DataError(f"--images: {source.unread()} cannot be read")
    answers = dict(zip(read.tolist(), answerer.answer(said, read, Album(table, source)), strict=True))
    for row, name in enumerate(table.ids):
        say(f"{name}: {answers.get(row, 'cannot be read')}")


def _files(images: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in images:
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
        elif path.is_file() or "*" in path.name or split_path(str(path)) is not None:
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
