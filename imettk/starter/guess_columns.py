"""The training table among a competition's tables, and its columns of ids, labels and groups.

Whatever cannot be guessed raises one clear line that names the candidates and the option to give.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from imettk.data.csv_files import require_columns
from imettk.data.part_names import is_held_out, is_training
from imettk.errors import DataError
from imettk.starter.finding import Finding
from imettk.starter.look import Contents
from imettk.starter.naming import MAJORITY, Naming, find_files, label_folders, match_names
from imettk.starter.naming_rivals import restrict, split_pattern
from imettk.starter.questions import QUESTIONS

LABEL_NAME = re.compile(
    r".*(labels?|class(es)?|targets?|categor(y|ies)|attributes?|tags?|breed|species|diagnosis|kind)([ _-]?ids?)?",
    re.IGNORECASE,
)
GROUP_NAME = re.compile(
    r".*(patient|subject|sender|user|owner|author|artist|person|antibody|group|site|case|series|study|session|animal"
    r"|individual|hospital|device|camera|batch|plate|slide|location)([ _-]?(id|code|name|number|nr|no))?",
    re.IGNORECASE,
)
BOX_NAME = re.compile(r"[xy]_?(\d|min|max|center|centre)?|left|top|right|bottom|w|h|width|height", re.IGNORECASE)
ID_NAME = re.compile(r".*(\b|_|[a-z](?=I))(id|identity|name|number|nr|no|code|individual)", re.IGNORECASE)
NO_LABEL = re.compile(r"unnamed.*|folds?|split|width|height|size|url|path|date.*|time.*|index|", re.IGNORECASE)
MIN_DISTINCT = 0.1  # distinct values per row that a column of ids has at least: an image may stand in several rows
FEW_CLASSES = 10  # whole numbers written with a point (1.0) are classes if there are at most so many distinct ones
MANY_NUMBERS = 20  # more distinct whole numbers than this may be quantities
CLEARLY = 2  # a table is the training table if it names this many times the images of the next one


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Facts that the user gives instead of having them guessed.

    Attributes:
        question: a row of QUESTIONS.
        images: the folder of training images, or `FOLDER/*.EXTENSION`.
        group_column: a column, or `none` for no groups.
        metric: the competition's metric, a row of METRICS.
        start: `quick` or `strong`, the network that the recipe starts with.
        pixel_shape: the shape of images that are stored as rows of pixels; see `table.pixel_shape`.
    """

    question: str | None = None
    train_csv: str | None = None
    id_column: str | None = None
    images: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    metric: str | None = None
    start: str | None = None
    pixel_shape: tuple[int, ...] | None = None

    @property
    def several(self) -> bool | None:
        """True if a row has several labels, False if it has one, None if that must be guessed."""
        return None if self.question is None else QUESTIONS[self.question].several


class TrainingRows(NamedTuple):
    """A candidate for the training table, and how its ids name images."""

    csv: str
    id_column: str
    naming: Naming
    reason: str


def find_rows(contents: Contents, choices: Choices, others: set[str | None]) -> TrainingRows | None:
    """Return the table that names images and has something to learn beside them, or None.

    Args:
        others: tables that are known to be something else.

    Raises:
        DataError: several tables qualify, or none names the requested images.
    """
    if choices.images is None:
        return _find_rows(contents, choices, others)
    if (rows := _find_rows(restrict(contents, choices.images), choices, others)) is None:
        raise DataError(f"--images {choices.images}: no table names images there in at least half of its rows")
    return rows


def _find_rows(contents: Contents, choices: Choices, others: set[str | None]) -> TrainingRows | None:
    names = [choices.train_csv] if choices.train_csv else [csv for csv in contents.tables if csv not in others]
    answered = {column for csv, frame in contents.tables.items() if csv in others for column in frame.columns}
    candidates, only_numbers = [], []
    for csv in names:
        frame = contents.tables[csv]
        rows = _find_ids(csv, frame, contents, choices)
        if rows is None or (choices.train_csv is None and _lists_tests(rows)):
            continue
        requested = choices.train_csv is not None or choices.label_column in frame.columns
        # If images lie in folders that may be labels, only a table called after training outweighs them: any other may
        # describe something else.
        if not (requested or is_training(Path(csv).stem)) and rows.naming.direct < MAJORITY and label_folders(contents):
            continue
        numbers = {} if requested else dict.fromkeys(number_columns(frame, rows.id_column))
        if requested or label_candidates(frame, rows.id_column) or answered & {*numbers}:
            candidates.append(rows)
        elif numbers:
            only_numbers.append(rows)
    # A table of measurements only (sizes, coordinates) is the training table if nothing better is there.
    return _choose_table(candidates or only_numbers, choices)


def _choose_table(candidates: list[TrainingRows], choices: Choices) -> TrainingRows | None:
    """Return the training table among candidates, with the reason; None without any."""
    if len(candidates) <= 1:
        reason = "as requested" if choices.train_csv else "the only table that names images and something beside them"
        return candidates[0]._replace(reason=reason) if candidates else None
    stems = [Path(rows.csv).stem for rows in candidates]
    for fits in ([stem.lower() == "train" for stem in stems], [is_training(stem) for stem in stems]):
        fitting = [rows for rows, fit in zip(candidates, fits, strict=True) if fit]
        if len(fitting) == 1:
            return fitting[0]._replace(reason="chosen by its name")
    first, second = sorted(candidates, key=lambda rows: -int(rows.naming.found.sum()))[:2]
    counts = [int(rows.naming.found.sum()) for rows in (first, second)]
    if counts[0] >= CLEARLY * counts[1]:
        return first._replace(reason=f"it names {counts[0]} images, {second.csv} only {counts[1]}")
    listed = " or ".join(sorted(rows.csv for rows in candidates))
    raise DataError(f"the training table may be {listed}, as each of them names images: give --train-csv")


def _lists_tests(rows: TrainingRows) -> bool:
    """Return whether a table lists test images, by its name and the name of their folder."""
    return (is_held_out(rows.naming.folder) or is_held_out(Path(rows.csv).stem)) and not is_training(rows.csv)


def require_rows(contents: Contents, choices: Choices) -> None:
    """Raise `DataError` if the requested table or column does not name images."""
    if choices.train_csv in contents.tables:
        columns, folders = contents.tables[choices.train_csv].columns, contents.folders()
        raise DataError(
            f"{choices.train_csv}: none of its columns {', '.join(columns)} names an image in at least half of its "
            f"rows; images lie in {', '.join(folders[:5])}"
        )
    if choices.id_column:
        folder, files = next(iter(contents.images.items()))
        raise DataError(
            f"no table has a column {choices.id_column} that names an image, such as {files[0]} in {folder}/, in at "
            "least half of its rows, with labels beside it: leave --id-column out, or give another column"
        )


def _find_ids(csv: str, frame: pd.DataFrame, contents: Contents, choices: Choices) -> TrainingRows | None:
    """Return the column whose values name the most images, the first of equal ones; None if none names enough.

    Raises:
        DataError: the table has no header.
    """
    best: tuple[float, TrainingRows] | None = None
    for column in frame.columns if choices.id_column is None else {choices.id_column} & set(frame.columns):
        ids = frame[column]
        if ids.nunique() < MIN_DISTINCT * len(ids):
            continue
        namings = match_names(ids, contents)
        if not namings or namings[0].share < MAJORITY:
            continue
        rank = (namings[0].share, namings[0].is_beside_images)
        equals = [naming for naming in namings if (naming.share, naming.is_beside_images) == rank]
        requested = split_pattern(choices.images)[0] if choices.images is not None else None
        fits = [naming for naming in equals if is_training(naming.folder.rpartition("/")[2])]
        naming = next(iter([*(naming for naming in namings if naming.folder == requested), *fits, *equals]))
        # Weighted by the share of distinct values: labels such as 1 and 2 may name 1.jpg and 2.jpg in every row.
        score = naming.share * ids.nunique() / len(ids)
        if best is None or score > best[0]:
            best = score, TrainingRows(csv, str(column), naming, "")
    if best is None:
        return None
    rows = best[1]
    folder = rows.naming.folder
    names = contents.below(folder) if "/" in rows.id_column else contents.images.get(folder, [])
    if find_files(pd.Series([rows.id_column]), names, rows.naming.suffix, rows.naming.channels)[0]:
        raise DataError(f"{csv} has no header: its first line names an image; put a line of column names above it")
    return rows


def describe_ids(rows: TrainingRows, frame: pd.DataFrame) -> Finding:
    """Describe how ids name files."""
    naming, count = rows.naming, int(rows.naming.found.sum())
    how = f", followed by {naming.suffix}" if naming.suffix else ""
    if naming.channels:
        how += f" (* is {', '.join(naming.channels)})"
    nested = naming.direct < 1
    pairs = zip(frame[rows.id_column], naming.files, strict=True)
    others = sum(bool(file) and not f"/{file}".endswith(f"/{_file_name(name)}{naming.suffix}") for name, file in pairs)
    if others:
        how += f" ({others} with another extension or in another Unicode form)"
    reason = f"{count} of {len(frame)} ids{how}{',' if how else ''} are files in {naming.folder}/"
    if nested:
        folders = {file.rpartition("/")[0] for file in naming.files.tolist() if "/" in file}
        reason += f", which holds {naming.number} images in {len(folders)} folders: each is found by its name"
    change = "--id-column, table.train_images, .image_suffix"
    return Finding("ids and images", f"column {rows.id_column}", reason, change)


def _file_name(name: str) -> str:
    """Return the last part of a path, whose separators may be those of Windows."""
    return re.split(r"[/\\]", name)[-1]


def label_candidates(frame: pd.DataFrame, id_column: str) -> list[str]:
    """Return the columns that may hold labels."""
    return [column for column in _learnable(frame, id_column) if _may_be_labels(frame[column].str.strip())]


def number_columns(frame: pd.DataFrame, id_column: str) -> list[str]:
    """Return the columns that may hold numbers to learn."""
    return [column for column in _learnable(frame, id_column) if are_numbers(frame[column].str.strip())]


def _learnable(frame: pd.DataFrame, id_column: str) -> list[str]:
    """Return the columns other than ids, boxes, and those whose name rules labels out."""
    columns = [column for column in frame.columns if column != id_column and not NO_LABEL.fullmatch(column)]
    boxes = [column for column in columns if BOX_NAME.fullmatch(column)]
    # A box has four columns; fewer, such as a lone `x` or `top`, may be labels.
    return [column for column in columns if len(boxes) < 4 or column not in boxes]


def plain_name(column: str) -> str:
    """Return a column's name in lower case, without signs and without a final `id` or plural s."""
    return re.sub(r"(ids?|s)$", "", re.sub(r"[\W_]+", "", column).lower()) or column.lower()


def _may_be_labels(cells: pd.Series) -> bool:
    """Return whether cells differ and are not numbers."""
    return cells[cells != ""].nunique() > 1 and not are_numbers(cells)


def may_be_numbers(column: str, cells: pd.Series) -> bool:
    """Return whether cells are numbers with many distinct values, in a column not called after classes or ids."""
    full = cells[cells != ""]
    if full.nunique() <= MANY_NUMBERS or not full.str.fullmatch(r"-?\d+(\.\d+)?").all():
        return False
    return not (LABEL_NAME.fullmatch(column) or ID_NAME.fullmatch(column)) or column.lower().startswith("target")


def are_numbers(cells: pd.Series) -> bool:
    """Return whether at least half of the cells have a decimal point, and they are more than a few whole numbers."""
    full = cells[cells != ""]
    # pandas writes integer classes as 1.0 once a column has an empty cell: a few of those are still classes.
    if full.empty or full.str.fullmatch(r"-?\d*\.\d+(e-?\d+)?").mean() < 0.5:
        return False
    return full.nunique() > FEW_CLASSES or not full.str.fullmatch(r"-?\d+(\.0+)?").all()


def find_group(
    frame: pd.DataFrame, id_column: str, label_column: str, choices: Choices, findings: list[Finding]
) -> str | None:
    """Return the column whose equal values should stay in one fold, the coarsest of several; None without any."""
    if choices.group_column is not None:
        if choices.group_column.lower() == "none":
            return None
        require_columns(frame, Path("the training table"), [choices.group_column])
        column, reason = choices.group_column, "as requested"
    else:
        others = [name for name in frame.columns if name not in (id_column, label_column)]
        columns = [name for name in others if GROUP_NAME.fullmatch(name) and _repeats(frame, name, label_column)]
        if not columns:
            return None
        counts = {name: frame[name].nunique() for name in columns}
        column, reason = min(columns, key=counts.__getitem__), "chosen by its name, and its values repeat"
    number = frame[column][frame[column].str.strip() != ""].nunique()
    value = f"column {column}, {number} distinct values"
    findings.append(Finding("groups", value, f"{reason}; each group stays in one fold", "--group-column"))
    return column


def _repeats(frame: pd.DataFrame, column: str, label_column: str) -> bool:
    """Return whether a column groups rows, and is not the label under another name."""
    # As many pairs as values and as labels: the column is one-to-one with the label, as a name beside its number.
    number = frame[column].nunique()
    pairs = len(frame[[column, label_column]].drop_duplicates())
    return 2 < number < 0.98 * len(frame) and not pairs == number == frame[label_column].nunique()
