"""Which of a competition's tables is which, and which of their columns hold ids, labels and groups.

What cannot be told is one clear line that names the candidates and the option to give.
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
from imettk.starter.naming import Naming, find_files, label_folders, match_names
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
MOST = 0.5  # share of rows that must have an image
FEWEST = 0.1  # different values a row, below which a column is no id, however often it stands
FEW_CLASSES = 10  # of whole numbers that are written with a point
MANY_NUMBERS = 20  # different whole numbers from which on they may be no classes
CLEARLY = 2  # times as many images as the next table names


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Facts that a user gives instead of having them guessed.

    Attributes:
        question: a row of QUESTIONS.
        images: the folder of those to train on, or `FOLDER/*.ENDING`.
        group_column: `none` is for no groups.
        metric: a row of METRICS, by which the competition judges.
        start: `quick` or `strong`, where the recipe begins.
        pixel_shape: of images whose pixels stand in a row; see `table.pixel_shape`.
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
        """True where a row has several labels, None where the data must tell."""
        return None if self.question is None else QUESTIONS[self.question].several


class TrainingRows(NamedTuple):
    """A table that may be the training table."""

    csv: str
    id_column: str
    naming: Naming
    reason: str


def find_rows(contents: Contents, choices: Choices, others: set[str | None]) -> TrainingRows | None:
    """The training table: what names images and has something to learn beside them; None where there is none.

    Raises:
        DataError: several may be it, or none names the images that are asked for.
    """
    if choices.images is None:
        return _find_rows(contents, choices, others)
    if (rows := _find_rows(restrict(contents, choices.images), choices, others)) is None:
        raise DataError(f"--images {choices.images}: no table names images there in half of its rows or more")
    return rows


def _find_rows(contents: Contents, choices: Choices, others: set[str | None]) -> TrainingRows | None:
    names = [choices.train_csv] if choices.train_csv else [csv for csv in contents.tables if csv not in others]
    answered = {column for csv, frame in contents.tables.items() if csv in others for column in frame.columns}
    candidates, of_numbers = [], []  # tables with nothing but numbers count where there is no other
    for csv in names:
        frame = contents.tables[csv]
        found = _find_ids(csv, frame, contents, choices)
        if found is None or (choices.train_csv is None and _is_of_tests(found)):
            continue
        asked_for = choices.train_csv is not None or choices.label_column in frame.columns
        # Folders below may be the labels, and a table that is not called after training be of something else.
        if not (asked_for or is_training(Path(csv).stem)) and found.naming.direct < MOST and label_folders(contents):
            continue
        numbers = {} if asked_for else dict.fromkeys(number_columns(frame, found.id_column))
        if asked_for or label_candidates(frame, found.id_column) or answered & {*numbers}:
            candidates.append(found)
        elif numbers:
            of_numbers.append(found)
    candidates = candidates or of_numbers
    if len(candidates) <= 1:
        what = "as asked for" if choices.train_csv else "the only table that names images and something beside them"
        return candidates[0]._replace(reason=what) if candidates else None
    stems = [Path(rows.csv).stem for rows in candidates]
    for fits in ([stem.lower() == "train" for stem in stems], [is_training(stem) for stem in stems]):
        called = [rows for rows, fit in zip(candidates, fits, strict=True) if fit]
        if len(called) == 1:
            return called[0]._replace(reason="by its name")
    first, second = sorted(candidates, key=lambda rows: -int(rows.naming.found.sum()))[:2]
    counts = [int(rows.naming.found.sum()) for rows in (first, second)]
    if counts[0] >= CLEARLY * counts[1]:
        return first._replace(reason=f"it names {counts[0]} images, {second.csv} {counts[1]}")
    listed = " or ".join(sorted(rows.csv for rows in candidates))
    raise DataError(f"the training table may be {listed}: each names images; give --train-csv")


def _is_of_tests(rows: TrainingRows) -> bool:
    """Whether a table is about test images, by its name and that of their folder."""
    return (is_held_out(rows.naming.folder) or is_held_out(Path(rows.csv).stem)) and not is_training(rows.csv)


def require_rows(contents: Contents, choices: Choices) -> None:
    """Raise `DataError` where a table or column was given that names no images."""
    if choices.train_csv in contents.tables:
        columns, folders = contents.tables[choices.train_csv].columns, contents.folders()
        raise DataError(
            f"{choices.train_csv}: no column of {', '.join(columns)} names an image in half of its rows or more; "
            f"images lie in {', '.join(folders[:5])}"
        )
    if choices.id_column:
        folder, files = next(iter(contents.images.items()))
        raise DataError(
            f"no table has a column {choices.id_column} that names an image in half of its rows or more, such as "
            f"{files[0]} in {folder}/, and labels beside it; leave --id-column out, or give another"
        )


def _find_ids(csv: str, frame: pd.DataFrame, contents: Contents, choices: Choices) -> TrainingRows | None:
    """The column whose values name the most images; of equal ones the first."""
    best: tuple[float, TrainingRows] | None = None
    for column in frame.columns if choices.id_column is None else {choices.id_column} & set(frame.columns):
        ids = frame[column]
        if ids.nunique() < FEWEST * len(ids):
            continue
        namings = match_names(ids, contents)
        if not namings or namings[0].share < MOST:
            continue
        alike = (namings[0].share, namings[0].is_beside_images)
        called = [each for each in namings if (each.share, each.is_beside_images) == alike]
        asked = split_pattern(choices.images)[0] if choices.images is not None else None
        fits = [each for each in called if is_training(each.folder.rpartition("/")[2])]
        naming = next(iter([*(each for each in namings if each.folder == asked), *fits, *called]))
        score = naming.share * ids.nunique() / len(ids)
        if best is None or score > best[0]:
            best = score, TrainingRows(csv, str(column), naming, "")
    if best is None:
        return None
    rows = best[1]
    folder = rows.naming.folder
    names = contents.below(folder) if "/" in rows.id_column else contents.images.get(folder, [])
    if find_files(pd.Series([rows.id_column]), names, rows.naming.suffix, rows.naming.channels)[0]:
        raise DataError(f"{csv} has no header: its first line names an image; put a line with columns' names above it")
    return rows


def tell_ids(rows: TrainingRows, frame: pd.DataFrame) -> Finding:
    """How ids name files, as a line to be shown."""
    naming, count = rows.naming, int(rows.naming.found.sum())
    behind = f"followed by {naming.suffix}" if naming.suffix else "as they are"
    if naming.channels:
        behind += f", where * is {', '.join(naming.channels)}"
    nested = naming.direct < 1
    pairs = zip(frame[rows.id_column], naming.files, strict=True)
    others = sum(bool(file) and not f"/{file}".endswith(f"/{_file_name(name)}{naming.suffix}") for name, file in pairs)
    if others:
        behind += f" ({others} by another ending or in another Unicode form)"
    reason = f"{count} of {len(frame)}, {behind}, are files in {naming.folder}/"
    if nested:
        folders = {file.rpartition("/")[0] for file in naming.files.tolist() if "/" in file}
        reason += f", which holds {naming.number} images in {len(folders)} folders: each is found by its name"
    change = "--id-column, table.train_images, .image_suffix"
    return Finding("ids and images", f"column {rows.id_column}", reason, change)


def _file_name(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def label_candidates(frame: pd.DataFrame, id_column: str) -> list[str]:
    """Columns that may hold labels."""
    return [column for column in _beside(frame, id_column) if _may_be_labels(frame[column].str.strip())]


def number_columns(frame: pd.DataFrame, id_column: str) -> list[str]:
    """Columns that may hold numbers to be learned."""
    return [column for column in _beside(frame, id_column) if are_numbers(frame[column].str.strip())]


def _beside(frame: pd.DataFrame, id_column: str) -> list[str]:
    """Columns that are neither ids nor boxes nor called like something else that is not learned."""
    columns = [column for column in frame.columns if column != id_column and not NO_LABEL.fullmatch(column)]
    boxes = [column for column in columns if BOX_NAME.fullmatch(column)]
    return [column for column in columns if len(boxes) < 4 or column not in boxes]


def plain_name(column: str) -> str:
    """Return a column's name in small letters, without signs, `id` and the end of a plural."""
    return re.sub(r"(ids?|s)$", "", re.sub(r"[\W_]+", "", column).lower()) or column.lower()


def _may_be_labels(cells: pd.Series) -> bool:
    return cells[cells != ""].nunique() > 1 and not are_numbers(cells)


def may_be_numbers(column: str, cells: pd.Series) -> bool:
    """Return whether cells are numbers with many different values, and the column's name does not say that they stand
    for classes or individuals."""
    full = cells[cells != ""]
    if full.nunique() <= MANY_NUMBERS or not full.str.fullmatch(r"-?\d+(\.\d+)?").all():
        return False
    return not (LABEL_NAME.fullmatch(column) or ID_NAME.fullmatch(column)) or column.lower().startswith("target")


def are_numbers(cells: pd.Series) -> bool:
    """Return whether half of the cells or more have a point, unless they are a few whole numbers: such as 1.0 are
    classes."""
    full = cells[cells != ""]
    if full.empty or full.str.fullmatch(r"-?\d*\.\d+(e-?\d+)?").mean() < 0.5:
        return False
    return full.nunique() > FEW_CLASSES or not full.str.fullmatch(r"-?\d+(\.0+)?").all()


def find_group(
    frame: pd.DataFrame, id_column: str, label_column: str, choices: Choices, findings: list[Finding]
) -> str | None:
    """The column whose rows should stay together: of several the coarsest."""
    if choices.group_column is not None:
        if choices.group_column.lower() == "none":
            return None
        require_columns(frame, Path("the training table"), [choices.group_column])
        column, reason = choices.group_column, "as asked for"
    else:
        others = [each for each in frame.columns if each not in (id_column, label_column)]
        columns = [each for each in others if GROUP_NAME.fullmatch(each) and _repeats(frame, each, label_column)]
        if not columns:
            return None
        counts = {each: frame[each].nunique() for each in columns}
        column, reason = min(columns, key=counts.__getitem__), "by its name, and values come again"
    number = frame[column][frame[column].str.strip() != ""].nunique()
    findings.append(
        Finding("groups", f"column {column}, {number} different", f"{reason}: they stay in one fold", "--group-column")
    )
    return column


def _repeats(frame: pd.DataFrame, column: str, label_column: str) -> bool:
    """Whether a column groups rows, and is not the label under another name."""
    number = frame[column].nunique()
    pairs = len(frame[[column, label_column]].drop_duplicates())
    return 2 < number < 0.98 * len(frame) and not pairs == number == frame[label_column].nunique()
