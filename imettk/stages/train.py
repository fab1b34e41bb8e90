"""`train`: one fold or all of them, for as long as the session lasts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imettk.config import Recipe, differences, fingerprint, from_json, to_json
from imettk.data.augment import Augmentation
from imettk.data.dataset import ImageDataset
from imettk.data.sampling import derive_seed
from imettk.device import describe, use_deterministic_algorithms
from imettk.errors import ConfigError, MismatchError
from imettk.inference.predictor import to_probs
from imettk.losses import LOSSES
from imettk.progress import say
from imettk.stages.shared import (
    Compute,
    Prepared,
    choose_compute,
    evaluate,
    fit_rule,
    make_network,
    read_prepared,
    score,
)
from imettk.tracking.files import write_json
from imettk.tracking.journal import Journal, read_journal
from imettk.tracking.run_dir import RunDir
from imettk.training.checkpoint import Checkpoint, load_newest, read_tensors, save_tensors
from imettk.training.session import Session
from imettk.training.trainer import Trainer, TrainingData


def train(recipe: Recipe, data_dir: Path, run: RunDir, *, fold: int | None, started: float) -> None:
    """Train a fold, or every fold after another, until done or until the session must end; `status.json` says which.

    Args:
        fold: None for all.
        started: when the session began, in seconds since the epoch.

    Raises:
        MismatchError: the folder holds a checkpoint of another recipe.
    """
    if fold is not None and not 0 <= fold < recipe.folds.num_folds:
        raise ConfigError(f"--fold must be in [0, {recipe.folds.num_folds}), got {fold}")
    compute = choose_compute(recipe)
    if recipe.train.deterministic and compute.device.type == "cuda":
        use_deterministic_algorithms()
    prepared = read_prepared(recipe, data_dir, run)
    run.save_recipe(recipe)
    session = Session(
        started=started,
        limit_seconds=recipe.session.limit_seconds,
        margin_seconds=recipe.session.margin_seconds,
        limit_steps=recipe.session.limit_steps,
    )
    for number in range(recipe.folds.num_folds) if fold is None else [fold]:
        if not _train_fold(recipe, prepared, run, number, compute, session):
            return


def _train_fold(recipe: Recipe, prepared: Prepared, run: RunDir, fold: int, compute: Compute, session: Session) -> bool:
    """Train one fold; returns whether it is done."""
    if _is_done(recipe, run, fold):
        say(f"fold {fold} is done already")
        return True
    folder = run.fold(fold)
    say(f"fold {fold}: {compute.device}, {str(compute.dtype).removeprefix('torch.')}")
    checkpoint = _find_checkpoint(recipe, run, fold)
    journal = _carry_journal(run, fold)
    environment = describe(compute.device) | {"precision": str(compute.dtype)}
    experiment = {"fingerprint": fingerprint(recipe), "recipe": json.loads(to_json(recipe)), "environment": environment}
    trainer = _make_trainer(recipe, prepared, fold, compute, session, folder, journal, experiment)
    if checkpoint is not None:
        _tell_changes(checkpoint.values["environment"], environment)
        trainer.load(checkpoint)
        say(f"fold {fold}: continues at step {trainer.step} of {trainer.num_steps}")
    journal.write("session", step=trainer.step, num_steps=trainer.num_steps, environment=environment)

    def status(state: str, reason: str | None = None) -> None:
        sessions = sum(event["event"] == "session" for event in read_journal(folder / "journal.jsonl"))
        content = {
            "state": state,
            "fold": fold,
            "step": trainer.step,
            "num_steps": trainer.num_steps,
            "sessions": sessions,
        }
        write_json(folder / "status.json", content | ({"reason": reason} if reason else {}))

    status("running")
    reason = trainer.fit()
    if reason is None:
        values = {
            "fingerprint": fingerprint(recipe),
            "fold": fold,
            "labels": list(prepared.table.labels),
            "model": asdict(recipe.model),
            "images": asdict(recipe.images),
        }
        save_tensors(folder / "model.safetensors", trainer.evaluated.state_dict(), values)
    journal.write("done" if reason is None else "paused", step=trainer.step, reason=reason)
    journal.close()
    status("done" if reason is None else "paused", reason)
    if reason is None:
        say(f"fold {fold}: done after {trainer.num_steps} steps")
    else:
        progress = f"step {trainer.step} of {trainer.num_steps}"
        say(f"fold {fold}: paused at {progress} ({reason}); run the same command again to continue")
    return reason is None


def _make_trainer(
    recipe: Recipe,
    prepared: Prepared,
    fold: int,
    compute: Compute,
    session: Session,
    folder: Path,
    journal: Journal,
    experiment: dict[str, Any],
) -> Trainer:
    """A trainer at step 0: everything that is random about the start comes from the seed and the fold."""
    seed = derive_seed(recipe.train.seed, fold)
    torch.manual_seed(seed)
    network = make_network(recipe, len(prepared.table.labels), weights=recipe.model.weights)

    def dataset_for(augmentation: str) -> ImageDataset:
        return ImageDataset(
            prepared.table,
            image_size=recipe.images.image_size,
            channels=recipe.images.channels,
            augmentation=Augmentation(augmentation, seed=seed),
        )

    return Trainer(
        network,
        loss_fn=LOSSES[recipe.train.loss],
        data=TrainingData(rows=prepared.rows(fold, valid=False), dataset_for=dataset_for),
        stages=recipe.stages,
        layer_groups=network.layer_groups(recipe.model.layer_groups),
        seed=seed,
        ema_decay=recipe.train.ema_decay,
        device=compute.device,
        dtype=compute.dtype,
        session=session,
        session_plan=recipe.session,
        validate=_validation(recipe, prepared, fold, compute),
        folder=folder,
        journal=journal,
        experiment=experiment,
    )


def _validation(
    recipe: Recipe, prepared: Prepared, fold: int, compute: Compute
) -> Callable[[nn.Module], dict[str, float]]:
    """What the trainer calls between steps: loss, and score with a rule fitted on the same rows (a curve only)."""
    rows = prepared.rows(fold, valid=True)
    targets = prepared.targets[rows]

    def run_validation(network: nn.Module) -> dict[str, float]:
        logits = evaluate(network, prepared.table, rows, recipe, compute, views=("plain",))[0]
        probs = to_probs(logits, multiclass=recipe.table.task == "multiclass")
        rule = fit_rule(recipe, probs, targets, prepared.table.label_groups)
        loss = float(LOSSES[recipe.train.loss](logits, torch.from_numpy(targets)).mean())
        return {"loss": loss, "score": score(recipe, rule.apply(probs), targets)}

    return run_validation


def _is_done(recipe: Recipe, run: RunDir, fold: int) -> bool:
    """Whether some folder has the fold's trained model; one of another recipe is refused."""
    for folder in run.fold_everywhere(fold):
        if (path := folder / "model.safetensors").is_file():
            if read_tensors(path).values["fingerprint"] != fingerprint(recipe):
                raise MismatchError(f"{path} was trained by another recipe; use a new --run-dir, or other --inputs")
            return True
    return False


def _find_checkpoint(recipe: Recipe, run: RunDir, fold: int) -> Checkpoint | None:
    """The newest valid checkpoint of this fold, of this recipe, in any folder."""
    folders = [folder / "checkpoints" for folder in run.fold_everywhere(fold)]
    checkpoint = load_newest(folders, warn=lambda text: say(f"warning: {text}"))
    if checkpoint is not None and checkpoint.values["fingerprint"] != fingerprint(recipe):
        old = from_json(json.dumps(checkpoint.values["recipe"]), where="the checkpoint")
        raise MismatchError(
            f"fold {fold} has a checkpoint of another recipe: {'; '.join(differences(old, recipe))}. "
            "Use a new --run-dir, or the same settings"
        )
    return checkpoint


def _carry_journal(run: RunDir, fold: int) -> Journal:
    """The fold's journal, begun with the longest of earlier sessions where the run folder has none."""
    own, *others = (folder / "journal.jsonl" for folder in run.fold_everywhere(fold))
    found = [path for path in others if path.is_file()]
    if not own.is_file() and found:
        shutil.copyfile(max(found, key=lambda path: path.stat().st_size), own)
    return Journal(own)


def _tell_changes(old: dict[str, str], new: dict[str, str]) -> None:
    changed = [f"{name} {old.get(name)} -> {new[name]}" for name in new if old.get(name) != new[name]]
    if changed:
        say(f"warning: since the last session {', '.join(changed)}: the run continues, but not with the same bits")
