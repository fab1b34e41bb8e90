"""The options of `imettk kaggle`. Those of a recipe's fields are passed on to the stages, as they are."""

from __future__ import annotations

import argparse
from pathlib import Path

from imettk.kaggle.kernel import GPU, STAGES


def add_kaggle(kaggle: argparse.ArgumentParser) -> None:
    """The actions of `imettk kaggle`."""
    kaggle.set_defaults(passes_on=False)
    actions = kaggle.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_pack(actions.add_parser("pack", help="build the dataset folder that kernels run from", allow_abbrev=False))
    preflight = actions.add_parser("preflight", help="every stage in miniature, in a short session", allow_abbrev=False)
    preflight.add_argument("recipe", metavar="RECIPE", help="a built-in name, or a .py file, which goes into the pack")
    _add_sources(preflight)
    preflight.set_defaults(stage="preflight", fold=None, name=None, after=[], internet=False)  # as `push` would have it
    _add_push(actions.add_parser("push", help="run one stage as a kernel", allow_abbrev=False))
    _add_chain(
        actions.add_parser("chain", help="run everything, over as many sessions as it takes", allow_abbrev=False)
    )
    publish = actions.add_parser("publish", help="trained models as a dataset, for an inference kernel")
    publish.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    publish.add_argument("--name", help="in the dataset's slug (default: the recipe's)")
    publish.add_argument("--out", type=Path, default=Path("runs/models"), help="a folder for it (default: %(default)s)")
    status = actions.add_parser("status", help="how a kernel's session or a chain is, and the GPU hours left")
    status.add_argument("kernel", nargs="?", metavar="OWNER/SLUG[/VERSION]", help="without it the chain of --run-dir")
    _add_run_dir(status)
    follow = actions.add_parser("follow", help="the log of a session, line by line as it comes, until its end")
    follow.add_argument("kernel", nargs="?", metavar="OWNER/SLUG[/VERSION]", help="without it all that the chain runs")
    _add_run_dir(follow)
    pull = actions.add_parser("pull", help="download a kernel's output, verified")
    pull.add_argument("kernel", metavar="OWNER/SLUG[/VERSION]")
    pull.add_argument("--out", type=Path, required=True, help="folder for the files; what is there and right is kept")
    pull.add_argument("--only", nargs="+", default=[], metavar="PATTERN", help="names in it: 'fold*/model.safetensors'")
    _add_run_dir(pull)
    _add_submit(actions.add_parser("submit", help="submit a file or a kernel's version, and wait for the score"))
    _add_local(actions.add_parser("run-local", help="a stage as a kernel, on this machine", allow_abbrev=False))


def _pass_on(parser: argparse.ArgumentParser) -> None:
    """Take what the parser does not know for fields of the recipe, and leave it to the stages."""
    parser.set_defaults(passes_on=True)


def _add_run_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=Path("runs/kaggle"),
        help="folder on this machine that remembers what was pushed (default: %(default)s)",
    )


def _add_pack(pack: argparse.ArgumentParser) -> None:
    pack.add_argument("recipe", nargs="?", type=Path, help="a .py recipe of your own that goes into the pack")
    pack.add_argument(
        "--out", type=Path, default=Path("runs/pack"), help="a new or older pack folder (default: %(default)s)"
    )
    pack.add_argument("--owner", default="your-name", help="your Kaggle user name (default: %(default)s)")
    pack.add_argument("--no-wheels", action="store_true", help="leave the wheels of the small dependencies out")
    pack.add_argument("--add", type=Path, nargs="+", default=[], metavar="FILE", help="more files, such as weights")
    pack.add_argument("--upload", action="store_true", help="make or renew the dataset, and wait until it is ready")


def _add_sources(parser: argparse.ArgumentParser) -> None:
    _pass_on(parser)
    parser.add_argument("--competition", default="", metavar="SLUG", help="whose data the kernels read")
    parser.add_argument("--dataset", default="", metavar="OWNER/SLUG", help="a dataset with the data instead")
    parser.add_argument("--attach", nargs="+", default=[], metavar="OWNER/SLUG", help="more datasets, such as weights")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="the pack's folder (default: pack below --run-dir)")
    parser.add_argument(
        "--add", type=Path, nargs="+", default=[], metavar="FILE", help="more files in it, such as wheels"
    )
    machine = parser.add_mutually_exclusive_group()
    machine.add_argument("--cpu", action="store_true", help="sessions without GPU")
    machine.add_argument("--accelerator", metavar="NAME", help=f"another GPU than {GPU}, which is two T4")
    parser.add_argument("--limit-hours", type=float, metavar="H", help="of a session (default: the platform's)")
    _add_run_dir(parser)


def _add_push(push: argparse.ArgumentParser) -> None:
    push.add_argument("stage", choices=tuple(STAGES))
    push.add_argument("recipe", metavar="RECIPE", help="a built-in name, or a .py file, which goes into the pack")
    _add_sources(push)
    push.add_argument("--fold", type=int, help="one fold; without it all")
    push.add_argument("--name", help="in the kernel's slug (default: the recipe's)")
    push.add_argument("--after", nargs="+", default=[], metavar="OWNER/SLUG", help="kernels whose outputs it takes up")
    push.add_argument("--internet", action="store_true", help="with network, for messages and downloads")


def _add_chain(chain: argparse.ArgumentParser) -> None:
    chain.add_argument(
        "recipe",
        nargs="+",
        metavar="RECIPE",
        help="a built-in name, or a .py file, which goes into the pack; several run in this order",
    )
    _add_sources(chain)
    chain.add_argument("--folds", default="0", metavar="0,1,...", help="to train (default: %(default)s)")
    chain.add_argument("--name", help="in the kernels' slugs (default: the recipe's)")
    chain.add_argument("--retries", type=int, default=2, help="of a session that fails (default: %(default)s)")
    chain.add_argument("--at-once", type=int, default=2, metavar="N", help="GPU sessions side by side (default: 2)")
    chain.add_argument("--once", action="store_true", help="look once, do what can be done, and end: for cron")
    chain.add_argument("--stop", action="store_true", help="delete what is queued or runs; what has ended is kept")


def _add_submit(submit: argparse.ArgumentParser) -> None:
    submit.add_argument("competition", metavar="COMPETITION")
    submit.add_argument(
        "file", nargs="?", type=Path, help="submission.csv; in a code competition its name in the output"
    )
    submit.add_argument("--kernel", metavar="OWNER/SLUG[/VERSION]", help="submit this kernel: a code competition")
    submit.add_argument("--message", default="imettk", help="of the submission (default: %(default)s)")
    submit.add_argument("--score", type=int, metavar="NUMBER", help="only wait for the score of an earlier one")
    submit.add_argument("--list", action="store_true", help="only list the submissions to COMPETITION")
    submit.add_argument("--wait-minutes", type=float, default=60.0, help="for the score (default: %(default)s)")
    _add_run_dir(submit)


def _add_local(local: argparse.ArgumentParser) -> None:
    _pass_on(local)
    local.add_argument("stage", choices=tuple(STAGES))
    local.add_argument("recipe", metavar="RECIPE", help="a built-in name, or a .py file")
    local.add_argument(
        "--data", type=Path, default=Path("data"), help="the competition's folder (default: %(default)s)"
    )
    local.add_argument("--run-dir", type=Path, required=True, help="a new folder, in the place of /kaggle")
    local.add_argument("--inputs", type=Path, nargs="+", default=[], help="outputs of earlier sessions")
    local.add_argument("--fold", type=int, help="one fold; without it all")
    local.add_argument(
        "--models", nargs="+", default=[], metavar="NAME=DIR", help="folders in the place of Kaggle models"
    )
    local.add_argument("--limit-seconds", type=float, help="after which the session is killed")
    local.add_argument("--pack", type=Path, help="a pack's folder; without it one is made")
