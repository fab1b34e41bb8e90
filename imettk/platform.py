"""`imettk kaggle ...`: from parsed words to calls of the `kaggle` wing."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imettk.config import Recipe, read_recipe
from imettk.errors import PlatformError, UserError
from imettk.overrides import apply_overrides
from imettk.progress import say
from imettk.recipes import load_recipe
from imettk.tracking.files import read_json, write_json

if TYPE_CHECKING:
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.kernel import Kernel
    from imettk.kaggle.plan import Chain


def run_action(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Do what is asked for; the exit code.

    Args:
        overrides: words that the parser does not know: options of the recipe's fields, for the stages.
    """
    actions = {
        "pack": _pack,
        "preflight": _preflight,
        "publish": _publish,
        "push": _push,
        "chain": _chain,
        "status": _status,
        "pull": _pull,
        "submit": _submit,
        "run-local": _run_local,
    }
    arguments.overrides = overrides
    return actions[arguments.action](arguments)


def _pack(arguments: argparse.Namespace) -> int:
    from imettk.kaggle.pack import make_pack

    if arguments.upload:
        from imettk.kaggle.account import upload_pack
        from imettk.kaggle.client import Kaggle

        recipe = "" if arguments.recipe is None else str(arguments.recipe)
        upload_pack(Kaggle(), arguments.out, recipe, wheels=not arguments.no_wheels, extra=arguments.add)
        return 0
    make_pack(
        arguments.out,
        owner=arguments.owner,
        recipe=arguments.recipe,
        wheels=not arguments.no_wheels,
        extra=arguments.add,
    )
    say(f"upload it with --upload, or `kaggle datasets create -p {arguments.out}`")
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.datasets import upload_folder, wait_ready
    from imettk.kaggle.plan import check_name
    from imettk.kaggle.publish import make_models

    recipe = read_recipe(arguments.run_dir / "recipe.json")
    name = check_name(arguments.name or recipe.name.replace("_", "-").lower())
    kaggle = Kaggle()
    make_models(arguments.run_dir, arguments.out, owner=kaggle.username, slug=f"imettk-{name}-models")
    reference, version = upload_folder(kaggle, arguments.out, f"models of {recipe.name}")
    wait_ready(kaggle, reference, version)
    say(f"published as {reference} version {version}: `imettk kaggle push infer ... --attach {reference}`")
    return 0


def upload_weights(folder: Path) -> None:
    """Make or renew the dataset `imettk-weights` of a folder of weights, and wait until it is ready."""
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.contents import METADATA
    from imettk.kaggle.datasets import upload_folder, wait_ready

    kaggle = Kaggle()
    about = {"title": "imettk weights", "id": f"{kaggle.username}/imettk-weights", "licenses": [{"name": "other"}]}
    write_json(folder / METADATA, about)
    reference, version = upload_folder(
        kaggle, folder, ", ".join(sorted(path.stem for path in folder.glob("*.safetensors")))
    )
    wait_ready(kaggle, reference, version)
    say(f"{reference} version {version}: `--attach {reference}` and `--model.weights input:imettk-weights`")


def _push(arguments: argparse.Namespace) -> int:
    from imettk.kaggle.account import push
    from imettk.kaggle.client import Kaggle

    kaggle = Kaggle()
    push(kaggle, _kernel(arguments, kaggle), arguments.run_dir)
    return 0


def _preflight(arguments: argparse.Namespace) -> int:
    from imettk.kaggle.account import run_preflight
    from imettk.kaggle.client import Kaggle

    kaggle = Kaggle()
    run_preflight(kaggle, _kernel(arguments, kaggle), arguments.run_dir)
    return 0


def _kernel(arguments: argparse.Namespace, kaggle: Kaggle) -> Kernel:
    """The kernel that is asked for; its pack is uploaded."""
    from imettk.kaggle.account import Sources, remembered, upload_pack
    from imettk.kaggle.kernel import Kernel
    from imettk.kaggle.plan import check_name

    recipe = _checked(arguments)
    sources = Sources(arguments.competition, arguments.dataset, arguments.attach)
    name = check_name(arguments.name or recipe.name.replace("_", "-").lower())
    after = [remembered(arguments.run_dir, one)[1] for one in arguments.after]
    pinned, digest = upload_pack(kaggle, arguments.pack, arguments.recipe)
    fold = [] if arguments.fold is None else ["--fold", str(arguments.fold)]
    place = arguments.stage if arguments.fold is None else f"{arguments.stage}-f{arguments.fold}"
    return Kernel(
        reference=f"{kaggle.username}/imettk-{name}-{place}",
        stage=arguments.stage,
        recipe=Path(arguments.recipe).name if arguments.recipe.endswith(".py") else arguments.recipe,
        competition=sources.folder,
        arguments=(*arguments.overrides, *_limit_words(arguments), *fold),
        datasets=(pinned, *sources.datasets),
        competitions=tuple(sources.competitions),
        kernels=tuple("/".join(one.split("/")[:2]) for one in arguments.after),
        gpu=not arguments.cpu and arguments.stage != "prepare",
        internet=arguments.internet,
        pack=digest,
        push=secrets.token_hex(8),
        after=tuple(filter(None, after)),
        limit_seconds=_limit_seconds(arguments),
    )


def _chain(arguments: argparse.Namespace) -> int:
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.plan import read_chain
    from imettk.tracking.lock import hold_folder

    recipe = _checked(arguments)
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

    sources = Sources(arguments.competition, arguments.dataset, arguments.attach)
    return {
        "name": check_name(arguments.name or recipe.name.replace("_", "-").lower()),
        "recipe": Path(arguments.recipe).name if arguments.recipe.endswith(".py") else arguments.recipe,
        "competition": sources.folder,
        "competitions": sources.competitions,
        "folds": _folds(arguments.folds, recipe),
        "arguments": [*arguments.overrides, *_limit_words(arguments)],
        "gpu": not arguments.cpu,
        "limit_seconds": _limit_seconds(arguments),
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
    if (measured := read_json(arguments.run_dir / PREFLIGHT)) is not None:
        session = apply_overrides(recipe, _limit_words(arguments)).session
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
        _take_into_log(folder)
    if end and end != DONE and not arguments.stop:
        raise PlatformError(f"the chain has stopped: {end}")
    return 0


def _take_into_log(folder: Path) -> None:
    """The run's place in the log beside its folder; where that cannot be, it is said, and nothing is lost."""
    from imettk.runs import import_runs

    if not (folder / "recipe.json").is_file():
        return
    try:
        import_runs([folder], folder.parent / "log")
    except UserError as error:
        say(f"not in the log: {error}; `imettk log import {folder}` later")


def _status(arguments: argparse.Namespace) -> int:
    from imettk.kaggle.account import status, tell_quota
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.plan import describe, read_chain

    chain = read_chain(arguments.run_dir)
    if arguments.kernel is None and chain is None:
        raise UserError(f"{arguments.run_dir} has no chain: name a kernel, OWNER/SLUG")
    kaggle = Kaggle()
    if arguments.kernel is not None:
        status(kaggle, arguments.run_dir, arguments.kernel)
    elif chain is not None:
        say(describe(chain))
    tell_quota(kaggle)
    return 0


def _pull(arguments: argparse.Namespace) -> int:
    from imettk.kaggle.account import pull_output
    from imettk.kaggle.client import Kaggle

    pull_output(Kaggle(), arguments.run_dir, arguments.kernel, arguments.out)
    return 0


def _submit(arguments: argparse.Namespace) -> int:
    from imettk.kaggle.account import remembered
    from imettk.kaggle.client import Kaggle
    from imettk.kaggle.leaderboard import submit_file, submit_kernel, wait_score
    from imettk.tracking.summary import write_fact

    competition, path = arguments.competition, arguments.file
    if arguments.score is None and arguments.kernel is None and (path is None or not path.is_file()):
        raise UserError(f"{path or 'a file to submit'} is missing: give submission.csv, --kernel or --score")
    kaggle, number = Kaggle(), arguments.score
    if number is None and arguments.kernel is not None:
        version, _ = remembered(arguments.run_dir, arguments.kernel)
        name = "/".join(arguments.kernel.split("/")[:2])
        file_name = "submission.csv" if path is None else path.name
        number = submit_kernel(kaggle, competition, name, version, file_name, arguments.message)
    elif number is None:
        number = submit_file(kaggle, competition, path, arguments.message)
    say(f"submission {number} to {competition}")
    score = wait_score(kaggle, competition, number, limit_seconds=60 * arguments.wait_minutes)
    if score.status != "COMPLETE":
        raise PlatformError(f"submission {number} to {competition}: {score.status.lower()}, {score.error}")
    say(f"public {_shown(score.public)}, private {_shown(score.private)}")
    if (arguments.run_dir / "recipe.json").is_file():
        values = {"competition": competition, "submission": number, "public": score.public, "private": score.private}
        write_fact(arguments.run_dir, "lb", **values)
        _take_into_log(arguments.run_dir)
    return 0


def _run_local(arguments: argparse.Namespace) -> int:
    from imettk.kaggle.local import run_local

    _checked(arguments)
    fold = [] if arguments.fold is None else ["--fold", str(arguments.fold)]
    return run_local(
        arguments.stage,
        arguments.recipe,
        arguments.data,
        arguments.run_dir,
        inputs=arguments.inputs,
        arguments=[*arguments.overrides, *fold],
        limit_seconds=arguments.limit_seconds,
        pack=arguments.pack,
    )


def _checked(arguments: argparse.Namespace) -> Recipe:
    """The recipe with its overrides: what is wrong with it is told here and not by a kernel an hour later."""
    if arguments.recipe.endswith(".json"):
        raise UserError(f"{arguments.recipe}: kernels take a built-in name or a .py file with a recipe() function")
    return apply_overrides(load_recipe(arguments.recipe), arguments.overrides)


def _folds(text: str, recipe: Recipe) -> list[int]:
    """`0,1,3` as numbers, each a fold of the recipe."""
    words = text.split(",")
    if not all(word.strip().isdigit() and int(word) < recipe.folds.num_folds for word in words):
        raise UserError(f"--folds: {text!r} must be numbers from 0 to {recipe.folds.num_folds - 1}, as in 0,1,2")
    return sorted({int(word) for word in words})


def _limit_seconds(arguments: argparse.Namespace) -> int | None:
    hours = arguments.limit_hours
    if hours is not None and not 0 < hours <= 12:
        raise UserError(f"--limit-hours: {hours:g} must be above 0 and at most 12")
    return None if hours is None else round(3600 * hours)


def _limit_words(arguments: argparse.Namespace) -> list[str]:
    """The same limit for the stage, which stops before the platform kills it."""
    seconds = _limit_seconds(arguments)
    return [] if seconds is None else ["--session.limit-seconds", str(seconds)]


def _shown(score: float | None) -> str:
    return "-" if score is None else f"{score:.5f}"
