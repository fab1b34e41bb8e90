"""Charts of answers and probabilities are SVG in the page's colours, with text and positions that fit the values."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from report_page import texts

from imettk.pictures.answer_charts import draw_calibration, draw_confusion, draw_curves
from imettk.pictures.charts import Line

NASTY = 'a <b> & "c" $x_1$'
HALF = np.linspace(0, 1, 50)
ALT = f"Area of {NASTY}: 0.5"
COUNTS = np.array([[995, 3, 2], [0, 0, 0], [30, 70, 0]])


@pytest.fixture(scope="module")
def charts() -> dict[str, str]:
    lines = [Line(f"{NASTY} {number}", HALF, HALF**number) for number in range(1, 7)]
    more = {"x": "recall", "y": "precision", "alt": ALT}
    return {
        "curves": draw_curves(lines, mean=Line("mean", HALF, HALF), chance=(0, 1), **more),
        "curve": draw_curves(lines[:1], mean=None, chance=None, **more),
        "calibration": draw_calibration([0.1, 0.7], [0.2, 0.6], [500, 400], alt=ALT),
        "confusion": draw_confusion([NASTY, "b", "c"], COUNTS, alt=ALT),
        "large": draw_confusion([f"a long class {number:02}" for number in range(25)], np.eye(25, dtype=int), alt=ALT),
    }


def test_they_are_elements_with_words_in_the_colours_of_the_page(charts):
    for name, svg in charts.items():
        root = ElementTree.fromstring(svg)
        assert root.attrib["aria-label"] == ALT and root.attrib["role"] == "img", name
        assert not re.findall(r"#[0-9a-f]{6}", svg), name
        names = re.findall(r' id="([^"]+)"', svg)
        assert len(names) == len(set(names)) and all(f"#{name}" in svg for name in names)


def test_every_curve_has_a_colour_and_a_stroke_of_its_own(charts):
    curves = re.findall(r'style="fill: none; (stroke-dasharray: [^;]+)?[^"]*stroke: (var\(--c\d\))', charts["curves"])
    assert len({colour for _, colour in curves}) == 6
    strokes = {colour: dashes for dashes, colour in curves}
    for first, second in (("0", "1"), ("3", "5"), ("2", "4")):  # those of one stroke
        assert strokes[f"var(--c{first})"] == strokes[f"var(--c{second})"]
    assert len(set(strokes.values())) == 3
    assert {f"{NASTY} {number}" for number in range(1, 7)} | {"mean"} <= set(texts(charts["curves"]))
    assert not any(NASTY in text for text in texts(charts["curve"]))  # the caption names a single one


def test_a_cell_has_its_rows_and_their_share_and_an_empty_one_nothing(charts):
    words = texts(charts["confusion"])
    assert {"995", "30", "70", "30%", "70%", NASTY, "true class", "answered class"} <= set(words)
    assert words.count("<1%") == 2 and ">99%" in words and "0" not in words and "100%" not in words
    cells = re.findall(r'style="fill: (var\(--c\d\)); opacity: ([\d.]+)', charts["confusion"])
    assert sorted(colour for colour, _ in cells) == ["var(--c0)"] + ["var(--c1)"] * 4
    shares = [0.995, 0.003, 0.002, 0.3, 0.7]
    assert [float(opacity) for _, opacity in cells] == pytest.approx([share**0.7 for share in shares], abs=1e-4)


def test_a_large_matrix_is_as_wide_as_it_needs_and_names_do_not_overlap(charts):
    assert "style" not in ElementTree.fromstring(charts["confusion"]).attrib
    root = ElementTree.fromstring(charts["large"])
    assert re.fullmatch(r"max-width: \d+rem; min-width: \d+rem", root.attrib["style"])
    wide = float(root.attrib["viewBox"].split()[2])
    assert wide > 25 * 0.42 * 72
    upright = [
        text for text in root.iter() if (text.text or "").startswith("a long class") and "-90" in str(text.attrib)
    ]
    assert len(upright) == 25


def test_the_dots_of_a_calibration_are_where_its_bins_are():
    svg = draw_calibration([0, 0.5, 1], [0, 0.25, 1], [500, 400, 500], alt=ALT)
    places = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*var\(--c0\)', svg)
    (left, low), (middle, quarter), (right, high) = [tuple(map(float, place)) for place in places[:3]]
    assert (middle - left) / (right - left) == pytest.approx(0.5, abs=1e-3) and left < right
    assert (low - quarter) / (low - high) == pytest.approx(0.25, abs=1e-3) and high < low  # an SVG's y goes down
    assert {"count", "probability", "share that is true"} <= set(texts(svg))
