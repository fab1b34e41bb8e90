"""Tables that name images otherwise than a recipe can say: in one line how, so that none is passed over in silence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from imettk.data.image_files import ENDING_SIGNS, compose, without_ending
from imettk.data.part_names import is_held_out, is_training
from imettk.errors import DataError
from imettk.starter.guess_columns import FEWEST, MOST, Choices, TrainingRows, label_candidates, number_columns
from imettk.starter.look import Contents
from imettk.starter.naming import Naming, match_names
from imettk.starter.naming_rivals import find_rivals

LEAST = 2  # ids that must name something, so that it is no accident
SHARE = 0.01  # of the ids that must
FILES_AN_ID = 10  # what names more files than these, on average, is a class
TOLD = 0.05  # share of a table's rows from which on such names are an error


class Place(NamedTuple):
    """An image file that an id means, and how.

    Attributes:
        ending: what follows the id in its name; None where the id is a path that is not there.
    """

    folder: str
    name: str
    ending: str | None

    @property
    def path(self) -> str:
        return self.name if self.folder == "." else f"{self.folder}/{self.name}"


class Misfit(NamedTuple):
    """A table that may be the training table, though its ids do not name images as they should.

    Attributes:
        named: how many rows name something.
        what: says what they name, and what to do.
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
    """The one of these tables that names the most images, in whatever way, and has something to learn beside; of
    several the one that is called after training.

    Args:
        id_column: the only column that may hold ids, None for any.
    """
    found = [misfit for csv in names if (misfit := _misfit(csv, contents, id_column)) is not None]
    return max(found, key=lambda misfit: (is_training(misfit.csv), misfit.named), default=None)


def _misfit(csv: str, contents: Contents, id_column: str | None) -> Misfit | None:
    frame = contents.tables[csv]
    columns = [column for column in map(str, frame.columns) if frame[column].nunique() >= FEWEST * len(frame)]
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
                f"name folders of images, such as {folders[0]}/: for one answer a folder, each stands in one row, and "
                "half of the rows or more have one"
            )
        elif files[column] and is_training(csv) and (numbers := number_columns(frame, column)):
            known = list(files[column])
            what = (
                f"name images, with numbers beside them ({', '.join(numbers[:3])}), which are learned where "
                "--label-column names one of them"
            )
        else:
            continue
        if best is None or len(known) > best.named:
            num_named = int(frame[column].isin(known).sum())
            best = Misfit(csv, column, num_named, len(frame), what, of_folders=not files[column])
    return best


def _name_files(ids: pd.Series, contents: Contents) -> dict[str, list[Place]]:
    """The files that the ids of a column mean; none where that is an accident."""
    places = find_places(ids, contents, training=True)
    few = sum(map(len, places.values())) <= FILES_AN_ID * len(places)
    return places if few and _enough(len(places), ids) else {}


def _enough(number: int, ids: pd.Series) -> bool:
    return number >= max(min(LEAST, ids.nunique()), SHARE * ids.nunique())


def _find_folders(ids: pd.Series, contents: Contents) -> list[str]:
    """The folders with images that ids name."""
    known = set(ids)
    return [folder for folder in contents.images if folder.rpartition("/")[2] in known and not is_held_out(folder)]


def find_places(ids: pd.Series, contents: Contents, *, training: bool) -> dict[str, list[Place]]:
    """The image files that ids mean, whatever their folder, their ending and the Unicode form of their name.

    Args:
        training: pass over folders whose name says that they are for testing or validation.
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
    """By what a file may be known to an id: the whole of it, the end of its path, and that without its ending."""
    name = compose(name.strip())
    file = name.replace("\\", "/").rpartition("/")[2]
    return [key for key in (name, file, file.rpartition(".")[0]) if key]


def _place(name: str, folder: str, file: str) -> Place:
    """How an id means a file."""
    path = "/" + compose(file if folder == "." else f"{folder}/{file}")
    at = path.rfind("/" + compose(name))
    if at >= 0:
        return Place(folder, file, path[at + 1 + len(compose(name)) :])
    return Place(folder, file, None if set("/\\") & set(name) else "")


def describe_places(places: dict[str, list[Place]], *, suffix: str | None = None) -> str:
    """How ids name images by which a recipe does not find them, and what to do about it.

    Args:
        suffix: what the ids of the training table have behind them.
    """
    first = [(name, found[0]) for name, found in places.items()]
    paths = [pair for pair in first if pair[1].ending is None]
    are_paths = len(paths) > len(first) / 2
    name, place = (paths if are_paths else [pair for pair in first if pair[1].ending is not None])[0]
    example = f"{name} is {place.path}"
    if are_paths:
        return f"are paths that are not there ({example}): write paths from the folder of images into the column"
    endings = {place.ending for _, place in first}
    if suffix is not None and suffix not in endings:
        return (
            f"name images ({example}) behind which stands {place.ending!r}, and {suffix!r} behind those of training "
            "rows: make them alike"
        )
    folders = {place.folder for name, place in first if "/" not in name}
    if len(folders) > 1:
        return (
            f"name images in {len(folders)} folders ({example}): put them, or links to them, into one, or write the "
            "way there into the column as well"
        )
    if suffix is not None:
        return f"name images ({example}) that are not found by their names: put them, or links to them, into one folder"
    return f"name images ({example}), fewer than half: leave the others out of the table, or add their images"


def refuse_more_images(frame: pd.DataFrame, rows: TrainingRows, contents: Contents, choices: Choices) -> None:
    """Raise `DataError` where rows have several images, by one column or by several; what was asked for is taken."""
    _refuse_rivals(frame, rows, contents, choices)
    if choices.id_column is not None:
        return
    for column in map(str, frame.columns):
        if column == rows.id_column or frame[column].nunique() < MOST * len(frame):
            continue
        namings = match_names(frame[column], contents)
        if not namings or namings[0].share < MOST:
            continue
        here, there = rows.naming, namings[0]
        if not any(naming.is_same(here.folder, here.files) for naming in namings):
            raise DataError(
                f"{rows.csv}: columns {rows.id_column} and {column} both name images (in {here.folder}/ and "
                f"{there.folder}/), and a row of two images cannot be read yet: give "
                + _say_columns(frame, {rows.id_column: here, column: there})
            )


def _say_columns(frame: pd.DataFrame, namings: dict[str, Naming]) -> str:
    """Return the option that takes each of these columns, with what it means for the first row for which they differ;
    those first whose cells are names of files, as numbers of rows may be names by accident."""
    paths = {
        column: [f"{naming.folder}/{file}" if file else "" for file in naming.files.tolist()]
        for column, naming in namings.items()
    }
    places = enumerate(zip(*paths.values(), strict=True))
    row = next((row for row, files in places if all(files) and len({*files}) == len(files)), 0)

    def is_file(column: str) -> bool:
        return bool((frame[column] != frame[column].map(without_ending)).mean() > MOST)

    columns = sorted(namings, key=is_file, reverse=True)
    options = [f"--id-column {column} ({frame[column].iloc[row]} is {paths[column][row]})" for column in columns]
    return " or ".join(options)


def _refuse_rivals(frame: pd.DataFrame, rows: TrainingRows, contents: Contents, choices: Choices) -> None:
    """Raise `DataError` where it cannot be told which of several pictures of each row is meant."""
    if choices.images is None and (places := find_rivals(frame[rows.id_column], rows.naming, contents)):
        listed = " and ".join(places)
        raise DataError(f"{rows.csv}: column {rows.id_column} names images in {listed}; give one of them as --images")
