"""Guesses of how a competition's files name its rows, labels and images, each with its reason.

Whatever cannot be guessed raises one clear line that names the candidates and the option to give.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.config.image_path import columns_of
from imettk.data.listings import list_files, list_folders
from imettk.errors import DataError
from imettk.starter.finding import Finding
from imettk.starter.guess_answers import Guess, Rows, with_answers
from imettk.starter.guess_columns import Choices, TrainingRows, describe_ids, find_group, find_rows, require_rows
from imettk.starter.guess_folders import choose_folder, labels_in_names, likely_labels
from imettk.starter.guess_labels import labels_of, unknown_among
from imettk.starter.guess_linked import LinkedTests, find_linked
from imettk.starter.guess_misfits import TOLERATED, find_misfit, find_places, refuse_more_images
from imettk.starter.guess_rows import Gathered, gather_tables, join_images
from imettk.starter.guess_sample import Sample, find_sample, read_ranked, read_sample
from imettk.starter.guess_targets import Targets, find_targets
from imettk.starter.guess_titles import find_coco_titles, find_titles, have_groups
from imettk.starter.guess_units import UnitRows, find_units, lists_units
from imettk.starter.judging import judges_grades
from imettk.starter.look import Contents
from imettk.starter.naming import label_folders
from imettk.starter.naming_folders import path_pattern
from imettk.starter.questions import QUESTIONS, Evidence, LabelKind, Question, Ranked


class _Source(NamedTuple):
    """The training table, the sample submission, and how their rows lead to images; see `Rows`."""

    gathered: Gathered
    rows: TrainingRows
    sample_csv: str | None
    sample: Sample | None
    units: UnitRows | None = None
    linked: LinkedTests | None = None

    @property
    def form(self) -> dict[str, Any]:
        """Fields of `TableFormat` that describe units of images, or the table that links test ids to images."""
        special: UnitRows | LinkedTests | None = self.units or self.linked
        return {} if special is None else special.form


class _Listing(NamedTuple):
    """Training rows that no table lists: images in folders named after labels, or files with labels in their names.

    Attributes:
        remarks: files and folders that were passed over, one line each.
    """

    form: TableFormat
    frame: pd.DataFrame
    finding: Finding
    reason: str
    remarks: list[str]


def guess(contents: Contents, data_dir: Path, choices: Choices) -> Guess:
    """Guess how to read a competition's folder, what it asks for, and how it judges answers.

    Raises:
        DataError: something cannot be guessed; the message names the candidates and the option to give.
        ConfigError: the requested metric does not exist.
    """
    sample_csv = find_sample(contents, choices)
    gathered, rows, units = _find_training(contents, choices, sample_csv)
    contents, long = gathered.contents, gathered.rows.get(sample_csv or "")
    linked = None if units is not None else find_linked(contents, choices, sample_csv, rows)
    if linked is not None and sample_csv is not None:
        sample = linked.sample(contents, sample_csv, long)
        source = _Source(gathered, linked.rows, sample_csv, sample, linked=linked)
    elif units is not None:
        source = _Source(gathered, units.rows, sample_csv, units.sample(contents, sample_csv, long), units=units)
    # A table whose other ids name images in some other way would lose these rows in silence.
    elif rows is None or _named_otherwise(contents.tables[rows.csv][rows.id_column], rows.naming.found, contents):
        return _without_table(gathered, data_dir, choices, sample_csv)
    else:
        refuse_more_images(contents.tables[rows.csv], rows, contents, choices)
        source = _Source(gathered, rows, sample_csv, read_sample(contents, sample_csv, rows.id_column, long))
    return with_answers(contents, choices, _with_table(source, choices))


def _with_table(source: _Source, choices: Choices) -> Rows:
    """Return the rows of a training table: their labels, their question, their groups, and their format."""
    contents, sample = source.gathered.contents, source.sample
    findings: list[Finding] = []
    rows, targets = _find_labels(source, choices, findings)
    pattern = {} if source.form else _path_pattern(targets, rows, findings)
    image_columns = [] if source.units is None else list(source.units.not_labels)
    table, labels = contents.tables[rows.csv], targets.labels
    frame = targets.frame.assign(**{name: table[name] for name in image_columns})
    findings.append(Finding("labels", *targets.found, "--label-column"))
    ranked = None
    if sample is not None and targets.kind is LabelKind.ONE:
        ranked = read_ranked(sample, set(labels), set(frame[rows.id_column]))
    graded = not targets.kind.is_numeric and judges_grades(choices.metric, labels)
    evidence = Evidence(labels, targets.kind, targets.reason, ranked, graded=graded)
    question = _choose_question(choices, evidence, findings)
    form = TableFormat(
        task=question.task,
        train_csv=rows.csv,
        id_column=rows.id_column,
        train_images=rows.naming.folder,
        image_suffix=rows.naming.suffix,
        channel_files=rows.naming.channels,
        on_missing_image="error" if rows.naming.found.all() else "drop",
        **source.form,
        **pattern,
        **(targets.form | source.gathered.training_fields(rows.csv)),
        **({} if targets.kind.is_numeric else _find_titles(source, targets, findings)),
        **_find_unknown(question, labels, ranked, findings),
    )
    if form.train_rows is not None:
        # The format names the value column of the long table, which the gathered frame no longer has.
        frame = frame.rename(columns={TableFormat(**targets.form).label_column: form.label_column})
    others = frame.drop(columns=[*form.label_columns, *image_columns])
    form = replace(form, group_column=find_group(others, rows.id_column, form.label_column, choices, findings))
    grouped = form.labels_csv is not None and have_groups(contents.tables[form.labels_csv][form.label_name_column])
    return Rows(
        question=question,
        table=form,
        frame=frame,
        files=rows.naming.files,
        labels=labels,
        label_groups=grouped,
        sample=sample,
        ranked=ranked,
        findings=tuple(findings),
        units=source.units,
        linked=source.linked,
    )


def _find_labels(source: _Source, choices: Choices, findings: list[Finding]) -> tuple[TrainingRows, Targets]:
    """Return the training rows, one for each image or unit, and their labels."""
    rows, units, long = source.rows, source.units, source.gathered.rows
    contents = source.gathered.contents
    frame = contents.tables[rows.csv]
    file_format = contents.forms.get(rows.csv, f"{len(frame)} rows")
    findings += [
        Finding("training table", f"{rows.csv}, {file_format}", rows.reason, "--train-csv"),
        *source.gathered.findings,
    ]
    names = long[rows.csv].labels if rows.csv in long else ()
    image_columns = [] if units is None else list(units.not_labels)
    targets = find_targets(frame.drop(columns=image_columns), rows, source.sample, contents, choices, gathered=names)
    if units is not None:
        findings.append(units.finding)
        return rows, targets
    rows, targets = join_images(rows, targets, choices, findings, annotated=file_format.startswith("COCO"))
    describe = describe_ids if source.linked is None else source.linked.describe_ids
    findings.append(describe(rows, targets.frame))
    return rows, targets


def _find_titles(source: _Source, targets: Targets, findings: list[Finding]) -> dict[str, Any]:
    """Return the table of the labels' names, as fields of the format."""
    contents, train_csv = source.gathered.contents, source.rows.csv
    others = (train_csv, source.sample_csv, source.form.get("test_csv"))
    titles = find_titles(contents, targets.labels, others, findings)
    return titles or find_coco_titles(contents, train_csv, str(targets.form.get("label_column")), findings)


def _path_pattern(targets: Targets, rows: TrainingRows, findings: list[Finding]) -> dict[str, Any]:
    """Return the pattern of columns that name the folders of images, as a field of the format."""
    pattern = path_pattern(targets.frame, rows)
    learned = {targets.form.get("label_column"), *targets.form.get("label_columns", ())}
    # Test rows have no labels, so a pattern of label columns would find none of their images.
    if pattern is None or learned & {*columns_of(pattern)}:
        return {}
    reason = f"these columns name the folders in {rows.naming.folder}/"
    findings.append(Finding("path", pattern, reason, "table.image_path"))
    return {"image_path": pattern}


def _find_training(
    contents: Contents, choices: Choices, sample_csv: str | None
) -> tuple[Gathered, TrainingRows | None, UnitRows | None]:
    """Return the tables with one row for each image; the training table among them, if any; and its units, if any."""
    has_table = choices.train_csv is None or choices.train_csv in contents.tables

    def find(contents: Contents) -> tuple[TrainingRows | None, UnitRows | None]:
        rows = find_rows(contents, choices, {sample_csv}) if has_table else None
        return rows, find_units(contents, choices, sample_csv, rows)

    rows, units = find(contents)
    # Units come before long tables: a sample that asks for both sides of each patient is also a full grid of rows, one
    # for each patient and side, and would be gathered as if the sides were labels.
    if units is not None and lists_units(contents, sample_csv):
        return Gathered(contents, {}, ()), rows, units
    gathered = gather_tables(contents, sample_csv, choices)
    return (gathered, *(find(gathered.contents) if gathered.rows else (rows, units)))


def _without_table(gathered: Gathered, data_dir: Path, choices: Choices, sample_csv: str | None) -> Guess:
    """Guess a competition without a training table: folders are the labels, or the names of files hold them.

    Raises:
        DataError: a table nearly names images, or no folder holds labels.
    """
    contents = gathered.contents
    tops = label_folders(contents)
    _refuse_misfit(contents, choices, sample_csv, tops)
    if choices.train_csv not in tops:
        require_rows(contents, choices)
    sample = read_sample(contents, sample_csv, None, gathered.rows.get(sample_csv or ""))
    listing = _list_training(contents, data_dir, choices, tops, sample)
    frame, ids = listing.frame, listing.frame[listing.form.id_column]
    labels = labels_of(frame["label"].tolist(), None)
    if len(labels) < 2:
        raise DataError(
            f"{data_dir / listing.form.train_images}: at least two folders of images are needed as labels, but there "
            f"is only {', '.join(labels) or 'none'}"
        )
    findings = [listing.finding]
    images = {*ids, *(name.rpartition("/")[2] for name in ids)}
    ranked = None if sample is None else read_ranked(sample, set(labels), images)
    graded = judges_grades(choices.metric, labels)
    evidence = Evidence(labels, LabelKind.ONE, listing.reason, ranked, graded=graded)
    question = _choose_question(choices, evidence, findings)
    form = replace(listing.form, task=question.task, **_find_unknown(question, labels, ranked, findings))
    rows = Rows(
        question=question,
        table=form,
        frame=frame,
        files=ids.to_numpy(str),
        labels=labels,
        sample=sample,
        ranked=ranked,
        findings=tuple(findings),
        remarks=tuple(listing.remarks),
    )
    return with_answers(contents, choices, rows)


def _refuse_misfit(contents: Contents, choices: Choices, sample_csv: str | None, tops: list[str]) -> None:
    """Raise `DataError` if a table nearly names images: folders must not replace it as labels.

    Args:
        tops: folders whose folders may be labels.
    """
    tables = [*contents.tables] if choices.train_csv is None else [choices.train_csv]
    tables = [csv for csv in tables if csv in contents.tables and csv != sample_csv]
    if (misfit := find_misfit(contents, tables, choices.id_column)) is not None:
        likely = likely_labels(tops, contents)
        hint = len(likely) == 1 and not misfit.of_folders
        more = f"; or give --train-csv {likely[0]} if its folders are the labels" if hint else ""
        raise DataError(f"{misfit}{more}")


def _list_training(
    contents: Contents, data_dir: Path, choices: Choices, tops: list[str], sample: Sample | None
) -> _Listing:
    """List training rows by the folders of `tops`, or by the names of files if nothing speaks against it."""
    id_column = "id" if sample is None else sample.id_column
    form = TableFormat(task="multiclass", image_suffix="", id_column=id_column, label_column="label")
    remarks: list[str] = []
    in_names = None
    if not (tops or choices.several or choices.label_column or choices.train_csv):
        in_names = labels_in_names(contents, sample)
    if in_names is not None:
        folder, pattern, names = in_names
        form = replace(form, train_files=True, train_images=folder, label_pattern=pattern)
        frame = list_files(form, data_dir, remarks)
        value = f"{len(names)} in the names of {len(frame)} files"
        finding = Finding("labels", value, f"such as {names[0]} in {frame[id_column][0]}", "--train-csv")
        return _Listing(form, frame, finding, "each file name contains one", remarks)
    folder = choose_folder(tops, contents, data_dir, choices)
    form = replace(form, train_folders=True, train_images=folder)
    frame = list_folders(form, data_dir, remarks)
    value = f"{frame['label'].nunique()} folders in {folder}"
    finding = Finding("labels", value, "no table lists images with labels", "--train-csv")
    return _Listing(form, frame, finding, "each image lies in the folder of its label", remarks)


def _named_otherwise(ids: pd.Series, found: np.ndarray, contents: Contents) -> bool:
    """Return whether many ids without an image name one in another way than the rest does."""
    lost = ids[~found]
    return len(lost) > 0 and len(find_places(lost, contents, training=True)) > TOLERATED * len(ids)


def _choose_question(choices: Choices, evidence: Evidence, findings: list[Finding]) -> Question:
    """Return the requested question, or the first that recognises the evidence."""
    if choices.question is not None:
        question, reason = QUESTIONS[choices.question], "as requested"
    else:
        reasons = ((question, question.recognise(evidence)) for question in QUESTIONS.values())
        question, reason = next((question, reason) for question, reason in reasons if reason is not None)
    findings.append(Finding("task", question.name, reason, "--task"))
    return question


def _find_unknown(
    question: Question, labels: Counter[str], ranked: Ranked | None, findings: list[Finding]
) -> dict[str, Any]:
    """Return the label that stands for all unknown individuals, as a field of the format."""
    if not question.unknown:
        return {}
    unknown = (ranked.foreign if ranked is not None else None) or unknown_among(labels)
    if unknown is None:
        return {}
    reason = "the sample submission answers it, but no training row has it"
    if unknown in labels:
        reason = f"chosen by its name; {labels[unknown]} rows"
    findings.append(Finding("unknown label", unknown, reason, "table.unknown_label"))
    return {"unknown_label": unknown}
