"""The report page, read by an HTML parser."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from report_page import Page
from report_runs import NASTY, make_run, write

from imettk.errors import MismatchError
from imettk.metrics.paired import PairedScores
from imettk.tracking import report as report_module
from imettk.tracking.report import MOST_BYTES, write_report


def test_the_page_says_what_the_files_say(reported_run):
    words = Page(reported_run / "report.html").words
    for text in (
        "0.7200 (95%: 0.7000 to 0.7400)", "2 of 3", "31 of 100 rows", "30 of 30 labels", "Test-time augmentation",
        "+0.0050", "Ensemble (mean)", "+0.0100", "Queries and their nearest images", "truth: whale", "0.900",
        "Score against one threshold", "Known and unknown identities", "Sessions, and the pauses",
    ):  # fmt: skip
        assert text in words, text
    assert "Missing or damaged" not in words


def test_it_needs_nothing_but_itself(reported_run):
    page = Page(reported_run / "report.html")
    for tag, name, value in page.attributes:
        if name in ("src", "href", "action") and not (tag in ("use", "a") and value.startswith("#")):
            assert value.startswith("data:image/jpeg;base64,"), (tag, name, value[:80])
    assert not {"link", "iframe", "object", "base"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)", (reported_run / "report.html").read_text())
    assert (reported_run / "report.html").stat().st_size < MOST_BYTES


def test_labels_are_text_and_nothing_else(reported_run):
    page = Page(reported_run / "report.html")
    assert page.tags.count("script") == 1
    assert page.words.count(NASTY) >= 4  # in the table, the shares, the errors and the gallery


def test_the_same_run_gives_the_same_page(reported_run, tmp_path):
    write_report([reported_run], tmp_path / "again.html")
    first, again = (
        re.sub(r"report of [-\d: ]+", "", path.read_text())
        for path in (reported_run / "report.html", tmp_path / "again.html")
    )
    assert first == again


def test_several_runs_stand_side_by_side_with_what_differs(own_report, no_charts, tmp_path):
    other = make_run(tmp_path / "other")
    recipe = json.loads((other / "recipe.json").read_text())
    recipe["train"]["seed"] = 77
    write(other / "recipe.json", recipe)
    (other / "errors.json").unlink()
    assert write_report([own_report, other], tmp_path / "page.html") == []
    words = Page(tmp_path / "page.html").words
    assert "Side by side" in words and "train.seed: 0 -> 77" in words
    assert words.count("31 of 100 rows") == 1 and words.count("30 of 30 labels") == 2
    assert "Both runs are scored on the same bootstrap samples" not in words
    (other / "recipe.json").unlink()
    write_report([own_report, other], tmp_path / "page.html")
    words = Page(tmp_path / "page.html").words
    assert "its recipe cannot be read" in words and "The recipes are the same" not in words


def test_differences_of_scores_are_judged_or_the_reason_is_given(own_report, no_charts, tmp_path):
    others = [make_run(tmp_path / name) for name in ("better", "same", "other")]
    plain = PairedScores("F2", True, 0.7, 0.72, 0.01, 0.03, 1234, 1000)

    def compare(first, second):
        assert first == own_report
        if second.name == "other":
            raise MismatchError("other <labels>")
        return plain if second.name == "better" else replace(plain, low=-0.01)

    write_report([own_report, *others], tmp_path / "page.html", compare=compare)
    words = Page(tmp_path / "page.html").words
    assert words.count("Difference +0.0200") == words.count("1,234 rows") == 2
    for text in (
        "Both runs are scored on the same bootstrap samples",
        "+0.0100 to +0.0300", "This run is better: the interval excludes 0.",
        "The difference does not stand out from the noise.", "Not compared: other <labels>",
    ):  # fmt: skip
        assert words.count(text) == 1, text


def test_errors_show_what_differs_and_fold_what_is_right(reported_run):
    words = Page(reported_run / "report.html").words
    assert f"missed: {NASTY} 0.02" in words and "wrongly answered: boat 0.70 and 3 more" in words
    assert "3 right whale 0.90 , sea 0.80 and 1 more" in words


def test_a_metric_and_a_column_are_explained(reported_run):
    words = Page(reported_run / "report.html").words
    assert "Weighs precision against recall" in words and "share of the chosen rows that have the label" in words


def test_a_page_that_would_be_too_large_loses_pictures_and_says_so(own_report, monkeypatch):
    monkeypatch.setattr(report_module, "MOST_BYTES", (own_report / "report.html").stat().st_size - 20_000)
    write_report([own_report], own_report / "small.html")
    assert (own_report / "small.html").stat().st_size < report_module.MOST_BYTES
    assert "pictures were left out" in Page(own_report / "small.html").words
    assert "pictures were left out" not in Page(own_report / "report.html").words
