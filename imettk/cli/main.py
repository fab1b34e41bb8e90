"""The `imettk` command line. Exit code 0: done or paused; 2: wrong input; 1: any other failure.

Nothing heavy is imported before the command is known, so `--help` answers at once. Errors are one line, except for
bugs; with IMETTK_TRACEBACK=1 in the environment all of them come with a traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from imettk.cli import exchange
from imettk.cli.ending import end_with, leave
from imettk.cli.next_steps import Ended, after_weights, say_next, tell_next
from imettk.cli.options import COMMANDS, make_parser, split_overrides
from imettk.config import SESSION_START, Recipe
from imettk.config.fields import field_names, field_type
from imettk.config.overrides import apply_overrides
from imettk.errors import ConfigError, MissingFileError
from imettk.recipes import RECIPES, load_recipe
from imettk.tracking.pseudo_files import locate_pseudo
from imettk.tracking.recipe_file import recall_source
from imettk.tracking.run_dir import RunDir

STARTED = time.monotonic()


def main(argv: Sequence[str] | None = None, on_error: Callable[[Exception], None] | None = None) -> None:
    """Run the `imettk` command.

    Args:
        argv: the words behind `imettk`; None takes those of this process.
        on_error: is given the error of a command that fails, before it is printed.
    """
    try:
        try:
            _run(sys.argv[1:] if argv is None else list(argv))
        finally:
            sys.stdout.flush()  # here and not at Python's exit, where a closed pipe could not be handled
        if "WORLD_SIZE" in os.environ:
            # Everything is written. At Python's normal exit the threads of torch's connections may crash one of several
            # processes, which the launcher would take for a failure.
            leave(0)
    except (KeyboardInterrupt, Exception) as error:
        if on_error is not None and isinstance(error, Exception):
            on_error(error)
        end_with(error)


def _run(argv: list[str]) -> None:
    """Parse the command line, and run the command."""
    parser = make_parser()
    if argv and argv[0] in COMMANDS:
        words, overrides = split_overrides(argv)
        _run_command(parser.parse_args(words), overrides, argv)
        return
    arguments, rest = parser.parse_known_args(argv)
    if rest and not (arguments.command == "kaggle" and arguments.takes_overrides):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if arguments.command == "demo":
        from imettk.cli.demo import demo

        demo(arguments.run_dir)
    elif arguments.command == "new":
        _new(arguments)
    elif arguments.command == "doctor":
        from imettk.cli.doctor import doctor

        sys.exit(doctor(telegram=arguments.telegram, kaggle=arguments.kaggle))
    elif arguments.command == "weights":
        _weights(arguments)
    elif arguments.command == "log":
        from imettk.cli.log import run_log

        run_log(arguments)
    elif arguments.command == "report":
        from imettk.commands.write_report import report

        report(arguments.folders, out=arguments.out, inputs=arguments.inputs)
    elif arguments.command == "completion":
        from imettk.cli.completion import completion_script

        print(completion_script(arguments.shell))
    else:
        from imettk.cli.kaggle import run_action

        arguments.words = argv
        sys.exit(run_action(arguments, rest))


def _run_command(arguments: argparse.Namespace, overrides: list[str], argv: list[str]) -> None:
    """Run a command that works in a run folder, with the recipe and its overrides."""
    if arguments.run_dir.exists() and not arguments.run_dir.is_dir():
        raise MissingFileError(f"--run-dir: {arguments.run_dir} is a file, not a folder")
    run = RunDir(arguments.run_dir, arguments.inputs)
    # These work in a new run folder, which has no recipe yet: they take that of a member.
    name = arguments.recipe
    if arguments.command in ("ensemble", "soup", "neighbours") and not name:
        first = arguments.classifier if arguments.command == "neighbours" else arguments.members[0]
        name = str(first / "recipe.json")
    recipe = load_recipe(name) if name else run.recipe()
    if name and name.endswith(".json"):
        folder = Path(name).parent
        recipe = locate_pseudo(recall_source(folder, recipe), [folder])
    if arguments.fields:
        _print_fields(recipe)
        return
    counted = arguments.command == "train" and arguments.processes is not None
    processes = ["--session.num-processes", str(arguments.processes)] if counted else []
    recipe = run.locate(apply_overrides(recipe, [*overrides, *processes]))
    if getattr(arguments, "pseudo", None) is not None:
        from imettk.commands.pseudo_label import add_pseudo_table

        saved = run.saved_extra()
        recipe = add_pseudo_table(recipe, arguments.pseudo, arguments.pseudo_weight, saved=saved)
    arguments.words = argv
    RUNNERS[arguments.command](arguments, recipe, run)
    tell_next(Ended(arguments, overrides, recipe, run))


def _new(arguments: argparse.Namespace) -> None:
    from imettk.commands.new import Choices, new

    choices = Choices(**{item.name: getattr(arguments, item.name) for item in fields(Choices)})
    like = None if arguments.like is None else RECIPES[arguments.like]
    new(arguments.name, arguments.data, choices, like=like, hold_out=arguments.hold_out)


def _weights(arguments: argparse.Namespace) -> None:
    from imettk.models.fetch import fetch_weights

    fetch_weights(arguments.names, arguments.out)
    if arguments.upload:
        from imettk.cli.kaggle import upload_weights

        upload_weights(arguments.out)
    else:
        say_next(after_weights(arguments.out))


def _duplicates(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    from imettk.commands.find_duplicates import duplicates

    settings = {name: getattr(arguments, name) for name in ("limit", "each_channel", "features", "similarity")}
    duplicates(recipe, arguments.data, run, actions=arguments.action, **settings)


def _validate(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    from imettk.commands.validate import validate
    from imettk.tracking.messages import scored
    from imettk.tracking.telegram import notify

    validate(recipe, arguments.data, run, fold=arguments.fold)
    notify(scored(recipe.name, run.path))


def _infer(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    """Predict the test set, or single images."""
    if arguments.images:
        if arguments.answers is not None:
            raise ConfigError("--answers belong to the test set's table, which --images do without: give one of them")
        from imettk.commands.infer_images import infer_images

        infer_images(recipe, arguments.data, run, arguments.images, fold=arguments.fold)
        return
    from imettk.commands.infer import infer
    from imettk.tracking.telegram import notify

    infer(recipe, arguments.data, run, fold=arguments.fold, started=_started(), answers_csv=arguments.answers)
    notify(f"{recipe.name}: the submission is written")


def _ensemble(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    from imettk.commands.ensemble import ensemble

    members, weights = arguments.members, arguments.weights
    ensemble(recipe, arguments.data, run, members=members, method=arguments.method, weights=weights)


def _soup(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    from imettk.commands.soup import soup

    soup(recipe, arguments.data, run, members=arguments.members)


def _pseudo(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    from imettk.commands.pseudo_label import make_selection, pseudo

    selection = make_selection(arguments.confidence, arguments.share, arguments.power, hard=arguments.hard)
    if arguments.rounds is None:
        pseudo(recipe, run, selection)
        return
    from imettk.cli.log import take_into_log
    from imettk.commands.pseudo_rounds import Request, pseudo_rounds

    _note_one_process(recipe)
    request = Request(arguments.rounds, selection, arguments.weight)
    scored = pseudo_rounds(recipe, arguments.data, run, request, started=_started())
    take_into_log(scored, run.path.parent / "log")


def _neighbours(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    from imettk.commands.replace_labels import neighbours

    neighbours(recipe, arguments.data, run, classifier=arguments.classifier, features=arguments.features)


def _prepare(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    """Prepare, or only show examples of the augmentation."""
    if arguments.show_augmentation is not None:
        from imettk.commands.show_augmentation import show_augmentation

        show_augmentation(recipe, arguments.data, run, arguments.show_augmentation)
        return
    from imettk.commands.prepare import prepare

    prepare(recipe, arguments.data, run)


def _preflight(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    from imettk.commands.preflight import preflight

    preflight(recipe, arguments.data, run)


def _started() -> float:
    """Return when the session started: with a kernel's first line, or with this command."""
    return float(os.environ.get(SESSION_START, STARTED))


def _train(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    """Train in this process or in several that this one starts, or only describe the training."""
    if arguments.dry_run:
        from imettk.commands.dry_run import dry_run

        dry_run(recipe, arguments.data, run, fold=arguments.fold)
        return
    from imettk.cli.launch import choose_num_processes, launch

    started = _started()
    session = recipe.session
    if (num_processes := choose_num_processes(session.num_processes, session.device)) > 1:
        if code := launch([sys.executable, "-m", "imettk", *arguments.words], num_processes, started=started):
            sys.exit(code)
        return
    from imettk.commands.train import train

    other_weights = arguments.resume == "weights"
    train(recipe, arguments.data, run, fold=arguments.fold, started=started, other_weights=other_weights)


def _try(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    """Search over recipes, and import those that are scored into the log beside the run folder."""
    from imettk.cli.log import take_into_log
    from imettk.commands.search import Request, search

    _note_one_process(recipe)
    request = Request(tuple(arguments.vary), arguments.fold, arguments.halving, arguments.budget)
    scored = search(recipe, arguments.data, run, request, started=_started())
    take_into_log(scored, run.path.parent / "log")


def _note_one_process(recipe: Recipe) -> None:
    """Print a note if `train` would share its batches among several processes, and this command does not."""
    from imettk.cli.launch import choose_num_processes
    from imettk.progress import say

    if (count := choose_num_processes(recipe.session.num_processes, recipe.session.device)) > 1:
        say(f"note: this command trains in one process, where `imettk train` would start {count}")


def _print_fields(recipe: Recipe) -> None:
    """Print every field of a recipe as an option, with its value and type."""
    for name in field_names(recipe):
        value: object = recipe
        for part in name.split("."):
            value = value[int(part)] if isinstance(value, tuple) else getattr(value, part)
        print(f"--{name.replace('_', '-'):<34}{value!r:<28} {field_type(recipe, name)}")


# Each command is imported by its own function only, so `--help` loads none of them.
RUNNERS = {
    "prepare": _prepare,
    "preflight": _preflight,
    "duplicates": _duplicates,
    "train": _train,
    "try": _try,
    "validate": _validate,
    "infer": _infer,
    "ensemble": _ensemble,
    "soup": _soup,
    "pseudo": _pseudo,
    "neighbours": _neighbours,
    **exchange.RUNNERS,
}
