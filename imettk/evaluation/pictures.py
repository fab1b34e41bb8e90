"""Pictures of rankings: queries with the images that support each answer, and labels that are probably wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.data.reader import visible
from imettk.data.sample_table import SampleTable
from imettk.data.source import ImageSource
from imettk.errors import DataError
from imettk.files import write_atomically
from imettk.inference.retrieval import Neighbours
from imettk.pictures.galleries import Shown, draw_conflicts, draw_gallery
from imettk.postprocess.neighbours import label_conflicts
from imettk.progress import say
from imettk.tasks import Task

NUM_SHOWN, NUM_HITS = 12, 5
NUM_CONFLICTS = 200  # rows of `label_conflicts.csv`


def look_at(source: ImageSource, row: int) -> np.ndarray:
    """Return an image as it is shown, uint8 (H, W, 3); a grey one if it cannot be read, which was reported before."""
    try:
        return visible(source.read(row))
    except DataError:
        return np.full((8, 8, 3), 128, np.uint8)


class Album:
    """Images of a table with their labels, as galleries show them.

    Args:
        labels: label of each row, shown beside its image; None shows none.
    """

    def __init__(self, table: SampleTable, source: ImageSource, labels: Sequence[str] | None = None) -> None:
        self._table, self._source, self._labels = table, source, labels
        self.ids = table.ids

    def show(
        self, row: int, *, label: str | None = None, similarity: float | None = None, right: bool | None = None
    ) -> Shown:
        """Return a row's image with a label, which is its own unless another is given."""
        image = look_at(self._source, row)
        if label is None:
            label = "" if self._labels is None else self._labels[row]
        return Shown(image, label, str(self._table.ids[row]), similarity, right)


def draw_rankings(
    path: Path,
    album: Album,
    queries: np.ndarray,
    answers: list[list[str]],
    truth: list[str],
    supporting: list[list[tuple[int, float | None]]],
    *,
    title: str,
) -> None:
    """Draw queries, each with an image that supports each of its answers.

    Args:
        queries: rows of the album, int64 (Q,).
        answers: labels of each query, best first.
        truth: true label of each query.
        supporting: for each answer a row of the album that supports it (-1 for none), and its similarity.
    """
    lines = []
    for query, names, right, shown in zip(queries.tolist(), answers, truth, supporting, strict=True):
        hits = []
        for name, (row, similarity) in zip(names, shown, strict=True):
            if row < 0:  # the unknown label has no image
                hits.append(Shown(np.full((8, 8, 3), 235, np.uint8), name, "", None, name == right))
            else:
                hits.append(album.show(row, label=name, similarity=similarity, right=name == right))
        lines.append((album.show(query, label=right), hits))
    draw_gallery(path, lines, title=title)


def list_conflicts(
    folder: Path, album: Album, near: Neighbours, targets: np.ndarray, labels: list[str], *, task: Task
) -> None:
    """Write `label_conflicts.csv` and `.png`: rows whose nearest neighbours agree on another label.

    Args:
        near: neighbours of each row of the album, (N, k), by a model that has not trained on the row; -1 for none.
        targets: in the task's form.
        labels: label of each row as text.
    """
    conflicts = label_conflicts(near.rows, near.similarities, targets, task=task, num=NUM_CONFLICTS)
    ids, text = album.ids, np.array(labels, object)
    frame = pd.DataFrame(
        {
            "id": ids[conflicts.row],
            "label": text[conflicts.row],
            "suggestion": text[conflicts.suggestion],
            "suspicion": conflicts.suspicion.round(4),
            "nearest_other": ids[conflicts.nearest],
            "similarity": conflicts.similarity.round(4),
        }
    )
    write_atomically(folder / "label_conflicts.csv", frame.to_csv(index=False).encode())
    lines = []
    for row in conflicts.row[:NUM_SHOWN].tolist():
        hits = [
            album.show(other, label=labels[other], similarity=float(value), right=labels[other] == labels[row])
            for other, value in zip(near.rows[row, :NUM_HITS].tolist(), near.similarities[row, :NUM_HITS], strict=True)
            if other >= 0
        ]
        lines.append((album.show(row, label=labels[row]), hits))
    draw_conflicts(folder / "label_conflicts.png", lines)
    say(f"{folder / 'label_conflicts.csv'} and .png: {len(frame)} labels that the nearest images contradict")


def draw_queries(
    path: Path, queries: Album, known: Album, chosen: np.ndarray, near: Neighbours, answers: list[list[str]]
) -> None:
    """Draw images of unknown label, each with the known images nearest to it.

    Args:
        chosen: rows of `queries`, int64 (Q,).
        near: rows of `known` that are nearest to each of these.
        answers: answers to each query, best first.
    """
    lines = []
    for row, others, similarities, names in zip(
        chosen.tolist(), near.rows.tolist(), near.similarities, answers, strict=True
    ):
        hits = [
            known.show(other, similarity=float(value))
            for other, value in zip(others, similarities, strict=True)
            if other >= 0
        ]
        lines.append((queries.show(row, label=", ".join(names)), hits))
    draw_gallery(path, lines, title="The nearest known images", truth="answers", legend="number: similarity")
