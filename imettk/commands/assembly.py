"""Assembly of a trainer at step 0 from a recipe and its data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from imettk.config import Recipe, fingerprint, to_json
from imettk.config.choices import AUGMENTATIONS
from imettk.config.fits import choice_of
from imettk.config.stage import StageConfig
from imettk.data.augment import Augmentation
from imettk.data.dataset import ImageDataset
from imettk.data.sample_table import SampleTable
from imettk.data.sampling import derive_seed
from imettk.evaluation.curve import loss_of, make_validation
from imettk.experiment.learned import Learned, with_auxiliary
from imettk.experiment.prepared import Experiment, Prepared, make_network
from imettk.experiment.resume import OtherTraining, find_checkpoint, load_other_weights
from imettk.experiment.scaling import scale_of, scale_values
from imettk.experiment.settle import Settled, weights_of
from imettk.losses.class_balance import ClassBalance
from imettk.models.lora import add_adapters
from imettk.progress import say
from imettk.tracking.tensors import TensorFile
from imettk.training.checkpoint import Checkpoints
from imettk.training.feed import TrainingData
from imettk.training.recorder import Recorder
from imettk.training.session import Session
from imettk.training.trainer import Trainer

AnyTrainer = TypeVar("AnyTrainer", bound=Trainer)


@dataclass(frozen=True)
class FoldStart:
    """Start of a fold's training.

    Attributes:
        settled: the recipe with the mean and std that this training takes.
        distilled: the prepared data with a teacher's part in its targets, which only training sees.
        environment: what the bits depend on beside recipe and data; every checkpoint notes it.
        other: a training with whose weights this one begins.
    """

    fold: int
    settled: Settled
    distilled: Prepared
    environment: dict[str, str]
    other: OtherTraining | None = None


def make_trainer(
    experiment: Experiment, start: FoldStart, session: Session, recorder: Recorder, *, kind: type[AnyTrainer]
) -> AnyTrainer:
    """Return a trainer at step 0; everything random about its start is a function of the seed and the fold.

    Args:
        kind: Trainer, or TrialTrainer for steps that are only measured.
    """
    recipe, prepared, fold = experiment.recipe, experiment.prepared, start.fold
    seed = derive_seed(recipe.train.seed, fold)
    torch.manual_seed(seed)  # a new head is random; a kill before the first checkpoint must not change it
    table = prepared.table
    learned, weights = Learned.of(recipe, table), weights_of(recipe)
    network = make_network(start.settled.recipe, len(table.labels), learned=learned, weights=weights)
    if start.other is not None:
        load_other_weights(network, start.other)
    if recipe.model.lora_rank:
        text = add_adapters(network, recipe.model, recipe.images.image_size)
        if experiment.compute.processes.is_main:
            say(text)
    return kind(
        network,
        training_data(recipe, prepared, start.distilled, fold, seed),
        recipe=recipe,
        layer_groups=network.layer_groups(recipe.model.layer_groups),
        compute=experiment.compute,
        session=session,
        validate=make_validation(experiment, fold),
        checkpoints=_checkpoints(experiment, start),
        recorder=recorder,
    )


def _checkpoints(experiment: Experiment, start: FoldStart) -> Checkpoints:
    recipe, run, prepared, fold = experiment.recipe, experiment.run, experiment.prepared, start.fold
    values = {
        "fingerprint": fingerprint(recipe),
        "recipe": json.loads(to_json(recipe)),
        "environment": start.environment,
        "data": prepared.identity.to_values(),
        **start.settled.values(),
        **scale_values(scale_of(recipe, prepared, fold)),
    }

    def find(fits: Callable[[TensorFile], bool]) -> TensorFile | None:
        return find_checkpoint(recipe, run, fold, prepared.identity, fits=fits, others_allowed=True)

    return Checkpoints(run.fold(fold) / "checkpoints", values, find)


def training_data(recipe: Recipe, prepared: Prepared, distilled: Prepared, fold: int, seed: int) -> TrainingData:
    """Return the samples of a fold and of an epoch of each stage; `distilled` as in `FoldStart`."""

    def dataset_for(stage: StageConfig) -> ImageDataset:
        size, images = stage.image_size or recipe.images.image_size, recipe.images
        return ImageDataset(
            distilled.source,
            learned if scale is None else scale.forward(learned),
            image_size=size,
            augmentation=Augmentation(
                choice_of(recipe, stage.augmentation, AUGMENTATIONS),
                seed=seed,
                size=size,
                channels=images.channels,
                transforms=stage.transforms,
                erasing=stage.erasing,
            ),
            centre_crop=images.fit == "centre_crop",
            skip_bad=images.on_bad_image == "skip",
            mirrors=mirrors,
            weights=row_weights,
        )

    rows, table, targets = distilled.rows(fold, valid=False), prepared.table, distilled.targets
    task, scale = recipe.task, scale_of(recipe, prepared, fold)
    hard_targets = prepared.targets if task.is_soft(targets) else targets  # which samplers go by
    num_outputs, sources = task.num_outputs(len(table.labels)) + len(table.auxiliary_labels), table.sources
    if mirrors := recipe.embedding.mirrored_identities:
        # Mirrored images are rows behind those of the table, and their identities classes behind its labels.
        rows = np.concatenate([rows, rows + len(table)])
        targets = hard_targets = np.concatenate([hard_targets, hard_targets + num_outputs])
        num_outputs *= 2
        sources = None if sources is None else np.concatenate([sources, sources])
    row_weights = None if not recipe.train.vote_weight else vote_weights(recipe, table, rows)
    learned = with_auxiliary(targets, table)
    weights = np.array([1.0, *(extra.weight for extra in recipe.table.extra)])
    identities = task.identities(hard_targets[rows])
    counts = None if identities is None else np.bincount(identities, minlength=num_outputs)
    balance = ClassBalance(task, table.labels, hard_targets[rows], num_outputs)
    balance.check(recipe.stages)
    return TrainingData(
        rows=rows,
        seed=seed,
        dataset_for=dataset_for,
        loss_for=lambda stage: loss_of(
            recipe, stage, counts=counts, label_groups=table.learned_groups, class_weights=balance.weights(stage)
        ),
        num_outputs=num_outputs,
        task=task,
        num_valid=len(prepared.rows(fold, valid=True)),
        targets=hard_targets[rows],
        repeats=weights[sources[rows]] if recipe.table.extra and sources is not None else None,
        prior=balance.prior() if any(stage.smoothing_by == "counts" for stage in recipe.stages) else None,
    )


def vote_weights(recipe: Recipe, table: SampleTable, rows: np.ndarray) -> np.ndarray:
    """Return the weight of each row of the table in the loss, float32 (N,): its number of votes to the recipe's power.

    A pseudo-labelled row, for which nobody has voted, gets the mean weight of the others.

    Args:
        rows: the training rows, int64 (M,); their mean weight is 1.
    """
    assert table.votes is not None
    weights = table.votes.astype(np.float64) ** recipe.train.vote_weight
    pseudo = [number for number, extra in enumerate(recipe.table.extra, start=1) if extra.predictions is not None]
    if table.sources is not None and pseudo:
        guessed = np.isin(table.sources, pseudo)
        weights[guessed] = weights[rows[~guessed[rows]]].mean()
    return (weights / weights[rows].mean()).astype(np.float32)
