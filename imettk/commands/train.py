"""`train`: one fold or all of them, for as long as the session lasts."""

from __future__ import annotations

import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from imettk.commands.assembly import FoldStart, make_trainer
from imettk.config import Recipe, fingerprint
from imettk.device import describe, use_deterministic_algorithms
from imettk.errors import ConfigError, MismatchError
from imettk.experiment.fold_log import FoldLog, FoldMessages
from imettk.experiment.learned import Learned
from imettk.experiment.network_check import check_network
from imettk.experiment.precision import TrainingPrecision
from imettk.experiment.prepared import Experiment, choose_compute, read_prepared
from imettk.experiment.resume import (
    OtherTraining,
    carry_checkpoint,
    carry_journal,
    find_checkpoint,
    find_other_training,
    is_done,
)
from imettk.experiment.scaling import require_same_scale, scale_of, scale_values
from imettk.experiment.settle import Settled, settle, settle_as
from imettk.experiment.teacher import with_teacher
from imettk.memory import return_freed_memory
from imettk.models.lora import merge_adapters
from imettk.progress import say
from imettk.tracking.lock import hold_folder
from imettk.tracking.run_dir import RunDir
from imettk.tracking.telegram import Notifier
from imettk.tracking.tensors import TensorFile, save_tensors
from imettk.training.checkpoint import make_room
from imettk.training.process_group import ProcessGroup, join_process_group, local_rank
from imettk.training.session import Session, Watchdog
from imettk.training.trainer import Trainer

HANG = "a step hung until the session's end: the last checkpoint counts"


@dataclass(frozen=True)
class _Training:
    """Everything that the folds of a session share.

    Attributes:
        other_weights: whether a fold that begins takes the weights of another training.
        until_step: where each fold pauses, even if there is time left; None goes on to the end.
    """

    experiment: Experiment
    settled: Settled
    precision: TrainingPrecision
    session: Session
    notifier: Notifier | None
    other_weights: bool
    until_step: int | None

    @property
    def processes(self) -> ProcessGroup:
        return self.experiment.compute.processes

    def say(self, text: str) -> None:
        """Print a line, in process 0 only."""
        if self.processes.is_main:
            say(text)


def train(
    recipe: Recipe,
    data_dir: Path,
    run: RunDir,
    *,
    fold: int | None,
    started: float,
    other_weights: bool = False,
    until_step: int | None = None,
) -> None:
    """Train a fold, or all of them in turn, until done or until the session must end; `status.json` says which.

    Args:
        fold: None for all.
        started: when the session began, on `time.monotonic()`.
        other_weights: start a fold without a checkpoint of this recipe from the weights of another training in the
            inputs, whose checkpoints are otherwise ignored.
        until_step: pause there, after the validation if one is due; None trains to the end.

    Raises:
        MismatchError: the folder holds a checkpoint of another recipe.
        BusyError: another process trains the same fold in this folder.
    """
    folds = chosen_folds(recipe, fold)
    compute = choose_compute(recipe, local_rank())  # before the data is read: it may not be there at all
    if recipe.train.deterministic and compute.device.type == "cuda":
        use_deterministic_algorithms()
    if recipe.session.recompute_activations and compute.device.type == "cpu":
        return_freed_memory()
    processes = join_process_group(compute.device)
    compute = replace(compute, processes=processes)
    prepared = read_prepared(recipe, data_dir, run)
    settled = settle(recipe, run)
    warning = check_network(settled.recipe, len(prepared.table.labels))
    precision = TrainingPrecision(settled.recipe, compute, len(prepared.table.labels))
    if processes.is_main:
        run.save_recipe(recipe)
    limits = recipe.session
    session = Session(
        started=started,
        limit_seconds=limits.limit_seconds,
        margin_seconds=limits.margin_seconds,
        limit_steps=limits.limit_steps,
    )
    notifier = Notifier() if processes.is_main else None
    experiment = Experiment(recipe, run, prepared, compute)
    training = _Training(experiment, settled, precision, session, notifier, other_weights, until_step)
    stop_listening = session.listen()  # to the end: a signal between two folds, or while a model is written, waits
    training.say(settled.describe())
    if warning is not None:
        training.say(warning)
    try:
        for number in folds:
            done = is_done(recipe, run, number, prepared.identity, others_allowed=other_weights)
            if processes.broadcast_object(done):
                training.say(f"fold {number} is done already")
            elif _train_fold(training, number) is not None:
                break
        processes.shutdown()
    finally:
        stop_listening()
        if notifier is not None:
            notifier.close()


def chosen_folds(recipe: Recipe, fold: int | None) -> list[int]:
    """Return the fold of `--fold`, or all; raise `ConfigError` if the recipe has no such fold."""
    if fold is not None and not 0 <= fold < recipe.folds.num_folds:
        raise ConfigError(f"--fold must be in [0, {recipe.folds.num_folds}), got {fold}")
    return list(range(recipe.folds.num_folds)) if fold is None else [fold]


def _train_fold(training: _Training, fold: int) -> str | None:
    """Train a fold until it is done, or return why the session ended before."""
    experiment, processes = training.experiment, training.processes
    recipe, run, data = experiment.recipe, experiment.run, experiment.prepared.identity
    folder = run.fold(fold)
    with ExitStack() as held:
        held.enter_context(hold_folder(folder) if processes.is_main else nullcontext())
        # Under the lock: another process might still be writing the newest one.
        checkpoint = find_checkpoint(recipe, run, fold, data, others_allowed=training.other_weights)
        compute = training.precision.settle(None if checkpoint is None else _recorded_precision(checkpoint))
        training.say(f"fold {fold}: {compute.device}, {str(compute.dtype).removeprefix('torch.')}")
        experiment = replace(experiment, compute=compute)
        distilled, hash_of_distilled = with_teacher(recipe, experiment.prepared, fold)
        journal = carry_journal(recipe, run, fold, data, checkpoint) if processes.is_main else None
        messages = FoldMessages(training.notifier, recipe, fold, folder)
        log = FoldLog(folder, fold, journal, messages, tensorboard=recipe.session.tensorboard)
        trainer: Trainer | None = None
        try:
            settled, other = _settle(training, fold, checkpoint)
            environment = _environment(experiment, hash_of_distilled)
            start = FoldStart(fold, settled, distilled, environment, other)
            trainer = make_trainer(experiment, start, training.session, log.recorder(), kind=Trainer)
            _resume(training, trainer, start, checkpoint)
            if training.until_step is not None:
                training.session.limit(training.until_step - trainer.at.step)
            log.begin(trainer, environment)
            # The watchdog keeps the trainer alive: see `Watchdog.stop`.
            held.callback(Watchdog(training.session, lambda: _note_hang(training, trainer, log, fold)).stop)
            reason = trainer.fit()
            if reason is None and processes.is_main:
                _save_model(experiment, settled, trainer, fold)
        except BaseException as error:
            log.fail(error, trainer)
            raise
        log.end("done" if reason is None else "paused", trainer, reason)
    _say_result(training, trainer, fold, reason)
    return reason


def _recorded_precision(checkpoint: TensorFile) -> str | None:
    return checkpoint.values["environment"].get("precision")


def _environment(experiment: Experiment, hash_of_distilled: str) -> dict[str, str]:
    """Return what the bits of a training depend on beside its recipe and data."""
    compute = experiment.compute
    return describe(compute.device) | {
        "precision": str(compute.dtype),
        "processes": str(compute.processes.size),
        "teacher": hash_of_distilled,
        "images": experiment.prepared.source.describe(),
        "compiled": "yes" if experiment.recipe.session.compile else "no",
    }


def _settle(training: _Training, fold: int, checkpoint: TensorFile | None) -> tuple[Settled, OtherTraining | None]:
    """Settle the recipe as this fold began, perhaps with the weights of another training, which are returned."""
    experiment = training.experiment
    other = find_other_training(experiment.run, fold) if training.other_weights and checkpoint is None else None
    begun = checkpoint or other
    if begun is None:
        return training.settled, None
    settled = settle_as(experiment.recipe, begun.values)
    if settled.recipe != training.settled.recipe:
        training.say(settled.describe())
    return settled, other


def _resume(training: _Training, trainer: Trainer, start: FoldStart, checkpoint: TensorFile | None) -> None:
    """Put a trainer where the last session left the fold, and make sure that all processes stand there."""
    experiment, processes, fold = training.experiment, training.processes, start.fold
    if checkpoint is not None:
        scale = scale_of(experiment.recipe, experiment.prepared, fold)
        require_same_scale(f"the checkpoint of fold {fold}", checkpoint.values, scale)
        if processes.is_main:
            _warn_of_changes(checkpoint.values["environment"], start.environment)
            carry_checkpoint(experiment.run, fold, checkpoint)
        trainer.load(checkpoint)
        training.say(f"fold {fold}: continues at step {trainer.at.step} of {trainer.num_steps}")
    if (step := processes.broadcast_object(trainer.at.step)) != trainer.at.step:
        raise MismatchError(
            f"process {processes.rank} finds its checkpoint at step {trainer.at.step}, process 0 at {step}: all "
            "machines need the same --run-dir and --inputs"
        )


def _warn_of_changes(old: dict[str, str], new: dict[str, str]) -> None:
    old = {"compiled": "no"} | old  # earlier versions never did
    changed = [f"{name} {old.get(name)} -> {new[name]}" for name in new if old.get(name) != new[name]]
    if changed:
        say(f"warning: since the last session {', '.join(changed)}: the run continues, but not with the same bits")


def _save_model(experiment: Experiment, settled: Settled, trainer: Trainer, fold: int) -> None:
    """Write `model.safetensors`: the final weights, and all that inference has to know of them."""
    recipe, prepared, folder = experiment.recipe, experiment.prepared, experiment.run.fold(fold)
    values = {
        "fingerprint": fingerprint(recipe),
        "fold": fold,
        "labels": list(prepared.table.labels),
        "data": prepared.identity.to_values(),
        **scale_values(scale_of(recipe, prepared, fold)),
        **Learned.of(recipe, prepared.table).to_values(),
        **settled.values(),
    }
    weights, model = trainer.final_weights(), recipe.model
    if model.lora_rank:
        weights = merge_adapters(weights, rank=model.lora_rank, alpha=model.lora_alpha)
    # The model matters more than a second checkpoint, which goes if the disk is full.
    make_room(folder / "checkpoints", sum(value.nbytes for value in weights.values()))
    save_tensors(folder / "model.safetensors", weights, values)


def _note_hang(training: _Training, trainer: Trainer, log: FoldLog, fold: int) -> None:
    """Leave word that a step hangs; called by the watchdog just before it ends the process."""
    if training.processes.is_main:
        log.hang(trainer, HANG)
        say(f"fold {fold}: {HANG}")
    else:
        time.sleep(2)  # process 0 may only be waiting for this one, and must not take its end for a fault


def _say_result(training: _Training, trainer: Trainer, fold: int, reason: str | None) -> None:
    if unread := training.experiment.prepared.source.unread():
        training.say(f"warning: fold {fold}: {unread} could not be read in this session")
    progress = f"step {trainer.at.step} of {trainer.num_steps}"
    if reason is None:
        training.say(f"fold {fold}: done after {trainer.at.step} steps")
    elif trainer.at.step == training.until_step:
        training.say(f"fold {fold}: {progress}, as far as asked")
    else:
        training.say(f"fold {fold}: paused at {progress} ({reason}); run the same command again to continue")
