"""Options of `imettk kaggle`; options for a recipe's fields are passed on to the kernels' commands unchanged."""

from __future__ import annotations

import argparse
from pathlib import Path

from imettk.kaggle.cells import SUFFIX
from imettk.kaggle.kernel import COMMANDS, GPU


def add_kaggle(kaggle: argparse.ArgumentParser) -> None:
    """Add the actions of `imettk kaggle`, each with its options."""
    kaggle.set_defaults(takes_overrides=False)
    actions = kaggle.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_pack(actions.add_parser("pack", help="build the dataset folder that kernels run from", allow_abbrev=False))
    preflight = actions.add_parser(
        "preflight", help="run every command in miniature, in a short session", allow_abbrev=False
    )
    preflight.add_argument("recipe", metavar="RECIPE", help="a built-in name, or a .py file, which goes into the pack")
    _add_sources(preflight)
    # A preflight is pushed like any other kernel: these are the options of `push` that it does not have.
    preflight.set_defaults(kernel_command="preflight", fold=None, name=None, after=[], internet=False, notebook=False)
    _add_push(actions.add_parser("push", help="run one command as a kernel", allow_abbrev=False))
    _add_chain(
        actions.add_parser("chain", help="run everything, over as many sessions as it takes", allow_abbrev=False)
    )
    _add_notebook(actions.add_parser("notebook", help="write notebooks for people to fork", allow_abbrev=False))
    publish = actions.add_parser("publish", help="upload trained models as a dataset, for an inference kernel")
    publish.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="the run folder with the models")
    publish.add_argument("--name", help="name in the dataset's slug (default: the recipe's)")
    publish.add_argument(
        "--out", type=Path, default=Path("runs/models"), help="folder for the dataset (default: %(default)s)"
    )
    status = actions.add_parser("status", help="show the state of a session or a chain, and the GPU hours left")
    status.add_argument(
        "kernel", nargs="?", metavar="OWNER/SLUG[/VERSION]", help="a kernel (default: the chain in --run-dir)"
    )
    _add_run_dir(status)
    follow = actions.add_parser("follow", help="print the log of a session, line by line as it comes, until its end")
    follow.add_argument(
        "kernel",
        nargs="?",
        metavar="OWNER/SLUG[/VERSION]",
        help="a kernel (default: all running sessions of the chain)",
    )
    _add_run_dir(follow)
    pull = actions.add_parser("pull", help="download and verify a kernel's output")
    pull.add_argument("kernel", metavar="OWNER/SLUG[/VERSION]", help="the kernel")
    pull.add_argument(
        "--out", type=Path, required=True, help="folder for the files; files that are already there and match are kept"
    )
    pull.add_argument(
        "--only", nargs="+", default=[], metavar="PATTERN", help="only these files, such as 'fold*/model.safetensors'"
    )
    _add_run_dir(pull)
    _add_submit(actions.add_parser("submit", help="submit a file or a kernel's version, and wait for the score"))
    _add_local(actions.add_parser("run-local", help="run a kernel on this machine", allow_abbrev=False))


def _add_run_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=Path("runs/kaggle"),
        help="folder on this machine that records what was pushed (default: %(default)s)",
    )


def _add_pack(pack: argparse.ArgumentParser) -> None:
    pack.add_argument("recipe", nargs="?", type=Path, help="a .py recipe of your own to include")
    pack.add_argument(
        "--out",
        type=Path,
        default=Path("runs/pack"),
        help="new folder, or that of an older pack (default: %(default)s)",
    )
    pack.add_argument("--owner", default="your-name", help="your Kaggle user name (default: %(default)s)")
    pack.add_argument("--no-wheels", action="store_true", help="leave out the wheels of the small dependencies")
    pack.add_argument(
        "--add", type=Path, nargs="+", default=[], metavar="FILE", help="include more files, such as weights"
    )
    pack.add_argument("--upload", action="store_true", help="create or update the dataset, and wait until it is ready")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(takes_overrides=True)
    parser.add_argument("--competition", default="", metavar="SLUG", help="the competition whose data the kernels read")
    parser.add_argument("--dataset", default="", metavar="OWNER/SLUG", help="a dataset with the data instead")
    parser.add_argument(
        "--attach", nargs="+", default=[], metavar="OWNER/SLUG", help="more datasets to attach, such as weights"
    )


def _add_folds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folds", default="0", metavar="0,1,...", help="folds to train (default: %(default)s)")


def _add_sources(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("--pack", type=Path, metavar="DIR", help="the pack's folder (default: pack below --run-dir)")
    parser.add_argument(
        "--add", type=Path, nargs="+", default=[], metavar="FILE", help="more files for the pack, such as wheels"
    )
    machine = parser.add_mutually_exclusive_group()
    machine.add_argument("--cpu", action="store_true", help="run sessions without a GPU")
    machine.add_argument("--accelerator", metavar="NAME", help=f"a GPU other than {GPU} (two T4)")
    parser.add_argument(
        "--limit-hours", type=float, metavar="H", help="limit of each session in hours (default: the platform's)"
    )
    _add_run_dir(parser)


def _add_push(push: argparse.ArgumentParser) -> None:
    _add_command(push)
    push.add_argument("recipe", metavar="RECIPE", help="a built-in name, or a .py file, which goes into the pack")
    _add_sources(push)
    push.add_argument("--fold", type=int, help="only this fold (default: all)")
    push.add_argument("--name", help="name in the kernel's slug (default: the recipe's)")
    push.add_argument(
        "--after", nargs="+", default=[], metavar="OWNER/SLUG", help="kernels whose outputs are its inputs"
    )
    push.add_argument("--notebook", action="store_true", help="as a notebook instead of a script")
    push.add_argument("--internet", action="store_true", help="give it network, for messages and downloads")


def _add_notebook(notebook: argparse.ArgumentParser) -> None:
    notebook.add_argument("recipe", metavar="RECIPE", help="a built-in name, or a .py file, which goes into the pack")
    _add_data(notebook)
    _add_folds(notebook)
    notebook.add_argument("--accelerator", metavar="NAME", help=f"a GPU other than {GPU} (two T4)")
    notebook.add_argument("--owner", default="your-name", help="the owner of the pack (default: %(default)s)")
    notebook.add_argument(
        "--out", type=Path, default=Path("runs/notebooks"), help="folder for the notebooks (default: %(default)s)"
    )


def _add_command(parser: argparse.ArgumentParser) -> None:
    # Not `command`, which is where the namespace has "kaggle".
    parser.add_argument(
        "kernel_command", metavar="COMMAND", choices=tuple(COMMANDS), help="%(choices)s: the command to run"
    )


def _add_chain(chain: argparse.ArgumentParser) -> None:
    chain.add_argument(
        "recipe",
        nargs="+",
        metavar="RECIPE",
        help="a built-in name, or a .py file, which goes into the pack; several run in this order",
    )
    _add_sources(chain)
    _add_folds(chain)
    chain.add_argument("--name", help="name in the kernels' slugs (default: the recipe's)")
    chain.add_argument(
        "--retries",
        type=int,
        default=2,
        metavar="N",
        help="how often to try a failed session again (default: %(default)s)",
    )
    chain.add_argument(
        "--at-once", type=int, default=2, metavar="N", help="GPU sessions to run side by side (default: %(default)s)"
    )
    chain.add_argument(
        "--notebook",
        action=argparse.BooleanOptionalAction,
        help="push notebooks instead of scripts (default: as the chain began)",
    )
    chain.add_argument("--once", action="store_true", help="look once, do what can be done, and exit: for cron")
    chain.add_argument(
        "--stop", action="store_true", help="delete queued and running sessions; keep those that have ended"
    )


def _add_submit(submit: argparse.ArgumentParser) -> None:
    submit.add_argument("competition", metavar="COMPETITION", help="the competition's slug")
    submit.add_argument(
        "file", nargs="?", type=Path, help="the file to submit; with --kernel, its name in the kernel's output"
    )
    submit.add_argument("--kernel", metavar="OWNER/SLUG[/VERSION]", help="submit this kernel, in a code competition")
    submit.add_argument("--message", default="imettk", help="message of the submission (default: %(default)s)")
    submit.add_argument("--score", type=int, metavar="NUMBER", help="only wait for the score of an earlier submission")
    submit.add_argument("--list", action="store_true", help="only list the submissions to COMPETITION")
    submit.add_argument(
        "--wait-minutes",
        type=float,
        default=60.0,
        metavar="M",
        help="longest wait for the score (default: %(default)s)",
    )
    _add_run_dir(submit)


def _add_local(local: argparse.ArgumentParser) -> None:
    local.set_defaults(takes_overrides=True)
    local.add_argument(
        "kernel_command",
        metavar="COMMAND",
        type=_command_or_notebook,
        help=f"{', '.join(COMMANDS)}, or a notebook that `imettk kaggle notebook` wrote",
    )
    local.add_argument("recipe", metavar="RECIPE", help="a built-in name, or a .py file")
    local.add_argument(
        "--data", type=Path, default=Path("data"), help="the competition's folder (default: %(default)s)"
    )
    local.add_argument("--run-dir", type=Path, required=True, help="a new folder in place of /kaggle")
    local.add_argument("--inputs", type=Path, nargs="+", default=[], help="outputs of earlier sessions")
    local.add_argument("--notebook", action="store_true", help="run the command's notebook instead of its script")
    local.add_argument("--fold", type=int, help="only this fold (default: all)")
    local.add_argument("--models", nargs="+", default=[], metavar="NAME=DIR", help="folders in place of Kaggle models")
    limit_help = "kill the session after this time; a command stops before, a notebook by its own session.limit_seconds"
    local.add_argument("--limit-seconds", type=float, metavar="S", help=limit_help)
    local.add_argument("--pack", type=Path, metavar="DIR", help="a pack's folder (default: a pack is made)")


def _command_or_notebook(word: str) -> str:
    """Return the name of a command, or the path of a notebook."""
    if word in COMMANDS or word.endswith(SUFFIX):
        return word
    raise argparse.ArgumentTypeError(f"{word!r} must be one of {', '.join(COMMANDS)}, or the path of a notebook")
