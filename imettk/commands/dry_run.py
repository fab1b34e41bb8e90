"""`train --dry-run`: the plan of a training and its duration, before it starts."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from imettk.commands.assembly import FoldStart, make_trainer, training_data
from imettk.commands.train import chosen_folds
from imettk.config import Recipe
from imettk.config.own_checks import describe_own
from imettk.errors import ConfigError
from imettk.experiment.network_check import check_network
from imettk.experiment.prepared import Experiment, Prepared, choose_compute, read_prepared
from imettk.experiment.resume import is_done
from imettk.experiment.settle import Settled, settle
from imettk.memory import return_freed_memory
from imettk.pictures.plots import draw_rates
from imettk.progress import say
from imettk.tracking.run_dir import RunDir
from imettk.training.batch_statistics import num_steps
from imettk.training.noise_scale import describe_noise
from imettk.training.optimizer import peak_rates
from imettk.training.recorder import Recorder
from imettk.training.schedule import Span, lr_table, plan_spans, validated_steps
from imettk.training.session import Session
from imettk.training.trainer import Trainer
from imettk.training.trial import TrialTrainer

TIMED_STEPS = 4
NOISE_STEPS = 8  # whose gradients are compared
PICTURE = "plan.png"


def dry_run(recipe: Recipe, data_dir: Path, run: RunDir, *, fold: int | None) -> None:
    """Print stages, steps and estimated sessions, and draw the learning rates of all groups to `plan.png`.

    A few steps of each stage are taken for their time, on this machine and with one process; nothing of them is kept.
    """
    folds = chosen_folds(recipe, fold)
    compute = choose_compute(recipe)
    prepared = read_prepared(recipe, data_dir, run)
    settled = settle(recipe, run)
    warning = check_network(settled.recipe, len(prepared.table.labels))
    trainer, step_seconds, validation_seconds = measure(
        Experiment(recipe, run, prepared, compute), settled, fold=folds[0]
    )
    noise = trainer.noise_scale(NOISE_STEPS)
    group_names = [*(f"group {number}" for number in range(trainer.num_groups - 1)), "head"]
    if own := describe_own(recipe):
        say(f"your own: {own}")
    say(settled.describe())
    say(_table(trainer, step_seconds, recipe.images.image_size))
    if warning is not None:
        say(warning)
    if noise is not None:
        longest = max(trainer.spans, key=lambda span: span.last_step - span.first_step)
        say(describe_noise(noise, longest.config.batch_size))
    validations = len(validated_steps(trainer.spans, recipe.train.validate_epochs))
    seconds, sessions = with_starts(
        recipe, total_seconds(recipe, trainer.spans, step_seconds, validation_seconds), trainer.start_seconds
    )
    say(f"\na fold: {trainer.num_steps} steps and {validations} validations of {validation_seconds:.1f} s")
    if trainer.start_seconds:
        say(f"each session and each stage first compiles the network: {duration(trainer.start_seconds)}")
    left = [number for number in folds if not is_done(recipe, run, number, prepared.identity)]
    say(
        f"about {duration(seconds)} a fold here, {sessions} sessions of "
        f"{duration(recipe.session.limit_seconds)}; {len(left)} of {len(folds)} folds to train: "
        f"{duration(seconds * len(left))}"
    )
    path = run.path / PICTURE
    draw_rates(path, _rates(trainer), group_names, [span.first_step for span in trainer.spans])
    say(f"learning rates: {path}")


def measure(experiment: Experiment, settled: Settled, *, fold: int) -> tuple[TrialTrainer, list[float], float]:
    """Return a trainer that has taken a few steps of each stage; seconds a step of each, and of a validation.

    Nothing is written into the experiment's run folder.
    """
    if experiment.recipe.session.recompute_activations and experiment.compute.device.type == "cpu":
        return_freed_memory()
    with tempfile.TemporaryDirectory() as scratch:
        session = Session(started=time.monotonic(), limit_seconds=math.inf, margin_seconds=0)
        start = FoldStart(fold, settled, experiment.prepared, environment={})
        experiment = replace(experiment, run=RunDir(Path(scratch)))
        trainer = make_trainer(experiment, start, session, Recorder(), kind=TrialTrainer)
        say(f"taking {TIMED_STEPS} steps of each stage on {experiment.compute.device} for their time")
        step_seconds, validation_seconds = trainer.time_plan(TIMED_STEPS)
    return trainer, step_seconds, validation_seconds


def plan_fold(recipe: Recipe, prepared: Prepared, fold: int, *, distilled: Prepared | None = None) -> list[Span]:
    """Return the span of each stage of a fold, as its trainer would have it.

    Args:
        distilled: the data with a teacher's part in its targets, and without rows of which a fold is unsure; None if
            there is no teacher.
    """
    data = training_data(recipe, prepared, distilled or prepared, fold, seed=0)
    return plan_spans(recipe.stages, [data.samples_per_epoch(stage) for stage in recipe.stages])


def total_seconds(recipe: Recipe, spans: list[Span], step_seconds: list[float], validation_seconds: float) -> float:
    """Return the seconds of a fold, from those of a step of each stage and of a validation."""
    steps = [span.last_step - span.first_step for span in spans]
    if recipe.train.average_last:
        steps[-1] += num_steps(spans[-1])  # for BatchNorm's statistics, at most: they need no backward pass
    return len(validated_steps(spans, recipe.train.validate_epochs)) * validation_seconds + sum(
        count * seconds for count, seconds in zip(steps, step_seconds, strict=True)
    )


def with_starts(recipe: Recipe, seconds: float, start_seconds: float) -> tuple[float, int]:
    """Return the seconds of a fold with the compilations that begin its stages and sessions, and how many sessions.

    Raises:
        ConfigError: a session is over before the network is compiled.
    """
    usable = recipe.session.limit_seconds - recipe.session.margin_seconds - start_seconds
    if usable <= 0:
        raise ConfigError(
            f"`session.compile`: compiling the network takes {duration(start_seconds)}, longer than a session has; set "
            "it to False"
        )
    seconds += (len(recipe.stages) - 1) * start_seconds
    sessions = math.ceil(seconds / usable)
    return seconds + sessions * start_seconds, sessions


def _table(trainer: Trainer, step_seconds: list[float], image_size: tuple[int, int]) -> str:
    lines = [
        f"{'stage':<6}{'epochs':>8}{'steps':>9}{'batch':>7}{'pixels':>10}{'frozen':>8}  "
        f"{'optimizer':<14}{'schedule':<12}{'peak rates':<24}{'ms a step':>10}"
    ]
    for span, seconds in zip(trainer.spans, step_seconds, strict=True):
        config = span.config
        rates = " ".join(f"{rate:g}" for rate in dict.fromkeys(peak_rates(config, trainer.num_groups)))
        batch = f"{config.batch_size}" if config.accumulate == 1 else f"{config.batch_size}/{config.accumulate}"
        pixels = "x".join(map(str, config.image_size or image_size))
        lines.append(
            f"{span.stage:<6}{config.num_epochs:>8g}{span.last_step - span.first_step:>9}{batch:>7}{pixels:>10}"
            f"{config.frozen_groups:>8}  {config.optimizer:<14}{config.schedule:<12}{rates:<24}{seconds * 1000:>10.1f}"
        )
    return "\n".join(lines)


def _rates(trainer: Trainer) -> np.ndarray:
    """Return the learning rate of each layer group in each step, before any plateau, float64 (G, S)."""
    rates = np.full((trainer.num_groups, trainer.num_steps), np.nan)
    for span in trainer.spans:
        shares = lr_table(span.config, steps_per_epoch=span.steps_per_epoch)
        for group, peak in enumerate(peak_rates(span.config, trainer.num_groups)):
            if group >= span.config.frozen_groups:
                rates[group, span.first_step : span.last_step] = peak * shares
    return rates


def duration(seconds: float) -> str:
    """Return a duration in words: "90 s", "45 min", "3.5 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
