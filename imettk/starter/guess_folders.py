"""Labels without a table that names images: as the names of folders, or in the names of files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from imettk.data.part_names import is_held_out, is_part, is_training
from imettk.errors import DataError
from imettk.starter.guess_columns import Choices
from imettk.starter.guess_sample import Sample
from imettk.starter.look import Contents, list_endings

MIN_INSIDE = 0.5  # share of the training images that lie in folders taken for labels
# File names of a label and a number: `cat.0.jpg`, `great_pyrenees_12.jpg`, or `12_cat.jpg`.
PATTERNS = (r"^([^\W\d_](?:[^\d]*[^\W\d_])?)[ ._-]*\(?\d+\)?\.\w+$", r"^\d+[ ._-]+([^\W\d_](?:[^\d]*[^\W\d_])?)\.\w+$")
MIN_FILES = 2  # files with each label: a word that only one file name holds is hardly a label
# Words of cameras and scanners, never classes: `IMG_0001.jpg` and `DSC_0002.jpg` are not two labels.
NO_CLASS = re.compile(r"ima?ge?s?|dsc[a-z]?|photos?|pic(ture)?s?|frames?|scans?|pages?|files?|samples?", re.IGNORECASE)


def choose_folder(tops: list[str], contents: Contents, data_dir: Path, choices: Choices) -> str:
    """Return the folder whose folders are labels.

    Args:
        tops: folders that contain folders of images.

    Raises:
        DataError: none or several qualify, or the requested one does not exist.
    """
    if choices.several or choices.label_column is not None:
        raise DataError(_no_labels(contents, data_dir))
    if choices.train_csv is not None:
        if (top := choices.train_csv.strip("/")) in tops:
            return top
        for fault in contents.unread:
            # The requested table exists but cannot be read: the reason says more than its absence would.
            if fault.startswith(str(data_dir / choices.train_csv)):
                raise DataError(fault)
        raise DataError(
            f"--train-csv {choices.train_csv}: {data_dir} has no such table, and no such folder of folders with "
            f"images; it has {', '.join([*contents.tables, *tops])}"
        )
    if trains := [folder for folder in tops if is_training(folder.rpartition("/")[2])]:
        tops = trains
    if not tops:
        raise DataError(_no_labels(contents, data_dir))
    if len(tops) > 1:
        listed = " or ".join(tops)
        raise DataError(f"{data_dir}: labels may be the folders of {listed}: give one of them as --train-csv")
    if (inside := _inside(tops[0], contents)) < MIN_INSIDE:
        raise DataError(
            f"{data_dir}: labels may be the folders of {tops[0]}, but these hold only {inside:.0%} of the images: give "
            f"--train-csv {tops[0]} if the others do not count, or write a table with the path and label of each image"
        )
    return tops[0]


def likely_labels(tops: Iterable[str], contents: Contents) -> list[str]:
    """Return those folders whose folders hold at least half of the training images."""
    return [top for top in tops if _inside(top, contents) >= MIN_INSIDE]


def _inside(top: str, contents: Contents) -> float:
    """Return the share of the training images that lie in the folders of this folder."""
    counts = {folder: len(files) for folder, files in contents.images.items() if not is_held_out(folder)}
    inside = sum(count for folder, count in counts.items() if (folder.rpartition("/")[0] or ".") == top)
    return inside / max(1, sum(counts.values()))


def _no_labels(contents: Contents, data_dir: Path) -> str:
    """Return the message for a folder in which neither tables nor folders hold labels."""
    where, files = max(contents.images.items(), key=lambda item: len(item[1]))
    tables = ", ".join(f"{csv} ({', '.join(map(str, frame.columns[:6]))})" for csv, frame in contents.tables.items())
    unread = "".join(f"; {fault}" for fault in contents.unread)
    if contents.others:
        unread += f"; ignored: {list_endings(contents.others)}"
    return (
        f"{data_dir}: no labels found. No table has a column of image names, such as {files[0]} in {where}/, with "
        "labels beside it, and no folder contains a folder of images for each label; "
        f"there is {tables or 'no table that can be read'}{unread}"
    )


def labels_in_names(contents: Contents, sample: Sample | None) -> tuple[str, str, list[str]] | None:
    """Return the folder whose file names hold labels, the pattern that extracts them, and the labels; or None."""
    folders = [folder for folder in contents.images if not is_held_out(folder)]
    if not folders:
        return None
    folder = max(folders, key=lambda name: len(contents.images[name]))
    files = pd.Series(contents.images[folder], dtype=str)
    if sample is not None and sample.naming is not None and sample.naming.folder == folder:
        return None  # test images are among them, whose names cannot hold the answers
    for pattern in PATTERNS:
        labels = files.str.extract(pattern, expand=True)[0]
        counts = Counter(labels.dropna())
        if labels.notna().all() and len(counts) > 1 and min(counts.values()) >= MIN_FILES:
            are_classes = not any(is_part(label) or NO_CLASS.fullmatch(label) for label in counts)
            return (folder, pattern, sorted(counts)) if are_classes else None
    return None
