"""What a recipe says of a competition's tables: frozen dataclasses that check their own ranges when made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imettk.config.image_path import check_image_path, columns_of
from imettk.config.section import Section
from imettk.config.units import check_units

if TYPE_CHECKING:
    from imettk.tasks import Task

CELL_SEPARATOR = "\x1f"  # (ASCII: unit separator) between labels in cells that were made here; no name holds it


def _is_rows(text: str | None) -> bool:
    """Return whether a text is a pattern of rows' ids, or may be a column's name; None is neither, and allowed."""
    is_pattern = text is not None and sorted(re.findall(r"\{[^{}]*\}", text)) == ["{id}", "{label}"]
    return is_pattern or not set("{}") & set(text or "")


def _has_group(pattern: str) -> bool:
    try:
        return re.compile(pattern).groups > 0
    except re.error:
        return False


@dataclass(frozen=True, kw_only=True)
class ExtraTable(Section):
    """More rows to train on, in the columns of the training table: external or pseudo-labelled.

    Attributes:
        csv: relative to the data folder, as is `images`.
        image_suffix: None takes that of the training table.
        weight: how often each row comes in an epoch; 0.5 takes half of the rows, others each time.
        predictions: the file beside a csv of `imettk pseudo`: each fold trains on what its own models say of these
            rows, which have not seen the fold's validation rows, and leaves out those that they are not sure of.
        validates: its rows are dealt to folds too, by themselves, and validate where they do not train; else they
            train in every fold.
        new_labels: labels that only this table has are labels too; else such a row is an error.
    """

    csv: str
    images: str
    image_suffix: str | None = None
    weight: float = 1.0
    predictions: str | None = None
    validates: bool = False
    new_labels: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(weight=1000)
        self._require(self.weight > 0, "weight", "above 0")
        self._require(self.predictions is None or not self.validates, "validates", "false for pseudo labels")


@dataclass(frozen=True, kw_only=True)
class TableFormat(Section):
    """How a competition's files name their rows, labels and images; paths are relative to the data folder.

    A field that ends in `csv` names a table of any kind that `config.file_kinds` lists, such as `train.parquet`.

    Attributes:
        labels_csv: every label's id and name; without it the labels are those of `train_csv`, sorted.
        group_column: rows of one group never straddle train and validation.
        group_pattern: or a regular expression for the id (of the unit, where there are units), whose first group names
            it; an id without a match is alone.
        train_folders: instead of `train_csv`, the folders of `train_images`: each is a label, and holds its images; an
            id is `FOLDER/FILE`.
        train_files: instead of `train_csv`, the files in `train_images`: an id is a file's name, in which
            `label_pattern` finds the label.
        label_pattern: where a csv lacks `label_column`, a regular expression for the id, whose first group is the
            label; an id without a match has the unknown label.
        label_columns: instead of `label_column`, a column of 0 and 1 (or true and false) for each label, called so; of
            numbers, a column for each target; of votes, a column for each label, with how many it has or their share;
            of questions, a column for each, with its classes.
        train_rows: training tables have a row for each image and each of `label_columns`, with what it is in
            `label_column`: a pattern of their ids, such as `{id}__{label}`, or the column that holds the label.
        join_rows: rows of one id are one image, with the labels of all of them; where an image has one label, that of
            all its rows.
        auxiliary_columns: columns that are trained beside `label_columns` and never answered: more numbers beside
            numbers, more questions beside questions; an empty cell teaches nothing.
        label_lists: cells of `label_column` are lists such as ['a', 'b']. Those of a submission are where the sample
            has lists; else its labels are joined by `label_separator`.
        unknown_label: what stands for every identity that is not known, such as `new_whale`: its rows never train and
            are right where a query is said to be of no known identity.
        merged_csv: identities that turned out to be one, a line each, separated by spaces in its last column; they
            all take the label of the one with the most rows.
        sample_id_column: holds the ids in the sample submission, where it is not called `id_column` there.
        answer_column: of the sample submission, where it differs from `label_column`.
        answer_columns: or several of them: one for each ranked answer, best first, or for each label's probability, or
            1 and 0. Without either they are `label_columns`.
        sample_rows: the sample submission has a row for each image and each of `answer_columns` (or `label_columns`),
            whose answers go into `answer_column`: a pattern of its ids, such as `{id}__{label}`, or the column that
            holds the label.
        kept_columns: of the sample submission, those that stay as they are; any other that nothing fills is an error.
        only_group: learn the labels of this group alone, as one of several models; others in a row are passed over.
        name_separator: what ends the group in a label's name, as in `culture::french`.
        image_suffix: what follows the id in a file's name; empty where the id holds it. A file that ends otherwise, or
            whose name is in another Unicode form, is found all the same where no file has the very name.
        channel_files: where an image is several grey files, what stands for `*` in `image_suffix`, one name a channel.
        on_missing_image: a row without an image stops `prepare`, or is dropped, counted and named.
        boxes_csv: the part of each image that is looked at, for train and test; images without a row are seen whole.
        box_id_column: holds ids, or names of image files.
        box_columns: left, top, right and bottom, or centre x, centre y, width and height.
        box_format: `corners` in pixels, or `centre` as shares of the image's width and height.
        turned_csv: ids, or names of image files, one a line, of images to turn by 180 degrees (after their box is cut).
        left_out_csv: those of training rows to leave out.
        unit_columns: where several images, a row each, give one answer: the columns that name what it is for (a study,
            or a patient and a side), joined by `_` as in the sample submission. `rule.pool` says how.
        unit_folders: or a row is such a unit, and its images lie in the folder of its id.
        image_columns: or a row is a unit, and each of these columns names an image of it.
        image_path: a pattern of columns, such as `{chain}/{image}`, that makes an image's name below `train_images` and
            `test_images`; without it the id is that name. What an empty cell leaves of it is its name. Where a table
            lacks one of the columns, as those of test images may, the id is.
        test_csv: the images of the test set, with the columns of `image_path`, and their units as `unit_columns` or the
            sample name them; a row is as one of the training table, but for labels. Folders need none.
        train_images: a folder, or a file that holds many images (HDF5, `.npz`, `.npy`, or a parquet, csv or JSON table
            of pixels), or a pattern such as `train_*.parquet` of several that are one; as `test_images`. Images in it
            are called by their ids; where it has none, arrays by their position from 0, rows by their number from 1.
        pixel_shape: of images whose pixels stand in a row of such a table: (height, width), or three numbers with the
            channels before or behind them. None takes a square.
    """

    task: str = "multilabel"
    train_csv: str = "train.csv"
    sample_csv: str = "sample_submission.csv"
    id_column: str = "id"
    label_column: str = "attribute_ids"
    label_separator: str = " "
    group_column: str | None = None
    group_pattern: str | None = None
    train_folders: bool = False
    train_files: bool = False
    label_pattern: str | None = None
    label_columns: tuple[str, ...] = ()
    train_rows: str | None = None
    join_rows: bool = False
    auxiliary_columns: tuple[str, ...] = ()
    label_lists: bool = False
    unknown_label: str | None = None
    merged_csv: str | None = None
    sample_id_column: str | None = None
    answer_column: str | None = None
    answer_columns: tuple[str, ...] = ()
    sample_rows: str | None = None
    kept_columns: tuple[str, ...] = ()
    only_group: str | None = None
    labels_csv: str | None = None
    label_id_column: str = "attribute_id"
    label_name_column: str = "attribute_name"
    name_separator: str = "::"
    train_images: str = "train"
    test_images: str = "test"
    image_suffix: str = ".png"
    channel_files: tuple[str, ...] = ()
    on_missing_image: Literal["error", "drop"] = "error"
    boxes_csv: str | None = None
    box_id_column: str = "Image"
    box_columns: tuple[str, str, str, str] = ("x0", "y0", "x1", "y1")
    box_format: Literal["corners", "centre"] = "corners"
    turned_csv: str | None = None
    left_out_csv: str | None = None
    unit_columns: tuple[str, ...] = ()
    unit_folders: bool = False
    image_columns: tuple[str, ...] = ()
    image_path: str | None = None
    test_csv: str | None = None
    pixel_shape: tuple[int, ...] | None = None
    extra: tuple[ExtraTable, ...] = ()

    def __post_init__(self) -> None:
        from imettk.tasks import TASKS  # here, for it loads numpy, which `--help` does without

        super().__post_init__()
        self._require(
            self.group_column is None or self.group_pattern is None, "group_pattern", "none beside a group_column"
        )
        self._require(
            self.group_pattern is None or _has_group(self.group_pattern),
            "group_pattern",
            "a regular expression with a group",
        )
        self._require(self.task in TASKS, "task", f"one of {', '.join(TASKS)}")
        task = TASKS[self.task]
        self._check_labels(task)
        self._check_rows(task)
        self._require(self.only_group is None or self.labels_csv is not None, "only_group", "none without labels_csv")
        self._require(self.label_separator != "", "label_separator", "at least one character")
        suffixes = [self.image_suffix, *(extra.image_suffix for extra in self.extra if extra.image_suffix is not None)]
        self._require(
            all(("*" in suffix) == bool(self.channel_files) for suffix in suffixes),
            "image_suffix",
            "with a * where `channel_files` are given, and without where not",
        )
        shape = self.pixel_shape
        self._require(
            shape is None or (len(shape) in (2, 3) and min(shape) >= 1),
            "pixel_shape",
            "two numbers above 0 (height, width), or three with the channels before or behind them",
        )
        check_units(self)
        check_image_path(self)

    def _check_labels(self, task: Task) -> None:
        """Raise `ConfigError` where labels cannot stand, for this task, as the format says."""
        numbered, asks_columns = task.numbered, task.asks_columns
        one_label = task.exclusive and not numbered
        pattern = self.label_pattern
        self._require(
            pattern is None or (one_label and _has_group(pattern)),
            "label_pattern",
            "a regular expression with a group, for rows with one label",
        )
        self._require(self.unknown_label is None or one_label, "unknown_label", "none where rows have several labels")
        self._require(self.merged_csv is None or one_label, "merged_csv", "none where rows have several labels")
        self._require(not self.train_folders or one_label, "train_folders", "false where rows have several labels")
        self._require(
            not self.train_files or (pattern is not None and not self.train_folders),
            "train_files",
            "false without a `label_pattern`, which finds the label in a file's name, and beside train_folders",
        )
        self._require(
            len(set(self.label_columns)) == len(self.label_columns) and not (self.label_columns and self.only_group),
            "label_columns",
            "different columns, and none beside only_group",
        )
        self._require(
            not (asks_columns and self.label_column in self.label_columns),
            "label_column",
            "none of label_columns, which are questions",
        )
        self._require(
            not self.label_columns or not (pattern or self.lists_images or self.label_lists),
            "label_columns",
            "none where folders, names of files or lists hold the labels",
        )
        self._require(not asks_columns or len(self.label_columns) > 0, "label_columns", "given: a column a question")
        self._require(
            not (asks_columns and (self.labels_csv or self.label_lists)),
            "task",
            "without labels_csv and label_lists for questions",
        )
        self._require(
            not self.auxiliary_columns
            or ((task.numeric or asks_columns) and len(set(self.learned_columns)) == len(self.learned_columns)),
            "auxiliary_columns",
            "different columns beside those of numbers or questions, and none of other tasks",
        )
        of_labels = self.labels_csv or self.only_group or self.label_lists
        self._require(
            not (numbered and of_labels), "task", "without labels_csv, only_group and label_lists for numbers or votes"
        )
        self._require(
            not task.votes or len(self.label_columns) > 1, "label_columns", "two or more, each with a label's votes"
        )
        self._require(not (self.label_lists and one_label), "label_lists", "false where rows have one label")

    def _check_rows(self, task: Task) -> None:
        """Raise `ConfigError` where rows and answers cannot be, for this task, as the format says."""
        self._require(
            not self.answer_columns or self.answer_column is None or self.sample_rows is not None,
            "answer_column",
            "none beside answer_columns",
        )
        for name in ("train_rows", "sample_rows"):
            self._require(_is_rows(getattr(self, name)), name, "a pattern such as {id}__{label}, or a column")
        self._require(
            self.train_rows is None or bool(self.label_columns),
            "train_rows",
            "none without label_columns, which name the labels of rows",
        )
        self._require(
            not self.join_rows or not (task.numbered or self.lists_images or self.label_columns),
            "join_rows",
            "false where rows have numbers, or a column a label, or are images without a table",
        )
        self._require(
            self.sample_rows is None or bool(self.label_answers),
            "sample_rows",
            "none without label_columns or answer_columns, which name the labels of its rows",
        )
        self._require(len(set(self.answer_columns)) == len(self.answer_columns), "answer_columns", "different columns")
        self._require(
            not task.votes or sorted(self.label_answers) == sorted(self.label_columns),
            "answer_columns",
            "the columns of votes, each once",
        )

    @property
    def holds_images(self) -> bool:
        """Whether the training table is the file that its images lie in as well."""
        return self.train_csv == self.train_images

    @property
    def has_units(self) -> bool:
        """Whether several images give one answer."""
        return bool(self.unit_columns or self.image_columns) or self.unit_folders

    @property
    def rows_are_units(self) -> bool:
        """Whether a row of the training table is a unit with images, and not an image."""
        return bool(self.image_columns) or self.unit_folders

    @property
    def lists_images(self) -> bool:
        """Whether the training rows are the images that are there, without a table."""
        return self.train_folders or self.train_files

    @property
    def path_columns(self) -> tuple[str, ...]:
        """The columns, beside that of ids, by whose cells images are found."""
        return tuple(column for column in columns_of(self.image_path) if column != self.id_column)

    @property
    def cell_separator(self) -> str:
        """What stands between labels in cells as they are read: columns and lists are joined then."""
        return CELL_SEPARATOR if self.label_columns or self.label_lists else self.label_separator

    @property
    def test_id_column(self) -> str:
        """What holds the ids in the sample submission."""
        unit = self.unit_columns[0] if len(self.unit_columns) == 1 else self.id_column
        return self.sample_id_column or unit

    @property
    def number_columns(self) -> tuple[str, ...]:
        """The columns of the training table that hold numbers, or classes of questions, where the task learns such."""
        return self.label_columns or (self.label_column,)

    @property
    def learned_columns(self) -> tuple[str, ...]:
        """Those, and the columns that are trained beside them and not answered."""
        return self.number_columns + self.auxiliary_columns

    @property
    def label_answers(self) -> tuple[str, ...]:
        """The columns of the sample submission, where each label (or ranked answer) has its own, or the labels of its
        rows; else none."""
        own_column = self.answer_column is None or self.sample_rows is not None
        return self.answer_columns or (self.label_columns if own_column else ())

    @property
    def filled_columns(self) -> tuple[str, ...]:
        """The columns of the sample submission that answers go into, when it has a row an image."""
        return self.label_answers or (self.value_column,)

    @property
    def value_column(self) -> str:
        """The column of the sample submission that holds answers, where it is a single one."""
        return self.answer_column or self.label_column
