"""`imettk kaggle chain`: from parsed words to a chain that begins, goes on or ends; and what its neighbours share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imettk.config import Recipe
from imettk.errors import PlatformError, UserError
from imettk.overrides import apply_overrides
from imettk.progress import say
from imettk.recipes import load_recipe
from imettk.tracking.files import read_json

if TYPE_CHECKING:
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.plan import Chain


def run_chain(arguments: argparse.Namespace) -> int:
    """Begin a chain, or go on with the one of `--run-dir`; the exit code."""
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.plan import read_chain
    from imettk.tracking.lock import hold_folder

    recipe = checked_recipe(arguments)
    folder: Path = arguments.run_dir
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder):
        kaggle = Kaggle()
        chain = read_chain(folder)
        if chain is not None:
            _go_on(arguments, recipe, chain)
        elif arguments.stop:
            raise UserError(f"{folder} has no chain to stop")
        else:
            chain = _new_chain(arguments, recipe, kaggle)
        return _follow(arguments, kaggle, chain)


def _settings(arguments: argparse.Namespace, recipe: Recipe) -> tuple[dict[str, Any], list[str]]:
    """What makes a chain, by the names of its attributes, and the datasets that it has attached."""
    from imettk.kaggle.account import Sources
    from imettk.kaggle.plan import check_name

    for name, least in (("retries", 0), ("at_once", 1)):
        if (number := getattr(arguments, name)) < least:
            raise UserError(f"--{name.replace('_', '-')}: {number} must be at least {least}")
    sources = Sources(arguments.competition, arguments.dataset, arguments.attach)
    return {
        "name": check_name(arguments.name or recipe.name.replace("_", "-").lower()),
        "recipe": Path(arguments.recipe).name if arguments.recipe.endswith(".py") else arguments.recipe,
        "competition": sources.folder,
        "competitions": sources.competitions,
        "folds": _folds(arguments.folds, recipe),
        "arguments": [*arguments.overrides, *limit_words(arguments)],
        "gpu": not arguments.cpu,
        "limit_seconds": limit_seconds(arguments),
    }, sources.datasets


def _go_on(arguments: argparse.Namespace, recipe: Recipe, chain: Chain) -> None:
    """Bring a chain that is there up to what is asked for; one that has stopped goes on if somebody says so."""
    if arguments.stop:
        return
    settings, attached = _settings(arguments, recipe)
    changed = chain.differences(settings)
    if chain.datasets[1:] != attached:
        changed.append(f"datasets {chain.datasets[1:]}, not {attached}")
    if changed:
        raise UserError(f"{arguments.run_dir} holds another chain ({'; '.join(changed)}): give another --run-dir")
    chain.retries, chain.at_once = arguments.retries, arguments.at_once
    if not chain.stopped:
        return
    if arguments.once:  # from cron it would fail again and again, and take the week's hours with it
        raise PlatformError(f"the chain has stopped: {chain.stopped}; the same command without --once goes on")
    say(f"{arguments.run_dir} had stopped ({chain.stopped}); going on")
    chain.try_again()


def _new_chain(arguments: argparse.Namespace, recipe: Recipe, kaggle: Kaggle) -> Chain:
    from imettk.kaggle.account import PREFLIGHT, start_chain, tell_expected
    from imettk.kaggle.plan import expect

    settings, attached = _settings(arguments, recipe)
    own = {"retries": arguments.retries, "at_once": arguments.at_once}
    chain = start_chain(kaggle, arguments.recipe, settings | own, attached, out=arguments.pack)
    measured = read_json(arguments.run_dir / PREFLIGHT, needs=("recipe", "seconds_a_fold")) or {}
    if measured.get("recipe") == recipe.name:
        session = apply_overrides(recipe, limit_words(arguments)).session
        expect(chain, measured, usable_seconds=session.limit_seconds - session.margin_seconds)
    chain.save(arguments.run_dir)
    tell_expected(kaggle, chain)
    return chain


def _follow(arguments: argparse.Namespace, kaggle: Kaggle, chain: Chain) -> int:
    """Bring a chain forward, tell what happened, and take it into the log."""
    from imettk.kaggle.chain import Follower
    from imettk.kaggle.plan import DONE, describe
    from imettk.kaggle.telling import teller
    from imettk.tracking.telegram import Message, Notifier

    folder: Path = arguments.run_dir
    notifier, before = Notifier(), [job.state for job in chain.jobs]
    try:
        follower = Follower(kaggle, chain, folder, teller(notifier, chain, folder))
        if arguments.stop:
            follower.stop()
        end = follower.look() if arguments.once or arguments.stop else follower.follow()
        news = before != [job.state for job in chain.jobs]
        say(describe(chain))
        if end == DONE:
            last = chain.of("infer")[-1]
            say(f"the submission is {folder / 'submission.csv'}, of {chain.reference(last)}/{last.version}")
        if end and news:
            text = f"{chain.name}: {'all is done' if end == DONE else end}, {chain.gpu_hours:.1f} GPU hours"
            notifier.send(lambda: Message(text))
    except (PlatformError, UserError) as error:
        fault = f"{chain.name}: nobody watches the chain any more: {error}"
        notifier.send(lambda: Message(fault))
        raise
    finally:
        notifier.close()
    if news:
        take_into_log(folder)
    if end and end != DONE and not arguments.stop:
        raise PlatformError(f"the chain has stopped: {end}")
    return 0


def _folds(text: str, recipe: Recipe) -> list[int]:
    """`0,1,3` as numbers, each a fold of the recipe."""
    words = text.split(",")
    if not all(word.strip().isdigit() and int(word) < recipe.folds.num_folds for word in words):
        raise UserError(f"--folds: {text!r} must be numbers from 0 to {recipe.folds.num_folds - 1}, as in 0,1,2")
    return sorted({int(word) for word in words})


def checked_recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe with its overrides: what is wrong with it is told here and not by a kernel an hour later."""
    if arguments.recipe.endswith(".json"):
        raise UserError(f"{arguments.recipe}: kernels take a built-in name or a .py file with a recipe() function")
    return apply_overrides(load_recipe(arguments.recipe), arguments.overrides)


def limit_seconds(arguments: argparse.Namespace) -> int | None:
    """`--limit-hours` in seconds; None is the platform's limit."""
    hours = arguments.limit_hours
    if hours is not None and not 0 < hours <= 12:
        raise UserError(f"--limit-hours: {hours:g} must be above 0 and at most 12")
    return None if hours is None else round(3600 * hours)


def limit_words(arguments: argparse.Namespace) -> list[str]:
    """The same limit for the stage, which stops before the platform kills it."""
    seconds = limit_seconds(arguments)
    return [] if seconds is None else ["--session.limit-seconds", str(seconds)]


def take_into_log(folder: Path) -> None:
    """The run's place in the log beside its folder; where that cannot be, it is said, and nothing is lost."""
    from imettk.runs import import_runs

    if not (folder / "recipe.json").is_file():
        return
    try:
        import_runs([folder], folder.parent / "log")
    except (UserError, OSError) as error:
        say(f"not in the log: {error}; `imettk log import {folder}` later")
