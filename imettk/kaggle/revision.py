"""A chain whose command line or recipe has changed since it began: what continues, what is redone, what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from imettk.config import PREPARE_SECTIONS, Recipe, differences, fingerprint, from_json, read_recipe, to_json
from imettk.config.fields import leaves
from imettk.errors import UserError
from imettk.kaggle.chain_state import RETRIED, Chain
from imettk.kaggle.mounts import INPUT

CACHED_SECTIONS = (*PREPARE_SECTIONS, "images", "cache")  # the output of `prepare` depends on them
DATA = ("competition", "competitions")
COMPUTE = ("gpu", "machine", "limit_seconds", "notebook")  # settings that change no prediction
ALL_SECTIONS = tuple(field.name for field in fields(Recipe))


@dataclass(frozen=True)
class Revision:
    """The changes since a chain began, and their consequences.

    Attributes:
        lines: a line for each difference; empty if nothing has changed.
        again: the commands whose outputs no longer count.
        pack: whether the pack has to be made and compared again.
    """

    lines: list[str]
    again: tuple[str, ...] = ()
    pack: bool = False


def revise(
    chain: Chain, asked: dict[str, Any], attached: list[str], recipe: Recipe, folder: Path, *, sure: bool = True
) -> Revision:
    """Compare a chain with the settings that are asked for now.

    Args:
        asked: the settings by attribute name of the chain.
        attached: datasets besides the pack.
        recipe: the recipe with all overrides.
        folder: the chain's folder.
        sure: whether every open session is known to run; if not, open sessions prevent no change.

    Raises:
        UserError: the chain cannot go on with these changes; the message says what to do.
    """
    changed = {name for name in asked if name not in ("arguments", "described") and getattr(chain, name) != asked[name]}
    lines = [f"{name}: {getattr(chain, name)!r} -> {asked[name]!r}" for name in asked if name in changed]
    if chain.datasets[1:] != attached:
        lines.append(f"datasets: {chain.datasets[1:]} -> {attached}")
    before = _before(chain, folder)
    fields_changed = _differences(chain, asked, before, recipe)
    lines += fields_changed
    trained = any(job.command == "train" and job.has_output for job in chain.jobs)
    if not lines:
        return Revision([], pack=(bool(chain.stopped) or before is None) and not trained)
    swapped = {reference.split("/")[1] for reference in {*chain.datasets[1:]} ^ {*attached}}
    other_data = bool(changed & {*DATA, "name"}) or asked["competition"] in swapped
    other_source = before is not None and before.source_sha256 != recipe.source_sha256
    other_weights = bool(swapped & _inputs_of(recipe))
    other_weights |= before is not None and fingerprint(before) != fingerprint(recipe)
    again: tuple[str, ...] = ()
    if swapped or changed - {*COMPUTE, "recipe"} or any(not line.startswith("session.") for line in fields_changed):
        again = ("validate", "infer")
    if before is not None and fingerprint(before, CACHED_SECTIONS) != fingerprint(recipe, CACHED_SECTIONS):
        again = ("prepare", *again)
    refusal = _refusal_of_outputs(chain, other_data=other_data, other_weights=other_weights, other_source=other_source)
    stale = [job for job in chain.open_jobs if other_data or other_weights or job.command in again]
    if not refusal and stale and sure:
        refusal = ", and its sessions still run, or may: wait for them, or delete them with --stop first"
    if refusal:
        raise UserError(f"{folder} has a chain that began with other settings ({'; '.join(lines)}){refusal}")
    return Revision(lines, again, pack=before is None or other_source or "recipe" in changed or not trained)


def _refusal_of_outputs(chain: Chain, *, other_data: bool, other_weights: bool, other_source: bool) -> str:
    """Return why a chain cannot go on with the outputs that it has, and what to do; "" if it can."""
    if other_data and any(job.has_output for job in chain.jobs):
        return ": begin another chain with --name NAME --run-dir DIR"
    if other_weights and any(job.command == "train" and job.has_output for job in chain.jobs):
        there = f" (dataset {chain.datasets[0]} has the file as it was)" if other_source else ""
        return (
            f", and its training cannot go on with another recipe: undo the change{there}, or begin another chain "
            "with --name NAME --run-dir DIR"
        )
    return ""


def _inputs_of(recipe: Recipe) -> set[str]:
    """Return the slugs of the attached inputs that a recipe's fields name."""
    values = [item for _, value in leaves(recipe) for item in (value if isinstance(value, tuple) else (value,))]
    named = [value for value in values if isinstance(value, str) and value.startswith(INPUT)]
    return {value.removeprefix(INPUT).partition("/")[0] for value in named}


def apply(chain: Chain, revision: Revision, asked: dict[str, Any], attached: list[str]) -> None:
    """Give a chain the new settings, and have outputs that no longer count made again."""
    for name, value in asked.items():
        setattr(chain, name, value)
    chain.datasets = [*chain.datasets[:1], *attached]
    for job in chain.jobs:
        if job.command in revision.again and job.has_output:
            job.state, job.has_output = RETRIED, False


def as_values(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as the plain values that a chain keeps."""
    return dict(json.loads(to_json(recipe)))


def _before(chain: Chain, folder: Path) -> Recipe | None:
    """Return the recipe that the chain has been running, or None if it is not recorded here."""
    try:
        if chain.described:
            return from_json(json.dumps(chain.described))
        return read_recipe(folder / "recipe.json")
    except UserError:
        return None


def _differences(chain: Chain, asked: dict[str, Any], before: Recipe | None, recipe: Recipe) -> list[str]:
    """Return one line for each field of the recipe that the user has changed."""
    if before is None:
        return []
    # A built-in recipe of the same name and options is the same, even if its values differ in this version of imettk:
    # kernels run the pack that they are pinned to.
    same_words = chain.recipe == asked["recipe"] and chain.arguments == asked["arguments"]
    if same_words and before.source_sha256 == recipe.source_sha256:
        return []
    return differences(before, recipe, ALL_SECTIONS)
