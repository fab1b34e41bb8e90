"""Oddities of a competition's folder, beside the guess itself: counted and named, one line each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import list_names
from imettk.data.image_search import plain_path
from imettk.data.part_names import is_within
from imettk.starter.guess_answers import Guess
from imettk.starter.guess_columns import BOX_NAME, MIN_DISTINCT
from imettk.starter.guess_labels import odd_labels
from imettk.starter.guess_questions import auxiliary_candidates
from imettk.starter.look import Contents, Looks, list_endings
from imettk.starter.naming import MAJORITY, match_names

MAX_FOLDERS = 10  # unused folders to name; any others are only counted


def find_oddities(guess: Guess, contents: Contents, looks: Looks) -> list[str]:
    """Describe rows and images that lack each other, odd ids and labels, and unused tables and folders."""
    ids = guess.frame[guess.table.id_column]
    lines = [*contents.unread, *contents.remarks, *guess.remarks]
    if contents.others:
        lines.append(f"files of other types are ignored: {list_endings(contents.others)}")
    lines += _odd_rows(guess, contents, ids)
    lines += _auxiliary(guess, contents)
    lines += odd_labels(guess.labels, guess.question, unknown=guess.table.unknown_label)
    lines += _odd_tests(guess, ids)
    if guess.judging.doubt is not None:
        lines.append(guess.judging.doubt)
    lines += _spare_images(guess, contents)
    lines += [f"an image cannot be read: {fault}" for fault in looks.unread[:3]]
    return lines + _other_tables(guess, contents)


def _odd_rows(guess: Guess, contents: Contents, ids: pd.Series) -> list[str]:
    """Describe training rows without an image, a label or a group, and ids that are not unique."""
    form, lines = guess.table, []
    if not guess.found.all():
        lines.append(f"{list_names(ids[~guess.found], 'row')} without an image: dropped (table.on_missing_image)")
    if repeated := ids[ids.duplicated()].unique().tolist():
        lines.append(f"{list_names(repeated, 'id')} more than once: `prepare` will stop, as ids must be unique")
    lines += _shared_images(guess, ids)
    lines += _other_names(guess, contents)
    cells = guess.frame[form.label_column].str.strip()
    if (empty := cells == "").any():
        lines.append(f"{list_names(ids[empty], 'row')} without a label: {guess.question.without_label}")
    if form.group_column is not None and (ungrouped := guess.frame[form.group_column].str.strip() == "").any():
        lines.append(f"{list_names(ids[ungrouped], 'row')} without a {form.group_column}: each is a group of its own")
    return lines


def _odd_tests(guess: Guess, ids: pd.Series) -> list[str]:
    """Describe rows of the sample submission without an image, and ids that training rows have too.

    Args:
        ids: those of training rows.
    """
    if guess.sample is None:
        return []
    form, names, lines = guess.table, guess.sample.frame[guess.sample.id_column], []
    if not guess.test_found.all():
        stops = "" if guess.test_found.any() else ": `prepare` will stop until the test images are there"
        lines.append(f"{form.sample_csv}: {list_names(names[~guess.test_found], 'row')} without an image{stops}")
    # Rows of pixels are often named by row number, from 1 in both tables.
    if guess.linked is None and not form.holds_images and (both := sorted(set(names) & set(ids))):
        lines.append(f"{list_names(both, 'id')} both in {form.train_csv} and in {form.sample_csv}")
    return lines


def _shared_images(guess: Guess, ids: pd.Series) -> list[str]:
    """Describe ids that mean the image of another id, as `a` and `./a` do."""
    files = pd.Series([plain_path(file) for file in guess.files.tolist()], ids.index, dtype=str)
    first = ~ids.duplicated() & guess.found
    shared = ids[first & files.isin(files[first][files[first].duplicated()])]
    if shared.empty or guess.table.has_units:
        return []
    return [f"{list_names(shared, 'id')} for the same image as another id: `prepare` will stop"]


def _auxiliary(guess: Guess, contents: Contents) -> list[str]:
    """Describe columns that could be learned beside the answers."""
    columns = auxiliary_candidates(guess.table, guess.frame, contents)
    what = "only known for training images: table.auxiliary_columns can learn such columns beside the answers"
    return [f"{list_names(columns, 'column')} {what}"] if columns else []


def _other_names(guess: Guess, contents: Contents) -> list[str]:
    """Describe columns beside the ids that name images too."""
    form, frame = guess.table, guess.frame
    lines = []
    for column in frame.columns:
        if column in (form.id_column, form.label_column, *form.label_columns, *form.image_columns) or frame[
            column
        ].nunique() < MIN_DISTINCT * len(frame):
            continue
        namings = match_names(frame[column], contents)
        if not namings or namings[0].share <= MAJORITY:
            continue
        if not any(naming.is_same(form.train_images, guess.files) for naming in namings):
            lines.append(f"column {column} names images in {namings[0].folder}/ too: these are not used")
    return lines


def _spare_images(guess: Guess, contents: Contents) -> list[str]:
    """Describe images in used folders that no row names, and unused folders."""
    form = guess.table
    if form.has_units:  # of a row's several images only the first is known here
        tops = (form.train_images, *([form.test_images] if guess.has_test else []))
        outside = [folder for folder in contents.images if not any(is_within(folder, top) for top in tops)]
        return _unused(outside, contents)
    wanted: dict[str, set[str]] = {form.train_images: _names(guess.files, form)}
    if guess.has_test:
        wanted.setdefault(form.test_images, set()).update(_names(guess.test_files, form))
    lines, used = [], set(wanted)
    for folder, names in wanted.items():
        nested = any("/" in name for name in names)
        files = contents.below(folder) if nested and not form.train_folders else contents.images.get(folder, [])
        if spare := sorted(set(files) - names):
            lines.append(f"{list_names(spare, 'image')} in {folder}/ without a row")
        if nested:
            used |= {inner for inner in contents.images if is_within(inner, folder)}
    if form.lists_images:
        images = set(contents.below(form.train_images))
        # `prepare` takes every file in a folder of labels for an image, whatever its name.
        if others := [name for name in guess.files if name not in images]:
            lines.append(f"{list_names(others, 'file')} in folders of labels without an image's extension: remove them")
    if form.train_folders:
        labelled = {f"{form.train_images}/{label}".removeprefix("./") for label in guess.labels}
        tests = {inner for inner in contents.images if guess.has_test and is_within(inner, form.test_images)}
        used = labelled | tests
    return lines + _unused(sorted(set(contents.images) - used), contents)


def _unused(unused: list[str], contents: Contents) -> list[str]:
    """Describe folders that are not used."""
    lines = []
    for folder in unused[:MAX_FOLDERS]:
        lines.append(f"{folder}/ is not used: {list_names(contents.images[folder], 'image')}")
    if rest := unused[MAX_FOLDERS:]:
        number = sum(len(contents.images[folder]) for folder in rest)
        lines.append(f"nor {list_names(rest, 'more folder')} with {number} images")
    return lines


def _names(files: np.ndarray, form: TableFormat) -> set[str]:
    """Return the names of all files of these images, one or one per channel."""
    plain = [plain_path(file) for file in files.tolist() if file]
    return {file.replace("*", channel) for channel in form.channel_files or ("",) for file in plain}


def _other_tables(guess: Guess, contents: Contents) -> list[str]:
    """Describe tables that are not used, and what they may be."""
    form, sample = guess.table, guess.sample
    test_ids = set() if sample is None else set(sample.frame[sample.id_column])
    used = {form.train_images, form.test_images, form.sample_csv, form.labels_csv, form.test_csv}
    used |= set() if form.lists_images else {form.train_csv}
    lines = []
    for csv, frame in contents.tables.items():
        if csv in used:
            continue
        columns = list(frame.columns)
        names_images = any(naming.share > MAJORITY for naming in match_names(frame[columns[0]], contents))
        if len(columns) == 1 and set(frame[columns[0]]) == test_ids:  # the sample submission lists the same ids
            continue
        if sum(bool(BOX_NAME.fullmatch(column)) or "center" in column for column in columns) >= 4:
            what = "boxes (for table.boxes_csv)"
        elif {form.id_column, *(form.label_columns or (form.label_column,))} <= set(columns):
            what = "more rows of the same kind (for table.extra), or answers"
        elif len(columns) == 1 and names_images:
            what = "a list of images (for table.left_out_csv or table.turned_csv)"
        else:
            what = f"columns {', '.join(columns[:6])}"
        lines.append(f"{csv} is not used: {len(frame)} rows, {what}")
    return lines
