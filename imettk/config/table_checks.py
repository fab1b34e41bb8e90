"""Checks of a table's format: each field by itself, with the others, and with the task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from imettk.config.table import TableFormat
    from imettk.tasks import Task

Check: TypeAlias = tuple[bool, str, str]  # whether it holds, the field, what that must be


def table_checks(form: TableFormat, task: Task) -> Iterator[Check]:
    """Yield all checks of a format."""
    yield from _file_checks(form)
    yield from _label_checks(form, task)
    yield from _column_checks(form, task)
    yield from _row_checks(form, task)


def _file_checks(form: TableFormat) -> Iterator[Check]:
    """Yield the checks of groups and image files, which hold for every task."""
    yield form.group_column is None or form.group_pattern is None, "group_pattern", "none beside group_column"
    yield _has_group(form.group_pattern), "group_pattern", "a regular expression with a group"
    yield form.label_separator != "", "label_separator", "at least one character"
    suffixes = [form.image_suffix, *(extra.image_suffix for extra in form.extra if extra.image_suffix is not None)]
    yield (
        all(("*" in suffix) == bool(form.channel_files) for suffix in suffixes),
        "image_suffix",
        "with a * if `channel_files` are given, and without one otherwise, as in extra tables",
    )
    shape = form.pixel_shape
    yield (
        shape is None or (len(shape) in (2, 3) and min(shape) >= 1),
        "pixel_shape",
        "two numbers above 0, (height, width), or three with the channels first or last",
    )


def _label_checks(form: TableFormat, task: Task) -> Iterator[Check]:
    """Yield the checks of fields that only fit rows with a single label, or only rows with several."""
    one_label = task.exclusive and not task.numbered
    yield _has_group(form.label_pattern), "label_pattern", "a regular expression with a group"
    for name in ("label_pattern", "unknown_label", "merged_csv"):
        yield getattr(form, name) is None or one_label, name, "none unless rows have a single label"
    yield not form.train_folders or one_label, "train_folders", "false unless rows have a single label"
    yield not form.train_files or not form.train_folders, "train_files", "false beside train_folders"
    yield (
        not form.train_files or form.label_pattern is not None,
        "train_files",
        "false without `label_pattern`, which finds the label in a file's name",
    )
    yield form.only_group is None or form.labels_csv is not None, "only_group", "none without labels_csv"
    yield not (form.label_lists and one_label), "label_lists", "false if rows have a single label"
    for name in ("labels_csv", "only_group", "label_lists"):
        yield (
            not ((task.numbered or task.asks_columns) and getattr(form, name)),
            name,
            "left out for numbers, votes and questions",
        )


def _column_checks(form: TableFormat, task: Task) -> Iterator[Check]:
    """Yield the checks of `label_columns` and `auxiliary_columns`."""
    columns = form.label_columns
    yield len(set(columns)) == len(columns), "label_columns", "different columns"
    yield not (columns and form.only_group), "label_columns", "empty beside only_group"
    yield (
        not columns or not (form.label_pattern or form.lists_images or form.label_lists),
        "label_columns",
        "empty if folders, file names or lists hold the labels",
    )
    yield not task.asks_columns or len(columns) > 0, "label_columns", "given: a column a question"
    yield not task.votes or len(columns) > 1, "label_columns", "two or more, each with a label's votes"
    yield (
        not (task.asks_columns and form.label_column in columns),
        "label_column",
        "none of label_columns, which are questions",
    )
    yield (
        not form.auxiliary_columns or task.numeric or task.asks_columns,
        "auxiliary_columns",
        "empty unless the task is numbers or questions",
    )
    yield (
        not form.auxiliary_columns or len(set(form.learned_columns)) == len(form.learned_columns),
        "auxiliary_columns",
        "different columns, none of them answered",
    )


def _row_checks(form: TableFormat, task: Task) -> Iterator[Check]:
    """Yield the checks of rows that share an image, and of the sample submission."""
    for name in ("train_rows", "sample_rows"):
        yield _is_pattern_or_column(getattr(form, name)), name, "a pattern such as {id}__{label}, or a column"
    yield (
        form.train_rows is None or bool(form.label_columns),
        "train_rows",
        "none without label_columns, which name the labels of its rows",
    )
    yield (
        form.sample_rows is None or bool(form.label_answers),
        "sample_rows",
        "none without label_columns or answer_columns, which name the labels of its rows",
    )
    yield (
        not form.join_rows or not (task.numbered or form.lists_images or form.label_columns),
        "join_rows",
        "false if rows hold numbers, if each label has a column, or without a table",
    )
    yield (
        not form.answer_columns or form.answer_column is None or form.sample_rows is not None,
        "answer_column",
        "none beside answer_columns",
    )
    yield len(set(form.answer_columns)) == len(form.answer_columns), "answer_columns", "different columns"
    yield (
        not task.votes or sorted(form.label_answers) == sorted(form.label_columns),
        "answer_columns",
        "the columns of votes, each once",
    )


def _is_pattern_or_column(text: str | None) -> bool:
    """Return whether a text is None, a pattern of ids with {id} and {label}, or has no braces, as a column."""
    is_pattern = text is not None and sorted(re.findall(r"\{[^{}]*\}", text)) == ["{id}", "{label}"]
    return is_pattern or not set("{}") & set(text or "")


def _has_group(pattern: str | None) -> bool:
    """Return whether a pattern is None, or a valid regular expression with a group."""
    try:
        return pattern is None or re.compile(pattern).groups > 0
    except re.error:
        return False
