"""Embeddings that `validate` and `infer` left in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imettk.data.csv_files import list_names
from imettk.data.sample_table import SampleTable
from imettk.errors import MismatchError, MissingFileError
from imettk.evaluation.members import OOF, TEST
from imettk.inference.predictor import Predictions, load_predictions

GALLERY = "gallery.safetensors"


@dataclass(frozen=True)
class FoldFiles:
    """Predictions of one model.

    Attributes:
        gallery: rows that it has trained on, or that queries are compared with.
        oof: its validation rows; None if all rows train.
        test: the test set; None before `infer`.
    """

    gallery: Predictions
    oof: Predictions | None
    test: Predictions | None

    @property
    def known(self) -> list[Predictions]:
        """Predictions of all rows whose identity is known."""
        return [self.gallery] if self.oof is None else [self.gallery, self.oof]


def read_fold_files(path: Path, inputs: Sequence[Path] = ()) -> dict[int, FoldFiles]:
    """Read the embeddings of each fold in a run folder; files that it lacks are taken from the inputs.

    Raises:
        MissingFileError: there are none.
        MismatchError: files of a fold come from different models.
    """
    roots = (path, *inputs)
    names = {file.parent.name for root in roots for file in root.glob(f"fold*/{GALLERY}")}
    # Folders such as `fold0-old` are copies that were set aside.
    folds = sorted(int(name[4:]) for name in names if name[4:].isdigit())
    if not folds:
        raise MissingFileError(
            f"{path} holds no fold*/{GALLERY}: run `imettk validate` there first, which writes it if the recipe ranks "
            "by neighbours"
        )
    return {fold: _read_fold(roots, fold) for fold in folds}


def _read_fold(roots: Sequence[Path], fold: int) -> FoldFiles:
    """Read the files of a fold, each from the first folder that has it."""
    parts = []
    for name in (GALLERY, OOF, TEST):
        files = [file for root in roots if (file := root / f"fold{fold}" / name).is_file()]
        parts.append(load_predictions(files[0]) if files else None)
    gallery, oof, test = parts
    assert gallery is not None  # `read_fold_files` has found it
    # Embeddings of two models share no coordinates: their similarities would be noise.
    for name, predictions in ((OOF, oof), (TEST, test)):
        if predictions is not None and predictions.values.get("model") != gallery.values.get("model"):
            raise MismatchError(
                f"{roots[0]}: fold{fold}/{name} and {GALLERY} come from different models: run `imettk validate` and "
                "`imettk infer` again"
            )
    return FoldFiles(gallery, oof, test)


class TableRows:
    """Finds the rows of a table by the ids in prediction files."""

    def __init__(self, table: SampleTable) -> None:
        self._count, self._sources = len(table), table.sources
        self._place = {name: row for row, name in enumerate(table.ids.tolist())}

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Return the row of each id, int64 (N,); -1 if the table has no such id."""
        return np.array([self._place.get(name, -1) for name in ids.tolist()], np.int64)

    def own(self, ids: np.ndarray) -> np.ndarray:
        """Return the rows of test images that are in the table with a pseudo label, int64 (N,); -1 for others.

        Only rows of extra tables count: a training image may happen to have the name of a test image.
        """
        rows = self.find(ids)
        return rows if self._sources is None else np.where(self._sources[rows] > 0, rows, -1)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Return the row of each id, int64 (N,); raise `MismatchError` if the table lacks one."""
        rows = self.find(ids)
        if (rows < 0).any():
            raise MismatchError(f"the training table lacks {list_names(ids[rows < 0], 'row')}: is --data another one?")
        return rows

    def scatter(self, parts: list[Predictions]) -> np.ndarray:
        """Return embeddings in the order of the table, float32 (rows of the table, D); NaN for rows without one."""
        result = np.full((self._count, parts[0].merged_embeddings.shape[1]), np.nan, np.float32)
        for part in parts:
            rows = self.find(part.ids)
            result[rows[rows >= 0]] = part.merged_embeddings[rows >= 0]
        return result
