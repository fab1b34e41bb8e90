"""From a competition's folder to how its files name rows, labels and images; every guess with its reason.

What cannot be told is one clear line that names the candidates and the option to give.
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
from imettk.starter.guess_answers import Guess, Rows, with_answers
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
from imettk.starter.guess_titles import find_coco_titles, find_titles, have_groups
from imettk.starter.guess_units import UnitRows, find_units, lists_units
from imettk.starter.judging import judges_grades
from imettk.starter.look import Contents
from imettk.starter.naming import label_folders
from imettk.starter.naming_folders import path_pattern
from imettk.starter.questions import QUESTIONS, Evidence, Question, Ranked


class _Source(NamedTuple):
    """The training rows by a table, and what belongs to them; see `Rows`."""

    gathered: Gathered
    rows: TrainingRows
    sample_csv: str | None
    sample: Sample | None
    units: UnitRows | None = None
    linked: LinkedTests | None = None

    @property
    def form(self) -> dict[str, Any]:
        """Fields of the format that say how rows become images."""
        beside: UnitRows | LinkedTests | None = self.units or self.linked
        return {} if beside is None else beside.form


def guess(contents: Contents, data_dir: Path, choices: Choices) -> Guess:
    """Guess everything.

    Raises:
        DataError: something cannot be told; the message names the candidates, and the option to give.
        ConfigError: the metric that was asked for is none.
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
    elif rows is None or _name_others(contents.tables[rows.csv][rows.id_column], rows.naming.found, contents):
        return _without_table(gathered, data_dir, choices, sample_csv)
    else:
        refuse_more_images(contents.tables[rows.csv], rows, contents, choices)
        source = _Source(gathered, rows, sample_csv, read_sample(contents, sample_csv, rows.id_column, long))
    return with_answers(contents, choices, _with_table(source, choices))


def _with_table(source: _Source, choices: Choices) -> Rows:
    """What a table says of its rows: labels, the question, groups, and the format of it all."""
    contents, sample = source.gathered.contents, source.sample
    findings: list[Finding] = []
    rows, targets = _find_labels(source, choices, findings)
    pattern = {} if source.form else _path_pattern(targets, rows, findings)
    apart = [] if source.units is None else list(source.units.not_labels)
    whole, labels = contents.tables[rows.csv], targets.labels
    frame = targets.frame.assign(**{name: whole[name] for name in apart})
    findings.append(Finding("labels", *targets.found, "--label-column"))
    ranked = None
    if sample is not None and not targets.several and not targets.numeric:
        ranked = read_ranked(sample, set(labels), set(frame[rows.id_column]))
    question = _choose_question(choices, _evidence(targets, ranked, choices), findings)
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
        **({} if targets.numeric else _find_titles(source, targets, findings)),
        **_unknown(question, labels, ranked, findings),
    )
    if form.train_rows is not None:  # whose label column is none of the gathered table
        frame = frame.rename(columns={TableFormat(**targets.form).label_column: form.label_column})
    beside = frame.drop(columns=[*form.label_columns, *apart])
    form = replace(form, group_column=find_group(beside, rows.id_column, form.label_column, choices, findings))
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
    """The training rows, one an image or a unit, and their labels."""
    rows, units, long = source.rows, source.units, source.gathered.rows
    contents = source.gathered.contents
    frame = contents.tables[rows.csv]
    kind = contents.forms.get(rows.csv, f"{len(frame)} rows")
    findings += [
        Finding("training table", f"{rows.csv}, {kind}", rows.reason, "--train-csv"),
        *source.gathered.findings,
    ]
    names = long[rows.csv].labels if rows.csv in long else ()
    apart = [] if units is None else list(units.not_labels)
    targets = find_targets(frame.drop(columns=apart), rows, source.sample, contents, choices, gathered=names)
    if units is not None:
        findings.append(units.finding)
        return rows, targets
    rows, targets = join_images(rows, targets, choices, findings, annotated=kind.startswith("COCO"))
    tell = tell_ids if source.linked is None else source.linked.tell_ids
    findings.append(tell(rows, targets.frame))
    return rows, targets


def _evidence(targets: Targets, ranked: Ranked | None, choices: Choices) -> Evidence:
    """What tells the question of a competition by its labels."""
    return Evidence(
        targets.labels,
        targets.several,
        targets.reason,
        ranked,
        targets.numeric,
        targets.votes,
        graded=not targets.numeric and judges_grades(choices.metric, targets.labels),
        asks_columns=targets.asks_columns,
    )


def _find_titles(source: _Source, targets: Targets, findings: list[Finding]) -> dict[str, Any]:
    """The table of the labels' names, as fields of the format."""
    contents, train_csv = source.gathered.contents, source.rows.csv
    others = (train_csv, source.sample_csv, source.form.get("test_csv"))
    titles = find_titles(contents, targets.labels, others, findings)
    return titles or find_coco_titles(contents, train_csv, str(targets.form.get("label_column")), findings)


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
    return with_answers(contents, choices, read)


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
