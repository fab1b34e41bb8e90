"""`ensemble` of runs whose answers come from predictions by a rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from imettk.config import Recipe, TableFormat
from imettk.data.asked_rows import read_test_units
from imettk.data.csv_files import list_names
from imettk.data.labels import find_titles
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.data.table import read_groups, read_table, read_units
from imettk.errors import ConfigError, DataError, MismatchError
from imettk.evaluation.members import (
    FOLDS,
    OOF,
    TEST,
    Joined,
    Member,
    blend_known,
    blend_test,
    join_labels,
    join_members,
    read_member,
    require_current_labels,
)
from imettk.evaluation.rules import fitter_of, score_quickly
from imettk.evaluation.scoring import OutOfFold, judge_oof, tell_drift
from imettk.evaluation.submit import submit
from imettk.evaluation.units import Units
from imettk.experiment.prepared import read_shares
from imettk.inference.predictor import Predictions, save_predictions
from imettk.metrics import Scorer
from imettk.postprocess.blend import Method, fit_weights
from imettk.postprocess.fitters import RuleFitter
from imettk.progress import progress_bar, say
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import RunDir

LARGEST = 20_000_000  # probabilities that weights are fitted on; larger sets are thinned to so many


def ensemble_by_rule(
    recipe: Recipe, data_dir: Path, run: RunDir, *, members: list[Path], method: str, weights: list[float] | None
) -> None:
    """Write `ensemble.json`, `oof.safetensors`, `test.safetensors`, `rule.json`, `scores.json` and `submission.csv`.

    Arguments as of `ensemble`.
    """
    found = _read_members(members, method)
    if recipe.task.numeric and method not in ("mean", "weighted"):
        raise ConfigError(f"--method {method} is for probabilities: numbers are blended by mean or weighted")
    how: Method = "mean" if method in ("weighted", "join") else method  # type: ignore[assignment]
    joined = join_members(found, ranks=how == "rank")
    first = next(iter(found[0].oof.values())).values
    if first["task"] != recipe.table.task:
        raise ConfigError(f"the recipe is for a {recipe.table.task} table, the members are of a {first['task']} one")
    if method != "join":
        _check_labels(recipe, data_dir, found)
    shares = read_shares(recipe, data_dir, tuple(first["labels"]))
    fitter = fitter_of(recipe, tuple(first["label_groups"]), shares, labels=tuple(first["labels"]))
    images = _table_of(recipe, data_dir, joined, first)
    units = Units(recipe, images)
    folds = units.folds(joined.folds)
    chosen = np.array(weights or [1.0] * len(found), np.float64)
    chosen /= chosen.sum()  # as it is printed and kept; the blend would not care
    # Weights and gains are of one pool, that of the blend without fitted weights.
    pool = units.choose(fitter, blend_known(joined, how, chosen), folds).pool if recipe.table.has_units else None
    score_of = _scorer(recipe, fitter, joined, how, images, pool)
    if method == "weighted":
        chosen = fit_member_weights(score_of, joined, len(found), higher=recipe.scorer.higher)
        say("note: the weights are fitted on all rows, so the scores below flatter them a little")
    gains = _tell_gains(found, chosen, score_of, joined, recipe.scorer)
    probs = blend_known(joined, how, chosen)
    run.save_recipe(recipe)
    values = {name: first[name] for name in ("labels", "label_groups", "task")} | {"views": [method], "merge": "mean"}
    kept = {member.name: float(weight) for member, weight in zip(found, chosen, strict=True)}
    write_json(run.path / "ensemble.json", {"method": method, "weights": kept, "members": gains})
    of_rows = {FOLDS: joined.folds.tolist()}  # no folder of a fold says them
    save_predictions(run.path / OOF, Predictions(joined.ids, probs[None], values | of_rows, joined.targets))
    pooled = units.choose(fitter, probs, folds)
    units.tell(pooled, fitter)
    rule, _ = judge_oof(recipe, data_dir, run, OutOfFold(fitter, units.table, pooled, folds))
    if lacking := [member.name for member in found if not member.test]:
        say(f"note: no submission: {list_names(lacking, 'member')} without test predictions; run `imettk infer` there")
        return
    test = blend_test(found, how, chosen)
    save_predictions(run.path / TEST, Predictions(test.ids, test.probs, values))
    asked = Units(recipe, _test_table(recipe, data_dir, test.ids, images))
    answers = rule.apply(asked.pool(test.merged, pooled.pool))
    tell_drift(rule, answers)
    cells = rule.cells(answers, first["labels"], recipe.task)
    submit(recipe, data_dir, run, asked.table.ids, cells, f"of {len(found)} members")


def _read_members(members: list[Path], method: str) -> list[Member]:
    """Read the members' predictions; members of different labels are joined into one that knows all."""
    if method == "fuse":
        raise ConfigError("--method fuse is for ranked identities, which have scores")
    found = [read_member(path) for path in members]
    return [join_labels(found)] if method == "join" else found


def _table_of(recipe: Recipe, data_dir: Path, joined: Joined, values: dict[str, Any]) -> LabelledTable:
    """Return a table of the rows that members have predicted, without images."""
    labels, groups = tuple(values["labels"]), tuple(values["label_groups"])
    return LabelledTable(
        joined.ids,
        joined.ids,
        labels,
        groups,
        targets=joined.targets,
        groups=_groups_of(recipe, data_dir, joined.ids),
        units=_units_of(recipe.table, joined.ids, lambda: read_units(recipe.table, data_dir)),
        label_titles=find_titles(recipe.table, data_dir, labels),
    )


def _test_table(recipe: Recipe, data_dir: Path, ids: np.ndarray, known: SampleTable) -> SampleTable:
    """Return a table of the test rows that members have predicted, without images."""
    units = _units_of(recipe.table, ids, lambda: read_test_units(recipe.table, data_dir))
    return SampleTable(ids, ids, known.labels, known.label_groups, units=units)


def _units_of(form: TableFormat, ids: np.ndarray, read: Callable[[], dict[str, str]]) -> np.ndarray | None:
    """Return the unit of each image, str (N,), by the tables of today; None if every image is a unit."""
    if not form.has_units:
        return None
    units = read()
    if absent := [name for name in ids.tolist() if name not in units]:
        raise MismatchError(
            f"the tables lack {list_names(absent, 'image')} that members have predicted: is --data another one?"
        )
    return np.array([units[name] for name in ids.tolist()])


def _check_labels(recipe: Recipe, data_dir: Path, members: list[Member]) -> None:
    """Compare the members' rows with the training table, if it is there."""
    try:
        table = read_table(recipe.table, data_dir)
    except DataError as error:
        say(f"note: the members' labels are not compared with the training table: {error}")
        return
    for member in members:
        require_current_labels(member.name, member.oof.values(), table)


def _groups_of(recipe: Recipe, data_dir: Path, ids: np.ndarray) -> np.ndarray | None:
    """Return the group of each row, str (N,), for intervals; None without groups, or without the table."""
    try:
        groups = read_groups(recipe.table, data_dir)
    except DataError as error:
        say(f"note: intervals resample single rows, not whole groups: {error}")
        return None
    return np.array([groups.get(row_id, row_id) for row_id in ids.tolist()]) if groups else None


def fit_member_weights(
    score_of: Callable[[np.ndarray, np.ndarray], float], joined: Joined, num_members: int, *, higher: bool = True
) -> np.ndarray:
    """Return the weights that score best out of fold, float64 (M,); large sets are fitted on a part of the rows.

    Args:
        higher: whether a higher score is better.
    """
    sign = 1 if higher else -1
    count = min(len(joined.ids), max(1, LARGEST // joined.probs[0].shape[1]))
    rows = np.sort(np.random.default_rng(0).permutation(len(joined.ids))[:count])
    with progress_bar("fit weights", total=None, unit="blend") as bar:
        return fit_weights(lambda weights: sign * score_of(weights, rows), num_members, tell=bar.update)[0]


def _scorer(
    recipe: Recipe, fitter: RuleFitter, joined: Joined, method: Method, images: LabelledTable, pool: str | None
) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return a function (weights, rows) -> score of the blend, by a rule fitted on the same rows.

    Args:
        pool: of units.
    """
    last: tuple[np.ndarray, Units[LabelledTable]] | None = None  # a fit scores the same rows hundreds of times

    def score_of(weights: np.ndarray, rows: np.ndarray) -> float:
        nonlocal last
        if last is None or last[0] is not rows:
            last = rows, Units(recipe, images.take(rows))
        units = last[1]
        return score_quickly(fitter, units.pool(blend_known(joined, method, weights, rows), pool), units.table.targets)

    return score_of


def _tell_gains(
    members: list[Member],
    weights: np.ndarray,
    score_of: Callable[[np.ndarray, np.ndarray], float],
    joined: Joined,
    scorer: Scorer,
) -> dict[str, dict[str, float | None]]:
    """Print and return, by member, its own score, and what the ensemble would lose without it."""
    everything = np.arange(len(joined.ids))
    whole, gains = score_of(weights, everything), {}
    say(f"{'member':<32}{'folds':>6}{'rows':>9}{'weight':>8}{'OOF':>9}{'gain':>9}")
    for number, member in enumerate(members):
        own = np.flatnonzero(joined.known[number])
        alone = score_of(np.eye(len(members))[number], own)
        without = np.where(np.arange(len(members)) == number, 0, weights)
        left = np.flatnonzero(np.delete(joined.known, number, 0).any(0)) if len(members) > 1 else own[:0]
        gain = None
        if len(left) and without.sum():
            gain = scorer.gain(score_of(weights, left), score_of(without, left))
        gains[member.name] = {"oof": alone, "gain": gain}
        text = "" if gain is None else f"{gain:+9.4f}"
        say(f"{member.name:<32}{len(member.oof):>6}{len(own):>9}{weights[number]:>8.3f}{alone:>9.4f}{text}")
    say(f"{'ensemble':<32}{'':>6}{len(joined.ids):>9}{'':>8}{whole:>9.4f}")
    return gains
