"""`imettk log` imports runs, compares them and refuses bad input in one line."""

from __future__ import annotations

import copy
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from logged_runs import make_run
from tiny import code_of

from imettk.cli.log import compare, import_runs, table
from imettk.cli.main import main
from imettk.errors import UserError
from imettk.evaluation.paired import keep_judged
from imettk.tracking.ledger import find_entry, open_ledger
from imettk.tracking.run_dir import RunDir
from imettk.tracking.summary import summarise, write_fact

# MLflow's, about SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "100%", "a b", "ä€\U0001f600", "a&b=c", "file:x"])
def test_a_store_of_any_name(name, empty_store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    folder = make_run(tmp_path / "run")
    store = Path(shutil.copytree(empty_store, tmp_path / "stores" / name / "log"))
    before = (store / "mlflow.db").read_bytes()
    for words in (["import", str(folder)], []):
        main(["log", "--store", f"stores/{name}/log", *words])
        assert "digits" in capsys.readouterr().out
    assert (store / "mlflow.db").read_bytes() != before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "stores", "temporary"}
    assert not list((tmp_path / "temporary").iterdir())
    assert [path.name for path in (tmp_path / "stores").iterdir()] == [name]


def test_a_store_that_cannot_be_written_is_one_line(store, tmp_path, monkeypatch, capsys):
    folder = make_run(tmp_path / "run")
    connection = sqlite3.connect(store / "mlflow.db")
    connection.execute("create trigger full before insert on runs begin select raise(fail, 'disk I/O error'); end")
    connection.commit()
    connection.close()
    with pytest.raises(SystemExit) as ending:
        main(["log", "--store", str(store), "import", str(folder)])
    line = capsys.readouterr().err
    assert ending.value.code == 1 and line.count("\n") == 1
    assert line.startswith(f"imettk: {store / 'mlflow.db'} cannot be read or written (") and "disk I/O error" in line


def test_the_table_and_what_differs(store, tmp_path, capsys):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", started=5000.0, rule__kind="share")
    write_fact(first, "note", text="a note that goes on and on and on and on")
    import_runs([first, second], store)
    with open_ledger(store) as ledger:
        entries = ledger.entries()
    lines = table(entries).splitlines()
    assert [line.split()[0] for line in lines] == ["run", entries[0].name, entries[1].name]
    assert "digits" in lines[1] and "2/3" in lines[1] and "a note that goes" in lines[1]
    assert all(len(line) <= 130 for line in lines)
    text = compare(*entries).splitlines()
    assert [line.split() for line in text if line.startswith("rule")] == [["rule.kind", "group_thresholds", "share"]]
    assert find_entry(entries, entries[0].name[:5]) is entries[0]
    with pytest.raises(UserError, match="several runs have names that begin with ''"):
        find_entry(entries, "")
    with pytest.raises(UserError, match="no run has a name that begins with 'zz'"):
        find_entry(entries, "zz")


def test_scores_are_compared_row_by_row_once_both_runs_are_validated(store, tmp_path, capsys):
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", started=5000.0, rule__kind="share")]
    import_runs(folders, store)
    with open_ledger(store) as ledger:
        names = [entry.name for entry in ledger.entries()]
    main(["log", "--store", str(store), "compare", *names])
    assert "paired" not in capsys.readouterr().out
    for folder in folders:
        (folder / "scores.json").write_text(json.dumps({"metric": "f_beta", "oof": 0.75}))
    import_runs(folders, store)
    main(["log", "--store", str(store), "compare", *names])
    assert "note: no paired comparison: " in capsys.readouterr().out  # nobody kept what was judged
    for folder in folders:
        answers = np.eye(40, 3, dtype=bool)
        keep_judged(
            RunDir(folder), np.arange(40).astype(str), answers, answers.astype(np.uint8), groups=None, labels=()
        )
    main(["log", "--store", str(store), "compare", *names])
    text = capsys.readouterr().out
    assert "on the 40 rows that both validated" in text and "does not stand out from the noise" in text


def test_the_command(store, tmp_path, capsys):
    folder = make_run(tmp_path / "run")
    (folder / "scores.json").write_text(json.dumps({"metric": "F2", "oof": 0.75, "interval": [0.7, 0.8]}))
    main(["log", "--store", str(store), "import", str(folder)])
    main(["log", "--store", str(store), "lb", str(folder), "0.70"])
    main(["log", "--store", str(store), "note", str(folder), "first"])
    capsys.readouterr()
    main(["log", "--store", str(store), "--plot", str(tmp_path / "lb.png")])
    line = capsys.readouterr().out.splitlines()[1]
    assert "0.7500" in line and "0.7000 0.8000" in line and line.endswith("first")
    assert (tmp_path / "lb.png").stat().st_size > 5000
    with pytest.raises(SystemExit):
        main(["log", "--store", str(tmp_path / "none")])
    assert "holds no log yet" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


JUNK = (None, "x", [], {}, -1.5, True, 10**30, "gone")
FILES = {
    "scores.json": {"metric": "F2", "oof": 0.75, "test": 0.7, "interval": [0.7, 0.8], "folds": {"0": 0.74}},
    "chain.json": {
        "pack": "0123",
        "jobs": [{"slug": "a-b", "version": 3, "state": "done", "gpu": True, "seconds": 7200.0}],
    },
    "ledger.jsonl": {"time": 1.0, "event": "lb", "public": 0.7, "private": 0.6},
    "fold0/journal.jsonl": {"time": 1000.0, "event": "session", "step": 0, "num_steps": 40, "code": "aaaa"},
    "fold1/journal.jsonl": {"time": 2050.0, "event": "train", "step": 45, "loss": 0.5, "lr": 0.1},
}


def damaged(value: object) -> Iterator[object]:
    """Yield copies of a value in which each part, or the whole, is replaced by junk or removed."""
    parts = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for part in parts:
        for other in (*JUNK, *damaged(value[part])):
            copied = copy.deepcopy(value)
            if other == "gone":
                del copied[part]
            else:
                copied[part] = other
            yield copied


@pytest.mark.parametrize("name", FILES)
def test_whatever_is_wrong_in_a_file_is_one_line_or_no_harm(name, store, tmp_path, capsys):
    """Each value of each file of a run is replaced by each kind of junk: the log takes the run, or says what is
    wrong."""
    run = make_run(tmp_path / "run")
    (run / "fold0").mkdir(exist_ok=True)
    path, content = run / name, FILES[name]
    before = path.read_text() if path.exists() else ""
    refused, tries = 0, [*JUNK[:-1], *damaged(content), content]
    with open_ledger(store) as ledger:
        for wrong in tries:
            line = json.dumps(wrong) + "\n"
            # The last line of facts may be cut by a kill, so one more follows.
            path.write_text(before + line + (line if name == "ledger.jsonl" else ""))
            try:
                ledger.take(summarise(run))
            except UserError as error:
                refused += 1
                assert "\n" not in str(error) and name in str(error).replace("run folder", ""), wrong
    assert 10 < refused < len(tries)
    path.write_text(before + "123\n123\n" + before)
    with pytest.raises(SystemExit) as ending:
        main(["log", "--store", str(store), "import", str(run)])
    assert ending.value.code == 2 and f"{name}" in capsys.readouterr().err


@pytest.mark.parametrize("scores", [["nan"], ["inf"], ["0.5", "-inf"], ["x"]])
def test_what_is_no_score_does_not_come_into_the_log(scores, tmp_path, capsys):
    assert code_of("log", "lb", str(tmp_path), "--", *scores) == 2
    assert "invalid score value" in capsys.readouterr().err and not list(tmp_path.iterdir())
