"""Embeddings that `validate` and `infer` left in a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imettk.data.csv_files import named
from imettk.data.table import SampleTable
from imettk.errors import MismatchError, MissingFileError
from imettk.inference.predictor import Predictions, load_predictions
from imettk.stages.members import OOF, TEST

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


def read_fold_files(path: Path) -> dict[int, FoldFiles]:
    """The embeddings that a run folder holds, by fold.

    Raises:
        MissingFileError: it holds none.
    """
    found = {}
    for file in sorted(path.glob(f"fold*/{GALLERY}")):
        if not (number := file.parent.name.removeprefix("fold")).isdigit():
            continue  # a copy that was set aside
        oof, test = (
            load_predictions(beside) if (beside := file.with_name(name)).is_file() else None for name in (OOF, TEST)
        )
        found[int(number)] = FoldFiles(load_predictions(file), oof, test)
    if not found:
        raise MissingFileError(
            f"{path} holds no fold*/{GALLERY}: run `imettk validate` there first, which writes it for recipes that "
            "rank by neighbours"
        )
    return found


class TableRows:
    """Finds the rows of a table that prediction files speak of."""

    def __init__(self, table: SampleTable) -> None:
        self._count = len(table)
        self._place = {name: row for row, name in enumerate(table.ids.tolist())}

    def find(self, ids: np.ndarray) -> np.ndarray:
        """int64 (N,), -1 where the table has none of this id."""
        return np.array([self._place.get(name, -1) for name in ids.tolist()], np.int64)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """The same where all must be there; `MismatchError` names those that are not."""
        rows = self.find(ids)
        if (rows < 0).any():
            raise MismatchError(f"the training table lacks {named(ids[rows < 0], 'row')}: is --data another one?")
        return rows

    def scatter(self, parts: list[Predictions]) -> np.ndarray:
        """Embeddings in the order of the table, float32 (rows of the table, D); NaN where there is none."""
        result = np.full((self._count, parts[0].merged_embeddings.shape[1]), np.nan, np.float32)
        for one in parts:
            rows = self.find(one.ids)
            result[rows[rows >= 0]] = one.merged_embeddings[rows >= 0]
        return result
