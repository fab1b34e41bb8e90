"""`pseudo`: test rows of which models are sure, written as one more table to train on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imettk.config import ExtraTable, Recipe
from imettk.errors import ConfigError, MissingFileError
from imettk.evaluation.judge import judge_of
from imettk.evaluation.pseudo import PSEUDO, PSEUDO_CSV
from imettk.postprocess.pseudo import CONFIDENCE, Selection
from imettk.tracking.pseudo_files import content_of
from imettk.tracking.run_dir import RunDir


def pseudo(recipe: Recipe, run: RunDir, selection: Selection) -> None:
    """Write `pseudo.csv`, in the format of the training table, and `pseudo.safetensors`, what each fold is to learn.

    The predictions of a fold come from the models that have not seen its validation rows, and with `hard` so do the
    answers, by a rule that is fitted on the other folds: a validation score stays what it is. Two choices of rows are
    less strict. Without `hard`, the confidence of several labels counts from the thresholds of `rule.json`, which are
    fitted on all rows, a fold's own among them; and numbers are sure where the models of all folds agree, most of which
    have trained on its rows. Neither changes what a row's targets are. The csv holds every row that any fold is sure
    of, with the labels that most of these folds give it.

    Args:
        selection: see `row_confidence`, `rank_confidence` and, for numbers, `agreement`; where neighbours decide, the
            confidence is the similarity to the nearest image, and answers are learned in any case. Without a confidence
            and a share, the default confidence holds; without a power, probabilities stay as they are.

    Raises:
        ConfigError: the rule gives no confidence, or only one fold predicted numbers.
        MissingFileError: no fold has predicted the test set, or there is no rule.
    """
    if selection.confidence is None and selection.share is None:
        selection = replace(selection, confidence=CONFIDENCE)
    if any(table.predictions == str(run.path.absolute() / PSEUDO) for table in recipe.table.extra):
        raise ConfigError(
            f"{run.path / PSEUDO} holds the labels that this run learns, and they would be written over: `imettk "
            "pseudo --rounds` labels again, in a folder of its own"
        )
    judge, selection = judge_of(recipe), replace(selection, power=selection.power or 1.0)
    if folds := run.trained_folds():
        judge.check_pseudo(selection, folds)
    judge.pseudo_labels(run, selection)


def make_selection(
    confidence: float | None, share: float | None, power: float | None, *, hard: bool = False
) -> Selection:
    """Return the selection that options ask for; None is an option that is not given.

    Raises:
        ConfigError: an option is out of range, or contradicts another.
    """
    if confidence is not None and not 0.5 <= confidence < 1:
        raise ConfigError(f"--confidence must be in [0.5, 1), got {confidence:g}")
    if share is not None and not 0 < share <= 1:
        raise ConfigError(f"--share must be in (0, 1], got {share:g}")
    if power is not None and not 0 < power < math.inf:
        raise ConfigError(f"--power must be above 0, got {power:g}")
    if confidence is not None and share is not None:
        raise ConfigError("--confidence and --share both say which rows are taken: give one of them")
    if hard and power not in (None, 1):
        raise ConfigError("--power is of probabilities, and --hard learns answers: give one of them")
    return Selection(confidence, share, power, hard)


def add_pseudo_table(recipe: Recipe, folder: Path, weight: float, *, saved: Sequence[ExtraTable] = ()) -> Recipe:
    """Return the recipe with what `pseudo` wrote in this folder as one more table.

    Args:
        saved: the tables of the run that this is for; one of an earlier version, without a content, stays what it is.

    Raises:
        MissingFileError: the folder holds no pseudo labels.
    """
    for name in (PSEUDO_CSV, PSEUDO):
        if not (folder / name).is_file():
            raise MissingFileError(f"--pseudo: {folder / name} is missing: run `imettk pseudo` first, which writes it")
    folder = folder.absolute()
    extra = ExtraTable(
        csv=str(folder / PSEUDO_CSV),
        images=recipe.table.test_images,
        weight=weight,
        predictions=str(folder / PSEUDO),
        content=content_of(folder / PSEUDO_CSV, folder / PSEUDO),
    )
    # The option may be given again to a run that has it in its recipe already.
    known = [table for table in (*recipe.table.extra, *saved) if extra.predictions == table.predictions]
    if any(not table.content for table in known):
        extra = replace(extra, content="")
    others = tuple(
        table
        for table in recipe.table.extra
        if table not in known and (not table.content or table.content != extra.content)
    )
    return replace(recipe, table=replace(recipe.table, extra=(*others, extra)))
