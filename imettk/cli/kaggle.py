"""`imettk kaggle ...`: parsed arguments turned into calls of `imettk.kaggle`."""

from __future__ import annotations

import argparse
import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imettk.cli.kaggle_chain import run_chain
from imettk.cli.kaggle_checks import (
    check_fold,
    check_inputs,
    check_limit,
    check_travels,
    checked_recipe,
    chosen_machine,
    chosen_name,
    folders_of_models,
    input_words,
    limit_seconds,
    limit_words,
    models_in,
    pack_folder,
    pack_order,
    packed_recipe,
)
from imettk.cli.kaggle_notebook import write_notebook
from imettk.cli.next_steps import chain_command, say_next
from imettk.config import read_recipe
from imettk.config.file_kinds import extras_of
from imettk.config.overrides import apply_overrides
from imettk.errors import PlatformError, UserError
from imettk.progress import say
from imettk.recipes import load_recipe

if TYPE_CHECKING:
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.kernel import Kernel


def run_action(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Run one action of `imettk kaggle`, and return the exit code.

    Args:
        overrides: words that the parser does not know, which are options for the recipe's fields.
    """
    actions = {
        "pack": _pack,
        "notebook": write_notebook,
        "preflight": _preflight,
        "publish": _publish,
        "push": _push,
        "chain": run_chain,
        "status": _status,
        "follow": _follow,
        "pull": _pull,
        "submit": _submit,
        "run-local": _run_local,
    }
    arguments.overrides = overrides
    return actions[arguments.action](arguments)


def _pack(arguments: argparse.Namespace) -> int:
    """Make the pack, and upload it if asked to."""
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.pack import PackOrder, make_pack
    from imettk.kaggle.packs import upload_pack
    from imettk.kaggle.versions import hold_upload

    order = PackOrder(recipe=arguments.recipe, wheels=not arguments.no_wheels, extra=arguments.add)
    if arguments.recipe is not None and arguments.recipe.suffix == ".py":
        check_travels(recipe := load_recipe(str(arguments.recipe)))
        order = replace(order, formats=extras_of(recipe))
    if arguments.upload:
        upload_pack(Kaggle(), arguments.out, order)
        return 0
    with hold_upload(arguments.out):  # another process may be uploading the older pack
        make_pack(arguments.out, order, owner=arguments.owner)
    say(f"upload it with --upload, or `kaggle datasets create -p {arguments.out}`")
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    """Upload the models of a run as a dataset."""
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.names import check_name, name_of
    from imettk.kaggle.publish import upload_models

    recipe = read_recipe(arguments.run_dir / "recipe.json")
    name = check_name(arguments.name) if arguments.name else name_of(recipe.name)
    slug, notes = f"imettk-{name}-models", f"models of {recipe.name}"
    reference, version = upload_models(Kaggle(), arguments.run_dir, arguments.out, slug=slug, notes=notes)
    hint = f"`imettk kaggle push infer RECIPE --competition SLUG --attach {reference}`"
    say(f"published as {reference} version {version}: {hint} uses them")
    return 0


def upload_weights(folder: Path) -> None:
    """Create or update the dataset `imettk-weights` from a folder of weights, and wait until it is ready."""
    from imettk.kaggle import publish
    from imettk.kaggle.client import Kaggle

    reference, version = publish.upload_weights(Kaggle(), folder)
    say(f"{reference} version {version}: use it with `--attach {reference} --model.weights input:imettk-weights`")


def _push(arguments: argparse.Namespace) -> int:
    """Push one kernel."""
    from imettk.kaggle.account import push
    from imettk.kaggle.client import Kaggle

    kaggle = Kaggle()
    push(kaggle, _kernel(arguments, kaggle), arguments.run_dir)
    return 0


def _preflight(arguments: argparse.Namespace) -> int:
    """Push a preflight, and wait for its measurements."""
    from imettk.kaggle.account import run_preflight
    from imettk.kaggle.client import Kaggle

    kaggle = Kaggle()
    run_preflight(kaggle, _kernel(arguments, kaggle), arguments.run_dir)
    _, _, *words = arguments.words  # without `kaggle preflight`, whose options are also the chain's
    say_next(chain_command(words, apply_overrides(load_recipe(arguments.recipe), arguments.overrides)))
    return 0


def _kernel(arguments: argparse.Namespace, kaggle: Kaggle) -> Kernel:
    """Check everything that can be checked here, upload the pack, and return the kernel to push."""
    from imettk.kaggle.kernel import Kernel
    from imettk.kaggle.names import fit, next_slug
    from imettk.kaggle.packs import upload_pack
    from imettk.kaggle.pushes import find_version
    from imettk.kaggle.sources import Sources

    # Everything that costs nothing is checked before the pack is uploaded, which takes minutes.
    recipe, seconds = checked_recipe(arguments), limit_seconds(arguments)
    check_limit(recipe, seconds)
    check_fold(arguments.fold, recipe)
    name, machine, models = chosen_name(arguments, recipe), chosen_machine(arguments), models_in(recipe)
    sources = Sources(arguments.competition, arguments.dataset, arguments.attach)
    earlier = [find_version(kaggle, arguments.run_dir, reference) for reference in arguments.after]
    kernels = tuple(name for name, _, _ in earlier)
    check_inputs(recipe, [*sources.datasets, *sources.competitions, *kernels])
    place = arguments.kernel_command if arguments.fold is None else f"{arguments.kernel_command}-f{arguments.fold}"
    slug = fit(f"imettk-{name}", f"-{place}")
    while f"{kaggle.username}/{slug}" in kernels:  # nobody knows whether a kernel may attach its own earlier output
        slug = next_slug(slug)
    pinned, digest = upload_pack(kaggle, pack_folder(arguments), pack_order(arguments, recipe))
    overrides = [*arguments.overrides, *input_words(recipe, arguments.overrides)]
    return Kernel(
        reference=f"{kaggle.username}/{slug}",
        command=arguments.kernel_command,
        recipe=packed_recipe(arguments),
        competition=sources.folder,
        arguments=(*overrides, *limit_words(arguments), *_fold_words(arguments)),
        datasets=(pinned, *sources.datasets),
        competitions=tuple(sources.competitions),
        kernels=kernels,
        models=models,
        gpu=not arguments.cpu and arguments.kernel_command != "prepare",  # which uses no GPU, but would spend its hours
        machine=machine,
        internet=arguments.internet,
        pack=digest,
        push=secrets.token_hex(8),
        after=tuple(push for _, _, push in earlier if push),
        limit_seconds=seconds,
        notebook=bool(arguments.notebook),
    )


def _fold_words(arguments: argparse.Namespace) -> list[str]:
    """Return `--fold` as words for the kernel, if it was given."""
    return [] if arguments.fold is None else ["--fold", str(arguments.fold)]


def _status(arguments: argparse.Namespace) -> int:
    """Print the state of a kernel's session, or of the folder's chains."""
    from imettk.kaggle.account import status
    from imettk.kaggle.begin import tell_quota
    from imettk.kaggle.chain_state import chain_folders
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.rounds import show

    folders = [] if arguments.kernel is not None else chain_folders(arguments.run_dir)
    if arguments.kernel is None and not folders:
        raise UserError(f"{arguments.run_dir} has no chain: name a kernel, OWNER/SLUG")
    kaggle = Kaggle()
    if arguments.kernel is not None:
        status(kaggle, arguments.run_dir, arguments.kernel)
    for folder in folders:
        show(kaggle, folder)
    tell_quota(kaggle)
    return 0


def _follow(arguments: argparse.Namespace) -> int:
    """Print the log of a kernel's session, or of all that run in the folder's chains; code 0 if all end well."""
    from imettk.kaggle.account import command_fault
    from imettk.kaggle.chain_state import chain_folders, read_chain
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.logs import follow_all
    from imettk.kaggle.pushes import find_version
    from imettk.kaggle.sessions import COMPLETE

    sessions: dict[str, tuple[str, int]] = {}
    kaggle = Kaggle()
    if arguments.kernel is not None:
        sessions[""] = find_version(kaggle, arguments.run_dir, arguments.kernel)[:2]
    else:
        chains = [chain for folder in chain_folders(arguments.run_dir) if (chain := read_chain(folder)) is not None]
        for chain in chains:
            prefix = f"{chain.name} " if len(chains) > 1 else ""
            open_jobs = {f"{prefix}{job.place}": job for job in chain.open_jobs if job.version}
            sessions |= {name: (chain.reference(job), job.version) for name, job in open_jobs.items()}
    if not sessions:
        raise UserError(f"{arguments.run_dir} has no chain with a running session: name a kernel, OWNER/SLUG")
    try:
        ended = follow_all(kaggle, sessions, say)
    except KeyboardInterrupt:
        names = ", ".join(reference for reference, _ in sessions.values())
        say(f"{names} {'goes' if len(sessions) == 1 else 'go'} on; the same command shows the log again")
        return 1
    is_well = True
    for name, status in ended.items():
        fault = command_fault(kaggle, *sessions[name], status)
        is_well = is_well and status == COMPLETE and not fault
        say(f"{sessions[name][0]} version {sessions[name][1]}: {status}{fault}")
    return int(not is_well)


def _pull(arguments: argparse.Namespace) -> int:
    """Download a kernel's output."""
    from imettk.kaggle.account import pull_output
    from imettk.kaggle.client import Kaggle

    pull_output(Kaggle(), arguments.run_dir, arguments.kernel, arguments.out, only=arguments.only)
    return 0


def _submit(arguments: argparse.Namespace) -> int:
    """Submit a file or a kernel, or list submissions, and record the score with the run."""
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.leaderboard import describe_score, list_scores, shown, submit_file, submit_kernel, wait_score
    from imettk.kaggle.pushes import find_version
    from imettk.tracking.summary import write_fact

    competition, path = arguments.competition, arguments.file
    if arguments.list:
        scores = list_scores(Kaggle(), competition)
        say("\n".join(map(describe_score, scores)) or f"no submission to {competition} is listed")
        return 0
    if arguments.score is None and arguments.kernel is None and (path is None or not path.is_file()):
        raise UserError(f"{path or 'the file to submit'} is missing: give submission.csv, --kernel or --score")
    kaggle, number = Kaggle(), arguments.score
    if number is None and arguments.kernel is not None:
        name, version, _ = find_version(kaggle, arguments.run_dir, arguments.kernel)
        file_name = "submission.csv" if path is None else path.name
        number = submit_kernel(kaggle, competition, name, version, file_name, arguments.message)
    elif number is None:
        number = submit_file(kaggle, competition, path, arguments.message)
    say(f"submission {number} to {competition}")
    is_new, seconds = arguments.score is None, 60 * arguments.wait_minutes  # a new submission may be listed late
    score = wait_score(kaggle, competition, number, limit_seconds=seconds, new=is_new)
    if score.status != "COMPLETE":
        raise PlatformError(f"submission {number} to {competition}: {score.status.lower()}, {score.error}")
    say(f"public {shown(score.public)}, private {shown(score.private)}")
    if (arguments.run_dir / "recipe.json").is_file():
        values = {"competition": competition, "submission": number, "public": score.public, "private": score.private}
        write_fact(arguments.run_dir, "lb", **values)
        from imettk.cli.log import take_into_log

        take_into_log([arguments.run_dir], arguments.run_dir.parent / "log")
    return 0


def _run_local(arguments: argparse.Namespace) -> int:
    """Run a kernel on this machine."""
    from imettk.kaggle.cells import SUFFIX
    from imettk.kaggle.local import run_local

    recipe = checked_recipe(arguments)
    check_fold(arguments.fold, recipe)
    models_in(recipe)
    if arguments.kernel_command.endswith(SUFFIX) and (arguments.overrides or arguments.fold is not None):
        raise UserError(f"{arguments.kernel_command}: a notebook gets no options: change its cells")
    return run_local(
        arguments.kernel_command,
        arguments.recipe,
        arguments.data,
        arguments.run_dir,
        inputs=arguments.inputs,
        models=folders_of_models(arguments.models),
        arguments=[*arguments.overrides, *input_words(recipe, arguments.overrides), *_fold_words(arguments)],
        limit_seconds=arguments.limit_seconds,
        pack=arguments.pack,
        notebook=arguments.notebook,
    )
