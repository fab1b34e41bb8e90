"""The `imettk` command: parses, calls one stage, prints. Exit code 0 done or paused, 2 wrong input, 1 a fault.

Nothing heavy is imported before the command is known, so `--help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from imettk.config import SESSION_START, Recipe
from imettk.errors import UserError
from imettk.fields import field_names, field_type
from imettk.overrides import apply_overrides
from imettk.recipes import RECIPES, load_recipe
from imettk.tracking.run_dir import RunDir

STARTED = time.time()
STAGES = {
    "prepare": "check the table and images, make the folds",
    "train": "train one fold or all, for as long as the session lasts; run it again to continue",
    "validate": "out-of-fold predictions with TTA, the decision rule, scores",
    "infer": "test predictions with TTA, mean over folds, a checked submission.csv",
}
STAGE_OPTIONS = ("-h", "--help", "--data", "--run-dir", "--inputs", "--fold", "--fields", "--answers")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `imettk` command."""
    try:
        _run(sys.argv[1:] if argv is None else list(argv))
    except UserError as error:
        print(f"imettk: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("imettk: stopped", file=sys.stderr)
        sys.exit(1)


def _run(argv: list[str]) -> None:
    parser = _parser()
    if argv and argv[0] in STAGES:
        own, overrides = _split_overrides(argv)
        _run_stage(parser.parse_args(own), overrides)
        return
    arguments = parser.parse_args(argv)
    if arguments.command == "demo":
        from imettk.demo import demo

        demo(arguments.run_dir)
    elif arguments.command == "doctor":
        from imettk.doctor import doctor

        sys.exit(doctor())
    else:
        from imettk.kaggle.pack import make_pack

        make_pack(arguments.out, owner=arguments.owner, recipe=arguments.recipe, wheels=not arguments.no_wheels)


def _split_overrides(argv: list[str]) -> tuple[list[str], list[str]]:
    """A stage's own words, and the recipe's options with their values: else argparse would take a value for RECIPE."""
    own: list[str] = []
    overrides: list[str] = []
    words = own
    for word in argv:
        if word.startswith("-") and not word.lstrip("-").replace(".", "").isdigit():
            words = own if word.split("=")[0] in STAGE_OPTIONS else overrides
        words.append(word)
    return own, overrides


def _run_stage(arguments: argparse.Namespace, overrides: list[str]) -> None:
    run = RunDir(arguments.run_dir, arguments.inputs)
    recipe = load_recipe(arguments.recipe) if arguments.recipe else run.recipe()
    if arguments.fields:
        _print_fields(recipe)
        return
    recipe = apply_overrides(recipe, overrides)
    # Each stage is imported alone: `prepare` needs no torch, and `--help` nothing at all.
    if arguments.command == "prepare":
        from imettk.stages.prepare import prepare

        prepare(recipe, arguments.data, run)
    elif arguments.command == "train":
        from imettk.stages.train import train

        started = float(os.environ.get(SESSION_START, STARTED))
        train(recipe, arguments.data, run, fold=arguments.fold, started=started)
    elif arguments.command == "validate":
        from imettk.stages.validate import validate

        validate(recipe, arguments.data, run, fold=arguments.fold)
    else:
        from imettk.stages.infer import infer

        infer(recipe, arguments.data, run, fold=arguments.fold, answers_csv=arguments.answers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imettk",
        description="Image competitions on free Kaggle sessions. Start with `imettk demo`.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser("demo", help="the whole story once, on handwritten digits, in a few minutes")
    demo.add_argument("--run-dir", type=Path, default=Path("runs/demo"), help="a new folder (default: %(default)s)")
    for name, purpose in STAGES.items():
        stage = commands.add_parser(
            name,
            help=purpose,
            description=purpose,
            allow_abbrev=False,
            epilog="Every field of the recipe can be set, as in `--stages.0.num-epochs 2`; --fields lists them.",
        )
        stage.add_argument(
            "recipe",
            nargs="?",
            metavar="RECIPE",
            help=f"{', '.join(RECIPES)}, a .py file with a recipe() function, or a saved recipe.json; "
            "without it the run folder's own",
        )
        stage.add_argument(
            "--data", type=Path, default=Path("data"), help="the competition's folder (default: %(default)s)"
        )
        stage.add_argument(
            "--run-dir", type=Path, default=Path("runs/default"), help="where to write (default: %(default)s)"
        )
        stage.add_argument("--inputs", type=Path, nargs="+", default=[], help="folders of earlier runs, only read")
        stage.add_argument("--fold", type=int, help="one fold; without it all")
        stage.add_argument("--fields", action="store_true", help="list the recipe's fields with their values, and stop")
        if name == "infer":
            stage.add_argument(
                "--answers", type=Path, help="known answers in the format of the training table, to score"
            )
    commands.add_parser("doctor", help="versions, devices, cores, disk, and what is missing")
    kaggle = commands.add_parser("kaggle", help="the platform").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    pack = kaggle.add_parser("pack", help="build the dataset folder that kernels run from")
    pack.add_argument("recipe", nargs="?", type=Path, help="a .py recipe of your own that goes into the pack")
    pack.add_argument(
        "--out", type=Path, default=Path("runs/pack"), help="a new or older pack folder (default: %(default)s)"
    )
    pack.add_argument("--owner", default="your-name", help="your Kaggle user name (default: %(default)s)")
    pack.add_argument("--no-wheels", action="store_true", help="leave the wheels of the small dependencies out")
    return parser


def _print_fields(recipe: Recipe) -> None:
    for name in field_names(recipe):
        value: object = recipe
        for part in name.split("."):
            value = value[int(part)] if isinstance(value, tuple) else getattr(value, part)
        print(f"--{name.replace('_', '-'):<34}{value!r:<28} {field_type(recipe, name)}")
