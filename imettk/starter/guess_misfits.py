"""Tables that name images in a way no recipe can express: each is reported in one line, never ignored in silence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from imettk.data.image_files import ENDING_SIGNS, compose, without_ending
from imettk.data.part_names import is_held_out, is_training
from imettk.errors import DataError
from imettk.starter.guess_columns import MIN_DISTINCT, Choices, TrainingRows, label_candidates, number_columns
from imettk.starter.look import Contents
from imettk.starter.naming import MAJORITY, Naming, match_names
from imettk.starter.naming_rivals import find_rivals
from imettk.starter.walk import path_in

# Fewer ids than these name something by accident only.
MIN_NAMED = 2
MIN_NAMED_SHARE = 0.01
MAX_FILES_PER_ID = 10  # cells that name more files than this, on average, are classes
TOLERATED = 0.05  # odd ids in more than this share of a table's rows are an error, in fewer an oversight


class Place(NamedTuple):
    """An image file that an id seems to mean.

    Attributes:
        ending: what follows the id in the file's name; None if the id is a path that does not exist.
    """

    folder: str
    name: str
    ending: str | None

    @property
    def path(self) -> str:
        """The path of the file within the competition's folder."""
        return path_in(self.folder, self.name)


class Misfit(NamedTuple):
    """A table that may be the training table, though its ids do not name images as they should.

    Attributes:
        named: the number of rows that name something.
        what: the rest of the message: what they name, and what to do.
        of_folders: they name folders of images.
    """

    csv: str
    column: str
    named: int
    rows: int
    what: str
    of_folders: bool

    def __str__(self) -> str:
        return f"{self.csv}: {self.named} of {self.rows} values of column {self.column} {self.what}"


def find_misfit(contents: Contents, names: Iterable[str], id_column: str | None) -> Misfit | None:
    """Return the table that names the most images in any way and has something to learn beside them, or None.

    Args:
        names: the tables to consider; those called after training come first.
        id_column: the only column that may hold ids, None for any.
    """
    misfits = [misfit for csv in names if (misfit := _find_misfit(csv, contents, id_column)) is not None]
    return max(misfits, key=lambda misfit: (is_training(misfit.csv), misfit.named), default=None)


def _find_misfit(csv: str, contents: Contents, id_column: str | None) -> Misfit | None:
    """Return the column of a table that names the most images or folders, as a misfit; None without any."""
    frame = contents.tables[csv]
    columns = [column for column in map(str, frame.columns) if frame[column].nunique() >= MIN_DISTINCT * len(frame)]
    folders_of = {column: _find_folders(frame[column], contents) for column in columns}
    lists_folders = any(
        frame[column].is_unique and len(folders) >= len(frame) for column, folders in folders_of.items()
    )
    files = {column: {} if lists_folders else _name_files(frame[column], contents) for column in columns}
    best: Misfit | None = None
    for column in columns if id_column is None else {id_column} & {*columns}:
        # Labels such as 0 to 24 may name 0.png to 24.png, but not as many images as ids do.
        most = len(files[column])
        beside = [other for other in label_candidates(frame, column) if len(files.get(other, ())) < max(1, most)]
        folders = folders_of[column]
        if beside and files[column]:
            what, known = describe_places(files[column]), list(files[column])
        elif any(frame[other].nunique() < len(frame) for other in beside) and _enough(len(folders), frame[column]):
            # Where no value beside comes again, it may be a list of labels with their names.
            known = [folder.rpartition("/")[2] for folder in folders]
            what = (
                f"name folders of images, such as {folders[0]}/: for one answer per folder, list each folder in one "
                "row, and have at least half of the listed folders there"
            )
        elif files[column] and is_training(csv) and (numbers := number_columns(frame, column)):
            known = list(files[column])
            what = (
                f"name images, with numbers beside them ({', '.join(numbers[:3])}): to learn one of these, give it as "
                "--label-column"
            )
        else:
            continue
        if best is None or len(known) > best.named:
            num_named = int(frame[column].isin(known).sum())
            best = Misfit(csv, column, num_named, len(frame), what, of_folders=not files[column])
    return best


def _name_files(ids: pd.Series, contents: Contents) -> dict[str, list[Place]]:
    """Return the files that the ids of a column mean, none if there are too few or too many to be meant."""
    places = find_places(ids, contents, training=True)
    few = sum(map(len, places.values())) <= MAX_FILES_PER_ID * len(places)
    return places if few and _enough(len(places), ids) else {}


def _enough(number: int, ids: pd.Series) -> bool:
    """Return whether so many ids of a column cannot name something by accident."""
    return number >= max(min(MIN_NAMED, ids.nunique()), MIN_NAMED_SHARE * ids.nunique())


def _find_folders(ids: pd.Series, contents: Contents) -> list[str]:
    """Return the folders of images that ids name."""
    known = set(ids)
    return [folder for folder in contents.images if folder.rpartition("/")[2] in known and not is_held_out(folder)]


def find_places(ids: pd.Series, contents: Contents, *, training: bool) -> dict[str, list[Place]]:
    """Return the image files that ids mean, in any folder, with any extension and in any Unicode form.

    Args:
        training: skip folders called after testing or validation.
    """
    wanted: dict[str, str] = {}
    for known in ids.unique():
        for key in _keys(known):
            wanted.setdefault(key, known)
    places: dict[str, list[Place]] = {}
    for folder, files in contents.images.items():
        if training and is_held_out(folder):
            continue
        for file in files:
            plain = compose(file)
            ends = [len(plain), *(at for at in range(len(plain) - 1, 0, -1) if plain[at] in ENDING_SIGNS)]
            name = next((wanted[plain[:end]] for end in ends if plain[:end] in wanted), None)
            if name is not None:
                places.setdefault(name, []).append(_place(name, folder, file))
    return places


def _keys(name: str) -> list[str]:
    """Return the names by which an id may mean a file: the whole id, its last part, and that without extension."""
    name = compose(name.strip())
    file = name.replace("\\", "/").rpartition("/")[2]
    return [key for key in (name, file, file.rpartition(".")[0]) if key]


def _place(name: str, folder: str, file: str) -> Place:
    """Describe how an id means a file."""
    path = "/" + compose(path_in(folder, file))
    at = path.rfind("/" + compose(name))
    if at >= 0:
        return Place(folder, file, path[at + 1 + len(compose(name)) :])
    return Place(folder, file, None if set("/\\") & set(name) else "")


def describe_places(places: dict[str, list[Place]], *, suffix: str | None = None) -> str:
    """Describe how ids name images that a recipe would not find, and what to do about it.

    Args:
        suffix: what follows the ids of the training table in names of files, if known.
    """
    first = [(name, named[0]) for name, named in places.items()]
    paths = [pair for pair in first if pair[1].ending is None]
    are_paths = len(paths) > len(first) / 2
    name, place = (paths if are_paths else [pair for pair in first if pair[1].ending is not None])[0]
    example = f"{name} is {place.path}"
    if are_paths:
        return f"are paths that do not exist ({example}): write paths relative to the folder of images into the column"
    endings = {place.ending for _, place in first}
    if suffix is not None and suffix not in endings:
        return (
            f"are followed by {place.ending!r} in the names of images ({example}), but ids of training rows by "
            f"{suffix!r}: make the two alike"
        )
    folders = {place.folder for name, place in first if "/" not in name}
    if len(folders) > 1:
        return (
            f"name images in {len(folders)} folders ({example}): put the images, or links to them, into one folder, or "
            "write the paths into the column"
        )
    if suffix is not None:
        return f"name images ({example}) that are not found by name: put the images, or links to them, into one folder"
    return f"name images ({example}), fewer than half: leave the other rows out of the table, or add their images"


def refuse_more_images(frame: pd.DataFrame, rows: TrainingRows, contents: Contents, choices: Choices) -> None:
    """Raise `DataError` if rows have several images, in one column or in several, and no option chooses among them."""
    _refuse_rivals(frame, rows, contents, choices)
    if choices.id_column is not None:
        return
    for column in map(str, frame.columns):
        if column == rows.id_column or frame[column].nunique() < MAJORITY * len(frame):
            continue
        namings = match_names(frame[column], contents)
        if not namings or namings[0].share < MAJORITY:
            continue
        here, there = rows.naming, namings[0]
        if not any(naming.is_same(here.folder, here.files) for naming in namings):
            raise DataError(
                f"{rows.csv}: columns {rows.id_column} and {column} both name images (in {here.folder}/ and "
                f"{there.folder}/), and rows of two images in different folders are not supported: give "
                + _list_options(frame, {rows.id_column: here, column: there})
            )


def _list_options(frame: pd.DataFrame, namings: dict[str, Naming]) -> str:
    """List the options that choose one of these columns, with the image that each means for a row where they differ."""
    paths = {
        column: [f"{naming.folder}/{file}" if file else "" for file in naming.files.tolist()]
        for column, naming in namings.items()
    }
    rows = enumerate(zip(*paths.values(), strict=True))
    row = next((row for row, files in rows if all(files) and len({*files}) == len(files)), 0)

    def holds_file_names(column: str) -> bool:
        return bool((frame[column] != frame[column].map(without_ending)).mean() > MAJORITY)

    # Row numbers may name images by accident, so a column of file names is advised first.
    columns = sorted(namings, key=holds_file_names, reverse=True)
    options = [f"--id-column {column} ({frame[column].iloc[row]} is {paths[column][row]})" for column in columns]
    return " or ".join(options)


def _refuse_rivals(frame: pd.DataFrame, rows: TrainingRows, contents: Contents, choices: Choices) -> None:
    """Raise `DataError` if each row has several pictures, and nothing tells which one is meant."""
    if choices.images is None and (places := find_rivals(frame[rows.id_column], rows.naming, contents)):
        listed = " and ".join(places)
        raise DataError(f"{rows.csv}: column {rows.id_column} names images in {listed}: give one of them as --images")
