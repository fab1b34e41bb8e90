"""Predictions for single images, as a data frame."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imettk.commands.infer_images import answer_images
from imettk.errors import DataError
from imettk.evaluation.frames import ANSWER, ID, label_frame
from imettk.notebook.run import AnyPath, Run, whole_fold

if TYPE_CHECKING:
    from PIL.Image import Image


def predict(
    run: Run, images: AnyPath | Image | np.ndarray | Sequence[AnyPath | Image | np.ndarray], *, fold: int | None = None
) -> pd.DataFrame:
    """Predict images by the trained models of a run, in this process.

    Args:
        images: paths of files or folders, PIL images, or arrays uint8 (H, W) or (H, W, 3 or 4); one or several, which
            may be an array or a column of a frame, too.
        fold: predict with the model of this fold alone; None takes the mean of all trained folds.

    Returns:
        A row an image: `id`, `answer` as `imettk infer --images` prints it (None if the image cannot be read), and a
        column for each label with its probability, or for each target with its value. Without these columns where
        identities are ranked by neighbours.

    Raises:
        ConfigError: `fold` is no whole number.
        MissingFileError: a file is missing, or an earlier command has not written what it should have.
        DataError: an array is no image, or none of the images can be read.
    """
    fold = None if fold is None else whole_fold(fold)
    is_one = images.ndim in (2, 3) if isinstance(images, np.ndarray) else isinstance(images, str)
    several = images if isinstance(images, Iterable) and not is_one else [images]
    with tempfile.TemporaryDirectory() as folder:
        paths = [_as_file(image, Path(folder, f"image{number}.png")) for number, image in enumerate(several)]
        answers = answer_images(run.recipe, run.data, run.folder, paths, fold=fold)
    texts: list[Any] = [None] * len(answers.names)
    for row, text in zip(answers.rows.tolist(), answers.texts, strict=True):
        texts[row] = text
    frame = pd.DataFrame({ID: answers.names, ANSWER: texts})
    if not answers.outputs.shape[1]:
        return frame
    labels = label_frame(run.recipe.task, answers.outputs, answers.labels)
    return frame.join(labels.set_axis(answers.rows))


def _as_file(image: Any, path: Path) -> Path:
    """Return the path of an image, after writing it there without loss if it is none."""
    if isinstance(image, str | Path) or hasattr(image, "__fspath__"):
        return Path(image)
    from PIL import Image

    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
            raise DataError(
                f"an image must be an array uint8 (H, W) or (H, W, 3 or 4), got {image.dtype} {image.shape}: transpose "
                "and scale it first"
            )
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise DataError(f"an image must be a path, a PIL image or an array, got {type(image).__name__}")
    image.save(path)
    return path
