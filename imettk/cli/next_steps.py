"""The last line of a command that ended well: `next: ` and the command that follows, ready to be copied.

It repeats the recipe, folders and fields of the command line that has just ended, and looks at the files of the run
folder where the next command depends on them. Kernels, launchers and notebooks decide by themselves what follows, and
get no such line; IMETTK_HINTS=0 in the environment leaves it out for everybody.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from imettk.cli.options import command_parser, split_overrides
from imettk.config import HINTS, SESSION_START, Recipe
from imettk.errors import UserError
from imettk.tracking.files import read_json
from imettk.tracking.run_dir import RunDir
from imettk.tracking.summary import CHAIN, read_facts

START = "`imettk new NAME --data DIR` writes a recipe for a competition's folder"
# These belong to the command that has ended, even if the next one has an option of this name.
_NOT_REPEATED = ("--fold", "--dry-run", "--show-augmentation")
_LONG_SECONDS = 3600.0  # of a fold on a CPU, beyond which Kaggle's GPUs are worth the trouble


@dataclass(frozen=True)
class Ended:
    """A command that has ended well.

    Attributes:
        arguments: as parsed, with `words`, the whole command line.
        overrides: the words that set fields of the recipe.
    """

    arguments: argparse.Namespace
    overrides: Sequence[str]
    recipe: Recipe
    run: RunDir

    def repeated(self, *more: str) -> str:
        """Return the same command line, with more words at its end."""
        return shlex.join(["imettk", *self.arguments.words, *more])

    def followed_by(self, command: str, *more: str) -> str:
        """Return another command with the recipe, the options that it shares with this one, and the fields."""
        recipe = [self.arguments.recipe] if self.arguments.recipe else []
        shared = command_parser(command).flags.difference(_NOT_REPEATED)
        options = [word for flag in self._typed if flag in shared for word in self.option(flag)]
        return shlex.join(["imettk", command, *recipe, *options, *more, *self.overrides])

    def option(self, flag: str) -> list[str]:
        """Return an option with its values as words, if the user gave it; otherwise nothing."""
        if flag not in self._typed:
            return []
        value = getattr(self.arguments, flag.removeprefix("--").replace("-", "_"))
        return [flag, *map(str, value if isinstance(value, list) else [value])]

    def has(self, name: str) -> bool:
        """Return whether the run folder or an input has a file of this name."""
        return any((folder / name).is_file() for folder in (self.run.path, *self.run.inputs))

    def untrained(self) -> list[int]:
        """Return the folds that are still to be trained: none where another tool has made the predictions."""
        if _is_imported(self.run):
            return []
        # Under `--resume weights` models among the inputs are those of other trainings.
        run = RunDir(self.run.path) if getattr(self.arguments, "resume", "") == "weights" else self.run
        return sorted({*range(self.recipe.folds.num_folds)} - {*run.trained_folds()})

    @cached_property
    def _typed(self) -> dict[str, None]:
        words, _ = split_overrides(self.arguments.words)
        return dict.fromkeys(word.split("=")[0] for word in words if word.startswith("--"))


def tell_next(ended: Ended) -> None:
    """Print what follows a command; a fault in this line must not turn its success into a failure."""
    if not are_hints_wanted():
        return
    try:
        line = NEXT[ended.arguments.command](ended)
    except Exception as error:
        _say(f"note: the next command is not known: {type(error).__name__}: {error}")
        return
    if line is not None:
        say_next(line)


def say_next(line: str) -> None:
    """Print what to do next, if such lines are wanted."""
    if are_hints_wanted():
        _say(f"next: {line}")


def _say(text: str) -> None:
    from imettk.progress import say  # not before: the command line itself needs no library

    say(text)


def are_hints_wanted() -> bool:
    """Return whether a user decides what follows, and wants to see it."""
    return os.environ.get(HINTS) != "0" and not {SESSION_START, "WORLD_SIZE"} & os.environ.keys()


def after_weights(folder: Path) -> str:
    """Return what follows `imettk weights`."""
    return shlex.join(["imettk", "train", "RECIPE", "--model.weights", str(folder)])


def _after_prepare(ended: Ended) -> str:
    return ended.followed_by("train" if ended.has("table.json") else "prepare")  # examples of images write no table


def _after_preflight(ended: Ended) -> str:
    from imettk.commands.preflight import RESULT

    measured = read_json(ended.run.path / RESULT) or {}
    is_short = measured.get("device") != "cpu" or measured.get("seconds_a_fold", 0.0) < _LONG_SECONDS
    if is_short or ended.option("--pseudo"):  # which a chain does not take
        return ended.followed_by("prepare")
    recipe = ended.arguments.recipe or ""
    travels = recipe and not recipe.endswith(".json")  # kernels take a built-in recipe or a .py file
    return chain_command([recipe if travels else "RECIPE", "--competition", "SLUG", *ended.overrides], ended.recipe)


def chain_command(words: Sequence[str], recipe: Recipe) -> str:
    """Return the command that trains all folds of a recipe on Kaggle.

    Args:
        words: the recipe and options of the chain.
    """
    folds = ",".join(map(str, range(recipe.folds.num_folds)))
    return shlex.join(["imettk", "kaggle", "chain", *words, "--folds", folds])


def _after_duplicates(ended: Ended) -> str:
    actions = ended.arguments.action
    if not actions and _has_copies(ended.run.path / "duplicates.csv"):
        return ended.repeated("--action", "group")
    if {"group", "drop"} & {*actions}:
        return ended.followed_by("prepare")
    return _continued(ended)


def _has_copies(table: Path) -> bool:
    """Return whether a table of compared pairs has some that were taken for copies."""
    with table.open(encoding="utf-8", newline="") as file:
        return any(row["same"] == "True" for row in csv.DictReader(file))


def _continued(ended: Ended) -> str:
    """Return the first command whose files are not there yet."""
    if not ended.has("table.json"):
        return ended.followed_by("prepare")
    if ended.untrained():
        return ended.followed_by("train")
    return ended.followed_by("infer" if ended.has("scores.json") else "validate")


def _after_train(ended: Ended) -> str:
    arguments, untrained = ended.arguments, ended.untrained()
    if arguments.dry_run:
        return ended.followed_by("train", *ended.option("--fold"))
    if untrained and (arguments.fold is None or arguments.fold in untrained):
        return ended.repeated()  # it is paused
    if untrained:
        return ended.followed_by("train", "--fold", str(untrained[0]))
    # Where all rows train, there is none to validate.
    return ended.followed_by("infer" if ended.recipe.folds.scheme == "none" else "validate")


def _after_validate(ended: Ended) -> str:
    from imettk.commands.infer import has_test_set

    fold = ended.option("--fold")
    if not fold and (untrained := ended.untrained()):
        return ended.followed_by("train", "--fold", str(untrained[0]))
    if has_test_set(ended.recipe, ended.arguments.data):
        return ended.followed_by("infer", *fold)
    return _report(ended.run.path)


def _after_infer(ended: Ended) -> str | None:
    if ended.arguments.images:
        return None
    return _report(ended.run.path) if ended.arguments.answers else _submission(ended.run.path)


def _report(folder: Path) -> str:
    return f"open {folder / 'report.html'} in a browser"


def _submission(folder: Path) -> str:
    """Return how to submit, with the competition's name if the run folder knows it."""
    path = str(folder / "submission.csv")
    words = [path, "--run-dir", str(folder)]
    if (slug := _competition(folder)) is not None:
        return shlex.join(["imettk", "kaggle", "submit", slug, *words])
    command = shlex.join(["imettk", "kaggle", "submit", "COMPETITION", *words])
    return f"submit {path} on the competition's page, or with `{command}`"


def _competition(folder: Path) -> str | None:
    """Return the competition that a run folder was submitted to, or trained for on Kaggle; None if it has none."""
    with suppress(UserError):  # a damaged file
        if submitted := read_facts(folder).get("lb", {}).get("competition"):
            return str(submitted)
        return next(iter((read_json(folder / CHAIN) or {}).get("competitions", [])), None)
    return None


def _lacking_test(ended: Ended, members: Sequence[Path]) -> str | None:
    """Return the command that predicts the test set with the first run that has not; None if all have."""
    for member in members:
        # Another tool's predictions can only be imported again, with those of the test set.
        if not any(member.glob("fold*/test.safetensors")) and not _is_imported(RunDir(member)):
            return shlex.join(["imettk", "infer", *ended.option("--data"), "--run-dir", str(member)])
    return None


def _after_ensemble(ended: Ended) -> str | None:
    if (command := _lacking_test(ended, ended.arguments.members)) is not None:
        return command
    return _submission(ended.run.path) if ended.has("submission.csv") else None


def _after_soup(ended: Ended) -> str:
    from imettk.commands.soup import SOUP

    if (read_json(ended.run.path / SOUP) or {}).get("is_made"):
        return ended.followed_by("validate")
    words = ["--members", *map(str, ended.arguments.members), *ended.option("--data")]
    return shlex.join(["imettk", "ensemble", *words, "--run-dir", _new_folder(ended.run.path, "ensemble")])


def _after_pseudo(ended: Ended) -> str | None:
    if ended.arguments.rounds is not None:  # it has printed how to continue, or the best round
        return None
    folder = ended.run.path
    recipe = ended.arguments.recipe or str(folder / "recipe.json")
    words = [*ended.option("--data"), "--run-dir", _new_folder(folder, "pseudo"), "--pseudo", str(folder)]
    return shlex.join(["imettk", "prepare", recipe, *words, *ended.overrides])


def _after_neighbours(ended: Ended) -> str | None:
    if (command := _lacking_test(ended, [ended.arguments.classifier, ended.arguments.features])) is not None:
        return command
    return _submission(ended.run.path) if ended.has("submission.csv") else None


def _after_import(ended: Ended) -> str:
    """Return the ensemble with the run whose folds the other tool has trained on, if there is one."""
    folder = ended.run.path
    beside = [path for path in ended.run.inputs if (path / "scores.json").is_file()]
    if not beside:
        return _report(folder)
    members = [str(beside[0]), str(folder)]
    words = ["--members", *members, *ended.option("--data"), "--run-dir", _new_folder(folder, "ensemble")]
    return shlex.join(["imettk", "ensemble", *words])


def _is_imported(run: RunDir) -> bool:
    from imettk.commands.import_predictions import is_imported

    return is_imported(run)


def _new_folder(folder: Path, suffix: str) -> str:
    """Return the name of a folder beside this one that does not exist yet."""
    if folder.name in ("", ".."):  # as `--run-dir .`
        folder = folder.resolve()
    name, number = f"{folder}-{suffix}", 2
    while Path(name).exists():
        name, number = f"{folder}-{suffix}{number}", number + 1
    return name


NEXT: dict[str, Callable[[Ended], str | None]] = {
    "prepare": _after_prepare,
    "preflight": _after_preflight,
    "duplicates": _after_duplicates,
    "train": _after_train,
    "try": lambda ended: None,  # its table ends with the command that follows
    "validate": _after_validate,
    "infer": _after_infer,
    "ensemble": _after_ensemble,
    "soup": _after_soup,
    "pseudo": _after_pseudo,
    "neighbours": _after_neighbours,
    "export": lambda ended: None,  # its files are for other tools
    "import": _after_import,
}
