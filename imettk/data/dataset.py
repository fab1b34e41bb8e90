"""Samples -> batches of uint8 pixels, in this process or in loader workers."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from imettk.config.own import describe
from imettk.data.reader import resize
from imettk.data.sampling import BatchRequest
from imettk.data.source import ImageSource
from imettk.errors import DataError, UserError
from imettk.memory import release_freed_memory
from imettk.progress import say

if TYPE_CHECKING:  # albumentations takes seconds to import, and only training needs it
    from imettk.data.augment import Augmentation


PR_SET_PDEATHSIG = 1  # Linux: prctl's option
MAX_DEATHS = 3  # deaths of loader processes in a row over the same batch
PREFETCH = 4  # batches requested ahead of each loader process


class Batch(NamedTuple):
    """A batch of B samples.

    Attributes:
        images: uint8 (B, H, W, channels); they are normalised on the device.
        targets: int64 (B,), uint8 (B, C), or float32 (B, C) if soft; None for a test set.
        weights: weight of each sample in the loss, float32 (B,); None if all are equal.
        positions: positions in the order of the epoch, int64 (B,).
        rows: rows of the table, int64 (B,).
        faults: (row, reason) of unreadable images; their pixels and weights are 0.
        metadata: further inputs of each sample, float32 (B, M), or None.
    """

    images: Tensor
    targets: Tensor | None
    weights: Tensor | None
    positions: Tensor
    rows: Tensor
    faults: tuple[tuple[int, str], ...] = ()
    metadata: Tensor | None = None

    @property
    def beside(self) -> dict[str, Tensor]:
        """Inputs of the network beside the images, by parameter name."""
        return {} if self.metadata is None else {"metadata": self.metadata}


class ImageDataset(Dataset[Batch]):
    """Maps a `BatchRequest` to a `Batch`; holds flat arrays and no state, so any worker returns the same pixels.

    Args:
        targets: targets of the table's rows; None for a test set.
        weights: weights of the table's rows in the loss, float32 (N,); None if all are equal.
        image_size: (height, width) of the images in a batch.
        augmentation: None only resizes, or crops.
        centre_crop: crop the centre of images larger than `image_size` that no augmentation resized; otherwise resize.
        skip_bad: report an unreadable image in `Batch.faults` instead of raising.
        mirrors: double the rows: row N + i is image i, mirrored left to right before augmentation.

    Attributes:
        faults: reason for each row that `load_batches` could not read.
    """

    def __init__(
        self,
        source: ImageSource,
        targets: np.ndarray | None,
        *,
        image_size: tuple[int, int],
        augmentation: Augmentation | None = None,
        centre_crop: bool = False,
        skip_bad: bool = False,
        mirrors: bool = False,
        weights: np.ndarray | None = None,
    ) -> None:
        self.faults = source.faults
        self._mirrors = mirrors
        self._source = source
        self._targets = targets
        self._weights = weights
        self._image_size = image_size
        self._augmentation = augmentation
        self._centre_crop = centre_crop
        self._skip_bad = skip_bad

    def __len__(self) -> int:
        return len(self._source) * (2 if self._mirrors else 1)

    def __getitem__(self, request: BatchRequest) -> Batch:
        shape = (len(request.rows), *self._image_size, self._source.channels)
        # uint8 as far as the device: a quarter of the bytes of float32 to copy between processes and to the GPU.
        pixels = torch.empty(shape, dtype=torch.uint8) if get_worker_info() is None else _SLOTS.take(shape)
        images = pixels.numpy()
        faults = []
        weights = None if self._weights is None else torch.from_numpy(self._weights[request.rows])
        for place, (position, row) in enumerate(zip(request.positions, request.rows, strict=True)):
            try:
                mirrored, number = divmod(int(row), len(self._source))
                image = self._source.read(number)
            except DataError as error:
                if not self._skip_bad:
                    raise
                faults.append((number, str(error)))
                images[place] = 0  # the slot holds an earlier batch
                weights = torch.ones(len(request.rows)) if weights is None else weights
                weights[place] = 0
                continue
            if mirrored:
                image = np.ascontiguousarray(image[:, ::-1])
            if self._augmentation is not None:
                image = self._augmentation(image, epoch=request.epoch, position=int(position))
            if image.shape != images.shape[1:]:
                image = self._fitted(image)
            images[place] = image
        targets = None if self._targets is None else torch.from_numpy(self._targets[request.rows])
        positions, rows = torch.from_numpy(request.positions), torch.from_numpy(request.rows)
        return Batch(pixels, targets, weights, positions, rows, tuple(faults))

    def _fitted(self, image: np.ndarray) -> np.ndarray:
        height, width = self._image_size
        if self._centre_crop and image.shape[0] >= height and image.shape[1] >= width:
            top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
            return image[top : top + height, left : left + width]
        return resize(image, self._image_size, fast=True)


class _Slots:
    """Shared memory that a loader process reuses: allocating fresh pages for each batch costs more than filling them.

    A slot is reused `PREFETCH` + 1 batches later. The loader requests that batch only after it has taken the batch that
    follows this one, and by then `load_batches` has copied this one out.
    """

    def __init__(self) -> None:
        self._slots: list[Tensor] = []
        self._count = 0

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Return an uninitialised uint8 tensor of this shape."""
        size, place = math.prod(shape), self._count % (PREFETCH + 1)
        self._count += 1
        if place == len(self._slots):
            self._slots.append(torch.empty(size, dtype=torch.uint8).share_memory_())
        elif self._slots[place].numel() < size:
            self._slots[place] = torch.empty(size, dtype=torch.uint8).share_memory_()
        return self._slots[place][:size].view(shape)


_SLOTS = _Slots()  # per process


def load_batches(
    dataset: ImageDataset, requests: Iterator[BatchRequest], *, num_workers: int, pin: bool
) -> Iterator[Batch]:
    """Yield the batches for these requests in order, loaded ahead by workers; workers that die are replaced.

    A skipped image is reported once and recorded in `dataset.faults`.

    Args:
        num_workers: loader processes; 0 loads in this process.
        pin: put batches in page-locked memory, for a GPU.

    Raises:
        DataError: an image cannot be read; the message names its file.
    """
    pending: deque[BatchRequest] = deque()  # requested but not delivered: a new loader starts with these
    # Keeps the slots mapped: the worker fills the same memory again, and another mapping costs page faults.
    slots: deque[Tensor] = deque(maxlen=(PREFETCH + 1) * num_workers)
    deaths = 0
    while True:
        # After the death of a worker a new loader begins with the pending requests.
        loader = DataLoader(
            _CarriesErrors(dataset),
            batch_size=None,  # a request is already a batch
            sampler=_noted(chain(tuple(pending), requests), pending),
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            num_workers=num_workers,
            worker_init_fn=functools.partial(_start_worker, trainer=os.getpid(), signalled=_is_main_thread()),
            prefetch_factor=PREFETCH if num_workers else None,
            pin_memory=pin,
        )
        pending.clear()
        if num_workers:
            release_freed_memory()  # before the fork, so that children do not inherit pages that nobody uses
        with _signals_held():
            batches = iter(loader)
        try:
            for batch in batches:
                pending.popleft()
                deaths = 0
                if isinstance(batch, UserError):
                    raise batch
                batch = _with_tensors(batch)
                if num_workers and not pin:  # pinning has copied it already
                    slots.append(batch.images)
                    batch = batch._replace(images=batch.images.clone())
                for row, fault in batch.faults:
                    if row not in dataset.faults:
                        say(f"warning: skipped {fault}")
                    dataset.faults[row] = fault
                yield batch
            return
        except RuntimeError as error:
            deaths += 1
            if "DataLoader worker" not in str(error) or deaths == MAX_DEATHS:
                raise
            say(f"warning: a loader process died ({error}); it was restarted at the same batch")


def _noted(requests: Iterator[BatchRequest], pending: deque[BatchRequest]) -> Iterator[BatchRequest]:
    for request in requests:
        pending.append(request)
        yield request


class _CarriesErrors(Dataset[Batch | UserError]):
    """Returns user errors as values: raised in a worker, a one-line message would arrive as a traceback."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, request: BatchRequest) -> Batch | UserError:
        try:
            return _with_arrays(self._dataset[request])
        except UserError as error:
            return error
        except Exception as error:
            if (message := describe(error)) is None:
                raise
            return UserError(message)


def _with_arrays(batch: Batch) -> Batch:
    """Replace the small tensors by arrays: sending a tensor between processes costs a shared file and a descriptor."""
    parts = batch._asdict().items()
    small: dict[str, Any] = {name: part.numpy() for name, part in parts if name != "images" and torch.is_tensor(part)}
    return batch._replace(**small)


def _with_tensors(batch: Batch) -> Batch:
    parts = batch._asdict().items()
    arrays: dict[str, Any] = {name: torch.from_numpy(part) for name, part in parts if isinstance(part, np.ndarray)}
    return batch._replace(**arrays)


# Ctrl-C and a platform's SIGTERM reach the whole process group, but only the trainer may react: it needs batches to
# finish its step. So workers leave the group, and start with both signals blocked until they have left.
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
        if on_child is not None and _is_main_thread():
            # torch's handler raises in this thread at any point when a worker dies, even in the middle of an optimizer
            # step. Without it the loader notices by itself within 5 seconds.
            signal.signal(signal.SIGCHLD, on_child)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _die_with(trainer: int, *, signalled: bool) -> None:
    """End this process with its trainer, even if the trainer was killed while this process was starting.

    torch's own watchdog takes the current parent for the trainer. For an orphan that is init, which never ends, and so
    the loader would not end either.
    """
    if signalled and sys.platform == "linux":
        # The kernel sends the signal when the thread that forked this process ends, so only the main thread will do.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != trainer and hasattr(os, "setsid"):  # Windows keeps reporting the id of a dead parent
        os._exit(1)


def _start_worker(worker: int, *, trainer: int, signalled: bool) -> None:
    _die_with(trainer, signalled=signalled)
    warnings.filterwarnings("ignore", module="PIL")  # about files that it reads nevertheless
    cv2.setNumThreads(0)  # the workers are the parallelism; OpenCV's threads would compete for the same cores
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # also discards a signal that arrived while blocked
    if hasattr(os, "setsid"):
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the loader's last resort to end a worker


def _as_it_is(batch: Batch | UserError) -> Batch | UserError:
    return batch
