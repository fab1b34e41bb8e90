"""`rule.json`: the fitted rule, with the settings, folds and labels that it was fitted for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from imettk.config import Recipe
from imettk.data.data_identity import hash_text
from imettk.errors import MismatchError
from imettk.progress import say
from imettk.tracking.files import read_json, write_json
from imettk.tracking.run_dir import RunDir

RULE, FITTED = "rule.json", "fitted"


def keep_rule(
    run: RunDir, content: dict[str, Any], recipe: Recipe, labels: Sequence[str], folds: Iterable[int]
) -> None:
    """Write the JSON of a rule, with the settings, folds and labels that it was fitted for."""
    fitted = {"plan": _settings(recipe), "folds": sorted(map(int, folds)), "labels": hash_text(labels)}
    write_json(run.path / RULE, content | {FITTED: fitted})


def read_rule(run: RunDir, recipe: Recipe, labels: Sequence[str], folds: Iterable[int] | None = None) -> dict[str, Any]:
    """Return the JSON of the rule, if it was fitted with these settings and for these labels.

    Args:
        folds: those that predict; a note is printed if the rule was fitted on fewer or others.

    Raises:
        MissingFileError: `validate` has not written it.
        MismatchError: it was fitted with other settings or for other labels; the fields that differ are named.
    """
    path = run.find(RULE, written_by="validate")
    content = read_json(path)
    fitted = content.pop(FITTED, None)
    if fitted is None:  # of version 0.1.0, which did not say
        return content
    if not _is_whole(fitted):
        raise MismatchError(f"{path} is damaged, it does not say what it was fitted for: run `imettk validate` again")
    settings = _settings(recipe)
    differ = [
        f"{section}.{name}: {old!r} -> {settings[section][name]!r}"
        for section, fields in fitted["plan"].items()
        for name, old in fields.items()
        if name in settings.get(section, {}) and _plain(settings[section][name]) != old
    ]
    if differ:
        raise MismatchError(f"{path} was fitted for another rule ({'; '.join(differ)}): run `imettk validate` again")
    if fitted["labels"] != hash_text(labels):
        raise MismatchError(f"{path} was fitted for other labels: run `imettk validate` again")
    if folds is not None and (others := sorted(set(folds) ^ set(fitted["folds"]))):
        say(
            f"note: {path} was fitted on folds {_text(fitted['folds'])}, and {_text(folds)} predict "
            f"({_text(others)} only in one of them): `imettk validate` fits it again"
        )
    return content


def _is_whole(fitted: Any) -> bool:
    kinds = {"plan": dict, "folds": list, "labels": str}
    return (
        isinstance(fitted, dict)
        and all(isinstance(fitted.get(name), kind) for name, kind in kinds.items())
        and (
            all(isinstance(fields, dict) for fields in fitted["plan"].values())
            and all(isinstance(fold, int) for fold in fitted["folds"])
        )
    )


def _settings(recipe: Recipe) -> dict[str, dict[str, Any]]:
    plans = {"rule": recipe.fitted_rule}
    found = {name: asdict(plans.get(name, getattr(recipe, name))) for name in recipe.rule_row.sections}
    if not recipe.table.has_units:  # so that nothing is pooled
        for name in ("pool", "pool_size"):
            found.get("rule", {}).pop(name, None)
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _text(folds: Iterable[int]) -> str:
    return ", ".join(map(str, folds)) or "none"
