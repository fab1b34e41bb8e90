"""`ensemble`: the predictions of several runs, joined by id and blended, from their prediction files alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imettk.commands.write_report import keep_report
from imettk.config import Recipe
from imettk.errors import ConfigError
from imettk.evaluation.judge import judge_of
from imettk.tracking.run_dir import RunDir


def ensemble(
    recipe: Recipe,
    data_dir: Path,
    run: RunDir,
    *,
    members: list[Path],
    method: str,
    weights: list[float] | None = None,
) -> None:
    """Write `ensemble.json`, `oof.safetensors`, `test.safetensors`, `rule.json`, `scores.json` and `submission.csv`.

    Args:
        recipe: says the rule and the format of answers.
        members: run folders.
        method: `mean`, `geometric`, `rank`, `max`, `weighted` (a mean with fitted weights), `join` (members know
            different labels, and together all of them), or `fuse` (scores of ranked identities).
        weights: of the members, instead of equal ones.

    Raises:
        MismatchError: members have different labels, ids or folds.
        ConfigError: the weights do not fit the members.
    """
    check_choice(run, members, method, weights)
    judge_of(recipe).ensemble(data_dir, run, members=members, method=method, weights=weights)
    keep_report(run)


def check_choice(run: RunDir, members: list[Path], method: str, weights: list[float] | None) -> None:
    """Raise `ConfigError` if members, method and weights do not go together."""
    if len({path.resolve().name for path in members}) < len(members):
        raise ConfigError("--members must be folders of different names, each once: weights are kept by name")
    if run.path.resolve() in {path.resolve() for path in members}:
        raise ConfigError(
            f"--run-dir {run.path} is one of the members, whose rule and scores would be lost: give another"
        )
    if weights is None:
        return
    if method in ("weighted", "join"):
        raise ConfigError(f"--weights are given, and --method {method} takes none: use --method mean")
    if len(weights) != len(members) or not np.isfinite(weights).all() or min(weights) < 0 or sum(weights) <= 0:
        raise ConfigError(f"--weights must be {len(members)} numbers of 0 or above, one a member, got {weights}")
