"""`validate`: out-of-fold predictions with TTA, the decision rule, and honest scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.device import choose_device, choose_precision
from imettk.errors import MissingFileError
from imettk.metrics import best_constant
from imettk.progress import say
from imettk.stages.shared import Compute, fit_rule, metric_name, predict_file, read_prepared, score
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import RunDir


def validate(recipe: Recipe, data_dir: Path, run: RunDir, *, fold: int | None) -> None:
    """Write `oof.safetensors` of every trained fold (or one), `rule.json` and `scores.json`, and print the scores.

    Each fold is scored with a rule fitted on the other folds, so no row is judged by a threshold that has seen it; the
    rule that is kept is fitted on all rows.

    Raises:
        MissingFileError: no fold is trained.
    """
    prepared = read_prepared(recipe, data_dir, run)
    trained = run.trained_folds()
    folds = trained if fold is None else [one for one in trained if one == fold]
    if not folds:
        raise MissingFileError(
            f"{run.path} has no trained {'fold' if fold is None else f'fold {fold}'}: "
            "run `imettk train` first, which writes model.safetensors"
        )
    run.save_recipe(recipe)  # where the folder is a later kernel's input, this is what marks it
    device = choose_device(recipe.session.device)
    compute = Compute(device, choose_precision(recipe.train.precision, device))
    probs = np.zeros((len(prepared.table), len(prepared.table.labels)), np.float32)
    for number in folds:
        rows = prepared.rows(number, valid=True)
        predictions = predict_file(
            run.fold(number) / "oof.safetensors",
            run.model(number),
            prepared.table,
            rows,
            recipe,
            compute,
            what=f"fold {number} oof",
        )
        probs[rows] = predictions.mean_probs
    covered = np.isin(prepared.folds, folds)
    label_groups = prepared.table.label_groups
    targets, answers = prepared.targets, None
    for number in folds:
        rows = prepared.rows(number, valid=True)
        others = covered & (prepared.folds != number) if len(folds) > 1 else covered
        chosen = fit_rule(recipe, probs[others], targets[others], label_groups).apply(probs[rows])
        if answers is None:
            answers = np.zeros((len(targets), *chosen.shape[1:]), chosen.dtype)
        answers[rows] = chosen
    assert answers is not None
    rule = fit_rule(recipe, probs[covered], targets[covered], label_groups)
    scores = {
        "metric": metric_name(recipe),
        "folds": {
            str(number): score(recipe, answers[rows], targets[rows])
            for number in folds
            if len(rows := prepared.rows(number, valid=True))
        },
        "oof": score(recipe, answers[covered], targets[covered]),
        "constant": best_constant(targets[covered], beta=recipe.rule.beta)[1],
        "rows": int(covered.sum()),
        "rule_fitted_on_other_folds": len(folds) > 1,
    }
    write_json(run.path / "rule.json", rule.to_json())
    write_json(run.path / "scores.json", scores)
    if len(folds) < recipe.folds.num_folds:
        say(f"note: {len(folds)} of {recipe.folds.num_folds} folds are trained; the scores are theirs")
    if len(folds) == 1:
        say("note: with one fold the rule is fitted on the rows that it is scored on")
    for number, value in scores["folds"].items():  # type: ignore[attr-defined]
        say(f"  fold {number}   {scores['metric']} {value:.4f}")
    say(f"  OOF      {scores['metric']} {scores['oof']:.4f}   (best constant answer {scores['constant']:.4f})")
