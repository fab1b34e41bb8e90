"""Pictures of a report as commands left them, each value converted, so that a damaged one is an error here.

The template would otherwise fail, and with it the page, on a string where it formats a number.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any


def worst_errors(content: dict[str, Any]) -> dict[str, Any]:
    """Return the worst errors, from `errors.json`.

    Returns:
        `rows` and `wrong` counts, `numeric` if the answers are numbers, and `tiles`. A tile has `differing`, which are
        headings with the items under each, and `right`, labels that are true and answered, with counts of what is
        left out of both.
    """
    tiles = content["tiles"]
    numeric = all(item["prob"] is None for tile in tiles for item in tile["truth"] + tile["answers"])
    shown = [_tile(tile, numeric=numeric) for tile in tiles]
    return _pick(content, rows=int, wrong=int) | {"numeric": numeric, "tiles": shown}


def _tile(tile: dict[str, Any], *, numeric: bool) -> dict[str, Any]:
    """Return one wrong row, with what differs apart from what is right."""
    truth, answers = (
        [_pick(item, label=str, prob=_unless_none(float), right=bool) for item in tile[side]]
        for side in ("truth", "answers")
    )
    left_out = {name: int(count) for name, count in tile.get("left_out", {}).items()}  # version 0.2.0 had none
    missed, extra = ([item for item in items if not item["right"]] for items in (truth, answers))
    right = [item for item in truth if item["right"]]
    names = ("missed", "wrongly answered")
    if numeric:  # numbers are neither missed nor right
        missed, right, names = truth, [], ("true", "answered")
    elif len(truth) == len(answers) == 1:  # classes: one is taken for another
        names = ("true", "answered")
    differing = [
        {"name": name, "items": items, "left_out": left_out.get(side, 0)}
        for name, items, side in zip(names, (missed, extra), ("truth", "answers"), strict=True)
        if items
    ]
    more = left_out.get("right", 0)
    return _pick(tile, id=str, image=_image) | {"differing": differing, "right": right, "right_left_out": more}


def gallery(content: dict[str, Any]) -> dict[str, Any]:
    """Return queries with their hits, from the JSON that `draw_gallery` leaves beside its picture."""
    rows = [
        {
            "query": _pick(row["query"], label=str, id=str, image=_image),
            "hits": [
                _pick(hit, label=str, id=str, image=_image)
                | _pick(hit, similarity=_unless_none(float), right=_unless_none(bool))
                for hit in row["hits"]
            ],
        }
        for row in content["rows"]
    ]
    return _pick(content, title=str, truth=str, legend=str) | {"rows": rows}


def _pick(content: dict[str, Any], **kinds: Callable[[Any], Any]) -> dict[str, Any]:
    """Return values that must be there, each converted by its function."""
    return {name: kind(content[name]) for name, kind in kinds.items()}


def _unless_none(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that converts a value unless it is None."""
    return lambda value: None if value is None else kind(value)


def _image(text: str) -> str:
    """Return a picture in base64; raise `ValueError` for anything else, which could end the attribute it stands in."""
    base64.b64decode(text, validate=True)
    return text
