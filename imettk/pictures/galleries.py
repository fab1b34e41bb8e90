"""Galleries: images with their nearest ones beside them, for rankings and for probable label errors."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

from imettk.files import replace_atomically, write_atomically

TILE, FRAME, GAP, MARGIN = 176, 5, 14, 28  # pixels: a tile, its frame, between tiles, around all
TITLE, HEADER, CAPTION = 44, 38, 52  # heights of text in pixels
ROW = HEADER + TILE + CAPTION
INK, PALE, PAPER, RULE = "#1f2328", "#656d76", "#f3f4f6", "#d0d7de"
THUMBNAIL = 112  # pixels: the longer side of the pictures that are kept for the report
MARKS = {True: ("#1a7f37", "✓"), False: ("#c8232c", "✗"), None: (RULE, "")}


class Shown(NamedTuple):
    """An image of a gallery with its caption.

    Attributes:
        image: uint8 (H, W, 3), of any size.
        similarity: similarity to the query; None shows none.
        right: True gives a green frame with a tick, False a red one with a cross, None a grey one.
    """

    image: np.ndarray
    label: str
    id: str = ""
    similarity: float | None = None
    right: bool | None = None


def draw_gallery(
    path: Path,
    rows: Sequence[tuple[Shown, Sequence[Shown]]],
    *,
    title: str = "Queries and their nearest images",
    truth: str = "truth",
    legend: str = "✓ right · ✗ wrong · number: similarity",
) -> None:
    """Draw queries, each with its hits in a row beside it, as a PNG; text that is too long loses its middle.

    A JSON file of the same name holds the same with small images, for the report.

    Args:
        rows: a query and its hits, best first; five hits make a picture that fits a screen.
        truth: the word before the label of a query.

    Raises:
        ValueError: an image is not uint8 (H, W, 3); images of other channels are converted by the caller.
    """
    columns = 1 + max([3, *(len(hits) for _, hits in rows)])
    width, top = 2 * MARGIN + columns * (TILE + GAP), MARGIN + TITLE
    page = Image.new("RGB", (width, top + (len(rows) * ROW or MARGIN // 2) + GAP), "white")
    pen, end = ImageDraw.Draw(page), width - MARGIN
    legend = legend if rows else ""
    legend_start = end - _font(13).getlength(legend)
    _write(pen, title, MARGIN, MARGIN + 10, legend_start - GAP, font=_font(18, True))
    _write(pen, legend, legend_start, MARGIN + 10, end, font=_font(13), colour=PALE)
    if not rows:
        _write(pen, "There is nothing to show.", MARGIN, top, end, font=_font(13), colour=PALE)
    for number, (query, hits) in enumerate(rows):
        y = top + number * ROW
        pen.line((MARGIN, y, end - 1, y), RULE)
        x = _write(pen, query.id, MARGIN, y + HEADER // 2, width / 2, font=_font(14, True))
        _write(pen, f"{truth}: {query.label}", x + GAP * bool(query.id), y + HEADER // 2, end, font=_font(14))
        _show(page, pen, query._replace(label="query", id=""), MARGIN, y + HEADER)
        for place, hit in enumerate(hits, start=1):
            _show(page, pen, hit, MARGIN + GAP + place * (TILE + GAP), y + HEADER)
    with replace_atomically(path) as temporary:
        page.save(temporary, "PNG")
    kept = [{"query": _kept(query), "hits": [_kept(hit) for hit in hits]} for query, hits in rows]
    content = {"title": title, "truth": truth, "legend": legend, "rows": kept}
    write_atomically(path.with_suffix(".json"), json.dumps(content).encode())


def thumbnail(image: np.ndarray) -> str:
    """Return a small JPEG of an image, uint8 (H, W, 3), as base64, which a page can show without another file."""
    buffer = io.BytesIO()
    _fit(image, THUMBNAIL).save(buffer, "JPEG", quality=80, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _kept(shown: Shown) -> dict[str, Any]:
    """Return an image and its caption as JSON for the report."""
    similarity = None if shown.similarity is None else round(shown.similarity, 4)
    return shown._asdict() | {"image": thumbnail(shown.image), "similarity": similarity}


def draw_conflicts(path: Path, rows: Sequence[tuple[Shown, Sequence[Shown]]]) -> None:
    """Draw a gallery of images whose label is probably wrong; `right` marks neighbours with the same label."""
    legend = "✓ same label · ✗ another label · number: similarity"
    draw_gallery(path, rows, title="Probable label errors", truth="labelled", legend=legend)


def pick_worst(ranked: np.ndarray, sureness: np.ndarray, targets: np.ndarray, count: int) -> np.ndarray:
    """Return the queries whose first answer is wrong, the surest first, int64 (M,) with M at most `count`.

    Args:
        ranked: answers, best first, int64 (Q, k).
        sureness: confidence of the first answers, float (Q,).
        targets: int64 (Q,).
    """
    wrong = np.flatnonzero(ranked[:, 0] != targets)
    return wrong[np.argsort(-sureness[wrong], kind="stable")][:count]


def shorten(text: str, width: float, font: FreeTypeFont) -> str:
    """Return a text on one line, with … in place of its middle if it is wider than `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    for kept in range(min(len(text) - 1, int(width)), 0, -1):
        short = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
        if font.getlength(short) <= width:
            return short
    return "…"


@cache
def _font(size: int, bold: bool = False) -> FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib; Pillow's own font lacks ticks and most alphabets."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def _write(
    pen: ImageDraw.ImageDraw, text: str, x: float, y: int, end: float, *, font: FreeTypeFont, colour: str = INK
) -> float:
    """Write from `x` up to `end`, with the middle of the line at `y`; return the x coordinate of the text's end."""
    short = shorten(text, end - x, font)
    pen.text((x, y), short, colour, font, anchor="lm")
    return x + font.getlength(short)


def _show(page: Image.Image, pen: ImageDraw.ImageDraw, shown: Shown, left: int, top: int) -> None:
    """Draw an image in a framed tile with its mark, and two lines of text below."""
    colour, mark = MARKS[shown.right]
    pen.rectangle((left, top, left + TILE - 1, top + TILE - 1), PAPER, colour, FRAME if mark else 1)
    image = _fit(shown.image, TILE - 2 * FRAME)
    page.paste(image, (left + (TILE - image.width) // 2, top + (TILE - image.height) // 2))
    if mark:
        pen.rectangle((left, top, left + 25, top + 25), colour)
        pen.text((left + 13, top + 13), mark, "white", _font(19, True), anchor="mm")
    number = "" if shown.similarity is None else f"{shown.similarity:.3f}"
    below = " · ".join(text for text in (number, shown.id) if text)
    _write(pen, shown.label, left, top + TILE + 14, left + TILE, font=_font(13))
    _write(pen, below, left, top + TILE + 32, left + TILE, font=_font(12), colour=PALE)


def _fit(image: np.ndarray, side: int) -> Image.Image:
    """Return an image scaled to fit a square, with its aspect ratio."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"images must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    height, width, _ = image.shape
    scale = side / max(height, width)
    # Tiny images (28 x 28 digits) are clearest with visible pixels; larger ones would get jagged edges.
    method = Image.Resampling.NEAREST if scale >= 4 else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((max(1, round(width * scale)), max(1, round(height * scale))), method)
