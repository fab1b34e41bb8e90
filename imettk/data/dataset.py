"""Samples -> batches of uint8 pixels, in this process or in loader workers."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from imettk.data.decode import decode_image
from imettk.data.sampling import BatchRequest
from imettk.data.table import SampleTable
from imettk.errors import DataError
from imettk.progress import say

if TYPE_CHECKING:  # albumentations takes seconds to import, and only training augments
    from imettk.data.augment import Augmentation


MAX_DEATHS = 3  # of loader processes in a row over the same batch


class Batch(NamedTuple):
    """B samples.

    Attributes:
        images: uint8 (B, H, W, channels); they are normalised on the device.
        targets: int64 (B,), uint8 (B, C), or float32 (B, C) where they are soft; None for a test set.
        weights: of each sample in the loss, float32 (B,); None where all count the same.
        positions: in the order of the epoch, int64 (B,).
        rows: positions in the table, int64 (B,).
    """

    images: Tensor
    targets: Tensor | None
    weights: Tensor | None
    positions: Tensor
    rows: Tensor


class ImageDataset(Dataset[Batch]):
    """Answers a `BatchRequest` with a `Batch`; holds flat arrays and no state, so any worker gives the same pixels."""

    def __init__(
        self,
        table: SampleTable,
        *,
        image_size: tuple[int, int],
        channels: int,
        augmentation: Augmentation | None = None,
    ) -> None:
        self._paths = table.paths
        self._targets = table.targets
        self._image_size = image_size
        self._channels = channels
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, request: BatchRequest) -> Batch:
        images = np.empty((len(request.rows), *self._image_size, self._channels), np.uint8)
        for place, (position, row) in enumerate(zip(request.positions, request.rows, strict=True)):
            image = decode_image(str(self._paths[row]), channels=self._channels, image_size=self._image_size)
            if self._augmentation is not None:
                image = self._augmentation(image, epoch=request.epoch, position=int(position))
            images[place] = image
        targets = None if self._targets is None else torch.from_numpy(self._targets[request.rows])
        positions, rows = torch.from_numpy(request.positions), torch.from_numpy(request.rows)
        return Batch(torch.from_numpy(images), targets, None, positions, rows)


def load_batches(
    dataset: ImageDataset, requests: Iterator[BatchRequest], *, num_workers: int, pin: bool
) -> Iterator[Batch]:
    """The batches for these requests, in their order, loaded ahead by workers; workers that die are replaced.

    Args:
        num_workers: processes beside this one; 0 loads here.
        pin: put batches in page-locked memory, for a GPU.

    Raises:
        DataError: while iterating, where an image cannot be read; the message names its file.
    """
    pending: deque[BatchRequest] = deque()  # asked for, not delivered
    deaths = 0
    while True:
        loader = DataLoader(
            _CarriesErrors(dataset),
            batch_size=None,  # a request is already a batch
            sampler=_noted(chain(tuple(pending), requests), pending),
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            num_workers=num_workers,
            worker_init_fn=_start_worker,
            prefetch_factor=4 if num_workers else None,
            pin_memory=pin,
        )
        pending.clear()
        with _signals_held():
            batches = iter(loader)
        try:
            for batch in batches:
                pending.popleft()
                deaths = 0
                if isinstance(batch, DataError):
                    raise batch
                yield batch
            return
        except RuntimeError as error:
            deaths += 1
            if "DataLoader worker" not in str(error) or deaths == MAX_DEATHS:
                raise
            say(f"warning: a loader process died ({error}): started again where it was")


def _noted(requests: Iterator[BatchRequest], pending: deque[BatchRequest]) -> Iterator[BatchRequest]:
    for request in requests:
        pending.append(request)
        yield request


class _CarriesErrors(Dataset[Batch | DataError]):
    """Gives what is wrong with an image back as a value: raised in a worker, its one line would come as a traceback."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, request: BatchRequest) -> Batch | DataError:
        try:
            return self._dataset[request]
        except DataError as error:
            return error


# Ctrl-C and a platform's SIGTERM reach the whole process group, and the trainer alone heeds them: it needs batches to
# end its step. So workers leave the group, and start with both signals held back until they have.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _signals_held() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    on_child = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if on_child is not None and threading.current_thread() is threading.main_thread():
            # torch's handler raises wherever this thread happens to be when a worker dies, in the middle of an
            # optimizer's step as well. Without it the loader finds out by itself, within 5 seconds.
            signal.signal(signal.SIGCHLD, on_child)


def _start_worker(worker: int) -> None:
    cv2.setNumThreads(0)  # the workers are the parallelism; OpenCV's own threads would fight over the same cores
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # this forgets one that came while they were held back
    if hasattr(os, "setsid"):
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # how the loader ends a worker that does not end by itself


def _as_it_is(batch: Batch | DataError) -> Batch | DataError:
    return batch
