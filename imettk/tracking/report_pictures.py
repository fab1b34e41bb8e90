"""Pictures of a report as commands left them, each value made what it has to be, so that a damaged one ends no page."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any


def worst_errors(content: dict[str, Any]) -> dict[str, Any]:
    """Return what `validate` left of the worst errors."""
    tiles = [
        _pick(tile, id=str, image=_image)
        | {
            side: [_pick(one, label=str, prob=_unless_none(float), right=bool) for one in tile[side]]
            for side in ("truth", "answers")
        }
        for tile in content["tiles"]
    ]
    return _pick(content, rows=int, wrong=int) | {"tiles": tiles}


def gallery(content: dict[str, Any]) -> dict[str, Any]:
    """Return queries with their hits, as `galleries` left them."""
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
    """Values that have to be there, each made what it has to be."""
    return {name: kind(content[name]) for name, kind in kinds.items()}


def _unless_none(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else kind(value)


def _image(text: str) -> str:
    """A picture as base64."""
    base64.b64decode(text, validate=True)
    return text
