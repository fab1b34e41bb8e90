"""A training, its models, predictions, rules and answers are of the data that they were made of, and of no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import TINY, refused, run

from imettk.tracking.journal import read_journal
from imettk.tracking.tensors import read_values

pytestmark = pytest.mark.usefixtures("no_charts_here")

STEPS = 3  # of a whole training


def edit_csv(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


def reverse_labels(data: Path) -> None:
    edit_csv(data / "labels.csv", lambda frame: frame[::-1])


def add_label(data: Path) -> None:
    edit_csv(data / "labels.csv", lambda frame: pd.concat([frame, frame[-1:].assign(attribute_id="99")]))


def lose_row(data: Path) -> None:
    edit_csv(data / "train.csv", lambda frame: frame[1:])


def reorder_rows(data: Path) -> None:
    edit_csv(data / "train.csv", lambda frame: frame[::-1])


def correct_label(data: Path) -> None:
    edit_csv(data / "train.csv", lambda frame: frame.assign(attribute_ids=["1", *frame["attribute_ids"][1:]]))


def regroup(data: Path) -> None:
    edit_csv(data / "train.csv", lambda frame: frame.assign(group=np.roll(frame["group"], 5)))


CHANGES = {
    reverse_labels: "the labels are in another order",
    add_label: "1 label (99) added",
    lose_row: "rows: 72 -> 71",
    reorder_rows: "the rows are in another order",
    correct_label: "rows have other labels",
    regroup: "rows are in other folds",
}


@pytest.fixture(scope="module")
def begun(digits_data, tmp_path_factory) -> Path:
    """Data; what `prepare` left; a training of fold 0 after one step; and the same done, validated and answered."""
    folder = tmp_path_factory.mktemp("begun")
    data = Path(shutil.copytree(digits_data / "data", folder / "data"))
    run("prepare", "digits", "--data", data, "--run-dir", folder / "prepared", *TINY)
    train = ["train", "digits", *TINY, "--data", data, "--inputs", folder / "prepared", "--fold", 0]
    run(*train, "--run-dir", folder / "begun", "--session.limit-steps", 1)
    shutil.copytree(folder / "begun", folder / "done")
    run(*train, "--run-dir", folder / "done")
    at = ["--data", data, "--run-dir", folder / "done", "--inputs", folder / "prepared"]
    run("validate", *at)
    run("infer", *at)
    return folder


@pytest.fixture
def mine(begun, tmp_path) -> Path:
    """A copy of all that, to change."""
    return Path(shutil.copytree(begun, tmp_path / "mine"))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_training_does_not_go_on_with_other_data(mine, capsys, change):
    """`prepare` has a folder of its own, as on Kaggle, and nothing there knows of the training."""
    data, prepared = mine / "data", mine / "prepared"
    change(data)
    run("prepare", "digits", "--data", data, "--run-dir", prepared, *TINY)
    at = ["digits", *TINY, "--data", data, "--inputs", prepared, "--fold", 0]
    line = refused(capsys, "train", *at, "--run-dir", mine / "begun")
    assert f"fold 0 was trained on other data ({CHANGES[change]}" in line and "--run-dir" in line
    line = refused(capsys, "train", *at, "--run-dir", mine / "done")
    assert "model.safetensors was trained on other data" in line and CHANGES[change] in line
    line = refused(capsys, "validate", *at, "--run-dir", mine / "done")
    assert "model.safetensors was trained on other data" in line and CHANGES[change] in line


@pytest.mark.parametrize("change", [reverse_labels, add_label, correct_label], ids=lambda change: change.__name__)
def test_prepare_in_the_folder_of_a_training_refuses_other_data(digits_data, tmp_path, capsys, change):
    """Whose folds are joined by id, so that they would fit."""
    data = Path(shutil.copytree(digits_data / "data", tmp_path / "data"))
    at = ["digits", "--data", data, "--run-dir", tmp_path / "run", *TINY]
    run("prepare", *at)
    run("train", *at, "--fold", 0, "--session.limit-steps", 1)
    run("prepare", *at)
    change(data)
    line = refused(capsys, "prepare", *at)
    assert "was trained on other data" in line and CHANGES[change] in line


def test_an_unchanged_table_goes_on_from_another_folder(mine, tmp_path, capsys):
    data = Path(shutil.move(mine / "data", tmp_path / "elsewhere"))
    at = ["--data", data, "--inputs", mine / "prepared", "--fold", 0, "--run-dir", mine / "begun"]
    run("train", "digits", *TINY, *at)
    assert f"continues at step 1 of {STEPS}" in capsys.readouterr().out


def test_weights_alone_may_come_from_other_data(mine, tmp_path, capsys):
    data = mine / "data"
    correct_label(data)
    run("prepare", "digits", "--data", data, "--run-dir", tmp_path / "new", *TINY)
    at = ["--data", data, "--run-dir", tmp_path / "new", "--inputs", mine / "done", "--fold", 0]
    run("train", *at, "--resume", "weights")
    text = capsys.readouterr().out
    assert "weights of" in text and f"done after {STEPS} steps" in text and "continues" not in text
    assert json.loads((tmp_path / "new" / "fold0" / "status.json").read_text())["sessions"] == 1


def test_a_training_that_did_not_note_its_data_goes_on(mine, capsys):
    """Checkpoints of version 0.1.0 say nothing of their rows."""
    from safetensors.torch import load_file

    from imettk.tracking.tensors import save_tensors

    (path,) = (mine / "begun" / "fold0" / "checkpoints").glob("*.safetensors")
    values = read_values(path)
    assert values["data"]["num_rows"] == 72
    del values["data"]
    save_tensors(path, load_file(path), values)
    at = ["--data", mine / "data", "--inputs", mine / "prepared", "--fold", 0, "--run-dir", mine / "begun"]
    run("train", "digits", *TINY, *at)
    text = capsys.readouterr().out
    assert "continues at step 1" in text and "which recorded no rows or labels: not checked" in text


def test_predictions_are_not_taken_where_rows_have_other_labels_by_now(mine, capsys):
    """Old ones would be scored by the new labels, and new ones by the old."""
    edit_csv(mine / "data" / "train.csv", lambda frame: frame.assign(attribute_ids="1"))
    at = ["--data", mine / "data", "--run-dir", mine / "both", "--members", mine / "done"]
    line = refused(capsys, "ensemble", *at)
    assert "done was trained when 24 rows" in line and "had other labels" in line


def test_infer_makes_predictions_anew_where_boxes_or_turned_images_changed(mine, capsys):
    data = mine / "data"
    (data / "boxes.csv").write_text("Image,x0,y0,x1,y1\ns00001,0,0,16,16\nt00001,0,0,16,16\n")
    boxes = ["--table.boxes-csv", "boxes.csv"]
    run("prepare", "digits", "--data", data, "--run-dir", mine / "boxed", *TINY, *boxes)
    at = ["--data", data, "--run-dir", mine / "boxed"]
    run("train", *at, "--fold", 0)
    run("validate", *at)
    run("infer", *at)
    before = (mine / "boxed" / "fold0" / "test.safetensors").read_bytes()
    capsys.readouterr()
    run("infer", *at)
    assert "fold 0 test: taken from" in capsys.readouterr().out
    (data / "boxes.csv").write_text("Image,x0,y0,x1,y1\ns00001,0,0,16,16\nt00001,8,8,24,24\n")
    run("infer", *at)
    assert "taken from" not in capsys.readouterr().out
    assert (mine / "boxed" / "fold0" / "test.safetensors").read_bytes() != before


def test_a_member_trained_anew_has_to_be_validated_anew(mine, capsys):
    (mine / "done" / "fold0" / "model.safetensors").write_bytes(b"another model")
    at = ["--data", mine / "data", "--run-dir", mine / "both", "--members", mine / "done"]
    assert "is not of the model beside it" in refused(capsys, "ensemble", "digits", *at, *TINY)


def test_a_rule_answers_for_the_plan_folds_and_labels_that_it_was_fitted_for(mine, capsys):
    at = ["--data", mine / "data", "--run-dir", mine / "done", "--inputs", mine / "prepared"]
    line = refused(capsys, "infer", *at, "--rule.kind", "share")
    assert "was fitted for another rule (rule.kind: 'group_thresholds' -> 'share')" in line
    path = mine / "done" / "rule.json"
    content = json.loads(path.read_text())
    assert content["fitted"]["folds"] == [0]
    path.write_text(json.dumps(content | {"fitted": content["fitted"] | {"labels": "0" * 16}}))
    assert "fitted for other labels" in refused(capsys, "infer", *at)
    path.write_text(json.dumps(content | {"fitted": content["fitted"] | {"folds": [0, 2]}}))
    run("infer", *at)
    assert "was fitted on folds 0, 2, and 0 predict (2 only in one of them)" in capsys.readouterr().out
    del content["fitted"]
    path.write_text(json.dumps(content))
    run("infer", *at)  # of version 0.1.0, which did not say


def sessions(run_dir: Path) -> list[int]:
    """The steps at which the sessions of fold 0 began."""
    events = read_journal(run_dir / "fold0" / "journal.jsonl")
    return [event["step"] for event in events if event["event"] == "session"]


def test_a_journal_has_no_gap_where_an_input_went_further(mine):
    """From one folder into another and back: the first has to learn what happened in the second."""
    there = mine / "there"
    at = ["train", "digits", *TINY, "--data", mine / "data", "--fold", 0]
    run(*at, "--inputs", mine / "prepared", mine / "begun", "--run-dir", there, "--session.limit-steps", 1)
    assert sessions(mine / "begun") == [0] and sessions(there) == [0, 1]
    run(*at, "--inputs", mine / "prepared", there, "--run-dir", mine / "begun")
    assert sessions(mine / "begun") == [0, 1, 2]
    lines = (mine / "begun" / "fold0" / "journal.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines))


def test_a_damaged_checkpoint_is_replaced_by_the_good_one_of_the_inputs(mine, capsys):
    there = mine / "there"
    shutil.copytree(mine / "begun", there)
    (path,) = (there / "fold0" / "checkpoints").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    at = ["train", "digits", *TINY, "--data", mine / "data", "--fold", 0, "--run-dir", there]
    run(*at, "--inputs", mine / "prepared", mine / "begun", "--session.limit-steps", 1)
    assert "skipped" in capsys.readouterr().out
    assert path.read_bytes() == (mine / "begun" / "fold0" / "checkpoints" / path.name).read_bytes()


def test_an_empty_test_set_is_answered_twice(mine, capsys):
    """The second time from the file: no id is not one id."""
    (mine / "data" / "sample_submission.csv").write_text("id,attribute_ids\n")
    at = ["--data", mine / "data", "--run-dir", mine / "done", "--inputs", mine / "prepared"]
    for _ in range(2):
        run("infer", *at)
    assert "fold 0 test: taken from" in capsys.readouterr().out
    assert (mine / "done" / "submission.csv").read_text() == "id,attribute_ids\n"


def test_an_id_may_hold_a_newline(own_data, tmp_path, capsys):
    """In a quoted cell; it has a cache and predictions like any other."""
    table = pd.read_csv(own_data / "train.csv", dtype=str)
    name = table["id"][3]
    table["id"] = table["id"].replace(name, "two\nlines")
    table.to_csv(own_data / "train.csv", index=False)
    (own_data / "train" / f"{name}.png").rename(own_data / "train" / "two\nlines.png")
    at = ["--data", own_data, "--run-dir", tmp_path / "run"]
    run("prepare", "digits", *at, *TINY)
    for fold in range(3):
        run("train", "digits", *at, *TINY, "--fold", fold)
    for _ in range(2):
        run("validate", "digits", *at, *TINY)
    text = capsys.readouterr().out
    assert text.count("oof: taken from") == 3 and "read from their files" not in text


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_model_is_made_anew_from_the_last_checkpoint(mine, capsys, damage):
    path = mine / "done" / "fold0" / "model.safetensors"
    whole = path.read_bytes()
    at = ["train", "digits", *TINY, "--data", mine / "data", "--inputs", mine / "prepared", "--fold", 0]
    if damage == "cut":
        path.write_bytes(whole[:-10])
    else:
        path.write_bytes(whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:])
        (mine / "done" / "fold0" / "oof.safetensors").unlink()
        validate = ["validate", "--data", mine / "data", "--inputs", mine / "prepared", "--run-dir", mine / "done"]
        assert "is damaged" in refused(capsys, *validate)
        path.unlink()
    run(*at, "--run-dir", mine / "done")
    assert path.read_bytes() == whole
    shutil.rmtree(mine / "done" / "fold0" / "checkpoints")
    path.write_bytes(whole[:-10])
    assert "damaged" in refused(capsys, *at, "--run-dir", mine / "done")  # and nothing starts over


def test_the_final_model_makes_room_as_a_checkpoint_does(mine, monkeypatch):
    folder = mine / "begun" / "fold0"
    (first,) = (folder / "checkpoints").glob("*.safetensors")
    model = (mine / "done" / "fold0" / "model.safetensors").stat().st_size
    room = 2 * first.stat().st_size + model // 2  # for two checkpoints, and not for the model beside them
    usage = shutil.disk_usage(folder)

    def nearly_full(path: Path):
        return usage._replace(free=room - sum(each.stat().st_size for each in folder.rglob("*.safetensors")))

    monkeypatch.setattr("imettk.training.checkpoint.SPARE_BYTES", 0)
    monkeypatch.setattr("shutil.disk_usage", nearly_full)
    at = ["--data", mine / "data", "--inputs", mine / "prepared", "--fold", 0, "--run-dir", mine / "begun"]
    run("train", "digits", *TINY, *at)
    assert len(list((folder / "checkpoints").glob("*.safetensors"))) == 1 and (folder / "model.safetensors").is_file()
