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
    """What one model says of the rows that it has trained on, of those that it has not, and of the test set.

    Attributes:
        oof: None where all rows train.
        test: None where the test set has not been predicted.
    """

    gallery: Predictions
    oof: Predictions | None
    test: Predictions | None

    @property
    def known(self) -> list[Predictions]:
        """All rows whose identity is known."""
        return [self.gallery] if self.oof is None else [self.gallery, self.oof]


def read_fold_files(path: Path, inputs: Sequence[Path] = ()) -> dict[int, FoldFiles]:
    """The embeddings that a run folder holds, by fold; what it lacks is taken from the inputs.

    Raises:
        MissingFileError: there are none.
        MismatchError: those of a fold are of different models.
    """
    roots = (path, *inputs)
    names = {file.parent.name for root in roots for file in root.glob(f"fold*/{GALLERY}")}
    # Other names are those of copies that were set aside.
    folds = sorted(int(name[4:]) for name in names if name[4:].isdigit())
    if not folds:
        raise MissingFileError(
            f"{path} holds no fold*/{GALLERY}: run `imettk validate` there first, which writes it for recipes that "
            "rank by neighbours"
        )
    return {fold: _read_fold(roots, fold) for fold in folds}


def _read_fold(roots: Sequence[Path], fold: int) -> FoldFiles:
    parts = []
    for name in (GALLERY, OOF, TEST):
        found = [file for root in roots if (file := root / f"fold{fold}" / name).is_file()]
        parts.append(load_predictions(found[0]) if found else None)
    gallery, oof, test = parts
    assert gallery is not None  # the caller has seen it
    for name, one in ((OOF, oof), (TEST, test)):
        if one is not None and one.values.get("model") != gallery.values.get("model"):
            raise MismatchError(
                f"{roots[0]}: fold{fold}/{name} and {GALLERY} are of different models: `validate` and `infer` again"
            )
    return FoldFiles(gallery, oof, test)


class TableRows:
    """Finds the rows of a table that prediction files speak of."""

    def __init__(self, table: SampleTable) -> None:
        self._count, self._sources = len(table), table.sources
        self._place = {name: row for row, name in enumerate(table.ids.tolist())}

    def find(self, ids: np.ndarray) -> np.ndarray:
        """int64 (N,), -1 where the table has none of this id."""
        return np.array([self._place.get(name, -1) for name in ids.tolist()], np.int64)

    def own(self, ids: np.ndarray) -> np.ndarray:
        """Where test images stand in the table themselves, with a pseudo label, int64 (N,); -1 where they do not.

        That is in an extra table: a training image may have the name of a test image.
        """
        rows = self.find(ids)
        return rows if self._sources is None else np.where(self._sources[rows] > 0, rows, -1)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """The same where all must be there; `MismatchError` names those that are not."""
        rows = self.find(ids)
        if (rows < 0).any():
            raise MismatchError(f"the training table lacks {list_names(ids[rows < 0], 'row')}: is --data another one?")
        return rows

    def scatter(self, parts: list[Predictions]) -> np.ndarray:
        """Embeddings in the order of the table, float32 (rows of the table, D); NaN where there is none."""
        result = np.full((self._count, parts[0].merged_embeddings.shape[1]), np.nan, np.float32)
        for one in parts:
            rows = self.find(one.ids)
            result[rows[rows >= 0]] = one.merged_embeddings[rows >= 0]
        return result
