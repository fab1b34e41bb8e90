"""Fine-tuning by fastai and by a plain loop around timm: same weights, split, size, epochs and peak rate as ours.

Beside them, with settings of their own: fastai's `fine_tune`, and what timm's train script does by default.

Run by `transfer.py`, a fold in a process of its own:

    python transfer_peers.py PEER DATA_DIR WEIGHTS folds.csv FOLD OUT.npz EPOCHS SIDE
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm.data
import timm.loss
import timm.optim
import timm.scheduler
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

NETWORK, BATCH, PEAK, DECAY = "tf_efficientnet_lite0", 32, 1e-3, 0.05
MEAN = STD = 0.5  # of these weights


class Photos(Dataset[tuple[Tensor, int]]):
    """A dataset of photos squeezed to squares; in training half of them are mirrored."""

    def __init__(self, paths: list[Path], targets: np.ndarray, side: int, *, training: bool) -> None:
        self._paths, self._targets, self._side, self._training = paths, targets, side, training

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        with Image.open(self._paths[row]) as image:
            image.draft("RGB", (2 * self._side, 2 * self._side))  # decoded small, as all fast loaders do
            pixels = np.asarray(image.convert("RGB").resize((self._side, self._side), Image.Resampling.BILINEAR))
        if self._training and torch.rand(()) < 0.5:
            pixels = pixels[:, ::-1]
        values = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float().div(255)
        return (values - MEAN) / STD, int(self._targets[row])


def make_network(weights: Path, num_classes: int) -> torch.nn.Module:
    network = timm.create_model(NETWORK, num_classes=num_classes)
    state = {name: value for name, value in load_file(weights).items() if not name.startswith("classifier.")}
    missing = network.load_state_dict(state, strict=False).missing_keys
    assert all(name.startswith("classifier.") for name in missing), missing
    return network


def train_plain(
    train: Photos, valid: Photos, network: torch.nn.Module, num_classes: int, epochs: int, data_dir: Path
) -> np.ndarray:
    """Fine-tune by a loop of twenty lines: AdamW, a warm-up of one epoch, then a cosine."""
    loader = DataLoader(train, BATCH, shuffle=True, drop_last=True, num_workers=1, persistent_workers=True)
    optimizer = torch.optim.AdamW(network.parameters(), PEAK, weight_decay=DECAY, fused=True)
    steps, warm = epochs * len(loader), len(loader)

    def share(step: int) -> float:
        done = (step - warm) / max(1, steps - warm)
        return (step + 1) / warm if step < warm else 0.5 + 0.5 * float(np.cos(np.pi * done))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    network.to(memory_format=torch.channels_last)
    for _ in range(epochs):
        network.train()
        for images, targets in loader:
            functional.cross_entropy(network(images.contiguous(memory_format=torch.channels_last)), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    network.eval()
    probs = []
    with torch.inference_mode():
        for images, _ in DataLoader(valid, 2 * BATCH, num_workers=1):
            probs.append((network(images).softmax(1) + network(images.flip(-1)).softmax(1)) / 2)
    return torch.cat(probs).numpy()


def train_fastai(
    train: Photos,
    valid: Photos,
    network: torch.nn.Module,
    num_classes: int,
    epochs: int,
    data_dir: Path,
    *,
    fine_tune: bool = False,
) -> np.ndarray:
    """Fine-tune as fastai's documentation has it: a DataBlock, `fit_one_cycle`, TTA of the mirrored image.

    Args:
        fine_tune: train by `fine_tune` with its own rates: an epoch of the last layer alone, then all of it.
    """
    from fastai.vision import all as vision

    paths, targets = [*train._paths, *valid._paths], np.concatenate([train._targets, valid._targets])
    label_of = dict(zip(map(str, paths), targets.tolist(), strict=True))
    block = vision.DataBlock(
        blocks=(vision.ImageBlock, vision.CategoryBlock(vocab=list(range(num_classes)))),
        get_y=lambda path: label_of[str(path)],
        splitter=vision.IndexSplitter(range(len(train), len(paths))),
        item_tfms=vision.Resize(train._side, method=vision.ResizeMethod.Squish),
        batch_tfms=[vision.Flip(p=0.5), vision.Normalize.from_stats(*([[0.5] * 3] * 2), cuda=False)],
    )
    loaders = block.dataloaders(paths, bs=BATCH, num_workers=1)

    def groups(network: torch.nn.Module) -> list[list[torch.nn.Parameter]]:
        body = [value for name, value in network.named_parameters() if not name.startswith("classifier.")]
        return [body, list(network.get_submodule("classifier").parameters())]

    more: dict[str, Any] = {"splitter": groups} if fine_tune else {}
    learner = vision.Learner(loaders, network, loss_func=vision.CrossEntropyLossFlat(), wd=0.01, **more)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs) if fine_tune else learner.fit_one_cycle(epochs, PEAK)
        return learner.tta(n=1, beta=0.5)[0].numpy()  # the mean of the image and of one that may be mirrored


class Transformed(Photos):
    """A dataset of the same photos with a transform of timm."""

    def __init__(self, photos: Photos) -> None:
        super().__init__(photos._paths, photos._targets, photos._side, training=photos._training)
        given = {"input_size": photos._side, "mean": [MEAN] * 3, "std": [STD] * 3}
        self._transform = timm.data.create_transform(**given, is_training=photos._training)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        with Image.open(self._paths[row]) as image:
            return self._transform(image.convert("RGB")), int(self._targets[row])


def train_by_timm(
    train: Photos, valid: Photos, network: torch.nn.Module, num_classes: int, epochs: int, data_dir: Path
) -> np.ndarray:
    """Fine-tune by the defaults of timm's train script, with a warm-up that leaves most epochs: SGD at 0.1 for 256
    images, random crops, smoothed labels, a cosine."""
    loader = DataLoader(Transformed(train), BATCH, shuffle=True, drop_last=True, num_workers=1, persistent_workers=True)
    rate = 0.1 * BATCH / 256
    optimizer = timm.optim.create_optimizer_v2(network, "sgd", lr=rate, weight_decay=2e-5, momentum=0.9)
    schedule, _ = timm.scheduler.create_scheduler_v2(optimizer, num_epochs=epochs, warmup_epochs=1, warmup_lr=1e-5)
    loss_of = timm.loss.LabelSmoothingCrossEntropy(0.1)
    network.to(memory_format=torch.channels_last)
    for epoch in range(epochs):
        schedule.step(epoch)
        network.train()
        for images, targets in loader:
            loss_of(network(images.contiguous(memory_format=torch.channels_last)), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
    network.eval()
    with torch.inference_mode():
        probs = [network(images).softmax(1) for images, _ in DataLoader(Transformed(valid), 2 * BATCH, num_workers=1)]
    return torch.cat(probs).numpy()


PEERS: dict[str, Callable[..., np.ndarray]] = {
    "timm loop": train_plain,
    "fastai": train_fastai,
    "timm settings": train_by_timm,
    "fastai fine tune": functools.partial(train_fastai, fine_tune=True),
}


def main() -> None:
    """Train a fold and write its answers."""
    peer, data, weights, folds_csv, fold, out, epochs, side = sys.argv[1:]
    warnings.filterwarnings("ignore")
    torch.manual_seed(int(fold))
    table = pd.read_csv(Path(data) / "images.csv", dtype=str).set_index("image")
    folds = pd.read_csv(folds_csv, dtype={"id": str, "fold": int})
    labels = table.loc[folds["id"], "label"].to_numpy()
    names, targets = np.unique(labels, return_inverse=True)
    paths = np.array([Path(data) / "images" / f"{name}.jpg" for name in folds["id"]], object)
    rows: Any = (folds["fold"] == int(fold)).to_numpy()
    train, valid = (
        Photos(paths[part].tolist(), targets[part], int(side), training=training)
        for part, training in ((~rows, True), (rows, False))
    )
    network = make_network(Path(weights) / f"{NETWORK}.safetensors", len(names))
    probs = PEERS[peer](train, valid, network, len(names), int(epochs), Path(data))
    np.savez(out, ids=folds["id"][rows].to_numpy(str), probs=probs, targets=targets[rows])


if __name__ == "__main__":
    main()
