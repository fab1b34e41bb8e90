"""`export`: predictions, embeddings and folds of a run as csv or parquet, for notebooks and other tools."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from imettk.config import Recipe
from imettk.data.frame_files import Format, write_frame
from imettk.errors import MissingFileError
from imettk.evaluation.frames import KINDS, embedding_frame, oof_frame, test_frame
from imettk.evaluation.run_tables import fold_frame
from imettk.progress import say
from imettk.tracking.run_dir import RunDir

FOLDER = "export"  # in the run folder


def export(recipe: Recipe, run: RunDir, *, out: Path | None = None, file_format: Format = "csv") -> None:
    """Write `oof`, `test`, `folds` and the embeddings as far as there are any; each file and its rows are printed.

    Args:
        out: folder for them; None is `export` in the run folder.

    Raises:
        MissingFileError: there is nothing at all.
        MismatchError: files of the run do not belong together.
    """
    frames: dict[str, Callable[[], pd.DataFrame]] = {"folds": partial(fold_frame, run)}
    if not recipe.ranks_by_neighbours:
        frames |= {"oof": partial(oof_frame, recipe, run), "test": partial(test_frame, recipe, run)}
    if recipe.model.embeds:
        frames |= {f"embeddings_{kind}": partial(embedding_frame, run, kind) for kind in KINDS}
    folder, missing = out or run.path / FOLDER, dict[str, MissingFileError]()
    for name, make in frames.items():
        try:
            frame = make()
        except MissingFileError as error:
            missing[name] = error
            continue
        path = folder / f"{name}.{file_format}"
        write_frame(path, frame)
        say(f"{path}: {len(frame)} rows, {frame.shape[1]} columns")
    if len(missing) == len(frames):
        raise missing["folds"]
    for name, lack in missing.items():
        say(f"note: no {name}.{file_format}: {lack}")
    if not recipe.model.embeds:
        say("note: no embeddings: the model learns none")
