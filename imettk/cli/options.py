"""What the `imettk` command understands: one parser for each command. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imettk.cli.kaggle_options import add_kaggle
from imettk.errors import ConfigError
from imettk.recipes import RECIPES
from imettk.starter.questions import QUESTIONS

EPILOG = "Every field of the recipe can be set, as in `--stages.0.num-epochs 2`; --fields lists them."


class StageParser(argparse.ArgumentParser):
    """A parser that knows which options it has: whatever else stands on a stage's line is a field of the recipe."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.own: set[str] = set()
        super().__init__(*arguments, **settings)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        action = super().add_argument(*names, **settings)
        self.own.update(action.option_strings)
        return action


class Stage(NamedTuple):
    """A command that works in a run folder.

    Attributes:
        purpose: for the help.
        add_options: adds those that it alone has.
        takes_pseudo: whether it takes `--pseudo`.
    """

    purpose: str
    add_options: Callable[[argparse.ArgumentParser], None] | None = None
    takes_pseudo: bool = True


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """A stage's own words, and the recipe's options with their values: else argparse would take a value for RECIPE.

    Raises:
        ConfigError: an option is another stage's.
    """
    command = argv[0]
    options = {name: _stage_parser(name).own for name in STAGES}
    own: list[str] = []
    overrides: list[str] = []
    words = own
    for word in argv:
        if word.startswith("-") and not word.lstrip("-").replace(".", "").isdigit():
            flag = word.split("=")[0]
            words = own if flag in options[command] else overrides
            if words is overrides and (others := [name for name in STAGES if flag in options[name]]):
                raise ConfigError(f"{flag} belongs to {', '.join(others)}: `imettk {command}` has no such option")
        words.append(word)
    return own, overrides


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="imettk",
        description="Image competitions on free Kaggle sessions. Start with `imettk demo`.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser("demo", help="the whole story once, on handwritten digits, in a few minutes")
    demo.add_argument("--run-dir", type=Path, default=Path("runs/demo"), help="a new folder (default: %(default)s)")
    for name, stage in STAGES.items():
        _add_stage(
            commands.add_parser(name, help=stage.purpose, description=stage.purpose, allow_abbrev=False, epilog=EPILOG),
            stage,
        )
    _add_new(commands.add_parser("new", help="look at a competition's folder, and write a recipe for it"))
    doctor = commands.add_parser("doctor", help="versions, devices, cores, disk, and what is missing")
    doctor.add_argument("--telegram", action="store_true", help="send a test message too")
    doctor.add_argument("--kaggle", action="store_true", help="sign in to Kaggle too")
    weights = commands.add_parser("weights", help="fetch pretrained weights, for kernels that have no network")
    sources = "timm:NAME, timm:NAME.TAG, pretrainedmodels:NAME or hf-hub:OWNER/NAME"
    weights.add_argument("names", nargs="+", metavar="BACKBONE", help=sources)
    weights.add_argument("--out", type=Path, default=Path("weights"), help="where to (default: %(default)s)")
    weights.add_argument("--upload", action="store_true", help="and make or renew the dataset imettk-weights of them")
    _add_log(commands.add_parser("log", help="every run with its CV and LB; what differs between two of them"))
    page = commands.add_parser("report", help="what happened in a run, or in several side by side, as one page")
    page.add_argument("folders", type=Path, nargs="+", metavar="RUN_DIR")
    page.add_argument("--inputs", type=Path, nargs="+", default=[], help="folders of earlier kernels, only read")
    page.add_argument("--out", type=Path, metavar="HTML", help="the page (default: in the first RUN_DIR)")
    add_kaggle(commands.add_parser("kaggle", help="the platform: pack, push, chain, pull, submit, run here"))
    return parser


def pixel_shape(text: str) -> tuple[int, ...]:
    """Return the numbers of a text such as `137x236`; ValueError where it is none."""
    return tuple(int(number) for number in text.lower().split("x"))


def _add_new(new: argparse.ArgumentParser) -> None:
    new.add_argument("name", metavar="NAME", help="the recipe is written to NAME.py in this folder")
    new.add_argument(
        "--data", type=Path, default=Path("data"), help="the competition's folder, only read (default: %(default)s)"
    )
    new.add_argument("--task", dest="question", choices=sorted(QUESTIONS), help="instead of guessing it")
    new.add_argument("--metric", metavar="NAME", help="which the competition judges by, as its page says: roc_auc, ...")
    new.add_argument(
        "--start",
        choices=("quick", "strong"),
        help="a network for a CPU, or for a GPU as Kaggle's (default: this machine's)",
    )
    new.add_argument("--like", choices=tuple(RECIPES), metavar="RECIPE", help="start from a built-in recipe")
    new.add_argument(
        "--hold-out", type=float, metavar="SHARE", help="make a test set of this share of the rows, in NAME-data"
    )
    new.add_argument("--train-csv", metavar="CSV", help="the training table, or the folder with a folder a label")
    new.add_argument("--id-column", metavar="COLUMN", help="the training table's, whose values name images")
    new.add_argument("--images", metavar="FOLDER", help="of those to train on; FOLDER/*.jpg by their ending")
    new.add_argument("--label-column", metavar="COLUMN", help="what is to be learned")
    new.add_argument(
        "--pixel-shape",
        type=pixel_shape,
        metavar="HEIGHTxWIDTH",
        help="of images whose pixels stand in a row of a table, such as 137x236; 28x28x3 with channels",
    )
    new.add_argument("--group-column", metavar="COLUMN", help="whose rows stay together; none for no groups")


def _add_log(log: argparse.ArgumentParser) -> None:
    log.add_argument("--store", type=Path, default=Path("runs/log"), help="the log's folder (default: %(default)s)")
    log.add_argument("--plot", type=Path, metavar="PNG", help="draw CV against LB")
    actions = log.add_subparsers(dest="action", metavar="ACTION")
    taken = actions.add_parser("import", help="bring run folders in, or what is new of them")
    taken.add_argument("folders", type=Path, nargs="+", metavar="RUN_DIR")
    compared = actions.add_parser(
        "compare", help="scores of two runs, and the fields of the recipe in which they differ"
    )
    compared.add_argument("first", metavar="RUN")
    compared.add_argument("second", metavar="RUN")
    noted = actions.add_parser("note", help="write a note into a run folder, and bring it in")
    noted.add_argument("folder", type=Path, metavar="RUN_DIR")
    noted.add_argument("text")
    scored = actions.add_parser("lb", help="write a leaderboard's scores into a run folder, and bring them in")
    scored.add_argument("folder", type=Path, metavar="RUN_DIR")
    scored.add_argument("public", type=score)
    scored.add_argument("private", type=score, nargs="?")


def score(text: str) -> float:
    """A number, for argparse; NaN and infinity are no scores."""
    if not math.isfinite(number := float(text)):
        raise ValueError
    return number


def _stage_parser(name: str) -> StageParser:
    """The parser of one stage, by itself."""
    parser = StageParser(prog=f"imettk {name}")
    _add_stage(parser, STAGES[name])
    return parser


def _add_stage(parser: argparse.ArgumentParser, stage: Stage) -> None:
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help=f"{', '.join(RECIPES)}, a .py file with a recipe() function, or a saved recipe.json; "
        "without it the run folder's own",
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="the competition's folder (default: %(default)s)"
    )
    parser.add_argument(
        "--run-dir", type=Path, default=Path("runs/default"), help="where to write (default: %(default)s)"
    )
    parser.add_argument("--inputs", type=Path, nargs="+", default=[], help="folders of earlier runs, only read")
    parser.add_argument("--fold", type=int, help="one fold; without it all")
    parser.add_argument("--fields", action="store_true", help="list the recipe's fields with their values, and stop")
    if stage.takes_pseudo:
        parser.add_argument("--pseudo", type=Path, metavar="DIR", help="also train on what `imettk pseudo` wrote there")
        parser.add_argument(
            "--pseudo-weight", type=float, default=1.0, metavar="W", help="how often each such row comes in an epoch"
        )
    if stage.add_options is not None:
        stage.add_options(parser)


def _add_prepare_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument(
        "--show-augmentation",
        nargs="*",
        metavar="NAME",
        help="draw what these pipelines (default: the recipe's) do to some images, and stop",
    )


def _add_infer_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--answers", type=Path, help="known answers in the format of the training table, to score")
    stage.add_argument(
        "--images", type=Path, nargs="+", metavar="PATH", help="answer for these pictures or folders, without a table"
    )


def _add_neighbours_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--classifier", type=Path, required=True, help="run folder whose answers are looked at")
    stage.add_argument("--features", type=Path, required=True, help="run folder with embeddings of the same images")


def _add_pseudo_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument(
        "--confidence",
        type=float,
        default=0.8,
        help="how far from every doubt a row must be; of "
        "numbers 1 less how far folds may be apart, in standard deviations of the targets (default: %(default)s)",
    )
    stage.add_argument("--hard", action="store_true", help="learn the answers, not the probabilities")


def _add_duplicates_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument(
        "--limit",
        type=int,
        default=14,
        metavar="BITS",
        help="in which perceptual hashes of a pair may differ, of 64, for a second look (default: %(default)s)",
    )
    stage.add_argument(
        "--action",
        nargs="+",
        choices=("group", "drop", "answer"),
        default=[],
        help="group: one fold for each; drop: train on the first alone; answer: give test images the known label",
    )
    stage.add_argument("--each-channel", action="store_true", help="hash each channel by itself, as for microscopy")
    stage.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help="run folder with embeddings, whose near pairs get a second look too",
    )
    stage.add_argument(
        "--similarity", type=float, default=0.9, metavar="COSINE", help="of such pairs, at least (default: %(default)s)"
    )


def _add_ensemble_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--members", type=Path, nargs="+", required=True, help="run folders with their predictions")
    stage.add_argument(
        "--method",
        choices=("mean", "weighted", "geometric", "rank", "max", "join", "fuse"),
        default="mean",
        help="weighted: a mean whose weights score best; join: members know different labels; fuse: scores of ranked "
        "identities, where mean joins embeddings (default: %(default)s)",
    )
    stage.add_argument("--weights", type=float, nargs="+", metavar="W", help="of the members, instead of equal ones")


def _add_train_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--processes", type=int, metavar="N", help="share each batch (default: one process a GPU)")
    stage.add_argument(
        "--resume",
        choices=("all", "weights"),
        default="all",
        help="weights: a fold that has not begun starts from the weights of another training in --inputs",
    )
    stage.add_argument(
        "--dry-run", action="store_true", help="print stages, steps and sessions, draw the learning rates, and stop"
    )


STAGES = {
    "prepare": Stage("check the table and every image, make the folds, keep the images decoded", _add_prepare_options),
    "duplicates": Stage(
        "find images that are one, within and between train, extra tables and test; keep them in one fold",
        _add_duplicates_options,
    ),
    "preflight": Stage("every stage in miniature, and what a whole run will take, before hours are spent"),
    "train": Stage(
        "train one fold or all, for as long as the session lasts; run it again to continue", _add_train_options
    ),
    "validate": Stage("out-of-fold predictions with TTA, the decision rule, scores"),
    "infer": Stage("test predictions with TTA, mean over folds, a checked submission.csv", _add_infer_options),
    "ensemble": Stage(
        "predictions of several runs made into one, with what each member adds",
        _add_ensemble_options,
        takes_pseudo=False,
    ),
    "pseudo": Stage(
        "test images with sure predictions as more rows to train on", _add_pseudo_options, takes_pseudo=False
    ),
    "neighbours": Stage(
        "label sets of near images in place of a classifier's answers, and probable label errors",
        _add_neighbours_options,
        takes_pseudo=False,
    ),
}
