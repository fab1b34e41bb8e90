"""Samples of a competition as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class SampleTable:
    """N samples as flat arrays, with or without targets.

    Arrays instead of one Python object per row: forked loader workers would otherwise copy every page whose reference
    counts they touch.

    Attributes:
        ids: str (N,).
        paths: image files, str (N,).
        labels: the raw label of each column of `targets`, as text, (C,).
        label_groups: the group of each label, the part of its name before the separator, (C,); all "" without groups.
        targets: int64 (N,) class indices, -1 for an unknown identity, or uint8 (N, C); None in a test set.
        auxiliary: targets that are trained but never predicted, uint8 or float32 (N, A); all 0 or NaN where unknown.
        auxiliary_labels: names of the columns of `auxiliary`, (A,); `auxiliary_groups` holds their groups.
        groups: str (N,), or None if the table has no groups.
        votes: number of votes of each row, float32 (N,), or None.
        units: the unit of each image, str (N,), if several images share one answer; else None.
        boxes: the region of each image that is used, float32 (N, 4); NaN is the whole image. See `read_boxes`.
        turned: images to turn by 180 degrees, bool (N,).
        sources: 0 for the training table, then the number of the extra table, int16 (N,).
        label_titles: display names of the labels from `labels_csv`, (C,); () without one.
        remarks: one line for each oddity that does not stop the run.
    """

    ids: np.ndarray
    paths: np.ndarray
    labels: tuple[str, ...]
    label_groups: tuple[str, ...]
    targets: np.ndarray | None = None
    groups: np.ndarray | None = None
    votes: np.ndarray | None = None
    units: np.ndarray | None = None
    boxes: np.ndarray | None = None
    turned: np.ndarray | None = None
    sources: np.ndarray | None = None
    label_titles: tuple[str, ...] = ()
    auxiliary: np.ndarray | None = None
    auxiliary_labels: tuple[str, ...] = ()
    auxiliary_groups: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def titles(self) -> tuple[str, ...]:
        """Display names of the labels, (C,)."""
        return self.label_titles or self.labels

    @property
    def learned_groups(self) -> tuple[str, ...]:
        """The group of each label, including auxiliary labels."""
        return self.label_groups + self.auxiliary_groups

    def take(self, rows: np.ndarray) -> Self:
        """Return the samples at these positions (int (M,)), in this order."""
        arrays: dict[str, Any] = {
            item.name: value[rows] for item in fields(self) if isinstance(value := getattr(self, item.name), np.ndarray)
        }
        return replace(self, **arrays)


@dataclass(frozen=True)
class LabelledTable(SampleTable):
    """A `SampleTable` that always has targets, as `read_table` returns it."""

    # `field()` and no default: without it a dataclass would inherit the base's None as a default.
    targets: np.ndarray = field()
