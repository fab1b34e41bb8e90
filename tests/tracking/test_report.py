"""The report page, read by an HTML parser and opened in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_runs import NASTY, make_run, write

from imettk.cli.main import main
from imettk.errors import MissingFileError
from imettk.pictures import charts
from imettk.tracking import report as report_module
from imettk.tracking.journal import read_sessions
from imettk.tracking.report import MOST_BYTES, write_report

HIT = """{"title": "t", "truth": "t", "legend": "l", "rows": [{"query": {"label": "a", "id": "b", "image": ""},
    "hits": [{"label": "a", "id": "b", "image": "", "similarity": NUMBER, "right": null}]}]}"""
NEVER_CLOSED = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; fails where an element is closed that is not open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in NEVER_CLOSED:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in NEVER_CLOSED:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("report") / "run")
    assert write_report([folder], folder / "report.html") == []
    return folder


@pytest.fixture
def copy(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture
def no_charts(monkeypatch):
    """Charts are filled and not drawn, which takes most of the time."""
    monkeypatch.setattr(charts, "_svg", lambda figure, legend_of: "<svg></svg>")


def test_the_page_says_what_the_files_say(run):
    words = Page(run / "report.html").words
    for text in (
        "0.7200 (95%: 0.7000 to 0.7400)", "2 of 3", "31 of 100 rows", "30 of 30 labels", "Test-time augmentation",
        "+0.0050", "Ensemble (mean)", "+0.0100", "Queries and their nearest images", "truth: whale", "0.900",
        "Score against one threshold", "Known and unknown identities", "Sessions, and the pauses",
    ):  # fmt: skip
        assert text in words, text
    assert "Missing or damaged" not in words


def test_it_needs_nothing_but_itself(run):
    page = Page(run / "report.html")
    for tag, name, value in page.attributes:
        if name in ("src", "href", "action") and not (tag == "use" and value.startswith("#")):
            assert value.startswith("data:image/jpeg;base64,"), (tag, name, value[:80])
    assert not {"link", "iframe", "object", "base"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)", (run / "report.html").read_text())
    assert (run / "report.html").stat().st_size < MOST_BYTES


def test_labels_are_text_and_nothing_else(run):
    page = Page(run / "report.html")
    assert page.tags.count("script") == 1
    assert page.words.count(NASTY) >= 4  # in the table, the shares, the errors and the gallery


def test_the_same_run_gives_the_same_page(run, tmp_path):
    write_report([run], tmp_path / "again.html")
    first, again = (
        re.sub(r"report of [-\d: ]+", "", path.read_text()) for path in (run / "report.html", tmp_path / "again.html")
    )
    assert first == again


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scores.json", None, "scores.json is missing: `imettk validate` writes it"),
        ("scores.json", "{", "holds no JSON"),
        ("scores.json", "[1]", "scores.json is damaged"),
        ("scores.json", '{"metric": "F2"}', "scores.json is damaged (KeyError"),
        ("scores.json", '{"folds": {"0": 0.5}, "oof": 0.5}', "scores.json is damaged (KeyError"),
        ("curves.json", '{"threshold": {"scores": 3}}', "curves.json is damaged"),
        ("label_scores.csv", 'label\n"', "label_scores.csv is damaged"),
        ("errors.json", "\x00", "holds no JSON"),
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
def test_what_is_missing_or_damaged_is_named_and_the_rest_is_shown(copy, no_charts, name, content, message):
    (copy / name).unlink(missing_ok=True)
    if content is not None:
        (copy / name).write_text(content)
    faults = write_report([copy], copy / "report.html")
    assert any(message in fault for fault in faults), faults
    words = Page(copy / "report.html").words
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


def test_a_name_that_is_no_text_does_not_end_the_page(copy, no_charts):
    errors = json.loads((copy / "errors.json").read_text())
    errors["tiles"][0]["id"] = "old\udcff.jpg"  # a file name of another encoding, as Python reads it
    write(copy / "errors.json", errors)
    assert write_report([copy], copy / "report.html") == []
    assert "old?.jpg" in Page(copy / "report.html").words


def test_scores_without_an_interval(copy, no_charts):
    scores = json.loads((copy / "scores.json").read_text())
    del scores["interval"]  # as of classes, one a row
    write(copy / "scores.json", scores)
    assert write_report([copy], copy / "report.html") == []
    words = Page(copy / "report.html").words
    assert "F2 of each fold, and out of fold" in words and "95%" not in words


def test_a_session_without_an_end_may_still_run(run):
    words = Page(run / "report.html").words
    assert "killed or running" in words and re.search(r"killed (?!or running)", words)


def test_an_ensemble_lacks_no_training(copy, no_charts):
    for fold in range(2):
        shutil.rmtree(copy / f"fold{fold}")
    assert write_report([copy], copy / "report.html") == []
    words = Page(copy / "report.html").words
    assert "Ensemble (mean)" in words and "folds trained" not in words


def test_a_run_that_has_only_begun(copy, no_charts):
    for path in copy.iterdir():
        if path.name not in ("recipe.json", "fold0"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert write_report([copy], copy / "report.html") == ["scores.json is missing: `imettk validate` writes it"]
    assert "Training loss" in Page(copy / "report.html").words


def test_journals_and_predictions_of_a_kernel_are_found_in_its_inputs(copy, no_charts, tmp_path):
    for fold in range(2):
        (tmp_path / f"input{fold}").mkdir()
        shutil.move(copy / f"fold{fold}", tmp_path / f"input{fold}" / f"fold{fold}")
    (copy / "ensemble.json").unlink()
    out = copy / "report.html"
    assert any("journal.jsonl is missing" in fault for fault in write_report([copy], out))
    assert write_report([copy], out, inputs=[tmp_path / "input0", tmp_path / "input1"]) == []


def test_several_runs_stand_side_by_side_with_what_differs(copy, no_charts, tmp_path):
    other = make_run(tmp_path / "other")
    recipe = json.loads((other / "recipe.json").read_text())
    recipe["train"]["seed"] = 77
    write(other / "recipe.json", recipe)
    (other / "errors.json").unlink()
    assert write_report([copy, other], tmp_path / "page.html") == []
    words = Page(tmp_path / "page.html").words
    assert "Side by side" in words and "train.seed: 0 -> 77" in words
    assert words.count("31 of 100 rows") == 1 and words.count("30 of 30 labels") == 2
    (other / "recipe.json").unlink()
    write_report([copy, other], tmp_path / "page.html")
    words = Page(tmp_path / "page.html").words
    assert "its recipe cannot be read" in words and "The recipes are the same" not in words


def test_a_page_that_would_be_too_large_loses_pictures_and_says_so(copy, monkeypatch):
    monkeypatch.setattr(report_module, "MOST_BYTES", (copy / "report.html").stat().st_size - 20_000)
    write_report([copy], copy / "small.html")
    assert (copy / "small.html").stat().st_size < report_module.MOST_BYTES
    assert "pictures were left out" in Page(copy / "small.html").words
    assert "pictures were left out" not in Page(copy / "report.html").words


def test_the_command_writes_one_page_for_one_run_and_another_for_several(copy, no_charts, tmp_path, capsys):
    own = (copy / "report.html").read_bytes()
    main(["report", str(copy), str(make_run(tmp_path / "other"))])
    assert (copy / "report.html").read_bytes() == own and "Side by side" in Page(copy / "side_by_side.html").words
    assert f"{copy / 'side_by_side.html'}: open it" in capsys.readouterr().out
    (copy / "report.html").unlink()
    main(["report", str(copy)])
    assert (copy / "report.html").is_file()


def test_what_is_no_run_is_one_line(tmp_path, capsys):
    with pytest.raises(MissingFileError, match="is no folder"):
        write_report([tmp_path / "none"], tmp_path / "page.html")
    with pytest.raises(SystemExit) as caught:
        main(["report", str(tmp_path)])
    assert caught.value.code == 2 and "holds no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "."], "--out . is a folder: give a file, such as report.html"),
        (["--out", "{run}/recipe.json/page.html"], "page.html cannot be written"),
        (["{run}", "--inputs", "{run}"], "--inputs hold files of one RUN_DIR"),
    ],
)
def test_a_page_that_cannot_be_is_one_line(copy, no_charts, capsys, more, message):
    with pytest.raises(SystemExit) as caught:
        main(["report", str(copy), *(word.format(run=copy) for word in more)])
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_sessions_with_their_ends(run):
    killed, again = read_sessions(run / "fold0" / "journal.jsonl")
    assert (killed.state, again.state) == ("killed", "killed")
    assert [one.state for one in read_sessions(run / "fold1" / "journal.jsonl")] == ["paused", "done"]
    assert killed.start == 5000 and killed.end == 7200 and again.start == 12200
