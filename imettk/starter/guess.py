"""From a competition's folder to how its files name rows, labels and images; every guess with its reason.

What cannot be told is one clear line that names the candidates and the option to give.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.config.image_path import columns_of
from imettk.data.csv_files import require_filled
from imettk.data.listings import list_files, list_folders
from imettk.errors import DataError
from imettk.starter.guess_columns import (
    Choices,
    Finding,
    TrainingRows,
    find_group,
    find_rows,
    require_rows,
    tell_ids,
)
from imettk.starter.guess_folders import choose_folder, labels_in_names, likely_labels
from imettk.starter.guess_labels import labels_of, unknown_among
from imettk.starter.guess_linked import LinkedTests, find_linked
from imettk.starter.guess_misfits import TOLD, find_misfit, find_places, refuse_more_images
from imettk.starter.guess_rows import Gathered, gather_tables, join_images
from imettk.starter.guess_sample import Sample, find_sample, read_ranked, read_sample
from imettk.starter.guess_targets import Targets, find_targets
from imettk.starter.guess_test_rows import find_test_images, find_test_rows
from imettk.starter.guess_titles import find_coco_titles, find_titles, have_groups
from imettk.starter.guess_units import UnitRows, find_units, lists_units
from imettk.starter.judging import Judging, judge, judges_grades
from imettk.starter.look import Contents
from imettk.starter.naming import label_folders
from imettk.starter.naming_folders import path_pattern
from imettk.starter.questions import QUESTIONS, Evidence, Question, Ranked


@dataclass(frozen=True, kw_only=True)
class Rows:
    """How the training rows of a competition are read.

    Attributes:
        frame: the training table, with at least the columns of ids and labels.
        files: the image of each row, by its name from the folder, str (N,); "" where it has none.
        labels: how many rows each label has, in the training table.
        label_groups: whether the names of labels begin with a group, as in `culture::french`.
        sample: the sample submission, None where there is none.
        ranked: what it says of answers in order.
        remarks: what was passed over.
        units: where several images give one answer; else None.
        linked: where a table leads from the ids of the sample submission to images; else None.
    """

    question: Question
    table: TableFormat
    frame: pd.DataFrame
    files: np.ndarray
    labels: Counter[str]
    label_groups: bool = False
    sample: Sample | None
    ranked: Ranked | None
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()
    units: UnitRows | None = None
    linked: LinkedTests | None = None

    @property
    def found(self) -> np.ndarray:
        """Which rows have an image, bool (N,)."""
        return self.files != ""

    @property
    def is_nested(self) -> bool:
        """Whether images lie in folders below theirs, of which their ids say nothing."""
        pairs = zip(self.frame[self.table.id_column].tolist(), self.files.tolist(), strict=True)
        return any("/" in file and "/" not in name for name, file in pairs)

    @property
    def num_images(self) -> int:
        """How many images these rows have."""
        return int(self.found.sum()) if self.units is None else self.units.num_images


@dataclass(frozen=True, kw_only=True)
class Guess(Rows):
    """How a competition's files are read, those of the test set among them.

    Attributes:
        test_files: the image of each row of the sample submission, as `files`, (M,).
        judging: by which metric, and what answers.
    """

    test_files: np.ndarray
    judging: Judging

    @property
    def has_test(self) -> bool:
        """Whether there is a test set."""
        return self.sample is not None or len(self.test_files) > 0

    @property
    def test_found(self) -> np.ndarray:
        """Which rows of the sample submission have an image, bool (M,)."""
        return self.test_files != ""


def guess(contents: Contents, data_dir: Path, choices: Choices) -> Guess:
    """Guess everything.

    Raises:
        DataError: something cannot be told; the message names the candidates, and the option to give.
        ConfigError: the metric that was asked for is none.
    """
    sample_csv = find_sample(contents, choices)
    gathered, rows, units = _find_training(contents, choices, sample_csv)
    contents, long = gathered.contents, gathered.rows
    sample: Sample | None
    linked = None if units is not None else find_linked(contents, choices, sample_csv, rows)
    if linked is not None and sample_csv is not None:
        rows, sample = linked.rows, linked.sample(contents, sample_csv, long.get(sample_csv))
    elif units is not None:
        rows, sample = units.rows, units.sample(contents, sample_csv, long.get(sample_csv or ""))
    elif rows is None or _name_others(contents.tables[rows.csv][rows.id_column], rows.naming.found, contents):
        return _without_table(gathered, data_dir, choices, sample_csv)
    else:
        refuse_more_images(contents.tables[rows.csv], rows, contents, choices)
        sample = read_sample(contents, sample_csv, rows.id_column, long.get(sample_csv or ""))
    frame = contents.tables[rows.csv]
    kind = contents.forms.get(rows.csv, f"{len(frame)} rows")
    findings = [Finding("training table", f"{rows.csv}, {kind}", rows.reason, "--train-csv")]
    findings += gathered.findings
    names = long[rows.csv].labels if rows.csv in long else ()
    apart = [] if units is None else list(units.not_labels)
    targets = find_targets(frame.drop(columns=apart), rows, sample, contents, choices, gathered=names)
    if units is None:
        annotated = contents.forms.get(rows.csv, "").startswith("COCO")
        rows, targets = join_images(rows, targets, choices, findings, annotated=annotated)
        tell = tell_ids if linked is None else linked.tell_ids
        findings.append(tell(rows, targets.frame))
    else:
        findings.append(units.finding)
    pattern = {} if units is not None or linked is not None else _path_pattern(targets, rows, findings)
    frame, labels = targets.frame.assign(**{name: frame[name] for name in apart}), targets.labels
    findings.append(Finding("labels", *targets.found, "--label-column"))
    ranked = None
    if sample is not None and not targets.several and not targets.numeric:
        ranked = read_ranked(sample, set(labels), set(frame[rows.id_column]))
    graded = not targets.numeric and judges_grades(choices.metric, labels)
    evidence = Evidence(
        labels,
        targets.several,
        targets.reason,
        ranked,
        targets.numeric,
        targets.votes,
        graded=graded,
        asks_columns=targets.asks_columns,
    )
    question = _choose_question(choices, evidence, findings)
    titles: dict[str, Any] = {}
    if not targets.numeric:
        tests = [part.form.get("test_csv") for part in (units, linked) if part is not None]
        titles = find_titles(contents, labels, (rows.csv, sample_csv, *tests), findings)
        titles = titles or find_coco_titles(contents, rows.csv, str(targets.form.get("label_column")), findings)
    form = TableFormat(
        task=question.task,
        train_csv=rows.csv,
        id_column=rows.id_column,
        train_images=rows.naming.folder,
        image_suffix=rows.naming.suffix,
        channel_files=rows.naming.channels,
        on_missing_image="error" if rows.naming.found.all() else "drop",
        **({} if units is None else units.form),
        **({} if linked is None else linked.form),
        **pattern,
        **(targets.form | gathered.training_fields(rows.csv)),
        **titles,
        **_unknown(question, labels, ranked, findings),
    )
    if form.train_rows is not None:  # whose label column is none of the gathered table
        frame = frame.rename(columns={TableFormat(**targets.form).label_column: form.label_column})
    beside = frame.drop(columns=[*form.label_columns, *apart])
    form = replace(form, group_column=find_group(beside, rows.id_column, form.label_column, choices, findings))
    grouped = form.labels_csv is not None and have_groups(contents.tables[form.labels_csv][form.label_name_column])
    read = Rows(
        question=question,
        table=form,
        frame=frame,
        files=rows.naming.files,
        labels=labels,
        label_groups=grouped,
        sample=sample,
        ranked=ranked,
        findings=tuple(findings),
        units=units,
        linked=linked,
    )
    return _with_answers(contents, choices, read)


def _path_pattern(targets: Targets, rows: TrainingRows, findings: list[Finding]) -> dict[str, Any]:
    """The pattern of columns that name the folders of images, as a field of the format; none where these are labels, by
    which no test image is found."""
    pattern = path_pattern(targets.frame, rows)
    learned = {targets.form.get("label_column"), *targets.form.get("label_columns", ())}
    if pattern is None or learned & {*columns_of(pattern)}:
        return {}
    findings.append(Finding("path", pattern, f"so images lie in {rows.naming.folder}/", "table.image_path"))
    return {"image_path": pattern}


def _find_training(
    contents: Contents, choices: Choices, sample_csv: str | None
) -> tuple[Gathered, TrainingRows | None, UnitRows | None]:
    """The tables with a row an image; which of them has the training rows, None without any; and their units."""
    has_table = choices.train_csv is None or choices.train_csv in contents.tables

    def find(contents: Contents) -> tuple[TrainingRows | None, UnitRows | None]:
        rows = find_rows(contents, choices, {sample_csv}) if has_table else None
        return rows, find_units(contents, choices, sample_csv, rows)

    rows, units = find(contents)
    # Units first: a sample that asks for both sides of each patient has a row for each patient and side as well.
    if units is not None and lists_units(contents, sample_csv):
        return Gathered(contents, {}, ()), rows, units
    gathered = gather_tables(contents, sample_csv, choices)
    return (gathered, *(find(gathered.contents) if gathered.rows else (rows, units)))


def _without_table(gathered: Gathered, data_dir: Path, choices: Choices, sample_csv: str | None) -> Guess:
    """Where no table names images: folders are the labels, or the names of files hold them."""
    contents = gathered.contents
    tops = label_folders(contents)
    asked = [*contents.tables] if choices.train_csv is None else [choices.train_csv]
    asked = [csv for csv in asked if csv in contents.tables and csv != sample_csv]
    if (misfit := find_misfit(contents, asked, choices.id_column)) is not None:
        likely = likely_labels(tops, contents)
        hint = len(likely) == 1 and not misfit.of_folders
        more = f"; where folders are the labels, give --train-csv {likely[0]}" if hint else ""
        raise DataError(f"{misfit}{more}")
    if choices.train_csv not in tops:
        require_rows(contents, choices)
    sample = read_sample(contents, sample_csv, None, gathered.rows.get(sample_csv or ""))
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
        value, reason = f"{len(names)} in the names of {len(frame)} files", f"as {names[0]} in {frame[id_column][0]}"
    else:
        folder = choose_folder(tops, contents, data_dir, choices)
        form = replace(form, train_folders=True, train_images=folder)
        frame = list_folders(form, data_dir, remarks)
        value = f"{frame['label'].nunique()} folders in {folder}"
        reason = "no table names images with a label"
    labels = labels_of(frame["label"].tolist(), None)
    if len(labels) < 2:
        raise DataError(
            f"{data_dir / folder} has no two folders of images that can be labels, only {', '.join(labels)}"
        )
    findings = [Finding("labels", value, reason, "--train-csv")]
    images = {*frame[id_column], *(name.rpartition("/")[2] for name in frame[id_column])}
    ranked = None if sample is None else read_ranked(sample, set(labels), images)
    graded = judges_grades(choices.metric, labels)
    evidence = Evidence(labels, False, "each image has one label", ranked, graded=graded)
    question = _choose_question(choices, evidence, findings)
    form = replace(form, task=question.task, **_unknown(question, labels, ranked, findings))
    read = Rows(
        question=question,
        table=form,
        frame=frame,
        files=frame[id_column].to_numpy(str),
        labels=labels,
        sample=sample,
        ranked=ranked,
        findings=tuple(findings),
        remarks=tuple(remarks),
    )
    return _with_answers(contents, choices, read)


def _with_answers(contents: Contents, choices: Choices, read: Rows) -> Guess:
    """Add what the sample submission says: where test images lie, what is answered, and by which metric."""
    names = list(read.table.label_columns) or sorted({*read.labels} - {read.table.unknown_label})
    form, test_files, found = _with_test(read, names, contents)
    every_row = bool((read.frame[form.label_column].str.strip() != "").all())
    judging = judge(read.question, names, form, read.sample, read.ranked, choices, every_row=every_row)
    in_files = contents.containers.findings(form)
    form = replace(form, pixel_shape=choices.pixel_shape)
    known = vars(read) | {"table": form, "findings": (*read.findings, *found, *in_files, judging.finding)}
    return Guess(**known, test_files=test_files, judging=judging)


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


def _with_test(read: Rows, labels: list[str], contents: Contents) -> tuple[TableFormat, np.ndarray, list[Finding]]:
    """The format with the sample submission and the folder of test images, the image of each of its rows, and what was
    found."""
    form, sample, ranked = read.table, read.sample, read.ranked
    if sample is None:
        return find_test_rows(form, contents, nested=read.is_nested)
    form = replace(form, **_answer_fields(sample, ranked, labels, form))
    require_filled(sample.frame, Path(sample.csv), [sample.id_column, *form.filled_columns], ())
    if read.units is not None:
        form, files, where = read.units.with_test(form, sample)
    elif read.linked is not None:
        form, files, where = read.linked.with_test(form, sample)
    else:
        form, files, where = find_test_images(form, sample, contents, nested=read.is_nested)
    filled = form.filled_columns
    asked = filled[0] if len(filled) == 1 else f"{filled[0]} to {filled[-1]}"
    finding = Finding("sample submission", f"{sample.csv}, answers in {asked}", where, "table.sample_csv, .test_images")
    return form, files, [finding]


def _answer_fields(sample: Sample, ranked: Ranked | None, labels: list[str], form: TableFormat) -> dict[str, Any]:
    """Which columns of the sample submission wait for answers, as fields of the format."""
    changes: dict[str, Any] = {"sample_csv": sample.csv}
    if sample.id_column != form.id_column:
        changes["sample_id_column"] = sample.id_column
    answers = sample.answers
    if ranked is not None and ranked.columns:
        changes["answer_columns"] = ranked.columns
    elif len(answers) > 1 and set(answers) == set(labels):
        if answers != form.label_columns:
            changes["answer_columns"] = answers
    elif form.label_column not in answers:
        if len(answers) != 1:
            listed = ", ".join(answers[:4]) + (", ..." if len(answers) > 4 else "")
            raise DataError(
                f"{sample.csv} has {len(answers)} columns beside {sample.id_column} ({listed}), which are neither the "
                f"labels ({', '.join(labels[:4])}{', ...' if len(labels) > 4 else ''}) nor numbered: what goes into "
                "which of them cannot be told"
            )
        changes["answer_column"] = answers[0]
    if sample.long is not None:
        changes["sample_rows"] = sample.long.rows
        if sample.long.value_column != form.label_column:
            changes["answer_column"] = sample.long.value_column
    return changes
