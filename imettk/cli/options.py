"""The options of the `imettk` command line, with one parser for each command. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imettk import __version__
from imettk.cli.completion import add_completion
from imettk.cli.exchange import add_export, add_import
from imettk.cli.kaggle_options import add_kaggle
from imettk.cli.new_options import add_new
from imettk.cli.search_options import add_pseudo, add_try
from imettk.errors import ConfigError
from imettk.recipes import RECIPES

EPILOG = "Every field of the recipe can be set, as in `--stages.0.num-epochs 2`; --fields lists them."


class CommandParser(argparse.ArgumentParser):
    """A parser that records its options; any other option of a command sets a field of the recipe.

    Attributes:
        flags: the names of its options.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.flags: set[str] = set()  # before the base class, which adds --help
        super().__init__(*arguments, **settings)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Add an argument as the base class does, and record its names."""
        action = super().add_argument(*names, **settings)
        self.flags.update(action.option_strings)
        return action


class Command(NamedTuple):
    """A command that works in a run folder.

    Attributes:
        purpose: its line in the help.
        add_options: adds the options that only this command has.
        takes_pseudo: whether it has `--pseudo`.
        fold_help: the help of `--fold`; None for commands without it.
    """

    purpose: str
    add_options: Callable[[argparse.ArgumentParser], None] | None = None
    takes_pseudo: bool = True
    fold_help: str | None = "only this fold (default: all)"


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the words of its command, and the options of the recipe with their values.

    Raises:
        ConfigError: an option belongs to another command.
    """
    # Not left to `parse_known_args`, which would take the value of an unknown option for RECIPE.
    command = argv[0]
    flags = {name: command_parser(name).flags for name in COMMANDS}
    command_words: list[str] = []
    overrides: list[str] = []
    words = command_words
    for word in argv:
        if word.startswith("-") and not word.lstrip("-").replace(".", "").isdigit():
            flag = word.split("=")[0]
            words = command_words if flag in flags[command] else overrides
            if words is overrides and (others := [name for name in COMMANDS if flag in flags[name]]):
                raise ConfigError(f"{flag} belongs to {', '.join(others)}: `imettk {command}` has no such option")
        words.append(word)
    return command_words, overrides


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="imettk",
        description="Image competitions on free Kaggle sessions. Start with `imettk demo`.",
        allow_abbrev=False,  # otherwise a misspelled field could be taken for the beginning of an option
    )
    parser.add_argument("--version", action="version", version=f"imettk {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser("demo", help="play a whole competition of handwritten digits, in a few minutes")
    demo.add_argument("--run-dir", type=Path, default=Path("runs/demo"), help="a new folder (default: %(default)s)")
    for name, command in COMMANDS.items():
        parser_of_command = commands.add_parser(
            name, help=command.purpose, description=command.purpose, allow_abbrev=False, epilog=EPILOG
        )
        _add_options(parser_of_command, command)
    add_new(commands.add_parser("new", help="look at a competition's folder, and write a recipe for it"))
    doctor = commands.add_parser("doctor", help="show what this machine can do, and what is missing")
    doctor.add_argument("--telegram", action="store_true", help="also send a test message")
    doctor.add_argument("--kaggle", action="store_true", help="also sign in to Kaggle, and show the GPU hours left")
    weights = commands.add_parser("weights", help="download pretrained weights, for kernels without network")
    sources = "timm:NAME, timm:NAME.TAG, pretrainedmodels:NAME or hf-hub:OWNER/NAME"
    weights.add_argument("names", nargs="+", metavar="BACKBONE", help=sources)
    weights.add_argument("--out", type=Path, default=Path("weights"), help="folder for them (default: %(default)s)")
    weights.add_argument("--upload", action="store_true", help="also create or update the dataset imettk-weights")
    _add_log(commands.add_parser("log", help="list every run with its CV and LB, or compare two runs"))
    page = commands.add_parser("report", help="write one page about a run, or about several side by side")
    page.add_argument("folders", type=Path, nargs="+", metavar="RUN_DIR", help="run folders")
    page.add_argument("--inputs", type=Path, nargs="+", default=[], help="folders of earlier kernels, only read")
    page.add_argument("--out", type=Path, metavar="HTML", help="the page (default: in the first RUN_DIR)")
    add_kaggle(commands.add_parser("kaggle", help="use Kaggle: pack, push, chain, pull, submit, run a kernel here"))
    add_completion(commands.add_parser("completion", help="print a script for completion in a shell"))
    return parser


def _add_log(log: argparse.ArgumentParser) -> None:
    """Add the actions of `log`."""
    log.add_argument("--store", type=Path, default=Path("runs/log"), help="the log's folder (default: %(default)s)")
    log.add_argument("--plot", type=Path, metavar="PNG", help="draw CV against LB")
    actions = log.add_subparsers(dest="action", metavar="ACTION")
    imported = actions.add_parser("import", help="import run folders, or what is new in them")
    imported.add_argument("folders", type=Path, nargs="+", metavar="RUN_DIR", help="run folders")
    compare = actions.add_parser("compare", help="show the scores of two runs, and the fields in which they differ")
    compare.add_argument("first", metavar="RUN", help="a run, as the log names it")
    compare.add_argument("second", metavar="RUN", help="another run")
    note = actions.add_parser("note", help="write a note into a run folder, and import it")
    note.add_argument("folder", type=Path, metavar="RUN_DIR", help="the run folder")
    note.add_argument("text", metavar="TEXT", help="the note")
    leaderboard = actions.add_parser("lb", help="write leaderboard scores into a run folder, and import them")
    leaderboard.add_argument("folder", type=Path, metavar="RUN_DIR", help="the run folder")
    leaderboard.add_argument("public", type=score, metavar="PUBLIC", help="the public score")
    leaderboard.add_argument("private", type=score, nargs="?", metavar="PRIVATE", help="the private score")


def score(text: str) -> float:
    """Parse a score for argparse; raise ValueError for NaN and infinity."""
    if not math.isfinite(number := float(text)):
        raise ValueError
    return number


def command_parser(name: str) -> CommandParser:
    """Return the parser of one command by itself."""
    parser = CommandParser(prog=f"imettk {name}")
    _add_options(parser, COMMANDS[name])
    return parser


def _add_options(parser: argparse.ArgumentParser, command: Command) -> None:
    """Add the options of a command that works in a run folder."""
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help=f"{', '.join(RECIPES)}, a .py file with a recipe() function, or a saved recipe.json "
        "(default: the run folder's own)",
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="the competition's folder (default: %(default)s)"
    )
    parser.add_argument(
        "--run-dir", type=Path, default=Path("runs/default"), help="folder for all results (default: %(default)s)"
    )
    parser.add_argument("--inputs", type=Path, nargs="+", default=[], help="folders of earlier runs, only read")
    if command.fold_help is not None:
        parser.add_argument("--fold", type=int, help=command.fold_help)
    parser.add_argument("--fields", action="store_true", help="list the recipe's fields with their values, and exit")
    if command.takes_pseudo:
        parser.add_argument(
            "--pseudo", type=Path, metavar="DIR", help="also train on the rows of `imettk pseudo` there"
        )
        parser.add_argument(
            "--pseudo-weight",
            type=float,
            default=1.0,
            metavar="W",
            help="how often each pseudo-labelled row comes in an epoch (default: %(default)s)",
        )
    if command.add_options is not None:
        command.add_options(parser)


def _add_prepare_options(prepare: argparse.ArgumentParser) -> None:
    prepare.add_argument(
        "--show-augmentation",
        nargs="*",
        metavar="NAME",
        help="draw examples of these pipelines (default: the recipe's), and exit",
    )


def _add_infer_options(infer: argparse.ArgumentParser) -> None:
    infer.add_argument(
        "--answers", type=Path, help="a table with the known answers, in the training table's format, to score"
    )
    infer.add_argument(
        "--images", type=Path, nargs="+", metavar="PATH", help="predict these images or folders, without a table"
    )


def _add_neighbours_options(neighbours: argparse.ArgumentParser) -> None:
    neighbours.add_argument(
        "--classifier", type=Path, required=True, metavar="DIR", help="run folder whose answers are replaced"
    )
    neighbours.add_argument(
        "--features", type=Path, required=True, metavar="DIR", help="run folder with embeddings of the same images"
    )


def _add_duplicates_options(duplicates: argparse.ArgumentParser) -> None:
    duplicates.add_argument(
        "--limit",
        type=int,
        default=14,
        metavar="BITS",
        help="compare pairs whose perceptual hashes differ in at most so many of 64 bits (default: %(default)s)",
    )
    duplicates.add_argument(
        "--action",
        nargs="+",
        choices=("group", "drop", "answer"),
        default=[],
        help="group: keep copies in one fold; drop: train only on the first; answer: give test images known labels",
    )
    duplicates.add_argument(
        "--each-channel", action="store_true", help="hash each channel by itself, as for microscopy images"
    )
    duplicates.add_argument(
        "--features", type=Path, metavar="DIR", help="run folder with embeddings, whose near pairs are compared too"
    )
    duplicates.add_argument(
        "--similarity",
        type=float,
        default=0.9,
        metavar="COSINE",
        help="least similarity of such pairs (default: %(default)s)",
    )


def _add_members(command: argparse.ArgumentParser) -> None:
    command.add_argument("--members", type=Path, nargs="+", required=True, metavar="DIR", help="run folders to combine")


def _add_ensemble_options(ensemble: argparse.ArgumentParser) -> None:
    _add_members(ensemble)
    ensemble.add_argument(
        "--method",
        choices=("mean", "weighted", "geometric", "rank", "max", "join", "fuse"),
        default="mean",
        help="weighted: the mean with the best-scoring weights; join: combine members with different labels; fuse: add "
        "the scores of ranked identities, instead of joining embeddings as mean does (default: %(default)s)",
    )
    ensemble.add_argument(
        "--weights", type=float, nargs="+", metavar="W", help="weights of the members (default: equal ones)"
    )


def _add_train_options(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "--processes", type=int, metavar="N", help="share each batch among N processes (default: one per GPU)"
    )
    train.add_argument(
        "--resume",
        choices=("all", "weights"),
        default="all",
        help="weights: start folds that have not begun from the weights of another training in --inputs",
    )
    train.add_argument(
        "--dry-run", action="store_true", help="print stages, steps and sessions, draw the learning rates, and exit"
    )


COMMANDS = {
    "prepare": Command("check the table and every image, make the folds, cache decoded images", _add_prepare_options),
    "duplicates": Command(
        "find copies of images within and between train, extra tables and test, and keep them in one fold",
        _add_duplicates_options,
    ),
    "preflight": Command("run every command in miniature, and estimate a whole run, before hours are spent"),
    "train": Command(
        "train one fold or all, for as long as the session lasts; run it again to continue", _add_train_options
    ),
    "try": Command(
        "compare a few recipes on one fold, for as long as the session lasts; run it again to continue",
        add_try,
        fold_help="the fold to compare them on (default: 0)",
    ),
    "validate": Command("predict out of fold with TTA, fit the decision rule, and compute scores"),
    "infer": Command(
        "predict the test set with TTA and all folds, and write a checked submission.csv", _add_infer_options
    ),
    "ensemble": Command(
        "combine the predictions of several runs, and show what each adds", _add_ensemble_options, takes_pseudo=False
    ),
    "soup": Command("average the weights of several runs, if that gains out of fold", _add_members, takes_pseudo=False),
    "pseudo": Command(
        "write test images with confident predictions as more rows to train on",
        add_pseudo,
        takes_pseudo=False,
    ),
    "neighbours": Command(
        "replace a classifier's answers by the labels of near images, and find probable label errors",
        _add_neighbours_options,
        takes_pseudo=False,
    ),
    "export": Command(
        "write predictions, embeddings and folds of a run as csv or parquet",
        add_export,
        takes_pseudo=False,
        fold_help=None,
    ),
    "import": Command(
        "score another tool's predictions as a run, which reports and ensembles take like any other",
        add_import,
        takes_pseudo=False,
        fold_help=None,
    ),
}
