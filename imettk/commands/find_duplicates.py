"""`duplicates`: copies of images, within a table and between tables, and what to do about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import Recipe
from imettk.data.asked_rows import find_row_source
from imettk.data.csv_files import list_names
from imettk.data.duplicates import (
    RESIDUAL,
    Pair,
    answers_of_duplicates,
    components,
    find_duplicates,
    rows_to_drop,
    similar_pairs,
)
from imettk.data.hashes import THUMB, Hashes, hash_images
from imettk.data.label_cells import cell_texts
from imettk.data.reader import ImageReader
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.data.table import read_table, read_test_table
from imettk.errors import ConfigError, DataError
from imettk.evaluation.embeddings import TableRows, read_fold_files
from imettk.experiment.known import keep_known_answers
from imettk.experiment.value_range import reader_of
from imettk.files import write_atomically
from imettk.pictures.plots import draw_pairs
from imettk.progress import say
from imettk.tracking.run_dir import DROPPED, DUPLICATE_GROUPS, KNOWN_ANSWERS, RunDir

ACTIONS = ("group", "drop", "answer")
SHOWN = 40  # pairs in the gallery, and as many again of those that were refused most narrowly


@dataclass(frozen=True)
class _Images:
    """All images of all tables, one after another."""

    ids: np.ndarray
    kinds: np.ndarray  # train, external or test
    labels: np.ndarray  # text; "" for test
    paths: np.ndarray


def duplicates(
    recipe: Recipe,
    data_dir: Path,
    run: RunDir,
    *,
    limit: int,
    actions: Sequence[str] = (),
    each_channel: bool = False,
    features: Path | None = None,
    similarity: float = 0.9,
) -> None:
    """Write `duplicates.csv` (every pair that was compared, the verdict, the labels of both) and `duplicates.png`.

    Args:
        limit: bits of 64 in which perceptual hashes of a pair may differ, in each channel.
        actions: `group` keeps duplicates in one fold, `drop` leaves all but the first out of training, by files that
            `prepare` reads; `answer` gives test images the label of their duplicate, by one that `infer` reads.
        each_channel: hash each channel by itself, as for microscopy.
        features: a run folder with embeddings of these images; pairs whose cosine is at least `similarity` get a
            second look as well.

    Raises:
        ConfigError: a limit is out of range, or answers are no labels.
        DataError: no image can be read.
        MissingFileError: `features` holds no embeddings.
    """
    _check_choice(recipe, limit, actions, similarity)
    table = read_table(recipe.table, data_dir)
    tables: list[SampleTable] = [table]
    if find_row_source(recipe.table, data_dir) is not None:
        tables.append(read_test_table(recipe.table, data_dir, table))
    proposed = None if features is None else _similar(features, tables, similarity)
    images, reader = _gather(tables, recipe), reader_of(recipe, run)
    hashes = _hash(images, reader, each_channel=each_channel)

    def same_pixels(first: int, second: int) -> bool:
        one, other = (reader.read_whole(str(images.paths[row])) for row in (first, second))
        return np.array_equal(one, other)

    pairs = find_duplicates(hashes, same_pixels, limit=limit, proposed=proposed)
    run.path.mkdir(parents=True, exist_ok=True)
    frame = _report(images, pairs)
    write_atomically(run.path / "duplicates.csv", frame.to_csv(index=False).encode())
    _draw(run.path / "duplicates.png", images, pairs, hashes.thumbs)
    _tell(frame)
    say(f"{run.path / 'duplicates.csv'}, {run.path / 'duplicates.png'}")
    parts = components(len(images.paths), pairs)
    if "group" in actions:
        _group(run, images, parts)
    if "drop" in actions:
        _drop(run, images, parts)
    if "answer" in actions:
        _answer(run, recipe, table, images, parts)


def _hash(images: _Images, reader: ImageReader, *, each_channel: bool) -> Hashes:
    """Return the hashes of all readable images, and print which cannot be read; raise `DataError` if none can."""
    small = replace(reader, size=(THUMB, THUMB), aspect="stretch")
    channels = reader.channel_files or ("",)
    files = [[path.replace("*", channel) for channel in channels] for path in images.paths.tolist()]
    hashes = hash_images(lambda row: small.read(str(images.paths[row])), files, each_channel=each_channel)
    if hashes.bad:
        unread = list_names((str(images.ids[row]) for row in hashes.bad), "image")
        say(f"note: {unread} cannot be read; see `imettk prepare`")
    if len(hashes.bad) == len(files):
        raise DataError("none of the images can be read")
    return hashes


def _check_choice(recipe: Recipe, limit: int, actions: Sequence[str], similarity: float) -> None:
    if not 0 <= limit <= 64:
        raise ConfigError(f"--limit must be in [0, 64] bits, got {limit}")
    if not 0 < similarity <= 1:
        raise ConfigError(f"--similarity must be in (0, 1], got {similarity}")
    if "answer" in actions and recipe.answers_images:
        raise ConfigError("--action answer gives test images a label, and `ranking.answers` are images")
    if "answer" in actions and recipe.table.has_units:
        raise ConfigError("--action answer gives test images a label, and this recipe answers units of several images")


def _similar(features: Path, tables: list[SampleTable], least: float) -> np.ndarray:
    """Return pairs of images that a model, of the first trained fold, finds similar, int64 (M, 2)."""
    fold, files = next(iter(sorted(read_fold_files(features).items())))
    parts = [files.known, [files.test] if files.test is not None else []]
    found = [TableRows(table).scatter(part) for table, part in zip(tables, parts, strict=False) if part]
    embeddings = np.concatenate(found)  # of the training rows, then of the test set if it has been predicted
    without = np.isnan(embeddings).any(1)
    pairs, _ = similar_pairs(np.where(without[:, None], 0, embeddings), least)
    lacking = int(without.sum()) + sum(map(len, tables)) - len(embeddings)
    say(f"{features}, fold {fold}: {len(pairs)} pairs alike; {lacking} images have no embedding there")
    return pairs


def _gather(tables: list[SampleTable], recipe: Recipe) -> _Images:
    kinds, labels = [], []
    for table in tables:
        if table.targets is None:
            kinds.append(np.full(len(table), "test"))
            labels.append(np.full(len(table), ""))
            continue
        assert table.sources is not None
        kinds.append(np.where(table.sources == 0, "train", "external"))
        texts = [*table.labels, recipe.table.unknown_label or ""]  # -1 is the unknown one
        labels.append(np.array(cell_texts(recipe.task.cells(table.targets, texts), recipe.table)))
    return _Images(
        np.concatenate([table.ids for table in tables]),
        np.concatenate(kinds),
        np.concatenate(labels),
        np.concatenate([table.paths for table in tables]),
    )


def _report(images: _Images, pairs: list[Pair]) -> pd.DataFrame:
    first = [pair.first for pair in pairs]
    second = [pair.second for pair in pairs]
    labelled = (images.kinds[first] != "test") & (images.kinds[second] != "test")
    same = np.array([pair.same for pair in pairs], bool)
    return pd.DataFrame(
        {
            "table_a": images.kinds[first],
            "id_a": images.ids[first],
            "table_b": images.kinds[second],
            "id_b": images.ids[second],
            "kind": [pair.kind for pair in pairs],
            "distance": [pair.distance for pair in pairs],
            "mirrored": [pair.mirrored for pair in pairs],
            "residual": [round(pair.residual, 4) for pair in pairs],
            "same": same,
            "labels_a": images.labels[first],
            "labels_b": images.labels[second],
            "conflict": same & labelled & (images.labels[first] != images.labels[second]),
        }
    )


def _tell(frame: pd.DataFrame) -> None:
    copies = frame[frame["same"]]
    say(f"{len(frame)} pairs compared, {len(copies)} taken for copies")
    for (first, second), pairs in copies.groupby(["table_a", "table_b"], sort=False):
        kinds = ", ".join(f"{count} {kind}" for kind, count in pairs["kind"].value_counts().items())
        leak = " (a leak)" if (first == "test") != (second == "test") else ""
        say(f"  {first} and {second}: {len(pairs)} pairs ({kinds}){leak}")
    if (conflicts := copies[copies["conflict"]]).size:
        columns = conflicts[["id_a", "labels_a", "id_b", "labels_b"]].to_numpy()
        names = (f"{a} {x!r} / {b} {y!r}" for a, x, b, y in columns)
        say(f"  {len(conflicts)} with labels that differ: {list_names(names, 'pair')}")


def _draw(path: Path, images: _Images, pairs: list[Pair], thumbs: np.ndarray) -> None:
    """Draw the pairs taken for copies, the least certain first, then those that were refused most narrowly."""
    near = sorted((pair for pair in pairs if pair.same), key=lambda pair: -pair.residual)[:SHOWN]
    refused = sorted((pair for pair in pairs if not pair.same), key=lambda pair: pair.residual)[:SHOWN]
    shown = near + refused
    captions = [
        [
            f"{'ONE' if pair.same else 'two'}  {pair.kind}{', mirrored' if pair.mirrored else ''}  "
            f"distance {pair.distance}  residual {pair.residual:.2f} (limit {RESIDUAL})",
            *(f"{images.kinds[row]} {images.ids[row]}  {images.labels[row]}" for row in (pair.first, pair.second)),
        ]
        for pair in shown
    ]
    draw_pairs(path, [(thumbs[pair.first], thumbs[pair.second]) for pair in shown], captions)


def _group(run: RunDir, images: _Images, parts: np.ndarray) -> None:
    rows = np.flatnonzero(images.kinds != "test")
    frame = pd.DataFrame({"id": images.ids[rows], "group": parts[rows]})
    write_atomically(run.path / DUPLICATE_GROUPS, frame.to_csv(index=False).encode())
    several = int((np.bincount(parts[rows]) > 1).sum())
    say(f"{run.path / DUPLICATE_GROUPS}: {several} groups of duplicates, each for one fold; `imettk prepare` reads it")


def _drop(run: RunDir, images: _Images, parts: np.ndarray) -> None:
    rows = np.flatnonzero(images.kinds != "test")
    dropped = images.ids[rows[np.isin(rows, rows_to_drop(parts, rows))]]
    write_atomically(run.path / DROPPED, pd.DataFrame({"id": dropped}).to_csv(index=False).encode())
    say(
        f"{run.path / DROPPED}: {list_names(dropped, 'row')} will neither train nor validate; `imettk prepare` reads it"
    )


def _answer(run: RunDir, recipe: Recipe, table: LabelledTable, images: _Images, parts: np.ndarray) -> None:
    answers, differing = answers_of_duplicates(parts, images.labels, images.kinds != "test")
    rows = list(answers)
    keep_known_answers(run, recipe, table, images.ids[rows], images.paths[rows], list(answers.values()))
    more = f"; {differing} more have duplicates with labels that differ" if differing else ""
    say(f"{run.path / KNOWN_ANSWERS}: {len(rows)} test images have a known label{more}; `imettk infer` reads it")
