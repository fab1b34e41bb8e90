"""Small trainings by Lightning and Accelerate, killed and continued as their documentation shows."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
from pathlib import Path
from typing import Any

import torch
from peers import lightning_module, quiet
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

SEED = 1
NUM_CLASSES = 4
BATCH_SIZE = 32
PEAK_LR = 3e-3


class TinyImages(Dataset[tuple[Tensor, Tensor]]):
    """Random images that a small net can learn, each with a new augmentation at every visit.

    Item: image float32 (3, 16, 16), about 0..1, flipped left to right half of the time, plus Gaussian noise; label
    int64 (). The augmentation draws from torch's global generator of the process that reads the item (the loader's
    worker, or the main process without workers), as torchvision's transforms do.

    `state_dict` and `load_state_dict` carry that generator, as torchdata's StatefulDataLoader tutorial tells owners of
    random transforms to do: only that loader calls them, in each worker; the plain DataLoader does not know them.
    """

    def __init__(self, num_images: int = 256, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (num_images, 3, 16, 16)
        self.labels = torch.randint(NUM_CLASSES, (num_images,), generator=generator)
        # The class is in the brightness: something to learn that a flip leaves alone.
        noise = torch.randint(160, shape, generator=generator)
        self.images = (noise + 25 * self.labels[:, None, None, None]).to(torch.uint8)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index].float() / 255
        if torch.rand(()) < 0.5:
            image = image.flip(-1)
        return image + 0.05 * torch.randn(image.shape), self.labels[index]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the augmentation's generator."""
        return {"rng": torch.get_rng_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the generator's state."""
        torch.set_rng_state(state["rng"])


class TinyNet(nn.Module):
    """A conv net of two layers with batch norm and dropout: images (B, 3, 16, 16) -> logits (B, NUM_CLASSES)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(16, NUM_CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


def train_until_killed(
    peer: str, folder: Path, *, num_steps: int, save_every: int, kill_at: int | None, num_workers: int
) -> None:
    """Train TinyNet on TinyImages up to step `num_steps`, continuing from `folder`; write its hash.

    `peer` is "lightning" or "accelerate". A checkpoint is saved into `folder` after each `save_every` steps and the
    newest one, if any, is continued from, all by the peer's own means. Steps count from 0 over the whole training: with
    `kill_at`, this process sends itself SIGKILL at the start of that step, thus after `kill_at` steps (and the saving
    that belongs to them) are done, and never returns. At the end `folder`/hash holds the SHA-256, in hex, of the bytes
    of the final state_dict, by sorted names.

    The task: batches of BATCH_SIZE, shuffled, read by `num_workers` workers; AdamW; OneCycleLR over `num_steps`.
    Everything that is random is seeded by the peer's own function at the start of the process, a continuation
    included. Where torchdata is installed, its StatefulDataLoader is used, which both peers save and load: without it
    neither of them carries the workers' generators over, and lightning not the place in the epoch's order either.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train = {"lightning": _lightning_training, "accelerate": _accelerate_training}[peer]
    with quiet():
        network = train(folder, num_steps, save_every, kill_at, num_workers)
    (folder / "hash").write_text(_hash(network))


def _lightning_training(
    folder: Path, num_steps: int, save_every: int, kill_at: int | None, num_workers: int
) -> nn.Module:
    """Train as Lightning advises: `seed_everything`, ModelCheckpoint, `ckpt_path="last"`, a stateful loader.

    Lightning writes a checkpoint elsewhere and moves it to its place when it is whole, so the last one can be trusted.
    Its documentation lists what a checkpoint holds: the state of the random generators is not in that list, and no
    switch adds it, so dropout starts again from the seed. (Without workers the generator of dropout is the one that
    TinyImages carries over. A user can also keep it by the module's `on_save_checkpoint` and `on_load_checkpoint`.)
    """
    from lightning.pytorch import Trainer, seed_everything
    from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint

    seed_everything(SEED, workers=True)
    network = TinyNet()
    saver = ModelCheckpoint(dirpath=folder, filename="{step}", every_n_train_steps=save_every, save_last=True)
    killer = LambdaCallback(on_train_batch_start=lambda trainer, *_: _kill(kill_at, trainer.global_step))
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=num_steps,
        callbacks=[saver, killer],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(lightning_module(network, PEAK_LR, num_steps), _tiny_loader(num_workers), ckpt_path="last")
    return network


def _accelerate_training(
    folder: Path, num_steps: int, save_every: int, kill_at: int | None, num_workers: int
) -> nn.Module:
    """Train as Accelerate advises: `set_seed`, `save_state`, `load_state` of the newest, skipped batches.

    With torchdata, `use_stateful_dataloader` puts the loader back. Without, the seedable sampler draws the order of the
    epoch again and `skip_first_batches` leaves out what was seen; the workers' generators start afresh then. The two
    are not used together: the first epoch would be drawn by the sampler that the seedable one replaces.

    A prepared loader reads one batch ahead. Without workers that batch is augmented, from the generator that dropout
    shares, before the state is saved, which no continuation can repeat.
    """
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration, set_seed

    stateful = _has_torchdata()
    set_seed(SEED)
    accelerator = Accelerator(
        cpu=True,
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=not stateful, use_stateful_dataloader=stateful),
    )
    network: nn.Module = TinyNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LR, fused=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_LR, total_steps=num_steps)
    loader: Any = _tiny_loader(num_workers)
    network, optimizer, loader, scheduler = accelerator.prepare(network, optimizer, loader, scheduler)
    step = _load_newest(accelerator, folder)
    epoch, num_skipped = divmod(step, len(loader))
    network.train()
    while step < num_steps:
        loader.set_epoch(epoch)
        skipping = num_skipped and not stateful
        for images, labels in accelerator.skip_first_batches(loader, num_skipped) if skipping else loader:
            _kill(kill_at, step)
            optimizer.zero_grad()
            accelerator.backward(functional.cross_entropy(network(images), labels))
            optimizer.step()
            scheduler.step()
            step += 1
            if step % save_every == 0:
                accelerator.save_state(folder / f"step_{step}")
            if step == num_steps:
                break
        epoch, num_skipped = epoch + 1, 0
    return accelerator.unwrap_model(network)


def _load_newest(accelerator: Any, folder: Path) -> int:
    """Load the newest checkpoint of `folder` that loads; return its step, 0 without one.

    `save_state` writes file after file in place, so a kill in the middle of it leaves a cut folder behind: its owner
    would see it fail to load and take the one before it. (A cut or missing file of random states does not fail, it is
    passed over in silence. `train_until_killed` itself never kills in the middle of a save.)
    """
    numbers = sorted((int(path.name.removeprefix("step_")) for path in folder.glob("step_*")), reverse=True)
    for number in numbers:
        try:
            accelerator.load_state(folder / f"step_{number}")
        except Exception:  # what a cut file raises depends on the file
            continue
        return number
    return 0


def _kill(kill_at: int | None, step: int) -> None:
    if step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


def _tiny_loader(num_workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return TinyImages in shuffled batches, by torchdata's StatefulDataLoader if installed."""
    kind: Any = DataLoader
    if _has_torchdata():
        from torchdata.stateful_dataloader import StatefulDataLoader

        kind = StatefulDataLoader
    # Orders and worker seeds come from a generator of the loader's own, as PyTorch's note on reproducibility has it:
    # from the global one, a loader that starts again in a continued run would take a number away from dropout. Without
    # workers the global one is what TinyImages draws from and carries over, and torchdata 0.11 puts a loader's own one
    # back one number short.
    generator = torch.Generator().manual_seed(SEED) if num_workers else None
    loader: DataLoader[tuple[Tensor, Tensor]] = kind(
        TinyImages(), BATCH_SIZE, shuffle=True, num_workers=num_workers, generator=generator
    )
    return loader


def _has_torchdata() -> bool:
    return importlib.util.find_spec("torchdata") is not None


def _hash(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for _, value in sorted(network.state_dict().items()):
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
