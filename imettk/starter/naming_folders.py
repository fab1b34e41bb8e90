"""How ids name folders of images, or images in folders that another column names."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from imettk.data.part_names import is_held_out
from imettk.starter.guess_columns import TrainingRows
from imettk.starter.look import Contents
from imettk.starter.naming import Naming, find_files, match_names

TRIED = 50  # ids by which it shows in which column the folders of images stand


def name_below(
    frame: pd.DataFrame, id_column: str, folder_column: str | None, contents: Contents, *, training: bool
) -> Naming | None:
    """Return how the ids of a table name files, below folders that a column names."""
    if folder_column is None:
        namings = match_names(frame[id_column], contents)
        fit = [naming for naming in namings if is_held_out(naming.folder) != training]
        return next(iter([*fit, *namings]), None)
    names = frame[folder_column] + "/" + frame[id_column]
    inner, ids, parents, suffixes = set(frame[folder_column]), set(frame[id_column]), Counter[str](), Counter[str]()
    for folder, files in contents.images.items():
        parent, _, last = folder.rpartition("/")
        if last not in inner:
            continue
        for file in files:
            stem, dot, ending = file.partition(".")
            if stem in ids:
                parents[parent or "."] += 1
                suffixes[dot + ending] += 1
    if not parents:
        return None
    parent = max(parents, key=lambda folder: (is_held_out(folder) != training, parents[folder]))
    suffix = suffixes.most_common(1)[0][0]
    return Naming(parent, suffix, (), find_files(names, contents.below(parent), suffix, ()))


def folder_column_of(frame: pd.DataFrame, rows: TrainingRows) -> str | None:
    """Return the column that names the folder of each row's image; None where they lie in one."""
    found = rows.naming.found
    folders = pd.Series([file.rpartition("/")[0] for file in rows.naming.files[found]], frame.index[found], dtype=str)
    if (frame[rows.id_column][found].str.contains("/", regex=False)).any() or not folders.any():
        return None
    same = [str(column) for column in frame.columns if (frame[column][found] == folders).all()]
    return next(iter(same), None)


def folder_candidates(frame: pd.DataFrame, id_column: str, contents: Contents) -> list[str]:
    """Return columns that name the folders of the first images that ids mean."""
    ids = {name: row for row, name in enumerate(frame[id_column].head(TRIED))}
    columns: Counter[str] = Counter()
    for folder, files in contents.images.items():
        for file in files:
            if (row := ids.get(file.partition(".")[0])) is None:
                continue
            inner = folder.rpartition("/")[2]
            columns.update(str(c) for c in frame.columns if c != id_column and frame[c].iloc[row] == inner)
    return [column for column, _ in columns.most_common(1)]


def name_folders(ids: pd.Series, contents: Contents, *, training: bool) -> Naming | None:
    """Return in which folder ids name folders, and the first image of each by its name from there; None in none."""
    known, parents, endings = set(ids), Counter[str](), Counter[str]()
    first: dict[tuple[str, str], str] = {}
    for folder, files in sorted(contents.images.items()):
        parts = folder.split("/")
        for depth, part in enumerate(parts):
            if part not in known:
                continue
            parent = "/".join(parts[:depth]) or "."
            parents[parent] += (parent, part) not in first
            endings.update(PurePosixPath(name).suffix for name in files)
            first.setdefault((parent, part), "/".join([*parts[depth:], files[0]]))
            break
    if not parents:
        return None
    parent = max(parents, key=lambda folder: (is_held_out(folder) != training, parents[folder]))
    found = np.array([first.get((parent, name), "") for name in ids], np.str_)
    return Naming(parent, endings.most_common(1)[0][0], (), found)
