"""Frames are in place, captions fit their tiles, images keep their shape, and the surest mistakes come first."""

import base64
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw
from places import SHARED

from imettk.pictures import galleries
from imettk.pictures.galleries import FRAME, GAP, HEADER, MARGIN, ROW, TILE, TITLE, Shown, draw_conflicts, draw_gallery

OMNIGLOT = SHARED / "data" / "omniglot_small.zip"
GREEN, RED = (ImageColor.getrgb(galleries.MARKS[right][0]) for right in (True, False))


def plain(height, width, colour=(30, 60, 200)):
    return np.full((height, width, 3), colour, np.uint8)


def page_of(tmp_path, rows, draw=draw_gallery, **options):
    draw(tmp_path / "new" / "page.png", rows, **options)
    with Image.open(tmp_path / "new" / "page.png") as page:
        assert page.mode == "RGB"
        return np.asarray(page)


def corner(row, place):
    """Return the top left pixel of a tile; tile 0 is the query, the others are its hits."""
    return MARGIN + TITLE + row * ROW + HEADER, MARGIN + place * (TILE + GAP) + (GAP if place else 0)


def square(page, row, place):
    top, left = corner(row, place)
    return page[top : top + TILE, left : left + TILE]


def two_rows():
    hits = [Shown(plain(40, 40), "a", "id", 0.9, right) for right in (True, False, None, False, True)]
    return [(Shown(plain(30, 60), "a", "q0"), hits), (Shown(plain(60, 30), "b"), hits[1:3])]


def test_the_same_rows_stand_in_a_json_with_small_pictures(tmp_path):
    rows = [(Shown(plain(300, 600), "a", "q0"), [Shown(plain(40, 40, (200, 0, 0)), "ü", "h", 0.12341, False)])]
    page_of(tmp_path, rows, title="some")
    kept = json.loads((tmp_path / "new" / "page.json").read_text())
    assert kept["title"] == "some" and len(kept["rows"]) == 1
    query, hit = kept["rows"][0]["query"], kept["rows"][0]["hits"][0]
    assert {name: hit[name] for name in ("label", "id", "similarity", "right")} == {
        "label": "ü", "id": "h", "similarity": 0.1234, "right": False,
    }  # fmt: skip
    sizes = {}
    for name, tile, colour in (("query", query, (30, 60, 200)), ("hit", hit, (200, 0, 0))):
        with Image.open(io.BytesIO(base64.b64decode(tile["image"]))) as small:
            sizes[name] = small.size
            assert np.abs(np.asarray(small, int).mean((0, 1)) - colour).max() < 4
    assert sizes == {"query": (112, 56), "hit": (112, 112)}


def test_frames_are_green_around_hits_and_red_around_misses_with_a_mark_of_another_shape(tmp_path):
    page = page_of(tmp_path, two_rows())
    assert page.shape[1] == 2 * MARGIN + 6 * (TILE + GAP)
    for row, (_, hits) in enumerate(two_rows()):
        for place, hit in enumerate(hits, start=1):
            tile = square(page, row, place)
            edges = [tile[:FRAME], tile[-FRAME:], tile[:, :FRAME], tile[:, -FRAME:]]
            if hit.right is None:
                assert not any((edge == GREEN).all(-1).any() or (edge == RED).all(-1).any() for edge in edges)
                continue
            frame = GREEN if hit.right else RED
            corner_mark = tile[:26, :26].reshape(-1, 3).tolist()
            assert list(frame) in corner_mark and [255, 255, 255] in corner_mark
            assert all((edge == frame).all() for edge in (edges[1], edges[3], edges[0][:, 26:], edges[2][26:]))
            assert (tile[FRAME:-FRAME, FRAME:-FRAME][30:, 30:] != frame).any(-1).all()
    marks = [(square(page, 0, place)[:26, :26] == 255).all(-1) for place in (1, 2)]
    assert (marks[0] != marks[1]).sum() > 20  # not only in colour
    assert (square(page, 1, 3) == 255).all()  # a row with fewer hits


@pytest.mark.parametrize("shape", [(20, 60), (60, 20), (900, 300), (1, 500), (500, 1), (8, 8), (166, 166), (1, 1)])
def test_images_of_any_shape_fill_their_square_in_the_middle_and_are_not_stretched(tmp_path, shape):
    page = page_of(tmp_path, [(Shown(plain(*shape), "a"), [])])
    assert page.shape[1] == 2 * MARGIN + 4 * (TILE + GAP)  # never too narrow for a title
    mask = (square(page, 0, 0) == (30, 60, 200)).all(-1)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = len(rows), len(columns)
    assert mask.sum() == height * width and max(height, width) == TILE - 2 * FRAME
    assert (height, width) == tuple(max(1, round(side * (TILE - 2 * FRAME) / max(shape))) for side in shape)
    assert abs(rows[0] - (TILE - 1 - rows[-1])) <= 1 and abs(columns[0] - (TILE - 1 - columns[-1])) <= 1


def test_small_images_are_shown_pixel_by_pixel_and_large_ones_smooth(tmp_path):
    board = (np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)
    few, many = (np.repeat(np.kron(board, np.ones((n, n), np.uint8))[..., None], 3, 2) for n in (1, 64))
    page = page_of(tmp_path, [(Shown(few, "a"), [Shown(many, "b")])])
    inside = [square(page, 0, place)[FRAME:-FRAME, FRAME:-FRAME] for place in (0, 1)]
    assert set(np.unique(inside[0])) == {0, 255} and len(np.unique(inside[1])) > 10


LONG = "Nucleoplasm|Endoplasmic reticulum|Microtubule organizing center|Cytosol"


@pytest.mark.parametrize("text", [LONG, LONG * 40, "WWWWWWWWWWWWWWWWWWWWWWWWW", "ελληνικά " * 9, "two\nlines " * 9])
@pytest.mark.parametrize(("size", "bold"), [(13, False), (18, True)])
def test_a_long_text_keeps_its_ends_and_as_much_as_fits(text, size, bold):
    font = galleries._font(size, bold)
    short = galleries.shorten(text, TILE, font)
    assert font.getlength(short) <= TILE and short.count("…") == 1 and "\n" not in short
    left, right = short.split("…")
    line = " ".join(text.split())
    assert line.startswith(left) and line.endswith(right) and len(left) - len(right) in (0, 1)
    more = line[: len(left) + 1] + "…" + line[len(line) - len(right) - 1 :]
    assert font.getlength(more) > TILE
    drawn = ImageDraw.Draw(Image.new("RGB", (400, 40)))
    assert drawn.textbbox((0, 20), short, font=font, anchor="lm")[2] <= TILE + 1


def test_a_short_text_stays_and_one_without_room_is_dots():
    font = galleries._font(13)
    assert galleries.shorten("whale", TILE, font) == "whale" and galleries.shorten("", 5, font) == ""
    assert galleries.shorten("whale", 3, font) == "…"
    assert galleries.shorten("whale", font.getlength("whale"), font) == "whale"


def test_nothing_is_written_outside_its_place(tmp_path):
    """With text that is far too long everywhere, gaps and margins stay white."""
    hits = [Shown(plain(40, 40), LONG * 3, LONG, 0.98765, True)] * 5
    page = page_of(tmp_path, [(Shown(plain(40, 40), LONG * 9, LONG * 9), hits)] * 2, title=LONG * 5)
    assert (page[:, : MARGIN - 1] == 255).all() and (page[:, -MARGIN + 1 :] == 255).all()
    assert (page[-MARGIN + 2 :] == 255).all()
    for row in range(2):
        for place in range(6):
            top, left = corner(row, place)
            under = page[top : top + ROW - HEADER - 2]
            assert (under[:, left + TILE + 1 : left + TILE + GAP - 1] == 255).all()
            words = under[TILE:, left : left + TILE]
            assert ((words < 200).any((1, 2)).sum() > 8) and (words[-6:] == 255).all()
            if place:  # two lines, each nearly as wide as the square, with white between
                lines = np.flatnonzero((words < 255).any((1, 2)))
                assert (np.diff(lines) > 1).sum() == 1
                assert np.flatnonzero((words < 255).any((0, 2)))[-1] > TILE - 14


def written(monkeypatch, tmp_path, draw, rows):
    """Return every text of a page."""
    texts, text_of = [], ImageDraw.ImageDraw.text

    def text(self, place, words, *rest, **options):
        texts.append(words)
        return text_of(self, place, words, *rest, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    page_of(tmp_path, rows, draw)
    return [words for words in texts if words]


def test_what_stands_on_a_page(monkeypatch, tmp_path):
    hits = [Shown(plain(9, 9), "cat", "i7", 0.98765, True), Shown(plain(9, 9), "dog", "", -0.5, False)]
    rows = [(Shown(plain(9, 9), "cat", "i1"), [*hits, Shown(plain(9, 9), "cow")])]
    words = written(monkeypatch, tmp_path, draw_gallery, rows)
    assert words[2:] == ["i1", "truth: cat", "query", "✓", "cat", "0.988 · i7", "✗", "dog", "-0.500", "cow"]
    assert words[0] == "Queries and their nearest images" and words[1].startswith("✓ right · ✗ wrong")
    conflicts = written(monkeypatch, tmp_path, draw_conflicts, rows)
    assert conflicts[0] == "Probable label errors" and conflicts[1].startswith("✓ same label · ✗ another label")
    assert conflicts[3] == "labelled: cat" and "✗" in conflicts


@pytest.mark.parametrize("draw", [draw_gallery, draw_conflicts])
def test_without_rows_a_line_says_so(monkeypatch, tmp_path, draw):
    words = written(monkeypatch, tmp_path, draw, [])
    assert len(words) == 2 and words[1] == "There is nothing to show."
    page = page_of(tmp_path, [], draw)
    assert page.shape[0] < 120 and (page[-10:] == 255).all() and (page < 128).any()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 1), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
    ],
    ids=["grey", "one channel", "four channels", "float", "empty"],
)
def test_images_that_are_not_rgb_are_refused(tmp_path, image):
    with pytest.raises(ValueError, match=r"images must be uint8 \(H, W, 3\), got (uint8|float32) \("):
        page_of(tmp_path, [(Shown(image, "a"), [])])
    assert not (tmp_path / "new").exists()


def test_the_surest_mistakes_come_first():
    rng = np.random.default_rng(0)
    ranked, targets = rng.integers(-1, 3, (50, 4)), rng.integers(0, 3, 50)
    sureness = np.round(rng.random(50), 1)
    sureness[ranked[:, 0] < 0] = -np.inf
    wrong = [query for query in range(50) if ranked[query][0] != targets[query]]
    expected = sorted(wrong, key=lambda query: (-sureness[query], query))
    assert galleries.pick_worst(ranked, sureness, targets, 100).tolist() == expected
    assert galleries.pick_worst(ranked, sureness, targets, 5).tolist() == expected[:5]
    assert not len(galleries.pick_worst(targets[:, None], sureness, targets, 5))


@pytest.mark.skipif(not OMNIGLOT.exists(), reason="../shared/data is absent")
def test_real_drawings_are_the_ones_that_are_shown(tmp_path):
    """Each square, made small again, is nearest to the drawing that was to be shown there."""
    with zipfile.ZipFile(OMNIGLOT) as files:
        names = [name for name in files.namelist() if "/Greek/" in name and name.endswith(".png")][:12]
        images = [np.asarray(Image.open(io.BytesIO(files.read(name))).convert("RGB")) for name in names]
    rows = [(Shown(images[0], "a"), [Shown(image, "b") for image in images[1:6]])]
    rows.append((Shown(images[6], "a"), [Shown(image, "b") for image in images[7:]]))
    page = page_of(tmp_path, rows)
    for place in range(12):
        inside = square(page, place // 6, place % 6)[FRAME:-FRAME, FRAME:-FRAME]
        small = np.asarray(Image.fromarray(inside).resize((105, 105), Image.Resampling.BOX)).astype(float)
        assert np.argmin([np.abs(small - image).mean() for image in images]) == place
