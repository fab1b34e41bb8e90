"""A report names what is missing or damaged in a run, and shows the rest."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from report_page import Page
from report_runs import write

from imettk.tracking.report import write_report

HIT = """{"title": "t", "truth": "t", "legend": "l", "rows": [{"query": {"label": "a", "id": "b", "image": ""},
    "hits": [{"label": "a", "id": "b", "image": "", "similarity": NUMBER, "right": null}]}]}"""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scores.json", None, "scores.json is missing: `imettk validate` writes it"),
        ("scores.json", "{", "is not JSON"),
        ("scores.json", "[1]", "scores.json is damaged"),
        ("scores.json", '{"metric": "F2"}', "scores.json is damaged (KeyError"),
        ("scores.json", '{"folds": {"0": 0.5}, "oof": 0.5}', "scores.json is damaged (KeyError"),
        ("curves.json", '{"threshold": {"scores": 3}}', "curves.json is damaged"),
        ("label_scores.csv", 'label\n"', "label_scores.csv is damaged"),
        ("errors.json", "\x00", "is not JSON"),
        ("errors.json", '{"tiles": 7}', "errors.json is damaged"),
        ("errors.json", '{"rows": 1, "wrong": 1, "confused": [], "tiles": [{"id": 1, "image": "<b>"}]}', "is damaged"),
        ("ranking_worst.json", '{"rows": [{}]}', "ranking_worst.json is damaged"),
        ("ensemble.json", '{"members": {"a": 1}}', "ensemble.json is damaged"),
        ("ranking_worst.json", HIT.replace("NUMBER", '"abc"'), "ranking_worst.json is damaged (ValueError"),
        ("chain.json", '{"jobs": [{"slug": "a"}]}', "chain.json is damaged (KeyError"),
        ("fold0/journal.jsonl", '{"event": "session"}\n', "journal.jsonl line 1 is damaged, it has no time"),
        ("recipe.json", None, "recipe.json is missing"),
        ("recipe.json", '{"nonsense": 1}', "recipe.json"),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_the_rest_is_shown(own_report, no_charts, name, content, message):
    (own_report / name).unlink(missing_ok=True)
    if content is not None:
        (own_report / name).write_text(content)
    faults = write_report([own_report], own_report / "report.html")
    assert any(message in fault for fault in faults), faults
    words = Page(own_report / "report.html").words
    assert "Missing or damaged" in words and message in words
    if not name.startswith("errors"):
        assert "31 of 100 rows" in words
    if name != "label_scores.csv":
        assert "30 of 30 labels" in words
    if name != "curves.json":
        assert "Score against one threshold" in words
    if name != "scores.json":
        assert "0.7200 (95%: 0.7000 to 0.7400)" in words
    if name != "ensemble.json":
        assert "Ensemble (mean)" in words
    assert "Training loss" in words and all(name in fault for fault in faults), faults


def test_a_name_that_is_no_text_does_not_end_the_page(own_report, no_charts):
    errors = json.loads((own_report / "errors.json").read_text())
    errors["tiles"][0]["id"] = "old\udcff.jpg"  # a file name of another encoding, as Python reads it
    write(own_report / "errors.json", errors)
    assert write_report([own_report], own_report / "report.html") == []
    assert "old?.jpg" in Page(own_report / "report.html").words


def test_scores_without_an_interval(own_report, no_charts):
    scores = json.loads((own_report / "scores.json").read_text())
    del scores["interval"]  # as of classes, one a row
    write(own_report / "scores.json", scores)
    assert write_report([own_report], own_report / "report.html") == []
    words = Page(own_report / "report.html").words
    assert "F2 of each fold, and out of fold" in words and "95%" not in words


def test_the_metric_is_called_the_same_wherever_it_stands(own_report, no_charts):
    scores = json.loads((own_report / "scores.json").read_text())
    write(own_report / "scores.json", scores | {"metric": "f_beta", "title": "macro F2"})
    assert write_report([own_report], own_report / "report.html") == []
    words = Page(own_report / "report.html").words
    assert "OOF macro F2" in words and "macro F2 of each fold" in words and "f_beta of" not in words


def test_a_session_without_an_end_may_still_run(reported_run):
    words = Page(reported_run / "report.html").words
    assert "killed or running" in words and re.search(r"killed (?!or running)", words)


def test_an_ensemble_lacks_no_training(own_report, no_charts):
    for fold in range(2):
        shutil.rmtree(own_report / f"fold{fold}")
    assert write_report([own_report], own_report / "report.html") == []
    words = Page(own_report / "report.html").words
    assert "Ensemble (mean)" in words and "folds trained" not in words


def test_a_run_that_has_only_begun(own_report, no_charts):
    for path in own_report.iterdir():
        if path.name not in ("recipe.json", "fold0"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert write_report([own_report], own_report / "report.html") == [
        "scores.json is missing: `imettk validate` writes it"
    ]
    assert "Training loss" in Page(own_report / "report.html").words


def test_journals_and_predictions_of_a_kernel_are_found_in_its_inputs(own_report, no_charts, tmp_path):
    for fold in range(2):
        (tmp_path / f"input{fold}").mkdir()
        shutil.move(own_report / f"fold{fold}", tmp_path / f"input{fold}" / f"fold{fold}")
    (own_report / "ensemble.json").unlink()
    out = own_report / "report.html"
    assert any("journal.jsonl is missing" in fault for fault in write_report([own_report], out))
    assert write_report([own_report], out, inputs=[tmp_path / "input0", tmp_path / "input1"]) == []
