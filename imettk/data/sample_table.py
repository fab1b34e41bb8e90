"""Samples of a competition as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class SampleTable:
    """N samples as flat arrays: no Python object a row, so that loader workers do not copy them page by page.

    Attributes:
        ids: str (N,).
        paths: image files, str (N,).
        labels: the raw label of each column of `targets`, as text, (C,).
        label_groups: the group of each label, the part of its name before the separator, (C,); all "" without groups.
        targets: int64 (N,) class index, -1 where it is of no known identity, or uint8 (N, C); None for a test set.
        auxiliary: what is trained beside `targets` and never answered, uint8 or float32 (N, A), without a 1 or NaN
            where it is unknown; None without any.
        auxiliary_labels: names of its columns, (A,), and `auxiliary_groups` their groups.
        groups: str (N,), or None where the table has none.
        votes: how many each row has, float32 (N,), or None where rows have none.
        units: what each image is one of several for, str (N,), where these give one answer; else None.
        boxes: the part of each image that is looked at, float32 (N, 4); NaN is the whole image. See `read_boxes`.
        turned: images to turn by 180 degrees, bool (N,).
        sources: 0 for the training table, then the number of the extra table, int16 (N,).
        label_titles: what people call the labels, as `labels_csv` says, (C,); () without one.
        remarks: what is odd but does not stop anything, one line each.
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
        """The labels as people are shown them, (C,)."""
        return self.label_titles or self.labels

    @property
    def learned_groups(self) -> tuple[str, ...]:
        """The group of each label, auxiliary ones among them."""
        return self.label_groups + self.auxiliary_groups

    def take(self, rows: np.ndarray) -> SampleTable:
        """The samples at these positions (int (M,)), in this order."""
        arrays: dict[str, Any] = {
            item.name: value[rows] for item in fields(self) if isinstance(value := getattr(self, item.name), np.ndarray)
        }
        return replace(self, **arrays)
