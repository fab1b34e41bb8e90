"""What is odd in a competition's folder, beside what was guessed of it: counted and named, one line each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import list_names
from imettk.data.image_search import plain_path
from imettk.data.part_names import is_within
from imettk.starter.guess_answers import Guess
from imettk.starter.guess_columns import BOX_NAME, FEWEST, MOST
from imettk.starter.guess_labels import odd_labels
from imettk.starter.guess_questions import auxiliary_candidates
from imettk.starter.look import Contents, Looks, list_endings
from imettk.starter.naming import match_names

MOST_FOLDERS = 10  # that are not used, before the others are only counted


def find_oddities(guess: Guess, contents: Contents, looks: Looks) -> list[str]:
    """Rows and images without each other, ids and labels that look wrong, tables and folders that are not used."""
    form, ids = guess.table, guess.frame[guess.table.id_column]
    lines = [*contents.unread, *contents.remarks, *guess.remarks]
    if contents.others:
        lines.append(f"files of other kinds are not read: {list_endings(contents.others)}")
    if not guess.found.all():
        lines.append(
            f"{list_names(ids[~guess.found], 'row')} without an image: dropped, as table.on_missing_image says"
        )
    if doubles := ids[ids.duplicated()].unique().tolist():
        lines.append(f"{list_names(doubles, 'id')} more than once: `prepare` stops there, for every id may stand once")
    lines += _shared_images(guess, ids)
    lines += _other_names(guess, contents)
    cells = guess.frame[form.label_column].str.strip()
    if (empty := cells == "").any():
        lines.append(f"{list_names(ids[empty], 'row')} without a label: {guess.question.without_label}")
    if form.group_column is not None and (alone := guess.frame[form.group_column].str.strip() == "").any():
        lines.append(f"{list_names(ids[alone], 'row')} without a {form.group_column}: each is a group of its own")
    lines += [*_beside(guess, contents), *odd_labels(guess.labels, guess.question, unknown=form.unknown_label)]
    if guess.sample is not None:
        names = guess.sample.frame[guess.sample.id_column]
        if not guess.test_found.all():
            stops = "" if guess.test_found.any() else ": `prepare` stops there until the test images are there"
            lines.append(f"{form.sample_csv}: {list_names(names[~guess.test_found], 'row')} without an image{stops}")
        # Rows that hold their images may be called by their numbers, as those of a test.
        if guess.linked is None and not form.holds_images and (both := sorted(set(names) & set(ids))):
            lines.append(f"{list_names(both, 'id')} both in {form.train_csv} and in {form.sample_csv}")
    if guess.judging.doubt is not None:
        lines.append(guess.judging.doubt)
    lines += _spare_images(guess, contents)
    lines += [f"an image cannot be read: {fault}" for fault in looks.unread[:3]]
    return lines + _other_tables(guess, contents)


def _shared_images(guess: Guess, ids: pd.Series) -> list[str]:
    """Ids that mean the image of another one, as `a` and `./a` do."""
    files = pd.Series([plain_path(file) for file in guess.files.tolist()], ids.index, dtype=str)
    first = ~ids.duplicated() & guess.found
    shared = ids[first & files.isin(files[first][files[first].duplicated()])]
    if shared.empty or guess.table.has_units:
        return []
    return [f"{list_names(shared, 'id')} that mean the same image as another one: `prepare` stops there"]


def _beside(guess: Guess, contents: Contents) -> list[str]:
    """Columns that could be learned beside what is asked for."""
    columns = auxiliary_candidates(guess.table, guess.frame, contents)
    what = "that only training images have: table.auxiliary_columns learns such beside what is asked for"
    return [f"{list_names(columns, 'column')} {what}"] if columns else []


def _other_names(guess: Guess, contents: Contents) -> list[str]:
    """Columns beside the ids that name images too."""
    form, frame = guess.table, guess.frame
    lines = []
    for column in frame.columns:
        if column in (form.id_column, form.label_column, *form.label_columns, *form.image_columns) or frame[
            column
        ].nunique() < FEWEST * len(frame):
            continue
        namings = match_names(frame[column], contents)
        if not namings or namings[0].share <= MOST:
            continue
        if not any(naming.is_same(form.train_images, guess.files) for naming in namings):
            lines.append(f"column {column} names images in {namings[0].folder}/ as well: they are not read")
    return lines


def _spare_images(guess: Guess, contents: Contents) -> list[str]:
    """Images in the folders that are used, and whole folders, that no row names."""
    form = guess.table
    if form.has_units:  # a row has several images, of which only the first is known here
        tops = (form.train_images, *([form.test_images] if guess.has_test else []))
        return _unused([each for each in contents.images if not any(is_within(each, top) for top in tops)], contents)
    wanted: dict[str, set[str]] = {form.train_images: _names(guess.files, form)}
    if guess.has_test:
        wanted.setdefault(form.test_images, set()).update(_names(guess.test_files, form))
    lines, used = [], set(wanted)
    for folder, names in wanted.items():
        nested = any("/" in name for name in names)
        there = contents.below(folder) if nested and not form.train_folders else contents.images.get(folder, [])
        if spare := sorted(set(there) - names):
            lines.append(f"{list_names(spare, 'image')} in {folder}/ without a row")
        if nested:
            used |= {each for each in contents.images if is_within(each, folder)}
    if form.lists_images:
        images = set(contents.below(form.train_images))
        if strange := [name for name in guess.files if name not in images]:
            lines.append(
                f"{list_names(strange, 'file')} in folders of labels are no images by their names: remove them"
            )
    if form.train_folders:
        labelled = {f"{form.train_images}/{label}".removeprefix("./") for label in guess.labels}
        tests = {each for each in contents.images if guess.has_test and is_within(each, form.test_images)}
        used = labelled | tests
    return lines + _unused(sorted(set(contents.images) - used), contents)


def _unused(unused: list[str], contents: Contents) -> list[str]:
    """Folders that are not used."""
    lines = []
    for folder in unused[:MOST_FOLDERS]:
        lines.append(f"{folder}/ is not used: {list_names(contents.images[folder], 'image')}")
    if rest := unused[MOST_FOLDERS:]:
        number = sum(len(contents.images[folder]) for folder in rest)
        lines.append(f"{list_names(rest, 'folder')} more with {number} images are not used")
    return lines


def _names(files: np.ndarray, form: TableFormat) -> set[str]:
    plain = [plain_path(file) for file in files.tolist() if file]
    return {file.replace("*", channel) for channel in form.channel_files or ("",) for file in plain}


def _other_tables(guess: Guess, contents: Contents) -> list[str]:
    """Tables that are not used, and what they may be."""
    form, sample = guess.table, guess.sample
    test_ids = set() if sample is None else set(sample.frame[sample.id_column])
    used = {form.train_images, form.test_images, form.sample_csv, form.labels_csv, form.test_csv}
    used |= set() if form.lists_images else {form.train_csv}
    lines = []
    for csv, frame in contents.tables.items():
        if csv in used:
            continue
        columns = list(frame.columns)
        names_images = any(naming.share > 0.5 for naming in match_names(frame[columns[0]], contents))
        if len(columns) == 1 and set(frame[columns[0]]) == test_ids:  # which the sample submission names as well
            continue
        if sum(bool(BOX_NAME.fullmatch(column)) or "center" in column for column in columns) >= 4:
            what = "boxes, which table.boxes_csv takes"
        elif {form.id_column, *(form.label_columns or (form.label_column,))} <= set(columns):
            what = "more rows of the same kind, which table.extra takes, or answers"
        elif len(columns) == 1 and names_images:
            what = "a list of images, such as table.left_out_csv or table.turned_csv take"
        else:
            what = f"columns {', '.join(columns[:6])}"
        lines.append(f"{csv} is not used: {len(frame)} rows, {what}")
    return lines
