"""Ids that name folders of images, or images in folders that other columns name."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from imettk.data.part_names import is_held_out
from imettk.starter.guess_columns import TrainingRows
from imettk.starter.look import Contents
from imettk.starter.naming import Naming, match_names


def name_part(ids: pd.Series, contents: Contents, *, training: bool) -> Naming | None:
    """Return how ids name files, preferably in a folder for training or for testing; None if they do not."""
    namings = match_names(ids, contents)
    fit = [naming for naming in namings if is_held_out(naming.folder) != training]
    return next(iter([*fit, *namings]), None)


def beside_training(folder: str, training: str) -> str:
    """Return the folder above this one that lies next to the training images; without one, this folder."""
    beside = PurePosixPath(training).parent
    return next((str(above) for above in PurePosixPath(folder).parents if above.parent == beside != above), folder)


def path_pattern(frame: pd.DataFrame, rows: TrainingRows) -> str | None:
    """Return the pattern of columns that name the folders of each row's image, such as `{chain}/{image}`.

    It is None if all images lie in one folder, if ids contain their folders, or if no columns name these.
    """
    found = rows.naming.found
    if frame[rows.id_column][found].str.contains(r"[/\\]").any():
        return None
    folders = pd.Series(rows.naming.files[found], frame.index[found], dtype=str).str.split("/").str[:-1]
    if folders.str.len().nunique() != 1:
        return None
    steps = []
    for step in zip(*folders, strict=True):
        columns = [str(column) for column in frame.columns if (frame[column][found] == list(step)).all()]
        if (len(set(step)) > 1 and not columns) or set("{}") & {*step[0], *"".join(columns)}:
            return None
        steps.append(step[0] if len(set(step)) == 1 else f"{{{columns[0]}}}")
    return "/".join([*steps, f"{{{rows.id_column}}}"]) if any("{" in step for step in steps) else None


def name_folders(ids: pd.Series, contents: Contents, *, training: bool) -> Naming | None:
    """Return the folder in which ids name folders, with the first image of each; None if they name none."""
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
    first_files = np.array([first.get((parent, name), "") for name in ids], np.str_)
    return Naming(parent, endings.most_common(1)[0][0], (), first_files)
