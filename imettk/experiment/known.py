"""Known labels of test images that duplicate a training image: `duplicates` writes them, `infer` reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from imettk.config import Recipe
from imettk.data.csv_files import list_names, read_csv, require_columns
from imettk.data.data_identity import DataIdentity, hash_text, identify_data
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.data.stamps import hash_files
from imettk.errors import MismatchError
from imettk.files import write_atomically
from imettk.progress import say
from imettk.tracking.run_dir import KNOWN_ANSWERS, RunDir


def keep_known_answers(
    run: RunDir, recipe: Recipe, labelled: LabelledTable, ids: np.ndarray, paths: np.ndarray, labels: list[str]
) -> None:
    """Write the labels of test images, beside a hash of each image and of the training labels that they come from."""
    frame = pd.DataFrame(
        {
            "id": ids,
            "label": labels,
            "image_hash": [str(value) for value in hash_files(paths, recipe.table.channel_files).tolist()],
            "labels_hash": _hash_labels(identify_data(labelled)),
        }
    )
    write_atomically(run.path / KNOWN_ANSWERS, frame.to_csv(index=False).encode())


def read_known_answers(run: RunDir, recipe: Recipe, labelled: LabelledTable, table: SampleTable) -> dict[str, str]:
    """Return the known label of test images by id; images that have changed since have none.

    Raises:
        MismatchError: the file does not say which images it is about, or the training labels have changed.
    """
    path = run.find_optional(KNOWN_ANSWERS)
    if path is None or recipe.answers_images:
        return {}
    if recipe.table.has_units:
        raise MismatchError(f"{path} is of images, and this recipe answers units of several: delete it")
    frame = read_csv(path)
    again = "run `imettk duplicates --action answer` again, or delete it"
    require_columns(frame, path, ["id", "label"])
    if not {"image_hash", "labels_hash"} <= set(frame.columns):
        raise MismatchError(f"{path} does not identify its images (an earlier version wrote it): {again}")
    if len(frame) and set(frame["labels_hash"]) != {_hash_labels(identify_data(labelled))}:
        raise MismatchError(f"{path} was made from other training labels: {again}")
    place = {name: row for row, name in enumerate(table.ids.tolist())}
    frame = frame[frame["id"].isin(place)]
    paths = table.paths[[place[name] for name in frame["id"]]] if len(frame) else table.paths[:0]
    # A hidden test set may have another image under an id of the public one.
    same = frame["image_hash"].to_numpy(str) == hash_files(paths, recipe.table.channel_files).astype(str)
    if not same.all():
        changed = list_names(frame["id"][~same], "image")
        say(f"note: {path}: {changed} changed since; their answers are not taken from it")
    frame = frame[same]
    say(f"{path}: {len(frame)} answers are those of a duplicate in the training set")
    return dict(zip(frame["id"], frame["label"], strict=True))


def _hash_labels(identity: DataIdentity) -> str:
    """Hash the rows and labels of a training table; folds and boxes do not change what a duplicate is."""
    return hash_text([*identity.labels, identity.ids, identity.targets])
