"""`train`: one fold or all of them, for as long as the session lasts."""

from __future__ import annotations

import time
import traceback
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from imettk.commands.assembly import make_trainer
from imettk.config import Recipe, fingerprint
from imettk.device import describe, use_deterministic_algorithms
from imettk.errors import ConfigError, MismatchError, UserError
from imettk.experiment.fold_messages import FoldMessages
from imettk.experiment.learned import Learned
from imettk.experiment.network_check import check_network
from imettk.experiment.precision import TrainingPrecision
from imettk.experiment.prepared import (
    Prepared,
    choose_compute,
    read_prepared,
)
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
from imettk.progress import say
from imettk.threads import wait_policy
from imettk.tracking.board import Board
from imettk.tracking.code import code_version
from imettk.tracking.files import write_json
from imettk.tracking.journal import Journal, read_journal
from imettk.tracking.lock import hold_folder
from imettk.tracking.run_dir import RunDir
from imettk.tracking.telegram import Notifier
from imettk.tracking.tensors import TensorFile, save_tensors
from imettk.training.checkpoint import make_room
from imettk.training.process_group import ProcessGroup, join_process_group, local_rank
from imettk.training.recorder import Recorder
from imettk.training.session import Session, Watchdog
from imettk.training.trainer import Trainer


def train(
    recipe: Recipe, data_dir: Path, run: RunDir, *, fold: int | None, started: float, other_weights: bool = False
) -> None:
    """Train a fold, or every fold after another, until done or until the session must end; `status.json` says which.

    Args:
        fold: None for all.
        started: when the session began, on `time.monotonic()`.
        other_weights: a fold without a checkpoint of this recipe starts from the weights of another training in the
            inputs, whose checkpoints are otherwise passed over.

    Raises:
        MismatchError: the folder holds a checkpoint of another recipe.
        BusyError: another process trains the same fold in this folder.
    """
    folds = chosen_folds(recipe, fold)
    compute = choose_compute(recipe, local_rank())  # before the data is read: it may not be there at all
    if recipe.train.deterministic and compute.device.type == "cuda":
        use_deterministic_algorithms()
    processes = join_process_group(compute.device)
    prepared = read_prepared(recipe, data_dir, run)
    settled = settle(recipe, run)
    check_network(settled.recipe, len(prepared.table.labels))
    precision = TrainingPrecision(settled.recipe, compute, len(prepared.table.labels), processes)
    if processes.is_main:
        run.save_recipe(recipe)
    plan = recipe.session
    limit, margin = plan.limit_seconds, plan.margin_seconds
    session = Session(started=started, limit_seconds=limit, margin_seconds=margin, limit_steps=plan.limit_steps)
    notifier = Notifier() if processes.is_main else None
    stop_listening = session.listen()  # to the end: a signal between two folds, or while a model is written, waits
    _say(processes, settled.describe())
    try:
        for number in folds:
            if processes.broadcast_object(
                is_done(recipe, run, number, prepared.identity, others_allowed=other_weights)
            ):
                _say(processes, f"fold {number} is done already")
                continue
            training = _FoldTraining(
                recipe, prepared, run, number, precision, session, processes, other_weights, notifier, settled=settled
            )
            if training.run() is not None:
                break
        processes.shutdown()
    finally:
        stop_listening()
        if notifier is not None:
            notifier.close()


def chosen_folds(recipe: Recipe, fold: int | None) -> list[int]:
    """The fold of `--fold`, or all; `ConfigError` where the recipe has no such fold."""
    if fold is not None and not 0 <= fold < recipe.folds.num_folds:
        raise ConfigError(f"--fold must be in [0, {recipe.folds.num_folds}), got {fold}")
    return list(range(recipe.folds.num_folds)) if fold is None else [fold]


class _FoldTraining:
    """One fold in this session: everything around the trainer that tells the world how it stands."""

    def __init__(
        self,
        recipe: Recipe,
        prepared: Prepared,
        run: RunDir,
        fold: int,
        precision: TrainingPrecision,
        session: Session,
        processes: ProcessGroup,
        other_weights: bool,
        notifier: Notifier | None,
        *,
        settled: Settled,
    ) -> None:
        self._recipe, self._prepared, self._run, self._fold = recipe, prepared, run, fold
        self._precision, self._session, self._processes, self._other_weights = (
            precision,
            session,
            processes,
            other_weights,
        )
        self._settled = settled
        self._folder, self._scale = run.fold(fold), scale_of(recipe, prepared, fold)
        self._messages = FoldMessages(notifier, recipe, fold, self._folder)
        self._journal: Journal | None = None
        self._board: Board | None = None
        self._trainer: Trainer | None = None
        self._hangs = False

    def run(self) -> str | None:
        """Train until the fold is done, or return why the session ended before."""
        with ExitStack() as held:
            held.enter_context(hold_folder(self._folder) if self._processes.is_main else nullcontext())
            try:
                trainer = self._start()
                watchdog = Watchdog(self._session, self._tell_hang)
                held.callback(watchdog.stop)
                reason = trainer.fit()
                if reason is None and self._processes.is_main:
                    self._save_model(trainer)
            except BaseException as error:
                told = isinstance(error, (UserError, OSError))  # the machine's faults need no traceback either
                fault = str(error) if told else traceback.format_exc()
                self._tell("failed", " ".join(str(error).split()) or type(error).__name__, fault)
                raise
            self._tell("done" if reason is None else "paused", reason)
        fold, at = f"fold {self._fold}", trainer.at.step
        if unread := self._prepared.source.unread():
            _say(self._processes, f"warning: {fold}: {unread} could not be read in this session")
        if reason is None:
            _say(self._processes, f"{fold}: done after {at} steps")
        else:
            progress = f"step {at} of {trainer.num_steps}"
            _say(self._processes, f"{fold}: paused at {progress} ({reason}); run the same command again to continue")
        return reason

    def _start(self) -> Trainer:
        """A trainer where the last session left it, and the journal's line about this one."""
        recipe, run, fold, processes = self._recipe, self._run, self._fold, self._processes
        data = self._prepared.identity
        checkpoint = find_checkpoint(recipe, run, fold, data, others_allowed=self._other_weights)
        recorded = None if checkpoint is None else checkpoint.values["environment"].get("precision")
        compute = self._precision.settle(recorded)
        _say(processes, f"fold {fold}: {compute.device}, {str(compute.dtype).removeprefix('torch.')}")
        taught, hash_of_taught = with_teacher(recipe, self._prepared, fold)
        environment = describe(compute.device) | {
            "precision": str(compute.dtype),
            "processes": str(processes.size),
            "teacher": hash_of_taught,
            "images": self._prepared.source.describe(),
        }
        if processes.is_main:
            self._journal = carry_journal(recipe, run, fold, data, checkpoint)
        other = self._settle(checkpoint)
        recorder = Recorder(self._journal)
        self._trainer = trainer = make_trainer(
            recipe,
            self._prepared,
            taught,
            run,
            fold,
            compute,
            self._session,
            processes,
            recorder,
            environment,
            settled=self._settled,
            other=other,
        )
        if checkpoint is not None:
            require_same_scale(f"the checkpoint of fold {fold}", checkpoint.values, self._scale)
            if processes.is_main:
                _tell_changes(checkpoint.values["environment"], environment)
                carry_checkpoint(run, fold, checkpoint)
            trainer.load(checkpoint)
            _say(processes, f"fold {fold}: continues at step {trainer.at.step} of {trainer.num_steps}")
        if (step := processes.broadcast_object(trainer.at.step)) != trainer.at.step:
            raise MismatchError(
                f"process {processes.rank} finds its checkpoint at step {trainer.at.step}, process 0 at {step}: all "
                "machines need the same --run-dir and --inputs"
            )
        if self._journal is not None:
            position = {"step": trainer.at.step, "owes_validation": trainer.at.validation_pending}
            values = {"num_steps": trainer.num_steps, "environment": environment, "code": code_version()}
            values["idle_threads"] = wait_policy()  # not of the environment: no bit depends on it
            self._journal.write("session", **position, **values)
            if recipe.session.tensorboard:
                self._board = Board(self._folder / "tensorboard", read_journal(self._journal.path))
                recorder.attach(self._board)
            self._messages.began()
            recorder.on_validation(self._messages.validated)
        self._write_status("running")
        return trainer

    def _settle(self, checkpoint: TensorFile | None) -> OtherTraining | None:
        """Settle the recipe as this fold began, be it with the weights of another training, which are returned."""
        begins_with_others = self._other_weights and checkpoint is None
        other = find_other_training(self._run, self._fold) if begins_with_others else None
        if (begun := checkpoint or other) is not None:
            settled = settle_as(self._recipe, begun.values)
            if settled.recipe != self._settled.recipe:
                _say(self._processes, settled.describe())
            self._settled = settled
        return other

    def _save_model(self, trainer: Trainer) -> None:
        values = {
            "fingerprint": fingerprint(self._recipe),
            "fold": self._fold,
            "labels": list(self._prepared.table.labels),
            "data": self._prepared.identity.to_values(),
            **scale_values(self._scale),
            **Learned.of(self._recipe, self._prepared.table).to_values(),
            **self._settled.values(),
        }
        weights = trainer.final_weights()
        make_room(self._folder / "checkpoints", sum(value.nbytes for value in weights.values()))
        save_tensors(self._folder / "model.safetensors", weights, values)

    def _tell(self, state: str, reason: str | None, fault: str = "") -> None:
        """The last word of this session on the fold, in status and journal; the watchdog's is the last of all."""
        if self._hangs:
            return
        with ExitStack() as parts:  # each on its own: on a full disk any of them may fail
            if self._board is not None:
                parts.callback(self._board.close)
            if self._journal is not None:
                step = 0 if self._trainer is None else self._trainer.at.step
                parts.callback(self._journal.close)
                parts.callback(self._journal.write, state, step=step, reason=reason)
            self._write_status(state, reason)
        if self._journal is not None:
            self._messages.ended(fault)

    def _tell_hang(self) -> None:
        """Called by the watchdog, while the step that hangs may hold anything but the status file."""
        self._hangs = True
        reason = "a step hung until the session's end: the last checkpoint counts"
        if self._processes.is_main:
            self._write_status("paused", reason)
            self._messages.hung(reason)
            say(f"fold {self._fold}: {reason}")
        else:
            time.sleep(2)  # the first one may only wait for us, and must not take our end for a fault

    def _write_status(self, state: str, reason: str | None = None) -> None:
        if self._journal is None or self._trainer is None:
            return
        sessions = sum(event["event"] == "session" for event in read_journal(self._folder / "journal.jsonl"))
        content: dict[str, Any] = {
            "state": state,
            "fold": self._fold,
            "step": self._trainer.at.step,
            "num_steps": self._trainer.num_steps,
            "sessions": sessions,
        }
        write_json(self._folder / "status.json", content | ({"reason": reason} if reason else {}))


def _tell_changes(old: dict[str, str], new: dict[str, str]) -> None:
    changed = [f"{name} {old.get(name)} -> {new[name]}" for name in new if old.get(name) != new[name]]
    if changed:
        say(f"warning: since the last session {', '.join(changed)}: the run continues, but not with the same bits")


def _say(processes: ProcessGroup, text: str) -> None:
    if processes.is_main:
        say(text)
