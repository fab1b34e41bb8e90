"""COCO's JSON as a table: one row per annotation, joined with its image and its category."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imettk.data.csv_files import list_names, require_unique
from imettk.data.table_files import FileRows, columns_of, make_table
from imettk.errors import DataError

CORNERS = ("x0", "y0", "x1", "y1")  # the columns that replace `bbox`


def is_coco(value: dict[str, Any]) -> bool:
    """Return whether a JSON object is COCO's: it has images, or annotations with an `image_id`."""
    parts = [value.get(name) for name in ("images", "annotations")]
    if not all(_is_list(part) for part in parts if part is not None):
        return False
    images, annotations = (part or [] for part in parts)
    return bool(images or annotations) and all("image_id" in record for record in annotations[:1])


def join_coco(document: dict[str, Any], path: Path, remarks: list[str]) -> FileRows:
    """Join COCO's annotations with their images and categories, in the order of images.

    An image without annotations keeps one row. `id` becomes `image_id`, `annotation_id` or `category_id`, and the
    `name` of a category `category_name`; a name that occurs in several parts gets its part as a prefix. `bbox` becomes
    left, top, right and bottom in x0, y0, x1 and y1. Any other list that is keyed by a column of the table, such as
    `genus_id`, is joined too.

    Args:
        document: its images, annotations and categories are removed.

    Raises:
        DataError: an image or category is repeated, a list is malformed, or no annotation belongs to an image.
    """
    images, annotations, categories = (
        _take(document, part, path, remarks) for part in ("images", "annotations", "categories")
    )
    for part, frame in (("image", images), ("category", categories)):
        if len(frame):
            require_unique(_column(frame, f"{part}_id", path), path)
    form = f"COCO: {len(annotations)} annotations of {len(images)} images in {len(categories)} categories"
    if annotations.empty:
        frame, form = images, f"COCO: {len(images)} images without annotations"
    elif images.empty:
        frame, form = annotations, f"COCO: {len(annotations)} annotations"
    else:
        frame = _join(images, annotations, "image_id", "annotation", path, remarks)
    if len(categories) and "category_id" in frame.columns:
        frame = _look_up(frame, categories, "category_id", "category")
    apart = []
    for name, records in document.items():
        if _is_list(records) and records:
            joined = _join_other(frame, make_table(columns_of(records), path, remarks))
            apart += [name] if joined is frame else []
            frame = joined
    if apart:
        remarks.append(f"{path}: left out {list_names(apart, 'list')} that no column refers to")
    return FileRows(frame, form)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(record, dict) for record in value)


def _take(document: dict[str, Any], name: str, path: Path, remarks: list[str]) -> pd.DataFrame:
    """Remove a list from a document and return it as a table, with `id` renamed after the list."""
    records = document.pop(name, None) or []
    if not _is_list(records):
        raise DataError(f"{path}: `{name}` is not a list of objects")
    part = {"images": "image", "annotations": "annotation", "categories": "category"}[name]
    columns = columns_of(records)
    if part == "annotation" and "bbox" in columns and (corners := _corners(columns["bbox"])) is not None:
        del columns["bbox"]
        columns |= corners
    frame = make_table(columns, path, remarks)
    return frame.rename(columns={} if f"{part}_id" in frame.columns else {"id": f"{part}_id"}).rename(
        columns={"name": "category_name"} if part == "category" else {}
    )


def _corners(boxes: list[Any]) -> dict[str, list[Any]] | None:
    """Convert (left, top, width, height) to corners; return None if any value is not a box."""
    if not all(not box or (isinstance(box, list) and len(box) == 4) for box in boxes):
        return None
    if not all(isinstance(number, (int, float)) for box in boxes for number in box or ()):
        return None
    corners = [(x, y, x + w, y + h) for x, y, w, h in (box or [float("nan")] * 4 for box in boxes)]
    return {name: [row[at] for row in corners] for at, name in enumerate(CORNERS)}


def _column(frame: pd.DataFrame, name: str, path: Path) -> pd.Series:
    if name not in frame.columns:
        raise DataError(f"{path} is not COCO JSON as expected: it has no {name} or id in {list(frame)}")
    return frame[name]


def _join(
    images: pd.DataFrame, annotations: pd.DataFrame, key: str, part: str, path: Path, remarks: list[str]
) -> pd.DataFrame:
    """Put the columns of each image before those of its annotations, in the order of images."""
    rows = pd.Index(images[key]).get_indexer(_column(annotations, key, path))
    if (lost := rows < 0).any():
        unlisted = list_names(annotations[key][lost].unique(), "image")
        if lost.all():
            listed = list_names(images[key], "image")
            raise DataError(f"{path}: its {part}s belong to {unlisted}, but it lists {listed}")
        remarks.append(f"{path}: left out {int(lost.sum())} {part}s of {unlisted} that it does not list")
        annotations, rows = annotations[~lost].reset_index(drop=True), rows[~lost]
    # Images without annotations are kept: they are negatives, or belong to the test set.
    bare = np.setdiff1d(np.arange(len(images)), rows)
    places = np.concatenate([np.arange(len(rows)), np.full(len(bare), -1)])
    order = np.argsort(np.concatenate([rows, bare]), kind="stable")
    beside = _prefixed(annotations.drop(columns=key), images, part).reindex(places[order], fill_value="")
    whole = images.iloc[np.concatenate([rows, bare])[order]]
    return pd.concat([whole.reset_index(drop=True), beside.reset_index(drop=True)], axis=1)


def _look_up(frame: pd.DataFrame, other: pd.DataFrame, key: str, part: str) -> pd.DataFrame:
    """Append the columns of the record that each row refers to by `key`; '' if there is no such record."""
    rows = pd.Index(other[key]).get_indexer(frame[key])
    beside = _prefixed(other.drop(columns=key), frame, part).reindex(rows, fill_value="")
    return pd.concat([frame, beside.reset_index(drop=True)], axis=1)


def _prefixed(frame: pd.DataFrame, other: pd.DataFrame, part: str) -> pd.DataFrame:
    return frame.rename(columns={name: f"{part}_{name}" for name in frame.columns if name in other.columns})


def _join_other(frame: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Join a list by an `_id` column that both have, such as `genus_id`; return `frame` itself if there is none."""
    keys = [name for name in other.columns if name in frame.columns and str(name).endswith("_id")]
    keys = [name for name in keys if other[name].is_unique and set(frame[name]) - {""} <= set(other[name])]
    if not keys:
        return frame
    added = [name for name in other.columns if name == keys[0] or name not in frame.columns]
    return _look_up(frame, other[added], keys[0], keys[0])
