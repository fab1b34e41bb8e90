"""The log of all runs, read back by MLflow's own client."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from logged_runs import make_run

from imettk.errors import BusyError, DataError, MismatchError, UserError
from imettk.tracking.ledger import Ledger, open_ledger
from imettk.tracking.summary import summarise, write_fact

# MLflow's, about SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def take(store: Path, *folders: Path) -> list[str]:
    with open_ledger(store) as ledger:
        return [ledger.take(summarise(folder)) for folder in folders]


def client_of(store: Path):
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{store / 'mlflow.db'}")


def content_of(store: Path) -> list[tuple]:
    """Return everything in the store, read by MLflow itself."""
    client = client_of(store)
    (experiment,) = [known for known in client.search_experiments() if known.name == "imettk"]
    found = []
    for run in client.search_runs([experiment.experiment_id]):
        points = {
            name: [
                (point.timestamp, point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)
            ]
            for name in run.data.metrics
        }
        tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.user")}
        found.append((run.info.run_name, run.info.start_time, dict(run.data.params), tags, points))
    return sorted(found, key=lambda one: one[1])


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


def test_each_question_has_its_scores_under_a_name_that_mlflow_takes(store, tmp_path):
    folder = make_run(tmp_path / "run")
    parts = {"colour (hue)/x": {"accuracy": 0.5}, "width": {"accuracy": 0.75, "macro recall": 0.625}}
    (folder / "scores.json").write_text(json.dumps({"metric": "macro_recall", "oof": 0.6, "folds": {}, "parts": parts}))
    take(store, folder)
    ((*_, points),) = content_of(store)
    last = {name: values[-1][2] for name, values in points.items()}
    assert last["colour _hue__x/accuracy"] == 0.5 and last["width/macro recall"] == 0.625
    (folder / "scores.json").write_text(json.dumps({"metric": "accuracy", "parts": {"width": {"accuracy": "high"}}}))
    with pytest.raises(MismatchError, match="its scores are not numbers"):
        take(store, folder)


def test_any_number_of_imports_makes_no_doubles(store, tmp_path):
    folder = make_run(tmp_path / "run")
    assert take(store, folder, folder) == ["new", "nothing new"]
    once = content_of(store)
    shutil.copytree(folder, tmp_path / "copy")
    assert take(store, tmp_path / "copy") in (["nothing new"], ["more"])  # its place is another
    assert [run[4] for run in content_of(store)] == [run[4] for run in once] and len(once) == 1


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


def test_a_run_taken_in_before_its_training_is_the_same_run_afterwards(store, empty_store, tmp_path):
    """A chain imports its run when it has only been prepared."""
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
    again = Path(shutil.copytree(empty_store, tmp_path / "again"))
    assert take(again, run, other) == ["new", "new"]
    with open_ledger(again) as ledger:
        assert {entry.name: entry.metrics["folds_done"] for entry in ledger.entries()} == names
    assert sorted(names.values()) == [0, 2]


def test_the_log_can_be_deleted_and_made_again(store, empty_store, tmp_path):
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", started=9000.0, rule__kind="threshold")]
    take(store, *folders)
    write_fact(folders[0], "lb", public=0.5, private=0.4)
    take(store, *folders)
    again = Path(shutil.copytree(empty_store, tmp_path / "again"))
    take(again, *folders)
    ours, theirs = content_of(again), content_of(store)
    for points in [run[-1] for run in (*ours, *theirs)]:
        for name in [name for name in points if name.count("/") < 2]:  # the last of the values that are no curve
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
    with pytest.raises(MismatchError, match=r"fold1 is not the training that .*run has, although other folds are"):
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
    with pytest.raises(DataError, match=r"mlflow\.db is not a log of imettk"):
        Ledger(tmp_path)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "mlflow.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match=r"mlflow\.db is not a log of imettk"):
        Ledger(tmp_path / "damaged")


def test_without_mlflow_it_is_one_line(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"mlflow.* is not installed: pip install 'mlflow>=3.1'"):
        Ledger(tmp_path)
