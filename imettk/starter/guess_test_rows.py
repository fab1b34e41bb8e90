"""Test images: those of the sample submission's rows; without one, those of a test table or a test folder."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.part_names import is_part, is_test
from imettk.errors import DataError
from imettk.starter.finding import Finding
from imettk.starter.guess_misfits import TOLERATED, describe_places, find_places
from imettk.starter.guess_sample import Sample
from imettk.starter.look import Contents
from imettk.starter.naming import find_files
from imettk.starter.naming_folders import beside_training, name_part


def find_test_images(
    form: TableFormat, sample: Sample, contents: Contents, *, nested: bool
) -> tuple[TableFormat, np.ndarray, str]:
    """Return the format with the folder of test images, the image of each row of the sample, and the reason.

    Args:
        nested: training images lie in folders that ids do not name, as hidden test images may.
    """
    names, files = sample.frame[sample.id_column], np.full(len(sample.frame), "")
    reason = f"found by its name; none of its {len(names)} ids has an image"
    if sample.naming is not None:
        folder = beside_training(sample.naming.folder, form.train_images) if nested else sample.naming.folder
        folder, files = _with_others(names, folder, form, contents)
        form = replace(form, test_images=folder)
        reason = f"found by its name; {int((files != '').sum())} of its {len(names)} ids are files in {folder}/"
    if len(others := find_places(names[files == ""], contents, training=False)) > TOLERATED * len(names):
        raise DataError(
            f"{sample.csv}: {len(others)} of {len(names)} values of column {sample.id_column} "
            f"{describe_places(others, suffix=form.image_suffix)}"
        )
    return form, files, reason


def _with_others(names: pd.Series, folder: str, form: TableFormat, contents: Contents) -> tuple[str, np.ndarray]:
    """Return the folder of test images and the file of each row, or a folder further up that holds more of them.

    A row of a sample submission cannot be left out: its image, if in another folder, would get a neutral answer.
    """

    def find(top: str) -> np.ndarray:
        return find_files(names, contents.below(top), form.image_suffix, form.channel_files)

    files = find(folder)
    others = find_places(names[files == ""], contents, training=False)
    if not others:
        return folder, files
    folders = [place.folder for places in others.values() for place in places if place.folder != form.train_images]
    top = posixpath.commonpath([folder, *folders]) or "."
    from_top = find(top)
    return (top, from_top) if (from_top != "").sum() > (files != "").sum() else (folder, files)


def find_test_rows(
    form: TableFormat, contents: Contents, *, nested: bool
) -> tuple[TableFormat, np.ndarray, list[Finding]]:
    """Return the format with the test rows of a competition without a sample submission, their files, and findings.

    Args:
        nested: training images lie in folders that ids do not name.
    """
    files, value = np.zeros(0, str), ""
    for csv, frame in contents.tables.items():
        column = next(iter(form.image_columns), form.id_column)
        named = {column, form.id_column, *form.unit_columns, *form.image_columns}
        if csv == form.train_csv or not is_test(PurePosixPath(csv).stem) or not named <= {*frame.columns}:
            continue
        naming = None if form.unit_folders else name_part(frame[column], contents, training=False)
        if naming is not None and naming.folder != form.train_images:
            folder = beside_training(naming.folder, form.train_images) if nested else naming.folder
            form = replace(form, test_csv=csv, test_images=folder)
            inner = "" if folder == naming.folder else f"{PurePosixPath(naming.folder).relative_to(folder)}/"
            files = np.array([f"{inner}{file}" for file in naming.files[naming.found].tolist()], np.str_)
            value = f"{csv}, {len(frame)} rows, with images in {folder}/"
            break
    if not value and not (form.unit_columns or form.image_columns) and (top := _test_folder(form, contents)):
        form = replace(form, test_images=top)
        files = np.array(contents.below(top), np.str_)
        value = f"the {len(files)} images in {top}/"
    if not value:
        return form, files, []
    columns = ", ".join((form.test_id_column, *form.filled_columns))
    reason = f"there is no sample submission: `infer` writes the columns {columns}"
    return form, files, [Finding("test rows", value, reason, "table.test_csv, .test_images, .sample_csv")]


def _test_folder(form: TableFormat, contents: Contents) -> str | None:
    """Return the folder called after testing, preferably next to the training images; None without any."""
    beside = PurePosixPath(form.train_images).parent
    folders = [PurePosixPath(folder) for folder in contents.folders()]
    fits = [
        folder
        for folder in folders
        if is_part(folder.name)
        and is_test(folder.name)
        and not any(is_test(parent.name) for parent in folder.parents)
        and not PurePosixPath(form.train_images).is_relative_to(folder)
    ]
    return str(min(fits, key=lambda folder: (folder.parent != beside, len(folder.parts), folder))) if fits else None
