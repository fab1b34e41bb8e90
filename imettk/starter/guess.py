"""From a competition's folder to how its files name rows, labels and images; every guess with its reason.

What cannot be told is one clear line that names the candidates and the option to give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.data.csv_files import require_filled
from imettk.data.listings import list_folders
from imettk.errors import DataError
from imettk.starter.guess_columns import (
    Choices,
    Finding,
    find_group,
    find_label,
    find_rows,
    find_sample,
    require_rows,
    tell_ids,
)
from imettk.starter.guess_folders import choose_folder, label_folders, likely_labels
from imettk.starter.guess_labels import labels_of, read_cells, read_ranked, unknown_among
from imettk.starter.guess_misfits import TOLD, describe_places, find_misfit, find_places
from imettk.starter.look import Contents, match_names
from imettk.starter.questions import QUESTIONS, Evidence, Question, Ranked

MOST_LISTED = 3  # labels that a table lists, for each that is used: the numbers of its rows are no list of labels


@dataclass(frozen=True)
class Guess:
    """How a competition's files are read.

    Attributes:
        frame: the training table, with at least the columns of ids and labels.
        found: which rows have an image, bool (N,).
        labels: how many rows each label has, in the training table.
        label_groups: whether the names of labels begin with a group, as in `culture::french`.
        test: the sample submission, None where there is none.
        test_found: which of its rows have an image, bool (M,).
        ranked: what it says of answers in order.
        remarks: what was passed over.
    """

    question: Question
    table: TableFormat
    frame: pd.DataFrame
    found: np.ndarray
    labels: Counter[str]
    label_groups: bool
    test: pd.DataFrame | None
    test_found: np.ndarray
    ranked: Ranked | None
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()


def guess(contents: Contents, data_dir: Path, choices: Choices) -> Guess:
    """Guess everything.

    Raises:
        DataError: something cannot be told; the message names the candidates, and the option to give.
    """
    findings: list[Finding] = []
    sample_csv = find_sample(contents, choices)
    test = None if sample_csv is None else contents.tables[sample_csv]
    rows = None
    if choices.train_csv is None or choices.train_csv in contents.tables:
        rows = find_rows(contents, choices, {sample_csv})
    if rows is None or _name_others(contents.tables[rows.csv][rows.id_column], rows.naming.found, contents):
        return _from_folders(contents, data_dir, choices, sample_csv)
    frame = contents.tables[rows.csv]
    findings.append(Finding("training table", f"{rows.csv}, {len(frame)} rows", rows.reason, "--train-csv"))
    findings.append(tell_ids(rows, frame))
    answers = [] if test is None else [column for column in test.columns if column != rows.id_column]
    label_column, reason = find_label(frame, rows, answers, choices)
    reading = read_cells(frame[label_column].str.strip(), label_column, several=choices.several)
    labels = labels_of(frame[label_column].tolist(), reading.separator)
    if not labels:
        raise DataError(f"{data_dir / rows.csv}: column {label_column} holds no label at all; give --label-column")
    findings.append(Finding("labels", f"column {label_column}, {len(labels)} different", reason, "--label-column"))
    several, ranked = reading.separator is not None, None
    if test is not None and not several:
        ranked = read_ranked(test, rows.id_column, set(labels), set(frame[rows.id_column]))
    question = _choose_question(choices, Evidence(labels, several, reading.reason, ranked), findings)
    form = TableFormat(
        task=question.task,
        train_csv=rows.csv,
        id_column=rows.id_column,
        label_column=label_column,
        label_separator=reading.separator or " ",
        train_images=rows.naming.folder,
        image_suffix=rows.naming.suffix,
        channel_files=rows.naming.channels,
        on_missing_image="error" if rows.naming.found.all() else "drop",
        **_find_labels_csv(contents, labels, {rows.csv, sample_csv}, findings),
        group_column=find_group(frame, rows.id_column, label_column, choices, findings),
        **_unknown(question, labels, ranked, findings),
    )
    form, test_found = _with_test(form, contents, sample_csv, ranked, findings)
    grouped = form.labels_csv is not None and _grouped(contents.tables[form.labels_csv][form.label_name_column])
    return Guess(question, form, frame, rows.naming.found, labels, grouped, test, test_found, ranked, tuple(findings))


def _from_folders(contents: Contents, data_dir: Path, choices: Choices, sample_csv: str | None) -> Guess:
    """Where no table names images: folders are the labels."""
    tops = label_folders(contents)
    asked = [*contents.tables] if choices.train_csv is None else [choices.train_csv]
    asked = [csv for csv in asked if csv in contents.tables and csv != sample_csv]
    if (misfit := find_misfit(contents, asked, choices.id_column)) is not None:
        likely = likely_labels(tops, contents)
        more = f"; where folders are the labels, give --train-csv {likely[0]}" if len(likely) == 1 else ""
        raise DataError(f"{misfit}{more}")
    if choices.train_csv not in tops:
        require_rows(contents, choices)
    top = choose_folder(tops, contents, data_dir, choices)
    test = None if sample_csv is None else contents.tables[sample_csv]
    id_column = "id" if test is None else str(test.columns[0])
    form = TableFormat(
        task="multiclass",
        train_folders=True,
        train_images=top,
        image_suffix="",
        id_column=id_column,
        label_column="label",
    )
    remarks: list[str] = []
    frame = list_folders(form, data_dir, remarks)
    labels = labels_of(frame["label"].tolist(), None)
    if len(labels) < 2:
        raise DataError(f"{data_dir / top} has no two folders of images that can be labels, only {', '.join(labels)}")
    findings = [
        Finding("labels", f"{len(labels)} folders in {top}", "no table names images with a label", "--train-csv"),
    ]
    images = {*frame[id_column], *(name.rpartition("/")[2] for name in frame[id_column])}
    ranked = None if test is None else read_ranked(test, id_column, set(labels), images)
    evidence = Evidence(labels, False, "each image lies in one folder", ranked)
    question = _choose_question(choices, evidence, findings)
    form = replace(form, task=question.task, **_unknown(question, labels, ranked, findings))
    form, test_found = _with_test(form, contents, sample_csv, ranked, findings)
    found = np.ones(len(frame), bool)
    return Guess(
        question, form, frame, found, labels, False, test, test_found, ranked, tuple(findings), remarks=tuple(remarks)
    )


def _name_others(ids: pd.Series, found: np.ndarray, contents: Contents) -> bool:
    """Whether many ids without an image name one all the same, in another way than most."""
    lost = ids[~found]
    return len(lost) > 0 and len(find_places(lost, contents, training=True)) > TOLD * len(ids)


def _choose_question(choices: Choices, evidence: Evidence, findings: list[Finding]) -> Question:
    if choices.question is not None:
        question, reason = QUESTIONS[choices.question], "as asked for"
    else:
        reasons = ((question, question.recognise(evidence)) for question in QUESTIONS.values())
        question, reason = next((question, reason) for question, reason in reasons if reason is not None)
    findings.append(Finding("task", question.name, reason, "--task"))
    return question


def _grouped(names: pd.Series) -> bool:
    return bool(names.str.contains(TableFormat().name_separator, regex=False).any())


def _find_labels_csv(
    contents: Contents, labels: Iterable[str], others: set[str | None], findings: list[Finding]
) -> dict[str, Any]:
    """The table that lists every label with a name, as fields of the format."""
    wanted = set(labels)
    for csv, frame in contents.tables.items():
        if csv in others or len(frame.columns) < 2 or len(frame) > MOST_LISTED * len(wanted):
            continue
        for column in frame.columns:
            if wanted <= set(frame[column]) and frame[column].is_unique:
                rest = [other for other in frame.columns if other != column and frame[other].is_unique]
                name = next((other for other in rest if "name" in other.lower()), rest[0] if rest else column)
                reason = f"its column {column} holds every label of the training table"
                findings.append(Finding("label names", f"{csv}, {len(frame)} labels", reason, "table.labels_csv"))
                return {"labels_csv": csv, "label_id_column": column, "label_name_column": name}
    return {}


def _unknown(
    question: Question, labels: Counter[str], ranked: Ranked | None, findings: list[Finding]
) -> dict[str, Any]:
    """The label of those that have no name, as a field of the format."""
    if not question.unknown:
        return {}
    unknown = (ranked.foreign if ranked is not None else None) or unknown_among(labels)
    if unknown is None:
        return {}
    reason = f"by its name; {labels[unknown]} rows" if unknown in labels else "an answer in the sample that no row has"
    findings.append(Finding("unknown ones", unknown, reason, "table.unknown_label"))
    return {"unknown_label": unknown}


def _with_test(
    form: TableFormat, contents: Contents, csv: str | None, ranked: Ranked | None, findings: list[Finding]
) -> tuple[TableFormat, np.ndarray]:
    """The format with the sample submission and the folder of test images, and which of them are there."""
    if csv is None:
        return form, np.zeros(0, bool)
    sample = contents.tables[csv]
    if form.id_column not in sample.columns:
        raise DataError(
            f"{csv} has no column {form.id_column}; it has {', '.join(sample.columns)}: ids must be called alike there "
            "and in the training table; give --id-column, or rename a column"
        )
    answers = [column for column in sample.columns if column != form.id_column]
    changes: dict[str, Any] = {"sample_csv": csv}
    filled: tuple[str, ...] = (form.label_column,)
    if ranked is not None and ranked.columns:
        changes["answer_columns"] = filled = ranked.columns
    elif form.label_column not in answers:
        if len(answers) != 1:
            listed = ", ".join(answers[:4]) + (", ..." if len(answers) > 4 else "")
            raise DataError(
                f"{csv} has {len(answers)} columns beside {form.id_column} ({listed}): answers can be written into one "
                "column, or in order into numbered ones, but not as a number for each label"
            )
        changes["answer_column"], filled = answers[0], (answers[0],)
    require_filled(sample, Path(csv), [form.id_column, *filled], ())
    names = sample[form.id_column]
    namings = [each for each in match_names(names, contents) if each.suffix == form.image_suffix]
    found = np.zeros(len(sample), bool)
    if namings:
        found, changes["test_images"] = namings[0].found, namings[0].folder
    if len(others := find_places(names[~found], contents, training=False)) > TOLD * len(names):
        raise DataError(
            f"{csv}: {len(others)} of {len(names)} values of column {form.id_column} "
            f"{describe_places(others, suffix=form.image_suffix)}"
        )
    where = f"by its name; none of its {len(sample)} ids has an image"
    if namings:
        where = f"by its name; {int(found.sum())} of its {len(sample)} ids are files in {namings[0].folder}/"
    asked = changes.get("answer_column", form.label_column)
    if ranked is not None and ranked.columns:
        asked = f"{ranked.columns[0]} to {ranked.columns[-1]}"
    value = f"{csv}, answers in {asked}"
    findings.append(Finding("sample submission", value, where, "table.sample_csv, .test_images"))
    return replace(form, **changes), found
