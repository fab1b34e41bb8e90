"""`new`: look at a competition's folder, say what was guessed and what is odd, and write a recipe that runs on it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from imettk.config import Recipe, TableFormat
from imettk.data.container_search import member_paths
from imettk.data.containers import list_members
from imettk.data.csv_files import list_names, require_unique
from imettk.data.label_cells import as_table, write_cells
from imettk.data.labels import split
from imettk.errors import ConfigError, DataError
from imettk.evaluation.submit import check_sample
from imettk.progress import say
from imettk.starter.finding import Finding
from imettk.starter.guess import guess
from imettk.starter.guess_answers import Guess
from imettk.starter.guess_columns import Choices
from imettk.starter.guess_labels import labels_of
from imettk.starter.hold_out import choose_test_rows
from imettk.starter.look import Contents, Looks, look_at, look_into
from imettk.starter.oddities import find_oddities
from imettk.starter.recipe_source import write_source
from imettk.starter.starting_points import StartingPoint, choose_start
from imettk.starter.starts import image_size, judge_by, recipe_like, start_recipe
from imettk.tasks import TASKS
from imettk.tasks.questions import label_of

ANSWERS = "answers.csv"
WEIGHTS = "weights"  # the folder in which `imettk weights` leaves them


def new(
    name: str,
    data_dir: Path,
    choices: Choices,
    *,
    like: Callable[[], Recipe] | None = None,
    hold_out: float | None = None,
) -> None:
    """Write `NAME.py` here, and with `hold_out` the folder `NAME-data`; print what comes next.

    Args:
        like: the function of a built-in recipe to start from.
        hold_out: share of the rows, (0, 0.5], that become a test set of their own, for a folder without one.

    Raises:
        DataError: something cannot be told, or would be overwritten.
        ConfigError: NAME is no plain name, or `like` does not fit.
    """
    path, made_dir = Path(f"{name}.py"), Path(f"{name}-data")
    _check(name, path, made_dir, hold_out, like=like is not None, start=choices.start)
    contents = look_into(data_dir)
    found = guess(contents, data_dir, choices)
    looks = look_at(_image_files(found, data_dir), choices.pixel_shape)
    point, has_weights, why = choose_start(choices.start, Path(WEIGHTS))
    _tell_found(found, contents, looks, data_dir)
    if like is None:
        say(f"  {'start':<19}{_describe(point, image_size(looks, point), found.num_images)}: {why}  [--start]")
    oddities = find_oddities(found, contents, looks)
    say("odd:" if oddities else "nothing odd")
    for line in oddities:
        say(f"  - {line}")
    test = None
    if hold_out is not None:
        if found.sample is not None:
            raise DataError(
                f"--hold-out is for a folder without a test set, and {data_dir / found.table.sample_csv} is one; leave "
                "it out"
            )
        test = _deal(found, hold_out)
        found = replace(found, table=_elsewhere(found.table, data_dir, made_dir))
    if like is None:
        recipe, comments = start_recipe(found, looks, name, point)
        base = None
    else:
        recipe, comments = recipe_like(like(), found, looks, name)
        base = like(), like.__module__, like.__name__
    recipe = judge_by(recipe, found)
    check_sample(recipe, data_dir, sorted(found.labels))
    text = write_source(recipe, comments, _summary(found, name), base)
    if test is not None:
        _write_tables(found, test, made_dir)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    say(f"wrote {path}: {len(text.splitlines())} lines, to be read and changed")
    if like is None and point.pretrained and not has_weights:
        say(f"first: imettk weights timm:{point.network}")
    dealt = test is not None
    _tell_next(name, made_dir if dealt else data_dir, has_test=dealt or found.has_test, dealt=dealt)


def _check(name: str, path: Path, made_dir: Path, hold_out: float | None, *, like: bool, start: str | None) -> None:
    """Raise for what is wrong before anything is read."""
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ConfigError(f"NAME is a plain name such as clothing, for clothing.py in this folder; got {name!r}")
    if hold_out is not None and not 0 < hold_out <= 0.5:
        raise ConfigError(f"--hold-out must be in (0, 0.5], a share of the rows, got {hold_out:g}")
    if like and start is not None:
        raise ConfigError("--start and --like both say where to begin: leave one out")
    for there in (path, *([made_dir] if hold_out is not None else [])):
        if there.exists():
            raise DataError(f"{there} exists already, and nothing is overwritten: take another NAME, or remove it")


def _tell_found(found: Guess, contents: Contents, looks: Looks, data_dir: Path) -> None:
    """Print what was guessed, why, and which option or field changes it."""
    tables = len(contents.tables)
    say(f"{data_dir}: {tables} table{'s' if tables != 1 else ''}, {contents.num_images} images")
    _tell(found.findings)
    say(f"  {'images':<19}{_looks(looks, found)}  [images.image_size, .channels, .aspect]")
    _tell(looks.insides.findings)


def _tell(findings: Sequence[Finding]) -> None:
    for finding in findings:
        say(f"  {finding.what:<19}{finding.value}: {finding.reason}  [{finding.change}]")


def _image_files(found: Guess, data_dir: Path) -> list[list[str]]:
    """The files of each training image that is there."""
    folder, channels = data_dir / found.table.train_images, found.table.channel_files or ("",)
    list_members(folder, found.table.pixel_shape)  # which says where a shape is wanting
    paths = member_paths(folder, found.files[found.found].tolist())
    return [[path.replace("*", channel) for channel in channels] if channels != ("",) else [path] for path in paths]


def _looks(looks: Looks, found: Guess) -> str:
    kind = {1: "grey", 3: "colour"}.get(looks.channels, f"{looks.channels} channels")
    if (number := len(found.table.channel_files)) > 0:
        if not looks.grey:
            raise DataError(
                f"each id has {number} files in colour ({', '.join(found.table.channel_files)}): an image of several "
                "files is read only where each is a grey channel"
            )
        kind = f"{number} grey files each"
    height, width = looks.size
    strips = f", {looks.strips:.0%} more than twice as long as wide" if looks.strips else ""
    return f"{kind}, typically {height} x {width} pixels (height x width){strips}: {looks.number} of them decoded"


def _deal(found: Guess, share: float) -> pd.Series:
    """Which rows of the table are for the test set; rows without image, label or name are not."""
    form, frame = found.table, found.frame
    require_unique(frame[form.id_column], Path(form.train_csv))
    cells = frame[form.label_column].str.strip()
    fit = pd.Series(found.found, index=frame.index)
    if not found.question.several:
        fit = fit & (cells != "") & (cells != (form.unknown_label or ""))  # in place it would change `found`: pandas 2
    separator = form.cell_separator if found.question.several else None
    labels = [sorted(labels_of([cell], separator)) for cell in cells[fit]]
    if TASKS[form.task].numbered:
        labels = [split(cell, form) for cell in cells[fit]]
    groups = None if form.group_column is None else frame[form.group_column][fit]
    task = TASKS[found.question.task]
    chosen, lost = choose_test_rows(labels, share, task=task, columns=form.number_columns, groups=groups)
    if lost:
        say(f"{list_names(lost, 'label')} would have no row left to train on: one, or its group, is not held out")
    test = pd.Series(False, index=frame.index)
    test[fit] = chosen
    return test


def _elsewhere(form: TableFormat, data_dir: Path, made_dir: Path) -> TableFormat:
    """The same format for tables in `made_dir`, from where images are reached by a relative path."""

    def way(name: str) -> str:
        return os.path.relpath(data_dir / name, made_dir).replace(os.sep, "/")

    images = way(form.train_images)
    return replace(
        form,
        train_csv="train.csv",
        train_folders=False,
        train_files=False,
        label_pattern=None,
        train_rows=None,
        train_images=images,
        test_images=images,
        labels_csv=None if form.labels_csv is None else way(form.labels_csv),
        test_csv="test.csv" if form.image_columns or form.path_columns else None,
    )


def _write_tables(found: Guess, test: pd.Series, made_dir: Path) -> None:
    """`train.csv`, `answers.csv` in its format, and a sample submission with the commonest label, or means."""
    form, frame = found.table, found.frame
    train, answers = frame[~test], frame[test]
    bare = train[form.label_column].str.strip() == ""
    if not found.question.several and bare.any():
        say(
            f"{list_names(train[form.id_column][bare], 'row')} without a label: left out of {made_dir / form.train_csv}"
        )
        train = train[~bare]
    made_dir.mkdir()
    write_cells(train, form).to_csv(made_dir / form.train_csv, index=False)
    write_cells(answers, form).to_csv(made_dir / ANSWERS, index=False)
    if form.test_csv is not None:
        answers[[form.id_column, *form.image_columns, *form.path_columns]].to_csv(made_dir / form.test_csv, index=False)
    common = [next(label for label, _ in found.labels.most_common() if label != form.unknown_label)]
    if TASKS[form.task].asks_columns:
        common = [label_of(column, train[column].str.strip().mode()[0]) for column in form.label_columns]
    if TASKS[form.task].numbered:
        means = [pd.to_numeric(train[column]).mean() for column in form.number_columns]
        common = [f"{mean / (sum(means) if TASKS[form.task].votes else 1):.6g}" for mean in means]
    sample = as_table(answers[form.id_column].tolist(), [common] * len(answers), form)
    sample.to_csv(made_dir / form.sample_csv, index=False)
    groups = "" if form.group_column is None else f", whole groups of {form.group_column}"
    say(
        f"wrote {made_dir}/: {form.train_csv} with {len(train)} rows, {form.sample_csv} and {ANSWERS} with "
        f"{len(answers)} ({len(answers) / len(frame):.0%} of all{groups}); images stay where they are"
    )


def _summary(found: Guess, name: str) -> str:
    number = len(found.labels)
    labels = f"{number} {found.question.kind_of_labels.format(s='' if number == 1 else 's')}"
    return f"{name}: {len(found.frame)} rows, {labels}; begun by `imettk new`."


def _describe(point: StartingPoint, size: tuple[int, int], rows: int) -> str:
    """A starting point, and about how long it takes."""
    text = f"{point.network}, {size[0]} x {size[1]} pixels, {point.num_epochs(rows)} epochs"
    if point.strength == "strong":
        text += (
            f", batches of {point.batch_size} for 15 GB, about {point.t4_hours(rows):.1f} h a fold on a T4 by its "
            "operations (not measured: `imettk kaggle preflight` does)"
        )
    return text


def _tell_next(name: str, data_dir: Path, *, has_test: bool, dealt: bool) -> None:
    common = f"{name}.py --data {shlex.quote(str(data_dir))} --run-dir runs/{name}"
    stages = ["prepare", "train", "validate", *(["infer"] if has_test else [])]
    say("next:")
    for stage in stages:
        answers = f" --answers {shlex.quote(str(data_dir / ANSWERS))}" if stage == "infer" and dealt else ""
        say(f"  imettk {stage} {common}{answers}")
    if not has_test:
        say("there is no test set: validation scores are all there is. --hold-out 0.2 deals a fifth of the rows to one")
