"""Pictures of rankings: queries with the images that speak for each answer, and labels that are probably wrong."""

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
NUM_CONFLICTS = 200  # rows of the table


def look_at(source: ImageSource, row: int) -> np.ndarray:
    """An image for the eye, uint8 (H, W, 3); grey where it cannot be read, which has been told before."""
    try:
        return visible(source.read(row))
    except DataError:
        return np.full((8, 8, 3), 128, np.uint8)


class Album:
    """Images of a table with their labels, as galleries show them.

    Args:
        labels: each row's, for what is shown beside its image; None shows none.
    """

    def __init__(self, table: SampleTable, source: ImageSource, labels: Sequence[str] | None = None) -> None:
        self._table, self._source, self._labels = table, source, labels
        self.ids = table.ids

    def show(
        self, row: int, *, label: str | None = None, similarity: float | None = None, right: bool | None = None
    ) -> Shown:
        """One image; its own label unless another is given."""
        image = look_at(self._source, row)
        own = "" if self._labels is None else self._labels[row]
        return Shown(image, own if label is None else label, str(self._table.ids[row]), similarity, right)


def draw_rankings(
    path: Path,
    album: Album,
    queries: np.ndarray,
    answers: list[list[str]],
    truth: list[str],
    witnesses: list[list[tuple[int, float | None]]],
    *,
    title: str,
) -> None:
    """Queries, each with an image for every answer.

    Args:
        queries: rows of the album, int64 (Q,).
        answers: labels, best first.
        witnesses: of each answer a row of the album that speaks for it (-1 for none), and how near it is.
    """
    lines = []
    for query, names, right, shown in zip(queries.tolist(), answers, truth, witnesses, strict=True):
        hits = []
        for name, (row, similarity) in zip(names, shown, strict=True):
            if row < 0:  # the unknown label has no face
                hits.append(Shown(np.full((8, 8, 3), 235, np.uint8), name, "", None, name == right))
            else:
                hits.append(album.show(row, label=name, similarity=similarity, right=name == right))
        lines.append((album.show(query, label=right), hits))
    draw_gallery(path, lines, title=title)


def list_conflicts(
    folder: Path, album: Album, near: Neighbours, targets: np.ndarray, labels: list[str], *, task: Task
) -> None:
    """Write `label_conflicts.csv` and `.png`: rows whose near neighbours agree on another label than theirs.

    Args:
        near: neighbours of each row of the album, (N, k), by a model that has not trained on the row; -1 for none.
        targets: as the task has them.
        labels: each row's as text.
    """
    found = label_conflicts(near.rows, near.similarities, targets, task=task, num=NUM_CONFLICTS)
    ids, text = album.ids, np.array(labels, object)
    frame = pd.DataFrame(
        {
            "id": ids[found.row],
            "label": text[found.row],
            "suggestion": text[found.suggestion],
            "suspicion": found.suspicion.round(4),
            "nearest_other": ids[found.nearest],
            "similarity": found.similarity.round(4),
        }
    )
    write_atomically(folder / "label_conflicts.csv", frame.to_csv(index=False).encode())
    lines = []
    for row in found.row[:NUM_SHOWN].tolist():
        hits = [
            album.show(other, label=labels[other], similarity=float(value), right=labels[other] == labels[row])
            for other, value in zip(near.rows[row, :NUM_HITS].tolist(), near.similarities[row, :NUM_HITS], strict=True)
            if other >= 0
        ]
        lines.append((album.show(row, label=labels[row]), hits))
    draw_conflicts(folder / "label_conflicts.png", lines)
    say(f"{folder / 'label_conflicts.csv'} and .png: {len(frame)} labels that near images speak against")


def draw_queries(
    path: Path, queries: Album, known: Album, chosen: np.ndarray, near: Neighbours, answers: list[list[str]]
) -> None:
    """Pictures whose truth nobody knows, each with the images nearest to it.

    Args:
        chosen: rows of `queries`, int64 (Q,).
        near: rows of `known` for each of these.
        answers: to each query, best first.
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
