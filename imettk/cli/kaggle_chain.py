"""`imettk kaggle chain`: parsed arguments turned into chains that begin, continue or stop."""

from __future__ import annotations

import argparse
import shlex
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imettk.cli.kaggle_checks import (
    check_inputs,
    check_limit,
    checked_recipe,
    chosen_machine,
    chosen_name,
    folds_of,
    input_words,
    limit_seconds,
    limit_words,
    models_in,
    pack_folder,
    pack_order,
    packed_recipe,
)
from imettk.config import Recipe
from imettk.config.overrides import apply_overrides
from imettk.errors import PlatformError, UserError, describe_fault
from imettk.progress import say
from imettk.tracking.files import read_json

if TYPE_CHECKING:
    from imettk.kaggle.chain import Follower
    from imettk.kaggle.chain_state import Chain
    from imettk.kaggle.client import Kaggle
    from imettk.tracking.telegram import Notifier


def run_chain(arguments: argparse.Namespace) -> int:
    """Begin chains, or continue those in their folders, and return the exit code."""
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.contents import name_fault
    from imettk.tracking.lock import hold_folder

    requests = _split_recipes(arguments)
    with ExitStack() as stack:
        # Every folder is locked before any chain is touched: two processes with the same chain would push it twice.
        for request in requests:
            request.run_dir.mkdir(parents=True, exist_ok=True)
            with name_fault(request.run_dir):
                stack.enter_context(hold_folder(request.run_dir))
        kaggle = Kaggle()
        chains = [_open_chain(request, kaggle) for request in requests]
        return _follow(arguments, kaggle, chains, [request.run_dir for request in requests])


def _split_recipes(arguments: argparse.Namespace) -> list[argparse.Namespace]:
    """Check each recipe, and return the arguments of its chain; several get folders of their own below `--run-dir`."""
    if len(arguments.recipe) > 1 and arguments.name:
        raise UserError("--name: several recipes are named after themselves; give one recipe, or leave --name out")
    if arguments.stop and len(arguments.recipe) == 1:  # a chain can be stopped even if its recipe is broken or gone
        return [arguments]
    requests = []
    for recipe in arguments.recipe:
        request = argparse.Namespace(**vars(arguments) | {"recipe": recipe})
        request.checked = checked_recipe(request)
        request.name = chosen_name(request, request.checked)
        if len(arguments.recipe) > 1:
            request.run_dir = arguments.run_dir / request.name
        requests.append(request)
    if len({request.name for request in requests}) < len(requests):
        raise UserError(f"recipes need different names, got {', '.join(request.name for request in requests)}")
    return requests


def _open_chain(arguments: argparse.Namespace, kaggle: Kaggle) -> Chain:
    """Return the chain of a folder, brought up to the arguments, or a new one."""
    from imettk.kaggle.chain_state import read_chain

    chain = read_chain(arguments.run_dir)
    if chain is None and arguments.stop:
        raise UserError(f"{arguments.run_dir} has no chain to stop")
    if chain is None:
        return _new_chain(arguments, kaggle)
    if chain.owner.lower() != kaggle.username.lower():
        # Kaggle would not show the sessions of that account to this one, and all of them would be pushed again.
        raise UserError(
            f"{arguments.run_dir} has a chain of {chain.owner}, but this is {kaggle.username}'s account: sign in as "
            f"{chain.owner}, or begin another chain with --run-dir DIR"
        )
    if not arguments.stop:
        _continue_chain(arguments, kaggle, chain)
    return chain


def _limited(arguments: argparse.Namespace) -> Recipe:
    """Return the recipe as the kernels' commands get it, with `--limit-hours`."""
    return apply_overrides(arguments.checked, limit_words(arguments))


def _settings(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of a chain by attribute name, and the datasets that it has attached."""
    from imettk.kaggle.revision import as_values
    from imettk.kaggle.sources import Sources

    for name, least in (("retries", 0), ("at_once", 1)):
        if (number := getattr(arguments, name)) < least:
            raise UserError(f"--{name.replace('_', '-')}: {number} must be at least {least}")
    recipe: Recipe = arguments.checked
    check_limit(recipe, limit_seconds(arguments))
    sources = Sources(arguments.competition, arguments.dataset, arguments.attach)
    check_inputs(recipe, [*sources.datasets, *sources.competitions])
    words = [*arguments.overrides, *input_words(recipe, arguments.overrides), *limit_words(arguments)]
    return {
        "name": arguments.name,
        "recipe": packed_recipe(arguments),
        "competition": sources.folder,
        "competitions": sources.competitions,
        "folds": folds_of(arguments.folds, recipe),
        "arguments": words,
        "gpu": not arguments.cpu,
        "machine": chosen_machine(arguments),
        "models": list(models_in(recipe)),
        "limit_seconds": limit_seconds(arguments),
        "described": as_values(_limited(arguments)),
        # A chain keeps its kind where the user does not say it again.
        **({} if arguments.notebook is None else {"notebook": arguments.notebook}),
    }, sources.datasets


def _continue_chain(arguments: argparse.Namespace, kaggle: Kaggle, chain: Chain) -> None:
    """Bring an existing chain up to the arguments, and let it go on if it had stopped."""
    from imettk.kaggle.begin import holds_pack, renew_pack, require_free_name
    from imettk.kaggle.chain import Follower
    from imettk.kaggle.revision import apply, revise

    settings, attached = _settings(arguments)
    asked = settings, attached, _limited(arguments), arguments.run_dir
    revision = revise(chain, *asked, sure=False)
    if chain.stopped and not revision.lines and arguments.once:
        # `--once` runs from cron: the chain would fail again and again, and use up the week's hours.
        raise PlatformError(f"the chain has stopped: {chain.stopped}; the same command without --once goes on")
    if revision.lines:
        # Sessions may have ended since the last look. Only after settling them is it known what still runs, and whether
        # the change has to be refused because of it.
        Follower(kaggle, chain, arguments.run_dir).settle()
        revision = revise(chain, *asked)
    if chain.name != arguments.name:
        require_free_name(kaggle, replace(chain, name=arguments.name))
    for line in revision.lines:
        say(f"{chain.name}: from here on {line}")
    if again := [command for command in revision.again if any(job.has_output for job in chain.of(command))]:
        say(f"{chain.name}: will be made again: {', '.join(again)}")
    pack = revision.pack or bool(chain.stopped and not holds_pack(kaggle, chain))
    if chain.stopped:
        say(f"{arguments.run_dir} had stopped ({chain.stopped}); continuing")
        chain.try_again()
    apply(chain, revision, settings, attached)
    chain.retries, chain.at_once = arguments.retries, arguments.at_once
    if pack:
        renew_pack(kaggle, chain, pack_order(arguments, arguments.checked), out=pack_folder(arguments))
    chain.save(arguments.run_dir)


def _new_chain(arguments: argparse.Namespace, kaggle: Kaggle) -> Chain:
    """Begin a chain, with the expectations that a preflight in its folder has measured."""
    from imettk.kaggle.account import PREFLIGHT
    from imettk.kaggle.begin import start_chain, tell_expected
    from imettk.kaggle.chain_state import expect, is_measured
    from imettk.kaggle.sessions import gpu_quota

    settings, attached = _settings(arguments)
    own = {"retries": arguments.retries, "at_once": arguments.at_once}
    chain = start_chain(
        kaggle, pack_order(arguments, arguments.checked), settings | own, attached, out=pack_folder(arguments)
    )
    measured = read_json(arguments.run_dir / PREFLIGHT, needs=("recipe", "seconds_a_fold")) or {}
    if measured.get("recipe") == arguments.checked.name and is_measured(measured):
        session = _limited(arguments).session
        expect(chain, measured, usable_seconds=session.limit_seconds - session.margin_seconds)
    chain.save(arguments.run_dir)
    tell_expected(chain, gpu_quota(kaggle))
    return chain


def _follow(arguments: argparse.Namespace, kaggle: Kaggle, chains: list[Chain], folders: list[Path]) -> int:
    """Bring chains forward until they end, report events, and import their runs into the log."""
    from imettk.kaggle.chain import Follower
    from imettk.kaggle.chain_state import DONE
    from imettk.kaggle.room import Room
    from imettk.kaggle.rounds import follow
    from imettk.kaggle.telling import teller
    from imettk.tracking.telegram import Message, Notifier

    notifier, room = Notifier(), Room(kaggle, chains, arguments.at_once)
    followers = [
        Follower(kaggle, chain, folder, teller(notifier, chain, folder), room)
        for chain, folder in zip(chains, folders, strict=True)
    ]
    states_before = [[job.state for job in chain.jobs] for chain in chains]

    def tell(text: str) -> None:
        notifier.send(lambda: Message(text))

    try:
        if arguments.stop:
            for follower in followers:
                follower.stop()
        if arguments.once or arguments.stop:
            ends = [follower.look() for follower in followers]
        else:
            ends = follow(followers, tell)
        news = [
            states != [job.state for job in chain.jobs] for states, chain in zip(states_before, chains, strict=True)
        ]
        for follower, end, is_new in zip(followers, ends, news, strict=True):
            is_left = not follower.chain.stopped and end != DONE  # its sessions may go on without being watched
            _report_end(follower, end, notifier if is_new or is_left else None)
    except KeyboardInterrupt:
        say(_describe_left(arguments, chains, kaggle.time()))
        raise
    except (PlatformError, UserError, OSError) as error:
        fault = describe_fault(error) or (str(error), 1)
        tell(f"{', '.join(chain.name for chain in chains)}: not watched any more: {fault[0]}; sessions go on")
        raise
    finally:
        notifier.close()
    from imettk.cli.log import take_into_log

    for folder, is_new in zip(folders, news, strict=True):
        if is_new:
            take_into_log([folder], folder.parent / "log")
    return _exit_code(arguments, chains, ends)


def _exit_code(arguments: argparse.Namespace, chains: list[Chain], ends: list[str]) -> int:
    """Return 0 if nothing has gone wrong; otherwise raise `PlatformError` with the reasons."""
    from imettk.kaggle.chain_state import DONE
    from imettk.kaggle.sessions import ENDED

    open_jobs = [job for chain in chains for job in chain.open_jobs]
    if arguments.stop and (left := [job.slug for job in open_jobs if job.seen not in ENDED]):
        raise PlatformError(f"not stopped yet: {', '.join(left)}; run the same command again")
    failed = [
        f"{chain.name} {'has stopped' if chain.stopped else 'is not watched any more'}: {end}"
        for chain, end in zip(chains, ends, strict=True)
        if end not in ("", DONE)
    ]
    if failed and not arguments.stop:
        raise PlatformError("; ".join(failed))
    if arguments.stop:
        words = [word for word in arguments.words if word != "--stop"]
        say(f"`{shlex.join(['imettk', *words])}` continues from what is kept")
    return 0


def _report_end(follower: Follower, end: str, notifier: Notifier | None) -> None:
    """Print the state of a chain; if it has ended just now, send a message too."""
    from imettk.kaggle.chain_state import DONE
    from imettk.kaggle.outcome import SUBMISSION
    from imettk.kaggle.watch import describe
    from imettk.tracking.telegram import Message

    chain, folder = follower.chain, follower.folder
    say(describe(chain, follower.now(), follower.room.quota() if not end else None))
    if end == DONE:
        last = chain.of("infer")[-1]
        source = f"{chain.reference(last)}/{last.version}"
        if (folder / SUBMISSION).is_file():
            say(f"the submission is {folder / SUBMISSION}, from {source}")
        else:
            say(f"the submission is in the output: `imettk kaggle pull {source} --only {SUBMISSION} --out {folder}`")
    if end and notifier is not None:
        text = f"{chain.name}: {'all is done' if end == DONE else end}, {chain.gpu_hours:.1f} GPU hours"
        notifier.send(lambda: Message(text))


def _describe_left(arguments: argparse.Namespace, chains: list[Chain], now: float) -> str:
    """Describe the sessions that go on unwatched, and the commands for them."""
    from imettk.kaggle.watch import session_line

    jobs = [
        f"{f'{chain.name} ' if len(chains) > 1 else ''}{session_line(chain, job, now)}"
        for chain in chains
        for job in chain.open_jobs
    ]
    command = shlex.join(["imettk", *arguments.words])
    if not jobs:
        return f"not watched any more, and no session is open; `{command}` continues"
    return (
        f"not watched any more; these go on at Kaggle: {', '.join(jobs)}\n"
        f"  `{command}` watches again\n  `{command} --stop` deletes them"
    )
