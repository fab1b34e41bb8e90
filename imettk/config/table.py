"""Settings of a competition's tables: where rows, labels and images are, and what the submission holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imettk.config.image_path import check_image_path, columns_of
from imettk.config.section import Section
from imettk.config.table_checks import table_checks
from imettk.config.units import check_units

CELL_SEPARATOR = "\x1f"  # ASCII's unit separator, between labels in cells that imettk builds; no label contains it


@dataclass(frozen=True, kw_only=True)
class ExtraTable(Section):
    """More rows to train on, external or pseudo-labelled, in the columns of the training table.

    Attributes:
        csv: relative to the data folder, like `images`.
        image_suffix: None takes that of the training table.
        weight: how often each row is drawn in an epoch; 0.5 draws half of the rows, another half each time.
        predictions: the file that `imettk pseudo` wrote beside the csv. Each fold trains on the labels that its own
            models predict, which have not seen the fold's validation rows, and leaves out rows that they are unsure of.
        content: hash of pseudo labels, which `--pseudo` notes. The recipe then means these labels wherever they lie:
            they are looked for in the run folder and its inputs, and the paths are no part of the fingerprint.
        validates: deal the rows to folds too, separately from the training table, so that each row validates one fold
            and trains the others; by default they train in every fold.
        new_labels: accept labels that only this table has; by default they are an error.
    """

    csv: str
    images: str
    image_suffix: str | None = None
    weight: float = 1.0
    predictions: str | None = None
    content: str = ""
    validates: bool = False
    new_labels: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most(weight=1000)
        self._require(self.weight > 0, "weight", "above 0")
        self._require(self.predictions is None or not self.validates, "validates", "false for pseudo labels")
        self._require(
            self.predictions is not None or not self.content, "content", "left out unless there are `predictions`"
        )


@dataclass(frozen=True, kw_only=True)
class TableFormat(Section):
    """Format of a competition's files: their rows, labels and images. Paths are relative to the data folder.

    A field whose name ends in `csv` takes any kind of table that `config.file_kinds` lists, such as `train.parquet`.

    Attributes:
        labels_csv: id and name of every label; without it the labels are those of `train_csv`, sorted.
        group_column: rows of the same group never straddle train and validation.
        group_pattern: in place of `group_column`, a regular expression whose first group, in the id of a row (or unit),
            names the row's group; a row without a match is a group of its own.
        train_folders: in place of `train_csv`, the folders of `train_images`: each is a label and contains its images;
            ids are `FOLDER/FILE`.
        train_files: in place of `train_csv`, the files of `train_images`: ids are file names, and `label_pattern` finds
            the label in them.
        label_pattern: without a `label_column`, a regular expression whose first group, in a row's id, is the label; a
            row without a match has the unknown label.
        label_columns: in place of `label_column`, one column for each label with 0 and 1 (or true and false). For
            numbers, one column for each target; for votes, one for each label with its votes or their share; for
            questions, one for each question with its class.
        train_rows: each image has one training row for each of `label_columns`, with the value in `label_column`: a
            pattern of the rows' ids, such as `{id}__{label}`, or the column that names the label.
        join_rows: rows with the same id are one image, with all their labels. If images have a single label, these rows
            must agree.
        auxiliary_columns: columns to train on beside `label_columns` but not to answer: more numbers for a task of
            numbers, more questions for one of questions. Empty cells are allowed and ignored.
        label_lists: cells of `label_column` are lists such as ['a', 'b']. Cells of the submission are lists if those of
            the sample are, else labels joined by `label_separator`.
        unknown_label: the label of every unknown identity, such as `new_whale`. Its rows never train, and are right if
            a query is predicted to be unknown.
        merged_csv: identities found to be the same, one set a line, separated by spaces in the last column; all take
            the label of the identity with the most rows.
        sample_id_column: id column of the sample submission if it is not called `id_column`.
        answer_column: answer column of the sample submission if it is not called `label_column`.
        answer_columns: several answer columns: one for each ranked answer, the best first, or for each label's
            probability or 0 and 1. Without this and `answer_column` they are `label_columns`.
        sample_rows: each image has one row in the sample submission for each of `answer_columns` (or `label_columns`),
            answered in `answer_column`: a pattern of the rows' ids, such as `{id}__{label}`, or the column that names
            the label.
        kept_columns: columns of the sample submission to copy; any other column without answers is an error.
        only_group: learn only the labels of this group, for one of several models; a row's other labels are ignored.
        name_separator: end of the group in a label's name, as in `culture::french`.
        image_suffix: end of a file name after the id; "" if ids include it. If no file has the exact name, one with
            another ending or in another Unicode form is taken.
        channel_files: if an image is several grey files, the text that replaces `*` in `image_suffix` for each channel.
        on_missing_image: a row without an image stops `prepare`, or is dropped, counted and named.
        boxes_csv: the region of each image to use, for train and test; images without a row are used whole.
        box_id_column: ids or names of image files.
        box_columns: left, top, right and bottom; or x and y of the centre, width and height.
        box_format: `corners` in pixels, or `centre` as shares of the image's width and height.
        turned_csv: ids or names of image files, one a line, to turn by 180 degrees after their box is cut.
        left_out_csv: ids or names of training images, one a line, to leave out.
        unit_columns: if several images, each with its row, share one answer: the columns that name the unit to answer
            for (a study, or a patient and a side), joined by `_` as in the sample submission. `rule.pool` pools them.
        unit_folders: a row is a unit, and its images are in the folder named by its id.
        image_columns: a row is a unit, and each of these columns names one of its images.
        image_path: a pattern of columns, such as `{chain}/{image}`, for an image's path below `train_images` and
            `test_images`; None takes the id. A step of the path whose cells are empty is left out. A table without one
            of the columns, such as that of test images, falls back to the id.
        test_csv: the images of the test set, with the columns of `image_path`, and with their units in `unit_columns`
            or the sample's id column; in all but labels it is like the training table. Folders need none.
        train_images: a folder; or a file with many images (HDF5, `.npz`, `.npy`, or a parquet, csv or JSON table of
            pixels); or a pattern of several such files, such as `train_*.parquet`; the same for `test_images`. Images
            in a file are found by id; without ids, arrays by position from 0 and rows by number from 1.
        pixel_shape: (height, width) of images whose pixels are a row of such a table, or three numbers with the
            channels first or last. None takes a square.
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
        from imettk.tasks import TASKS  # inside: it loads numpy, which `--help` does without

        super().__post_init__()
        self._require(self.task in TASKS, "task", f"one of {', '.join(TASKS)}")
        for holds, name, rule in table_checks(self, TASKS[self.task]):
            self._require(holds, name, rule)
        check_units(self)
        check_image_path(self)

    @property
    def holds_images(self) -> bool:
        """True if the training table is also the file that contains its images."""
        return self.train_csv == self.train_images

    @property
    def has_units(self) -> bool:
        """True if several images share one answer."""
        return bool(self.unit_columns or self.image_columns) or self.unit_folders

    @property
    def rows_are_units(self) -> bool:
        """True if a row of the training table is a unit with its images, not a single image."""
        return bool(self.image_columns) or self.unit_folders

    @property
    def lists_images(self) -> bool:
        """True if the training rows are the image files themselves, without a table."""
        return self.train_folders or self.train_files

    @property
    def path_columns(self) -> tuple[str, ...]:
        """The columns of `image_path`, without that of ids."""
        return tuple(column for column in columns_of(self.image_path) if column != self.id_column)

    @property
    def cell_separator(self) -> str:
        """The separator of labels in a cell once the table is read: label columns and lists are joined into cells."""
        return CELL_SEPARATOR if self.label_columns or self.label_lists else self.label_separator

    @property
    def test_id_column(self) -> str:
        """The id column of the sample submission."""
        unit = self.unit_columns[0] if len(self.unit_columns) == 1 else self.id_column
        return self.sample_id_column or unit

    @property
    def number_columns(self) -> tuple[str, ...]:
        """The columns of the training table with numbers, or with classes of questions, for tasks that learn these."""
        return self.label_columns or (self.label_column,)

    @property
    def learned_columns(self) -> tuple[str, ...]:
        """`number_columns` and `auxiliary_columns`."""
        return self.number_columns + self.auxiliary_columns

    @property
    def label_answers(self) -> tuple[str, ...]:
        """The labels or ranks that each have a column, or a row for each image, in the sample submission; else ()."""
        own_column = self.answer_column is None or self.sample_rows is not None
        return self.answer_columns or (self.label_columns if own_column else ())

    @property
    def filled_columns(self) -> tuple[str, ...]:
        """The answer columns of a sample submission that has one row for each image."""
        return self.label_answers or (self.value_column,)

    @property
    def value_column(self) -> str:
        """The answer column of a sample submission that has only one."""
        return self.answer_column or self.label_column
