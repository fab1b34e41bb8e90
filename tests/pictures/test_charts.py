"""Charts are valid SVG in the page's colours, with every label as text and a description for screen readers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from report_page import texts

from imettk.pictures.charts import (
    MOST_POINTS,
    Line,
    Span,
    draw_histograms,
    draw_lines,
    draw_scores,
    draw_shares,
    draw_time_line,
    thin,
    time_unit,
)

NASTY = 'a <b> & "c" $x_1$'


@pytest.fixture(scope="module")
def charts() -> dict[str, str]:
    return {
        "lines": draw_lines([Line(NASTY, [1, 2], [3, 4]), Line("one", [1], [2])], x=NASTY, y="y", marks=[1.5]),
        "log": draw_lines([Line("a", [1, 2], [1e-3, 1e-1])], x="step", y="lr", log=True),
        "time": draw_time_line({NASTY: [Span(0, 1, "killed"), Span(2, 3, "done")], "b": [Span(1, 1, "paused")]}),
        "scores": draw_scores([NASTY, "OOF"], [0.5, 0.61234], [None, (0.6, 0.7)]),
        "shares": draw_shares([NASTY, "zero"], {"true": np.array([10.0, 0]), "said": np.array([8.0, 0])}),
        "histograms": draw_histograms([0, 1, 2], {"known": [1, 2], "unknown": [0, 0]}, x=NASTY, marks=[0.7]),
    }


def test_they_are_elements_without_a_size_or_colours_of_their_own(charts):
    for name, svg in charts.items():
        root = ElementTree.fromstring(svg)
        assert "viewBox" in root.attrib and not {"width", "height"} & set(root.attrib), name
        colours = set(re.findall(r"#[0-9a-f]{6}", svg))
        assert not colours, (name, colours)
        assert "var(--c0)" in svg and "currentColor" in svg and "<style" not in svg and "<metadata" not in svg


def test_they_are_described_for_those_who_cannot_see_them(charts):
    alts = {name: ElementTree.fromstring(svg).attrib["aria-label"] for name, svg in charts.items()}
    assert alts["lines"] == f"y over {NASTY}: {NASTY} from 3 to 4; one from 2 to 2."
    assert alts["time"] == f"Sessions over 3 seconds: {NASTY} killed, done; b paused."
    assert alts["scores"] == f"Scores: {NASTY} 0.5000; OOF 0.6123."
    assert alts["shares"] == f"Rows of each label: {NASTY} 10 true, 8 said; zero 0 true, 0 said."
    assert "3 known, most often from 1 to 2" in alts["histograms"]
    many = draw_lines([Line(f"fold {number}", [1, 2], [3, 4]) for number in range(50)], x="step", y="loss")
    assert "fold 11 from 3 to 4; and 38 more" in many


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [(0, "seconds"), (119, "seconds"), (120, "minutes"), (7199, "minutes"), (7200, "hours"), (200_000, "days")],
)
def test_a_time_line_has_the_unit_that_fits(seconds, unit):
    assert time_unit(seconds)[0] == unit
    svg = draw_time_line({"a": [Span(0, seconds, "done")]})
    assert f"{unit} since the start" in texts(svg)


def test_steps_are_whole_and_no_axis_takes_a_factor_out():
    lines = [Line("a", [10, 20, 30], [0.9971, 0.9975, 0.9979])]
    words = texts(draw_lines(lines, x="step", y="score", whole=True))
    assert "10" in words and not any("." in word for word in words if not word.startswith("0.99"))
    assert "0.9972" in words and not any("e" in word for word in words if word[0].isdigit())
    words = texts(draw_lines([Line("a", [0, 20_000], [1, 2])], x="step", y="score", whole=True))
    assert "20,000" in words


def test_names_within_them_are_used_and_unique(charts):
    for svg in charts.values():
        names = re.findall(r' id="([^"]+)"', svg)
        assert len(names) == len(set(names)) and all(f"#{name}" in svg for name in names)


def test_labels_are_text_as_they_are(charts):
    for name in ("lines", "time", "scores", "shares", "histograms"):
        assert NASTY in texts(charts[name]), name
    assert "0.6123" in texts(charts["scores"])
    assert "0.001" in texts(charts["log"]) and not any("math" in text for text in texts(charts["log"]))
    assert {"killed", "done", "paused"} <= set(texts(charts["time"]))


def test_labels_of_any_alphabet_and_a_constant_rate_are_drawn_in_silence():
    names = ["鯨の尾", "🐋", "العربية", "\u0e27\u0e32\u0e2c"]
    assert set(names) <= set(texts(draw_shares(names, {"true": np.arange(4.0)})))
    rate = draw_lines([Line("a", [1, 2], [1e-3, 1e-3]), Line("b", [1, 2], [1e-3, 1e-3])], x="step", y="lr", log=True)
    assert "lr" in texts(rate)


def test_many_lines_keep_their_place_beside_the_legend():
    """Twelve folds are told apart by strokes; of fifty, which no legend could tell apart, there is none."""
    few, many = (
        draw_lines([Line(f"fold {number}", [1, 2], [number, 1]) for number in range(count)], x="step", y="loss")
        for count in (12, 50)
    )
    assert {f"fold {number}" for number in range(12)} <= set(texts(few)) and "stroke-dasharray" in few
    assert not any(text.startswith("fold") for text in texts(many))


def test_long_lines_are_means_of_neighbours_and_keep_their_end():
    x, y = np.arange(10_000), np.sin(np.arange(10_000) / 500)
    across, up = thin(x, y)
    assert len(across) == MOST_POINTS and (across[-1], up[-1]) == (x[-1], y[-1])
    assert (np.diff(across) > 0).all() and np.abs(up - np.sin(across / 500)).max() < 0.01
    assert thin([1, 2], [3, 4])[1].tolist() == [3, 4]
