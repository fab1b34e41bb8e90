"""The log of all runs, read back by MLflow's own client."""

from __future__ import annotations

import copy
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imettk.cli.log import compare, import_runs, table
from imettk.cli.main import main
from imettk.config import to_json
from imettk.errors import BusyError, DataError, MismatchError, UserError
from imettk.recipes import load_recipe
from imettk.tracking.ledger import Ledger, find_entry, open_ledger
from imettk.tracking.summary import read_facts, summarise, write_fact

# MLflow's, about SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def make_run(folder: Path, *, folds: tuple[int, ...] = (0, 1), started: float = 1000.0, **fields: object) -> Path:
    """A run folder as the stages leave it: each fold with two sessions, the first one killed beyond its checkpoint."""
    recipe = json.loads(to_json(load_recipe("digits")))
    for name, value in fields.items():
        section, _, leaf = name.partition("__")
        recipe[section][leaf] = value
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    for fold in folds:
        lines = [
            (0, "session", {"step": 0, "num_steps": 40, "code": "aaaa0000"}),
            (10, "train", {"step": 10, "loss": 0.5, "lr": 0.1}),
            (20, "train", {"step": 20, "loss": 0.4, "lr": 0.1}),
            (30, "train", {"step": 30, "loss": 0.3, "lr": 0.1}),
            (100, "session", {"step": 20, "num_steps": 40, "code": "bbbb1111"}),
            (110, "train", {"step": 30, "loss": 0.3, "lr": 0.1}),
            (120, "train", {"step": 40, "loss": 0.25, "lr": None}),
            (130, "validate", {"step": 40, "loss": 0.6, "score": 0.7 + fold / 10}),
            (136, "done", {"step": 40}),
        ]
        (folder / f"fold{fold}").mkdir()
        with (folder / f"fold{fold}" / "journal.jsonl").open("w") as file:
            for time, event, values in lines:
                file.write(json.dumps({"time": started + 1000 * fold + time, "event": event, **values}) + "\n")
    return folder


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs: making its tables takes MLflow seconds."""
    folder = tmp_path_factory.mktemp("log") / "store"
    with open_ledger(folder):
        pass
    return folder


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(empty, tmp_path / "store"))


def take(store: Path, *folders: Path) -> list[str]:
    with open_ledger(store) as ledger:
        return [ledger.take(summarise(folder)) for folder in folders]


def client_of(store: Path):
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{store / 'mlflow.db'}")


def content_of(store: Path) -> list[tuple]:
    """Everything in the store, as MLflow itself gives it."""
    client = client_of(store)
    (experiment,) = [one for one in client.search_experiments() if one.name == "imettk"]
    found = []
    for run in client.search_runs([experiment.experiment_id]):
        points = {
            name: [(one.timestamp, one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.user")}
        found.append((run.info.run_name, run.info.start_time, dict(run.data.params), tags, points))
    return sorted(found, key=lambda one: one[1])


def test_what_a_run_folder_says(tmp_path):
    run = summarise(make_run(tmp_path / "run"))
    fold = run.folds[0]
    assert (fold.sessions, fold.step, fold.num_steps, fold.started) == (2, 40, 40, 1000.0)
    assert fold.hours == pytest.approx((20 + 36) / 3600)  # what was done again after the kill counts once
    assert fold.codes == ("aaaa0000", "bbbb1111")
    assert [step for _, step, _ in fold.curves["train/loss"]] == [10, 20, 30, 40]
    assert [step for _, step, _ in fold.curves["train/lr"]] == [10, 20, 30]


def test_curves_scores_and_recipe_are_there_for_mlflows_own_page(store, tmp_path):
    folder = make_run(tmp_path / "run")
    (folder / "scores.json").write_text(
        json.dumps({"metric": "F2", "oof": 0.75, "interval": [0.7, 0.8], "folds": {"0": 0.74, "1": 0.76}})
    )
    jobs = [
        {"slug": "imettk-digits-f0-s1", "version": 3, "state": "done", "gpu": True, "seconds": 7200.0},
        {"slug": "imettk-digits-f1-s1", "version": 1, "state": "failed", "gpu": True, "seconds": 1800.0},
        {"slug": "imettk-digits-f1-s2", "version": 1, "state": "failed, tried again", "gpu": False, "seconds": 0.0},
        {"slug": "imettk-digits-f1-s3", "version": 0, "state": "pushing", "gpu": True, "seconds": 0.0},
    ]
    (folder / "chain.json").write_text(json.dumps({"pack": "0123456789abcdef", "jobs": jobs}))
    write_fact(folder, "lb", public=0.71, private=None)
    write_fact(folder, "note", text="warm restarts")
    assert take(store, folder) == ["new"]
    ((name, started, params, tags, points),) = content_of(store)
    assert (name, started) == ("digits", 1_000_000)
    assert params["model.backbone"] == "timm:test_resnet" and params["stages.0.num_epochs"] == "11.0"
    assert tags["recipe.rule.kind"] == "group_thresholds" and tags["imettk.note"] == "warm restarts"
    assert tags["imettk.pack"] == "0123456789abcdef" and tags["imettk.kernels"] == "imettk-digits-f0-s1/3"
    assert tags["imettk.code"] == "aaaa0000 bbbb1111"
    assert points["fold0/train/loss"] == [
        (1010000, 10, 0.5), (1020000, 20, 0.4), (1110000, 30, 0.3), (1120000, 40, 0.25),
    ]  # fmt: skip
    last = {name: values[-1][2] for name, values in points.items()}
    assert last["fold1/validate/score"] == 0.7 + 0.1 and last["oof"] == 0.75 and last["lb_public"] == 0.71
    assert last["gpu_hours"] == 2.5 and last["sessions"] == 4 and last["folds_done"] == 2
    assert "lb_private" not in last


def test_any_number_of_imports_makes_no_doubles(store, tmp_path):
    folder = make_run(tmp_path / "run")
    assert take(store, folder, folder) == ["new", "nothing new"]
    once = content_of(store)
    shutil.copytree(folder, tmp_path / "copy")
    assert take(store, tmp_path / "copy") in (["nothing new"], ["more"])  # its place is another
    assert [one[4] for one in content_of(store)] == [one[4] for one in once] and len(once) == 1


def test_a_run_that_goes_on_is_the_same_run(store, tmp_path):
    folder = make_run(tmp_path / "run", folds=(0,))
    path = folder / "fold0" / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    shutil.copytree(folder, tmp_path / "old")
    assert take(store, folder) == ["new"]
    path.write_bytes(whole)
    assert take(store, folder, folder) == ["more", "nothing new"]
    ((*_, points),) = content_of(store)
    assert [step for _, step, _ in points["fold0/train/loss"]] == [10, 20, 30, 40]
    before = content_of(store)
    assert take(store, tmp_path / "old") == ["nothing new"]  # an older copy
    assert content_of(store) == before
    make_run(tmp_path / "more")
    shutil.copytree(tmp_path / "more" / "fold1", folder / "fold1")
    assert take(store, folder) == ["more"] and len(content_of(store)) == 1


def test_a_run_taken_in_before_its_training_is_the_same_run_afterwards(store, empty, tmp_path):
    """As a chain does, which looks at its run when it has only been prepared."""
    other = make_run(tmp_path / "other", folds=())
    run = make_run(tmp_path / "run", folds=())
    assert take(store, other, run) == ["new", "new"]
    shutil.rmtree(run)
    make_run(run, folds=(0,))
    assert take(store, run, run) == ["more", "nothing new"]
    shutil.rmtree(run)
    make_run(run)
    assert take(store, run, other) == ["more", "nothing new"]
    with open_ledger(store) as ledger:
        names = {entry.name: entry.metrics["folds_done"] for entry in ledger.entries()}
    again = Path(shutil.copytree(empty, tmp_path / "again"))
    assert take(again, run, other) == ["new", "new"]
    with open_ledger(again) as ledger:
        assert {entry.name: entry.metrics["folds_done"] for entry in ledger.entries()} == names
    assert sorted(names.values()) == [0, 2]


def test_the_log_can_be_deleted_and_made_again(store, empty, tmp_path):
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", started=9000.0, rule__kind="threshold")]
    take(store, *folders)
    write_fact(folders[0], "lb", public=0.5, private=0.4)
    take(store, *folders)
    again = Path(shutil.copytree(empty, tmp_path / "again"))
    take(again, *folders)
    ours, theirs = content_of(again), content_of(store)
    for points in [one[-1] for one in (*ours, *theirs)]:
        for name in [one for one in points if one.count("/") < 2]:  # the last of the values that are no curve
            points[name] = points[name][-1][2]
    assert ours == theirs and ours[0][-1]["lb_public"] == 0.5


def test_a_kill_in_the_midst_of_an_import(store, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run")

    def killed(*_: object) -> list:
        raise RuntimeError

    with pytest.raises(RuntimeError), open_ledger(store) as ledger:
        monkeypatch.setattr(ledger, "_curves", killed)
        ledger.take(summarise(folder))
    assert take(store, folder) == ["more"]
    fresh = content_of(store)
    assert len(fresh) == 1 and len(fresh[0][4]["fold1/train/loss"]) == 4 and "model.backbone" in fresh[0][2]


def test_another_training_in_the_same_folder_is_told(store, tmp_path):
    take(store, make_run(tmp_path / "run"))
    other = make_run(tmp_path / "other")
    text = (other / "fold1" / "journal.jsonl").read_text().replace('"time": 2', '"time": 3')
    (other / "fold1" / "journal.jsonl").write_text(text)
    with pytest.raises(
        MismatchError, match=r"fold1 is another training than in .*run, and the other folds are the same"
    ):
        take(store, other)


def test_one_writer_at_a_time(store):
    code = (
        "import sys; from pathlib import Path; from imettk.tracking.lock import hold_folder\n"
        "with hold_folder(Path(sys.argv[1])): print('held', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    with pytest.raises(BusyError):
        take(store)
    other.communicate("\n")
    assert take(store) == []


def test_a_full_disk_is_no_fault_of_the_log(tmp_path):
    resource = pytest.importorskip("resource")
    (tmp_path / "mlflow.db").touch()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # what a full disk does, without one
    try:
        with pytest.raises(OSError, match=r"mlflow\.db cannot be read or written \(.*disk"):
            Ledger(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_database_of_something_else_is_one_line(tmp_path):
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    connection.execute("create table alembic_version (version_num text)")
    connection.execute("insert into alembic_version values ('of-something-else')")
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match=r"mlflow\.db is no log of imettk"):
        Ledger(tmp_path)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "mlflow.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match=r"mlflow\.db is no log of imettk"):
        Ledger(tmp_path / "damaged")


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "100%", "a b", "ä€\U0001f600", "a&b=c", "file:x"])
def test_a_store_of_any_name(name, empty, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    folder = make_run(tmp_path / "run")
    store = Path(shutil.copytree(empty, tmp_path / "stores" / name / "log"))
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


def test_facts_that_a_kill_cut_and_facts_that_are_damaged(tmp_path):
    folder = make_run(tmp_path / "run")
    write_fact(folder, "note", text="one")
    with (folder / "ledger.jsonl").open("a") as file:
        file.write('{"time": 1, "ev')
    assert read_facts(folder)["note"]["text"] == "one"
    write_fact(folder, "note", text="two")  # the cut line stays a line of its own
    with pytest.raises(MismatchError, match=r"ledger\.jsonl line 2 is damaged"):
        read_facts(folder)


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
    with pytest.raises(UserError, match="several runs are named ''"):
        find_entry(entries, "")
    with pytest.raises(UserError, match="no run is named 'zz'"):
        find_entry(entries, "zz")


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


def test_without_mlflow_it_is_one_line(tmp_path, monkeypatch):
    for name in [one for one in sys.modules if one.split(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"mlflow.* is not installed: `pip install imettk\[log\]`"):
        Ledger(tmp_path)


def test_the_codes_hash_is_the_same_from_a_zip(tmp_path):
    from imettk.kaggle.pack import make_pack
    from imettk.tracking.code import code_version

    make_pack(tmp_path / "pack", owner="me", wheels=False)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import imettk.tracking.code as m; print(m.code_version())"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code, tmp_path / "pack" / "imettk.zip"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.strip() == code_version()


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
    """The value with each part of it, and the whole, replaced by something else or taken away."""
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
