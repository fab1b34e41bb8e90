"""The identity of a training table: hashes by which files made with other data are recognised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imettk.data.csv_files import list_names
from imettk.data.sample_table import LabelledTable

MOST_HEADER_BYTES = 100_000_000  # safetensors' own limit

_OTHERS = {
    "folds": "rows are in other folds",
    "boxes": "boxes differ",
    "turned": "other images are turned",
    "left_out": "other images cannot be read",
    "auxiliary": "auxiliary columns differ",
}


@dataclass(frozen=True)
class DataIdentity:
    """Hashes of a training table's rows, labels, folds and boxes, 16 hex digits each ("" for a missing part).

    Attributes:
        labels: names of the labels, in the order of the network's outputs.
        num_rows: number of rows.
        ids: hash of the ids in order; `sorted_ids` ignores the order.
        boxes: regions of the images that are used.
        turned: images that are turned.
        left_out: rows that do not train because their image cannot be read.
        auxiliary: targets that are trained but never predicted.
    """

    labels: tuple[str, ...]
    num_rows: int
    ids: str
    sorted_ids: str
    targets: str
    folds: str = ""
    boxes: str = ""
    turned: str = ""
    left_out: str = ""
    auxiliary: str = ""

    def to_values(self) -> dict[str, Any]:
        """Return plain values, for the header of a file."""
        return asdict(self) | {"labels": list(self.labels)}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> DataIdentity:
        """Read what `to_values` returned."""
        return cls(**(values | {"labels": tuple(values["labels"])}))

    def changes_to(self, new: DataIdentity) -> list[str]:
        """Return one phrase per difference to newer data; a difference that follows from another is omitted."""
        changes = _label_changes(self.labels, new.labels)
        if self.sorted_ids != new.sorted_ids:
            counts = f"{self.num_rows} -> {new.num_rows}" if self.num_rows != new.num_rows else f"{new.num_rows} others"
            return [*changes, f"rows: {counts}"]
        if self.ids != new.ids:
            return [*changes, "the rows are in another order"]
        if not changes and self.targets != new.targets:
            changes.append("rows have other labels")
        return changes + [text for name, text in _OTHERS.items() if getattr(self, name) != getattr(new, name)]


def identify_data(
    table: LabelledTable, folds: np.ndarray | None = None, left_out: np.ndarray | None = None
) -> DataIdentity:
    """Hash a training table.

    Args:
        folds: fold of each row, int64 (N,).
        left_out: rows that do not train, bool (N,).
    """
    ids = table.ids.tolist()
    return DataIdentity(
        labels=tuple(map(str, table.labels)),
        num_rows=len(ids),
        ids=hash_text(ids),
        sorted_ids=hash_text(sorted(ids)),
        targets=_hash(table.targets) if table.votes is None else _hash(np.column_stack([table.targets, table.votes])),
        folds="" if folds is None else _hash(folds),
        boxes="" if table.boxes is None else _hash(table.boxes),
        turned="" if table.turned is None or not table.turned.any() else _hash(table.turned),
        left_out="" if left_out is None or not left_out.any() else _hash(left_out),
        auxiliary="" if table.auxiliary is None else hash_text([*table.auxiliary_labels, _hash(table.auxiliary)]),
    )


def read_identity(path: Path) -> DataIdentity | None:
    """Read the identity in the header of a checkpoint or model; None if it has none or cannot be read.

    Needs no torch: a safetensors file begins with the length of its header (uint64), then JSON.
    """
    try:
        with open(path, "rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), MOST_HEADER_BYTES)))
        return DataIdentity.from_values(json.loads(header["__metadata__"]["imettk"])["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def hash_text(texts: Iterable[str]) -> str:
    """Return 16 hex digits that identify these texts in this order."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]


def _hash(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _label_changes(old: tuple[str, ...], new: tuple[str, ...]) -> list[str]:
    if old == new:
        return []
    known, wanted = set(old), set(new)
    added, removed = [label for label in new if label not in known], [label for label in old if label not in wanted]
    parts = [
        f"{list_names(labels, 'label')} {verb}" for labels, verb in ((added, "added"), (removed, "removed")) if labels
    ]
    return parts or ["the labels are in another order"]
