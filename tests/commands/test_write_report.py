"""`imettk report` writes separate pages for one run and for several, or refuses in one line."""

from __future__ import annotations

import pytest
from report_page import Page
from report_runs import make_run

from imettk.cli.main import main
from imettk.errors import MissingFileError
from imettk.tracking.report import write_report


def test_the_command_writes_one_page_for_one_run_and_another_for_several(own_report, no_charts, tmp_path, capsys):
    own = (own_report / "report.html").read_bytes()
    main(["report", str(own_report), str(make_run(tmp_path / "other"))])
    assert (own_report / "report.html").read_bytes() == own
    assert "Side by side" in Page(own_report / "side_by_side.html").words
    assert f"{own_report / 'side_by_side.html'}: open it" in capsys.readouterr().out
    (own_report / "report.html").unlink()
    main(["report", str(own_report)])
    assert (own_report / "report.html").is_file()


def test_what_is_no_run_is_one_line(tmp_path, capsys):
    with pytest.raises(MissingFileError, match="is not a folder"):
        write_report([tmp_path / "none"], tmp_path / "page.html")
    with pytest.raises(SystemExit) as caught:
        main(["report", str(tmp_path)])
    assert caught.value.code == 2 and "holds no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "."], "--out . is a folder: give a file, such as report.html"),
        (["--out", "{run}/recipe.json/page.html"], "page.html cannot be written"),
        (["{run}", "--inputs", "{run}"], "--inputs adds files to a single RUN_DIR"),
    ],
)
def test_a_page_that_cannot_be_is_one_line(own_report, no_charts, capsys, more, message):
    with pytest.raises(SystemExit) as caught:
        main(["report", str(own_report), *(word.format(run=own_report) for word in more)])
    assert caught.value.code == 2 and message in capsys.readouterr().err
