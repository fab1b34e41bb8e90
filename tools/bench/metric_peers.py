"""pytorch-metric-learning in a plain loop: the network, images, augmentation, steps and learning rates of our recipe.

`python tools/bench/metric_peers.py {arcface,triplet} FOLDER SEED`: FOLDER is what `omniglot.lay_out` wrote, with a run
folder `run` that is prepared. Prints MAP@5 and top-1 of the queries, and the seconds that scoring took, as JSON.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_metric_learning import losses, miners, samplers
from torch import Tensor, nn

from imettk.config import Recipe, StageConfig, read_recipe
from imettk.data.augment import Augmentation
from imettk.data.dataset import ImageDataset
from imettk.data.sample_table import LabelledTable
from imettk.data.sampling import BatchRequest, sequential_requests
from imettk.data.source import ImageSource
from imettk.data.table import read_table, read_test_table
from imettk.experiment.prepared import make_network, open_source
from imettk.models.network import Network
from imettk.tracking.run_dir import RunDir

IMAGES_PER_IDENTITY = 4


class Loss:
    """The library's loss as its documentation uses it: embeddings and targets -> a number."""

    def __init__(self, kind: str, recipe: Recipe, num_classes: int) -> None:
        plan = recipe.embedding
        self.miner = None
        if kind == "arcface":
            size, margin = recipe.model.embedding_size, math.degrees(plan.margin)
            self.loss: nn.Module = losses.ArcFaceLoss(num_classes, size, margin=margin, scale=plan.scale)
        else:
            self.miner, self.loss = miners.BatchHardMiner(), losses.TripletMarginLoss(margin=plan.margin)

    def __call__(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        pairs = None if self.miner is None else self.miner(embeddings, targets)
        return self.loss(embeddings, targets, pairs)


def batches(kind: str, targets: np.ndarray, batch_size: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Return the rows of each step: shuffled, or the library's batches of several images per identity."""
    rng, given = np.random.default_rng(seed), 0
    while given < steps:
        if kind == "arcface":
            order = rng.permutation(len(targets))
        else:
            sampler = samplers.MPerClassSampler(targets, IMAGES_PER_IDENTITY, batch_size, len(targets))
            order = np.fromiter(iter(sampler), np.int64)
        for first in range(0, len(order) - batch_size + 1, batch_size):
            if given < steps:
                yield order[first : first + batch_size]
            given += 1


def train(kind: str, recipe: Recipe, table: LabelledTable, source: ImageSource, seed: int) -> Network:
    """Train in a plain loop over the recipe's stages."""
    torch.manual_seed(seed)
    kept = np.flatnonzero(np.bincount(table.targets)[table.targets] >= recipe.folds.min_images)
    classes, targets = np.unique(table.targets[kept], return_inverse=True)
    network = make_network(recipe, len(classes)).to(memory_format=torch.channels_last).train()
    network.head.register_parameter("centres", None)  # the library has its own
    loss_fn = Loss(kind, recipe, len(classes))
    weights = [*network.parameters(), *loss_fn.loss.parameters()]
    for number, stage in enumerate(recipe.stages):
        size = stage.image_size or recipe.images.image_size
        augmentation = Augmentation(stage.augmentation, seed=seed, size=size, channels=recipe.images.channels)
        dataset = ImageDataset(source, table.targets, image_size=size, augmentation=augmentation)
        optimizer = torch.optim.AdamW(weights, lr=stage.lr[0], weight_decay=stage.weight_decay, fused=True)
        steps = round(stage.num_epochs * (len(kept) // stage.batch_size))
        for step, rows in enumerate(batches(kind, targets, stage.batch_size, steps, seed + 1000 * number)):
            for group in optimizer.param_groups:
                group["lr"] = stage.lr[0] * share_of_rate(stage, step / steps)
            batch = dataset[BatchRequest(step, np.arange(len(rows)), kept[rows])]
            loss = loss_fn(network(batch.images).embeddings, torch.from_numpy(targets[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def share_of_rate(stage: StageConfig, done: float) -> float:
    """Return the learning rate after a share of a stage, relative to its peak: linear warmup, then cosine."""
    warmup = stage.warmup_epochs / stage.num_epochs
    if done < warmup:
        return max(stage.warmup_start, done / warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
    return stage.final_lr + (1 - stage.final_lr) * cosine


@torch.inference_mode()
def embed(network: Network, source: ImageSource, recipe: Recipe) -> np.ndarray:
    """Return unit embeddings of all images, float32 (N, D)."""
    dataset = ImageDataset(source, None, image_size=recipe.images.image_size)
    parts = [
        network(dataset[request].images).embeddings for request in sequential_requests(np.arange(len(source)), 256)
    ]
    return torch.cat(parts).numpy()


def scores(queries: np.ndarray, truth: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return MAP@5 and top-1 in plain numpy; an identity is as near as its best image."""
    similarity = queries @ gallery.T
    best = np.stack([similarity[:, labels == label].max(1) for label in range(labels.max() + 1)], 1)
    hit = np.argsort(-best, axis=1)[:, :5] == truth[:, None]
    return float(np.where(hit.any(1), 1 / (hit.argmax(1) + 1), 0).mean()), float(hit[:, 0].mean())


def main() -> None:
    """Train and print."""
    kind, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    run, data = RunDir(folder / "run"), folder / "data"
    recipe = read_recipe(run.path / "recipe.json")
    table = read_table(recipe.table, data)
    source = open_source(recipe, table, data, run)
    network = train(kind, recipe, table, source, seed)
    started = time.perf_counter()
    test = read_test_table(recipe.table, data, table)
    answers = pd.read_csv(folder / "answers.csv", dtype=str).set_index("image")["character"].loc[test.ids]
    truth = answers.map({label: number for number, label in enumerate(table.labels)}).to_numpy()
    queries = embed(network, open_source(recipe, test, data, run), recipe)
    found = scores(queries, truth, embed(network, source, recipe), table.targets)
    print(json.dumps({"scoring_seconds": time.perf_counter() - started, "map": found[0], "top1": found[1]}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import omniglot  # noqa: F401  # its networks are registered with timm

    main()
