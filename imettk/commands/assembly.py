"""From a recipe and its data to a trainer at step 0."""

from __future__ import annotations

import json
import os

import numpy as np
import torch

from imettk.config import SPLIT, Recipe, fingerprint, to_json
from imettk.config.choices import AUGMENTATIONS
from imettk.config.fits import choice_of
from imettk.config.training import StageConfig
from imettk.data.augment import Augmentation
from imettk.data.dataset import ImageDataset
from imettk.data.sample_table import SampleTable
from imettk.data.sampling import derive_seed
from imettk.evaluation.curve import loss_of, make_validation
from imettk.experiment.learned import Learned, with_auxiliary
from imettk.experiment.prepared import Compute, Prepared, make_network
from imettk.experiment.resume import OtherTraining, find_checkpoint, load_other_weights
from imettk.experiment.scaling import scale_of, scale_values
from imettk.experiment.settle import Settled, weights_of
from imettk.tracking.run_dir import RunDir
from imettk.training.feed import TrainingData
from imettk.training.process_group import ProcessGroup
from imettk.training.recorder import Recorder
from imettk.training.session import Session
from imettk.training.trainer import Trainer


def make_trainer(
    recipe: Recipe,
    prepared: Prepared,
    taught: Prepared,
    run: RunDir,
    fold: int,
    compute: Compute,
    session: Session,
    processes: ProcessGroup,
    recorder: Recorder,
    environment: dict[str, str],
    *,
    settled: Settled,
    other: OtherTraining | None = None,
) -> Trainer:
    """A trainer at step 0: everything that is random about the start comes from the seed and the fold.

    Args:
        taught: `prepared` with a teacher's part in the targets; only training sees it.
        settled: the recipe with the mean and std that this training takes.
        other: a training with whose weights this one begins.
    """
    seed = derive_seed(recipe.train.seed, fold)
    torch.manual_seed(seed)
    table = prepared.table
    learned = Learned.of(recipe, table)
    network = make_network(settled.recipe, len(table.labels), learned=learned, weights=weights_of(recipe))
    if other is not None:
        load_other_weights(network, other)
    return Trainer(
        network,
        data=training_data(recipe, prepared, taught, fold, seed),
        stages=recipe.stages,
        plan=recipe.train,
        lower_is_better=recipe.lower_is_better(),
        layer_groups=network.layer_groups(recipe.model.layer_groups),
        seed=seed,
        device=compute.device,
        dtype=compute.dtype,
        session=session,
        session_plan=recipe.session,
        validate=make_validation(recipe, prepared, fold, compute, processes),
        find_checkpoint=lambda fits: find_checkpoint(
            recipe, run, fold, prepared.identity, fits=fits, others_allowed=True
        ),
        folder=run.fold(fold),
        recorder=recorder,
        experiment={
            "fingerprint": fingerprint(recipe),
            "recipe": json.loads(to_json(recipe)),
            "environment": environment,
            "data": prepared.identity.to_values(),
            **settled.values(),
            **scale_values(scale_of(recipe, prepared, fold)),
        },
        processes=processes,
        split=int(os.environ.get(SPLIT, "1")),
    )


def training_data(recipe: Recipe, prepared: Prepared, taught: Prepared, fold: int, seed: int) -> TrainingData:
    """What a fold trains on, and how much of it an epoch of each stage sees; `taught` as in `make_trainer`."""

    def dataset_for(stage: StageConfig) -> ImageDataset:
        size, images = stage.image_size or recipe.images.image_size, recipe.images
        return ImageDataset(
            taught.source,
            learned if scale is None else scale.forward(learned),
            image_size=size,
            augmentation=Augmentation(
                choice_of(recipe, stage.augmentation, AUGMENTATIONS),
                seed=seed,
                size=size,
                channels=images.channels,
                erasing=stage.erasing,
            ),
            centre_crop=images.fit == "centre_crop",
            skip_bad=images.on_bad_image == "skip",
            mirrors=mirrors,
            weights=row_weights,
        )

    rows, table, targets = taught.rows(fold, valid=False), prepared.table, taught.targets
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
    return TrainingData(
        rows=rows,
        dataset_for=dataset_for,
        loss_for=lambda stage: loss_of(recipe, stage, counts=counts, label_groups=table.learned_groups),
        num_outputs=num_outputs,
        task=task,
        num_valid=len(prepared.rows(fold, valid=True)),
        targets=hard_targets[rows],
        repeats=weights[sources[rows]] if recipe.table.extra and sources is not None else None,
    )


def vote_weights(recipe: Recipe, table: SampleTable, rows: np.ndarray) -> np.ndarray:
    """Return how much each row of the table counts in the loss, float32 (N,): for its votes to the recipe's power.

    A pseudo-labelled row, for which nobody has voted, counts as the mean of those that people have.

    Args:
        rows: those that train, int64 (M,), whose mean weight is 1.
    """
    assert table.votes is not None
    weights = table.votes.astype(np.float64) ** recipe.train.vote_weight
    pseudo = [number for number, extra in enumerate(recipe.table.extra, start=1) if extra.predictions is not None]
    if table.sources is not None and pseudo:
        guessed = np.isin(table.sources, pseudo)
        weights[guessed] = weights[rows[~guessed[rows]]].mean()
    return (weights / weights[rows].mean()).astype(np.float32)
