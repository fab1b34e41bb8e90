"""`new`: guess how to read a competition's folder, report what looks odd, and write a recipe that trains on it."""

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
from imettk.starter.starting_points import Start, StartingPoint, choose_start
from imettk.starter.starts import image_size, judge_by, recipe_like, start_recipe
from imettk.tasks import TASKS
from imettk.tasks.questions import label_of

ANSWERS = "answers.csv"
WEIGHTS = "weights"  # the folder into which `imettk weights` downloads


def new(
    name: str,
    data_dir: Path,
    choices: Choices,
    *,
    like: Callable[[], Recipe] | None = None,
    hold_out: float | None = None,
) -> None:
    """Write `NAME.py` here, and with `hold_out` the folder `NAME-data`; print the commands to run next.

    Args:
        like: the function of a built-in recipe to start from.
        hold_out: share of the rows, (0, 0.5], to set aside as a test set, for a folder without one.

    Raises:
        DataError: something cannot be guessed, or would be overwritten.
        ConfigError: NAME is not a plain name, or `like` does not fit the data.
    """
    path, made_dir = Path(f"{name}.py"), Path(f"{name}-data")
    _check(name, path, made_dir, hold_out, like=like is not None, start=choices.start)
    contents = look_into(data_dir)
    guessed = guess(contents, data_dir, choices)
    looks = look_at(_image_files(guessed, data_dir), choices.pixel_shape)
    begin = like or choose_start(choices.start, Path(WEIGHTS))
    _print_guess(guessed, contents, looks, data_dir)
    if isinstance(begin, Start):
        text = _describe_start(begin.point, image_size(looks, begin.point), guessed.num_images)
        say(f"  {'start':<19}{text}: {begin.reason}  [--start]")
    _print_oddities(guessed, contents, looks)
    test = None
    if hold_out is not None:
        test = _choose_held_out(guessed, hold_out, data_dir)
        guessed = replace(guessed, table=_move_format(guessed.table, data_dir, made_dir))
    recipe, source = _make_recipe(guessed, looks, name, begin)
    # Whatever can be refused is refused above or here, before the first file is written.
    check_sample(recipe, data_dir, sorted(guessed.labels))
    if test is not None:
        _write_tables(guessed, test, made_dir)
    with path.open("x", encoding="utf-8") as file:
        file.write(source)
    say(f"wrote {path} ({len(source.splitlines())} lines): read it and adjust it")
    if isinstance(begin, Start) and begin.point.pretrained and not begin.has_weights:
        say(f"first, fetch the pretrained weights: imettk weights timm:{begin.point.network}")
    dealt = test is not None
    _print_next_steps(name, made_dir if dealt else data_dir, has_test=dealt or guessed.has_test, dealt=dealt)


def _check(name: str, path: Path, made_dir: Path, hold_out: float | None, *, like: bool, start: str | None) -> None:
    """Raise for arguments that are wrong whatever the folder holds."""
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ConfigError(
            f"NAME must be a plain name such as clothing, to write clothing.py in this folder; got {name!r}"
        )
    if hold_out is not None and not 0 < hold_out <= 0.5:
        raise ConfigError(f"--hold-out must be in (0, 0.5], a share of the rows, got {hold_out:g}")
    if like and start is not None:
        raise ConfigError("--start and --like both choose where the recipe starts: give only one of them")
    for target in (path, *([made_dir] if hold_out is not None else [])):
        if target.exists():
            raise DataError(f"{target} already exists and is never overwritten: choose another NAME, or remove it")


def _print_guess(guessed: Guess, contents: Contents, looks: Looks, data_dir: Path) -> None:
    """Print each guess with its reason and the option or field that changes it."""
    tables = len(contents.tables)
    say(f"{data_dir}: {tables} table{'s' if tables != 1 else ''}, {contents.num_images} images")
    _print_findings(guessed.findings)
    say(f"  {'images':<19}{_describe_images(looks, guessed)}  [images.image_size, .channels, .aspect]")
    _print_findings(looks.insides.findings)


def _print_findings(findings: Sequence[Finding]) -> None:
    """Print a line for each finding."""
    for finding in findings:
        say(f"  {finding.what:<19}{finding.value}: {finding.reason}  [{finding.change}]")


def _print_oddities(guessed: Guess, contents: Contents, looks: Looks) -> None:
    """Print what looks odd in the folder, a line for each oddity."""
    oddities = find_oddities(guessed, contents, looks)
    say("odd:" if oddities else "nothing odd")
    for line in oddities:
        say(f"  - {line}")


def _image_files(guessed: Guess, data_dir: Path) -> list[list[str]]:
    """Return the paths of the files of each training image that was found."""
    folder, channels = data_dir / guessed.table.train_images, guessed.table.channel_files or ("",)
    # Called only for its error: it names `--pixel-shape` where pixels in columns have no known shape.
    list_members(folder, guessed.table.pixel_shape)
    paths = member_paths(folder, guessed.files[guessed.found].tolist())
    return [[path.replace("*", channel) for channel in channels] if channels != ("",) else [path] for path in paths]


def _describe_images(looks: Looks, guessed: Guess) -> str:
    """Return a line about the typical image.

    Raises:
        DataError: images of several files are in colour.
    """
    kind = {1: "grey", 3: "colour"}.get(looks.channels, f"{looks.channels} channels")
    if (number := len(guessed.table.channel_files)) > 0:
        if not looks.grey:
            raise DataError(
                f"each id has {number} files in colour ({', '.join(guessed.table.channel_files)}), but an image of "
                "several files is only read if each of them is a grey channel"
            )
        kind = f"{number} grey files each"
    height, width = looks.size
    strips = f", {looks.strips:.0%} more than twice as long as wide" if looks.strips else ""
    return f"{kind}, typically {height} x {width} pixels (height x width){strips}: {looks.number} images decoded"


def _make_recipe(guessed: Guess, looks: Looks, name: str, begin: Start | Callable[[], Recipe]) -> tuple[Recipe, str]:
    """Return a recipe that fits the guess, and the text of its Python file.

    Args:
        begin: where it starts: a network, or the function of a built-in recipe.
    """
    if isinstance(begin, Start):
        (recipe, comments), base = start_recipe(guessed, looks, name, begin.point), None
    else:
        recipe, comments = recipe_like(begin(), guessed, looks, name)
        base = begin(), begin.__module__, begin.__name__
    recipe = judge_by(recipe, guessed)
    return recipe, write_source(recipe, comments, _summary(guessed, name), base)


def _choose_held_out(guessed: Guess, share: float, data_dir: Path) -> pd.Series:
    """Choose the rows of the table that become the test set; rows without an image, a label or an id never do.

    Raises:
        DataError: the folder already has a test set, an id stands twice, or there are too few rows.
    """
    form, frame = guessed.table, guessed.frame
    if guessed.sample is not None:
        raise DataError(
            f"--hold-out makes a test set for a folder without one, but {data_dir / guessed.sample.csv} already asks "
            "for answers to one: leave --hold-out out"
        )
    if guessed.has_test:
        say(f"{list_names(guessed.test_files.tolist(), 'test image')} left out: --hold-out makes another test set")
    require_unique(frame[form.id_column], Path(form.train_csv))
    cells = frame[form.label_column].str.strip()
    fit = pd.Series(guessed.found, index=frame.index)
    if not guessed.question.several:
        # A new Series: pandas 2 shares memory with `guessed.found`, which an in-place `&=` would change.
        fit = fit & (cells != "") & (cells != (form.unknown_label or ""))
    separator = form.cell_separator if guessed.question.several else None
    labels = [sorted(labels_of([cell], separator)) for cell in cells[fit]]
    if TASKS[form.task].numbered:
        labels = [split(cell, form) for cell in cells[fit]]
    groups = None if form.group_column is None else frame[form.group_column][fit]
    task = TASKS[guessed.question.task]
    chosen, kept = choose_test_rows(labels, share, task=task, columns=form.number_columns, groups=groups)
    if kept:
        say(f"{list_names(kept, 'label')} only in rows set aside: one such row, or its group, stays in training")
    test = pd.Series(False, index=frame.index)
    test[fit] = chosen
    return test


def _move_format(form: TableFormat, data_dir: Path, made_dir: Path) -> TableFormat:
    """Return the format of the tables written into `made_dir`, whose images stay in `data_dir`."""

    def from_made_dir(name: str) -> str:
        return os.path.relpath(data_dir / name, made_dir).replace(os.sep, "/")

    images = from_made_dir(form.train_images)
    return replace(
        form,
        train_csv="train.csv",
        train_folders=False,
        train_files=False,
        label_pattern=None,
        train_rows=None,
        train_images=images,
        test_images=images,
        labels_csv=None if form.labels_csv is None else from_made_dir(form.labels_csv),
        test_csv="test.csv" if form.image_columns or form.path_columns else None,
    )


def _write_tables(guessed: Guess, test: pd.Series, made_dir: Path) -> None:
    """Write `train.csv`, the held-out `answers.csv`, and a sample submission that gives every row the same answer."""
    form, frame = guessed.table, guessed.frame
    train, answers = frame[~test], frame[test]
    unlabelled = train[form.label_column].str.strip() == ""
    if not guessed.question.several and unlabelled.any():
        rows = list_names(train[form.id_column][unlabelled], "row")
        say(f"{rows} without a label: left out of {made_dir / form.train_csv}")
        train = train[~unlabelled]
    made_dir.mkdir()
    write_cells(train, form).to_csv(made_dir / form.train_csv, index=False)
    write_cells(answers, form).to_csv(made_dir / ANSWERS, index=False)
    if form.test_csv is not None:
        answers[[form.id_column, *form.image_columns, *form.path_columns]].to_csv(made_dir / form.test_csv, index=False)
    sample = as_table(answers[form.id_column].tolist(), [_constant_answer(guessed, train)] * len(answers), form)
    sample.to_csv(made_dir / form.sample_csv, index=False)
    groups = "" if form.group_column is None else f", in whole groups of {form.group_column}"
    say(
        f"wrote {made_dir}/: {form.train_csv} ({len(train)} rows), {form.sample_csv} and {ANSWERS} "
        f"({len(answers)} rows, {len(answers) / len(frame):.0%} of all{groups}); the images are not moved"
    )


def _constant_answer(guessed: Guess, train: pd.DataFrame) -> list[str]:
    """Return the most common label of the training rows, that of each question, or the mean of each number."""
    form = guessed.table
    task = TASKS[form.task]
    if task.numbered:
        means = [pd.to_numeric(train[column]).mean() for column in form.number_columns]
        return [f"{mean / (sum(means) if task.votes else 1):.6g}" for mean in means]
    if task.asks_columns:
        return [label_of(column, train[column].str.strip().mode()[0]) for column in form.label_columns]
    return [next(label for label, _ in guessed.labels.most_common() if label != form.unknown_label)]


def _summary(guessed: Guess, name: str) -> str:
    """Return the first line of the recipe's file."""
    number = len(guessed.labels)
    labels = f"{number} {guessed.question.kind_of_labels.format(s='' if number == 1 else 's')}"
    return f"{name}: {len(guessed.frame)} rows, {labels}; started by `imettk new`."


def _describe_start(point: StartingPoint, size: tuple[int, int], rows: int) -> str:
    """Describe a starting point, and estimate its training time if it needs a GPU."""
    text = f"{point.network}, {size[0]} x {size[1]} pixels, {point.num_epochs(rows)} epochs"
    if point.strength == "strong":
        text += (
            f", batches of {point.batch_size} in 15 GB, roughly {point.t4_hours(rows):.1f} h a fold on a T4 (computed "
            "from its operations; `imettk kaggle preflight` measures it)"
        )
    return text


def _print_next_steps(name: str, data_dir: Path, *, has_test: bool, dealt: bool) -> None:
    """Print the commands to run next; with `dealt`, the last one scores the answers to the held-out rows."""
    common = f"{name}.py --data {shlex.quote(str(data_dir))} --run-dir runs/{name}"
    commands = ["prepare", "train", "validate", *(["infer"] if has_test else [])]
    say("next:")
    for command in commands:
        answers = f" --answers {shlex.quote(str(data_dir / ANSWERS))}" if command == "infer" and dealt else ""
        say(f"  imettk {command} {common}{answers}")
    if not has_test:
        say("there is no test set, only validation scores; --hold-out 0.2 would set a fifth of the rows aside as one")
