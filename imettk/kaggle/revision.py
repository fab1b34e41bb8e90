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
COMPUTE = ("gpu", "machine", "limit_seconds")  # which change no answer
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
        sure: every open session is known to run; otherwise none keeps a change from being made.

    Raises:
        UserError: it cannot go on so; the message says what to do.
    """
    changed = {name for name in asked if name not in ("arguments", "described") and getattr(chain, name) != asked[name]}
    lines = [f"{name}: {getattr(chain, name)!r} -> {asked[name]!r}" for name in asked if name in changed]
    if chain.datasets[1:] != attached:
        lines.append(f"datasets: {chain.datasets[1:]} -> {attached}")
    before = _before(chain, folder)
    fields_changed = _differences(chain, asked, before, recipe)
    lines += fields_changed
    trained = any(job.stage == "train" and job.has_output for job in chain.jobs)
    if not lines:
        return Revision([], pack=bool(chain.stopped) and not trained)
    other_data = bool(changed & {*DATA, "name"})
    other_weights = before is not None and fingerprint(before) != fingerprint(recipe)
    other_source = before is not None and before.source_sha256 != recipe.source_sha256
    refusal = _refusal(chain, other_data=other_data, other_weights=other_weights, other_source=other_source, sure=sure)
    if refusal:
        raise UserError(f"{folder} holds a chain that began otherwise ({'; '.join(lines)}){refusal}")
    again: tuple[str, ...] = ()
    if changed - {*COMPUTE, "recipe"} or any(not line.startswith("session.") for line in fields_changed):
        again = ("validate", "infer")
    if before is not None and fingerprint(before, CACHED_SECTIONS) != fingerprint(recipe, CACHED_SECTIONS):
        again = ("prepare", *again)
    return Revision(lines, again, pack=before is None or other_source or "recipe" in changed or not trained)


def _refusal(chain: Chain, *, other_data: bool, other_weights: bool, other_source: bool, sure: bool) -> str:
    """The reason why a chain cannot go on, and what to do; "" where it can."""
    if other_data and any(job.has_output for job in chain.jobs):
        return ": give this one another --run-dir"
    if other_weights and any(job.stage == "train" and job.has_output for job in chain.jobs):
        there = f" (dataset {chain.datasets[0]} has the file as it was)" if other_source else ""
        return (
            f", and its training cannot go on with another recipe: take the change back{there}, or begin another chain "
            "with --name NAME --run-dir DIR"
        )
    if (other_weights or other_data) and chain.open_jobs and sure:
        return ", and its sessions still run: wait for them, or delete them with --stop first"
    return ""


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


def _differences(chain: Chain, asked: dict[str, Any], before: Recipe | None, recipe: Recipe) -> list[str]:
    """One line for each field of the recipe that somebody has changed.

    A built-in recipe of the same name and options is the same, whatever a later imettk reads into it: kernels run the
    pack that they are pinned to.
    """
    if before is None:
        return []
    same_words = chain.recipe == asked["recipe"] and chain.arguments == asked["arguments"]
    if same_words and before.source_sha256 == recipe.source_sha256:
        return []
    return differences(before, recipe, ALL_SECTIONS)
