"""Test images whose ids name no file: another table links ids to files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.long_rows import LongRows
from imettk.data.part_names import is_held_out, is_training
from imettk.starter.finding import Finding
from imettk.starter.guess_columns import Choices, TrainingRows, describe_ids, find_rows
from imettk.starter.guess_sample import Sample
from imettk.starter.look import Contents
from imettk.starter.naming import MAJORITY, Naming, best_in, match_names


@dataclass(frozen=True, kw_only=True)
class LinkedTests:
    """A table that links the sample submission's ids to test images, as COCO's do.

    Attributes:
        rows: the training rows, with the images that `path` names.
        csv: the table of test images.
        path: the column of both tables that names images.
        sample_id: the column of ids in the sample submission.
        naming: how the sample's ids name files, by way of this table.
    """

    rows: TrainingRows
    csv: str
    path: str
    sample_id: str
    naming: Naming

    @property
    def form(self) -> dict[str, Any]:
        """The fields of the format that describe the link."""
        return {"image_path": f"{{{self.path}}}", "test_csv": self.csv}

    def describe_ids(self, rows: TrainingRows, frame: pd.DataFrame) -> Finding:
        """Describe how ids name files; `rows` and `frame` have one row for each image."""
        finding = describe_ids(rows._replace(id_column=self.path), frame)
        value = f"column {rows.id_column}, with image names in {self.path}"
        return finding if self.path == rows.id_column else finding._replace(value=value)

    def sample(self, contents: Contents, csv: str, long: LongRows | None = None) -> Sample:
        """Return the sample submission; see `Sample` for `long`."""
        return Sample(csv, contents.tables[csv], self.sample_id, None, long)

    def with_test(self, form: TableFormat, sample: Sample) -> tuple[TableFormat, np.ndarray, str]:
        """Return the format with the folder of test images, the image of each row, and the reason."""
        count = f"{int(self.naming.found.sum())} of its {len(sample.frame)} ids"
        reason = f"found by its name; {self.csv} links {count} to files in {self.naming.folder}/ by column {self.path}"
        return replace(form, test_images=self.naming.folder), self.naming.files, reason


def find_linked(
    contents: Contents, choices: Choices, sample_csv: str | None, rows: TrainingRows | None
) -> LinkedTests | None:
    """Return the table that links the sample submission's ids to images; None if they name images, or none does."""
    if rows is None and choices.id_column is not None:
        # The requested ids need not name images themselves: another column of the training table may.
        rows = find_rows(contents, replace(choices, id_column=None), {sample_csv})
    if sample_csv is None or rows is None:
        return None
    sample, train = contents.tables[sample_csv], contents.tables[rows.csv]
    keys = [str(column) for column in sample.columns if len(sample) and sample[column].is_unique]
    if any(_share(match_names(sample[column], contents)[:1]) >= MAJORITY for column in keys):
        return None
    for csv, test in contents.tables.items():
        links = [(key, str(name)) for key in keys for name in test.columns if _lists(test[name], sample[key])]
        if csv in (sample_csv, rows.csv) or not links:
            continue
        for path in (str(column) for column in test.columns if column in train.columns):
            there = [rows.naming] if path == rows.id_column else _find(train[path], contents, is_training)
            tests = _find(test[path], contents, is_held_out)
            if min(_share(there), _share(tests)) < MAJORITY or there[0].suffix != tests[0].suffix:
                continue
            for key, name in links:
                id_column = _id_column(train, path, name, key)
                if id_column is None or choices.id_column not in (None, id_column):
                    continue
                files = dict(zip(test[name], tests[0].files.tolist(), strict=True))
                return LinkedTests(
                    rows=rows._replace(id_column=id_column, naming=there[0]),
                    csv=csv,
                    path=path,
                    sample_id=key,
                    naming=tests[0]._replace(files=np.array([files[cell] for cell in sample[key]], np.str_)),
                )
    return None


def _lists(cells: pd.Series, ids: pd.Series) -> bool:
    """Return whether a column has each of these ids once."""
    return cells.is_unique and set(ids) <= set(cells)


def _find(names: pd.Series, contents: Contents, is_part: Callable[[str], bool]) -> list[Naming]:
    """Return the folder in which most of these names are files, preferably one of this part of the data; or nothing."""
    naming = best_in(match_names(names, contents), lambda folder: is_part(folder.rpartition("/")[2]))
    return [] if naming is None else [naming]


def _share(namings: list[Naming]) -> float:
    """Return the share of names that are files in the best folder."""
    return namings[0].share if namings else 0.0


def _id_column(train: pd.DataFrame, path: str, name: str, key: str) -> str | None:
    """Return the column of ids in the training table; None if it cannot have ids like those of the test table.

    Args:
        path: the column of both tables that names images.
        name: the column of ids in the test table.
        key: the column of ids in the sample submission.
    """
    if name in train.columns and len(train[[name, path]].drop_duplicates()) == train[name].nunique():
        return name
    return path if key == name else None
