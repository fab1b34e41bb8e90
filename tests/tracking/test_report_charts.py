"""Captions and alternative texts of charts; runs of earlier versions have no such charts."""

from __future__ import annotations

import json
import re

import pytest
from report_page import Page
from report_runs import NASTY, calibration, confusion, label_curves, write

from imettk.tracking.report import write_report
from imettk.tracking.report_charts import confusion_chart, probability_charts


def alts(charts: list[tuple[str, str]]) -> list[str]:
    return [re.search(r'aria-label="([^"]+)"', svg)[1] for _, svg in charts]


def test_captions_and_alternative_texts_say_what_is_shown():
    curves = {"probabilities": label_curves(), "calibration": calibration()}
    charts = probability_charts(curves, "OOF log loss 0.4000")
    roc, precision, trust = (caption for caption, _ in charts)
    assert roc == (
        "ROC curves of 7 labels: mean area 0.7500; OOF log loss 0.4000. Shown: the 3 labels with the largest ROC area "
        "and the 3 with the smallest. 2 more have no curve: all of their rows are true, or all are false."
    )
    assert precision.startswith("Precision-recall curves of 7 labels: mean area (average precision) 0.5000;")
    assert f"the probability of {NASTY}: expected calibration error 0.1000, in 2 bins of 50 rows" in trust
    first, _, last = alts(charts)
    assert "pale 0.750" in first and "0.10 0.20, 0.80 0.70" in last


def test_a_single_curve_is_named_in_its_caption():
    content = label_curves()
    one = content | {"lines": content["lines"][1:2], "mean": None, "labels": 1, "left_out": 0, "some": False}
    charts = probability_charts({"probabilities": one}, "")
    assert [caption for caption, _ in charts] == [
        "ROC curve of pale (5 of 100 rows): area 0.7500.",
        "Precision-recall curve of pale (5 of 100 rows): area (average precision) 0.5000.",
    ]


@pytest.mark.parametrize("num_classes", [2, 12, 25])
def test_a_matrix_says_how_many_are_right_and_what_is_confused_most(num_classes):
    caption, svg = confusion_chart({"confusion": confusion(num_classes)})
    assert f"{8 * num_classes} of {10 * num_classes + 1} rows are answered correctly" in caption
    assert "as class 1 3" in alts([(caption, svg)])[0]


def test_many_classes_have_no_matrix():
    assert confusion_chart({"confusion": {"pairs": [{"truth": "a", "answer": "b", "rows": 3}]}}) is None


def test_the_page_shows_them_and_does_without(own_report, no_charts):
    words = Page(own_report / "report.html").words
    for text in ("ROC curves of 7 labels", "Precision-recall", "Calibration of", "Confusion matrix", "OOF F2 0.7200."):
        assert text in words
    curves = json.loads((own_report / "curves.json").read_text())
    write(own_report / "curves.json", {name: curves[name] for name in ("threshold", "unknown")})
    assert write_report([own_report], own_report / "report.html") == []
    words = Page(own_report / "report.html").words
    assert "Score against one threshold" in words and "confused most often" in words
    for text in ("ROC curve", "Calibration", "Confusion matrix", "Probabilities"):
        assert text not in words
    write(own_report / "curves.json", {"probabilities": None, "confusion": None})
    assert write_report([own_report], own_report / "report.html") == []


@pytest.mark.parametrize("key", ["probabilities", "calibration", "confusion"])
def test_a_damaged_part_is_named_and_the_rest_is_shown(own_report, no_charts, key):
    curves = json.loads((own_report / "curves.json").read_text())
    write(own_report / "curves.json", curves | {key: {"lines": 3, "counts": [["a"]]}})
    (fault,) = write_report([own_report], own_report / "report.html")
    assert "curves.json is damaged" in fault
    words = Page(own_report / "report.html").words
    assert "Score against one threshold" in words and ("Confusion matrix" in words) is (key != "confusion")
