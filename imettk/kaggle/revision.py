"""A chain whose command or recipe has changed since it began: what may go on, what is made again, what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from imettk.config import PREPARE_SECTIONS, Recipe, differences, fingerprint, from_json, read_recipe, to_json
from imettk.errors import UserError
from imettk.kaggle.plan import RETRIED, Chain

CACHED_SECTIONS = (*PREPARE_SECTIONS, "images", "cache")  # what `prepare` leaves depends on
DATA = ("competition", "competitions")
ALL_SECTIONS = tuple(field.name for field in fields(Recipe))


@dataclass(frozen=True)
class Revision:
    """What has changed, and what follows from it.

    Attributes:
        lines: a difference each, in words; none where nothing has changed.
        again: stages whose outputs no longer count.
        pack: whether the pack has to be looked at again.
    """

    lines: list[str]
    again: tuple[str, ...] = ()
    pack: bool = False


def revise(
    chain: Chain, asked: dict[str, Any], attached: list[str], recipe: Recipe, folder: Path, *, sure: bool = True
) -> Revision:
    """Compare a chain with what is asked for now.

    Args:
        asked: settings by the names of the chain's attributes.
        attached: datasets beside the pack.
        recipe: with all overrides.
        folder: the chain's.
        sure: whether it is sure of every open session that it runs; otherwise they keep nothing from being compared.

    Raises:
        UserError: it cannot go on so; the message says what to do.
    """
    lines = [
        f"{name}: {getattr(chain, name)!r} -> {value!r}"
        for name, value in asked.items()
        if name not in ("arguments", "described") and getattr(chain, name) != value
    ]
    if chain.datasets[1:] != attached:
        lines.append(f"datasets: {chain.datasets[1:]} -> {attached}")
    settings = {line.split(":")[0] for line in lines}
    before = _before(chain, folder)
    if before is not None and _may_differ(chain, asked, before, recipe):
        lines += differences(before, recipe, ALL_SECTIONS)
    made = [job for job in chain.jobs if job.has_output]
    trained = any(job.stage == "train" for job in made)
    if not lines:
        return Revision([], pack=bool(chain.stopped) and not trained)
    told = f"{folder} holds a chain that began otherwise ({'; '.join(lines)})"
    retrain = before is not None and fingerprint(before) != fingerprint(recipe)
    other_data = bool(settings & {*DATA, "name"})
    if made and other_data:
        raise UserError(f"{told}: give this one another --run-dir")
    if trained and retrain and before is not None:
        pack = (
            f" (dataset {chain.datasets[0]} has it as it was)" if before.source_sha256 != recipe.source_sha256 else ""
        )
        raise UserError(
            f"{told}, and its training cannot go on with another recipe: take the change back{pack}, or begin another "
            "chain with --name NAME --run-dir DIR"
        )
    if (retrain or other_data) and chain.open_jobs and sure:
        raise UserError(f"{told}, and its sessions still run: wait for them, or delete them with --stop first")
    again: tuple[str, ...] = ()
    if settings - {"gpu", "machine", "limit_seconds", "folds"} or _names(lines) - {"session"} or "folds" in settings:
        again = ("validate", "infer")
    if before is not None and fingerprint(before, CACHED_SECTIONS) != fingerprint(recipe, CACHED_SECTIONS):
        again = ("prepare", *again)
    source = before is None or before.source_sha256 != recipe.source_sha256
    return Revision(lines, again, pack=source or "recipe" in settings or not trained)


def apply(chain: Chain, revision: Revision, asked: dict[str, Any], attached: list[str]) -> None:
    """Take over what is asked for; outputs that no longer count are made again."""
    for name, value in asked.items():
        setattr(chain, name, value)
    chain.datasets = [*chain.datasets[:1], *attached]
    for job in chain.jobs:
        if job.stage in revision.again and job.has_output:
            job.state, job.has_output = RETRIED, False


def as_values(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the plain values that a chain keeps."""
    return dict(json.loads(to_json(recipe)))


def _before(chain: Chain, folder: Path) -> Recipe | None:
    """The recipe that the chain has run, or None where nothing here says it."""
    try:
        if chain.described:
            return from_json(json.dumps(chain.described))
        return read_recipe(folder / "recipe.json")
    except UserError:
        return None


def _may_differ(chain: Chain, asked: dict[str, Any], before: Recipe, recipe: Recipe) -> bool:
    """Whether somebody has changed the recipe; a later imettk may read the same words as more fields."""
    return (
        chain.recipe != asked["recipe"]
        or chain.arguments != asked["arguments"]
        or before.source_sha256 != recipe.source_sha256
    )


def _names(lines: list[str]) -> set[str]:
    """The sections, or settings, that differ."""
    return {line.split(":")[0].split(".")[0] for line in lines}
