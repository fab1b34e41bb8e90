"""The stages as a user runs them: one story from a folder to a submission, and what can be wrong on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import fbeta_score
from sklearn.preprocessing import MultiLabelBinarizer

from imettk.cli.main import main

TINY = [
    "--images.image-size", "32", "32", "--stages.0.num-epochs", "2", "--stages.0.batch-size", "16",
    "--stages.0.warmup-epochs", "0.5", "--train.validate-epochs", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def story(digits_data, imettk, tmp_path_factory) -> tuple[Path, str]:
    """A run folder after all four stages, and what they printed."""
    run_dir = tmp_path_factory.mktemp("story")
    common = ["--data", digits_data / "data", "--run-dir", run_dir]
    text = imettk("prepare", "digits", *common, *TINY).stdout
    text += imettk("train", *common).stdout  # all folds, the run folder's own recipe
    text += imettk("validate", *common).stdout
    text += imettk("infer", *common, "--answers", digits_data / "answers.csv").stdout
    return run_dir, text


def labels_of(csv: Path) -> pd.Series:
    frame = pd.read_csv(csv, dtype=str, keep_default_na=False).set_index("id")
    return frame["attribute_ids"].str.split()


def f2(chosen: pd.Series, truth: pd.Series) -> float:
    """scikit-learn's F2 of label lists, joined by id."""
    binarizer = MultiLabelBinarizer(classes=[str(label) for label in range(15)])
    binarizer.fit([])
    answers, targets = (binarizer.transform(labels) for labels in (chosen[truth.index], truth))
    return fbeta_score(targets, answers, beta=2, average="samples", zero_division=0)


def test_it_leaves_the_files_of_the_contract(story):
    run_dir, text = story
    top = {"recipe.json", "table.json", "cache", "folds.csv", "rule.json", "scores.json", "submission.csv"}
    top |= {
        "judged.safetensors",
        "label_scores.csv",
        "label_scores.png",
        "curves.json",
        "errors.json",
        "report.html",
        ".lock",
    }
    fold = {"status.json", "journal.jsonl", "checkpoints", "model.safetensors", "oof.safetensors", "test.safetensors"}
    fold |= {"tensorboard", ".lock"}
    assert {path.name for path in run_dir.iterdir()} == top | {"fold0", "fold1", "fold2"}
    for number in range(3):
        assert {path.name for path in (run_dir / f"fold{number}").iterdir()} == fold
        assert json.loads((run_dir / f"fold{number}" / "status.json").read_text())["state"] == "done"
    assert "fold 2: done after 6 steps" in text


def test_the_printed_test_score_is_scikit_learns(story, digits_data):
    run_dir, text = story
    expected = f2(labels_of(run_dir / "submission.csv"), labels_of(digits_data / "answers.csv"))
    assert f"test     F2 {expected:.4f}" in text
    assert json.loads((run_dir / "scores.json").read_text())["test"] == pytest.approx(expected)


def test_the_oof_scores_follow_from_the_prediction_files(story, digits_data):
    """Predictions of each fold are of its own rows, and its threshold was not fitted on them."""
    from imettk.postprocess.thresholds.fit import fit_thresholds
    from imettk.postprocess.thresholds.goal import Goal

    run_dir, _ = story
    truth = labels_of(digits_data / "data" / "train.csv")
    folds = pd.read_csv(run_dir / "folds.csv", dtype={"id": str}).set_index("id")["fold"]
    groups = pd.read_csv(digits_data / "data" / "labels.csv")["attribute_name"].str.split("::").str[0]
    probs, targets = {}, {}
    for fold in range(3):
        file = load_file(run_dir / f"fold{fold}" / "oof.safetensors")
        ids = bytes(file["ids"]).decode().split("\n")
        assert (folds[ids] == fold).all() and len(ids) == (folds == fold).sum()
        assert file["probs"].shape == (2, len(ids), 15)
        probs[fold] = file["probs"].mean(0)
        targets[fold] = np.array([[str(label) in truth[name] for label in range(15)] for name in ids], np.uint8)
    scores = json.loads((run_dir / "scores.json").read_text())
    for fold in range(3):
        others = [other for other in range(3) if other != fold]
        stacked = (
            np.concatenate([probs[other] for other in others]),
            np.concatenate([targets[other] for other in others]),
        )
        rule = fit_thresholds(*stacked, Goal(2.0, "samples", 1), groups=np.unique(groups, return_inverse=True)[1])
        answers = rule.apply(probs[fold])
        expected = fbeta_score(targets[fold], answers, beta=2, average="samples", zero_division=0)
        assert scores["folds"][str(fold)] == pytest.approx(expected)
    sizes = [len(targets[fold]) for fold in range(3)]
    assert scores["oof"] == pytest.approx(np.average(list(scores["folds"].values()), weights=sizes))
    low, high = scores["interval"]
    assert low < scores["oof"] < high and scores["interval_test"][0] < low and scores["interval_test"][1] > high
    table = pd.read_csv(run_dir / "label_scores.csv", dtype={"label": str}).set_index("label")
    np.testing.assert_array_equal(table["true"], sum(targets[fold].sum(0) for fold in range(3)))
    given = pd.read_csv(digits_data / "data" / "labels.csv", dtype=str).set_index("attribute_id")["attribute_name"]
    assert table["name"].to_dict() == given.to_dict()
    errors = json.loads((run_dir / "errors.json").read_text())
    shown = {one["label"] for tile in errors["tiles"] for one in tile["truth"]}
    assert shown and shown <= set(given)
    assert all(name in (run_dir / "report.html").read_text() for name in given)
    rule = json.loads((run_dir / "rule.json").read_text())
    np.testing.assert_allclose(table["threshold"], rule["thresholds"], rtol=1e-5)
    assert (table["threshold_low"] <= table["threshold_high"]).all() and table["average_precision"].between(0, 1).all()


def test_predictions_are_taken_from_their_files_a_second_time(story, digits_data, imettk):
    run_dir, _ = story
    before = (run_dir / "submission.csv").read_bytes()
    again = imettk("infer", "--data", digits_data / "data", "--run-dir", run_dir).stdout
    assert again.count("taken from") == 3
    assert (run_dir / "submission.csv").read_bytes() == before


def test_single_pictures_get_the_names_of_the_submissions_labels(story, digits_data, tmp_path, imettk):
    run_dir, _ = story
    data = digits_data / "data"
    given = pd.read_csv(data / "labels.csv", dtype=str).set_index("attribute_id")["attribute_name"]
    submission = pd.read_csv(run_dir / "submission.csv", dtype=str).set_index("id")["attribute_ids"]
    pictures = sorted((data / "test").iterdir())[:3]
    said = imettk("infer", "--data", data, "--inputs", run_dir, "--run-dir", tmp_path, "--images", *pictures).stdout
    for picture in pictures:
        (line,) = [line for line in said.splitlines() if line.startswith(picture.name)]
        names = {one.rpartition(" (")[0] for one in line.removeprefix(f"{picture.name}: ").split(", ")}
        assert names == set(given[submission[picture.stem].split()])


def test_a_trained_fold_is_not_trained_again(story, digits_data, imettk):
    run_dir, _ = story
    model = run_dir / "fold1" / "model.safetensors"
    before = model.stat().st_mtime_ns
    assert (
        "fold 1 is done already"
        in imettk("train", "--data", digits_data / "data", "--run-dir", run_dir, "--fold", 1).stdout
    )
    assert model.stat().st_mtime_ns == before


def test_another_recipe_in_the_same_folder_is_refused(story, digits_data, imettk):
    run_dir, _ = story
    common = ["--data", digits_data / "data", "--run-dir", run_dir]
    done = imettk("train", *common, "--stages.0.lr", "0.5", code=2)
    assert "stages.0.lr: (0.006,) -> (0.5,)" in done.stderr and "--run-dir" in done.stderr
    done = imettk("prepare", "digits", *common, code=2)
    assert "images.image_size" in done.stderr


def test_answers_for_other_ids_are_refused(story, digits_data, imettk):
    run_dir, _ = story
    common = ["--data", digits_data / "data", "--run-dir", run_dir]
    done = imettk("infer", *common, "--answers", digits_data / "data" / "train.csv", code=2)
    assert "no answer for 24 ids (t00000" in done.stderr


# Each fault: what is done to the data folder, and what the one line must say.
def rename_column(data: Path) -> None:
    csv = data / "train.csv"
    csv.write_text(csv.read_text().replace("attribute_ids", "labels", 1))


def double_id(data: Path) -> None:
    lines = (data / "train.csv").read_text().splitlines()
    (data / "train.csv").write_text("\n".join([*lines, lines[1]]) + "\n")


def unknown_label(data: Path) -> None:
    csv = data / "train.csv"
    csv.write_text(csv.read_text() + "s00000x,3 99,g00\n")
    shutil.copy(data / "train" / "s00000.png", data / "train" / "s00000x.png")


FAULTS = {
    "no folder": (lambda data: shutil.rmtree(data), "train.csv is missing: --data must be the competition's folder"),
    "empty table": (lambda data: (data / "train.csv").write_text(""), "is not a readable csv table"),
    "renamed column": (rename_column, "has no column attribute_ids; it has id, labels, group"),
    "double id": (double_id, "1 id (s00000) more than once"),
    "unknown label": (unknown_label, "1 label (99) not in labels.csv"),
    "row without image": (lambda data: (data / "train" / "s00003.png").unlink(), "1 row (s00003) without an image"),
    "no test images": (lambda data: [path.unlink() for path in (data / "test").iterdir()], "24 rows (t00000, t00001, "),
    "no images": (lambda data: shutil.rmtree(data / "train"), "train is missing: the recipe's `table` expects"),
    "truncated image": (lambda data: (data / "train" / "s00004.png").write_bytes(
        (data / "train" / "s00004.png").read_bytes()[:200]), "1 of 72 train images cannot be read"),
    "empty image": (lambda data: (data / "train" / "s00001.png").write_bytes(b""), "s00001.png (0 bytes)"),
    "text as image": (lambda data: (data / "train" / "s00004.png").write_text("hello"), "s00004.png"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_bad_data_is_one_clear_line_and_code_2(own_data, tmp_path, capsys, name):
    damage, message = FAULTS[name]
    damage(own_data)
    with pytest.raises(SystemExit) as caught:
        main(["prepare", "digits", "--data", str(own_data), "--run-dir", str(tmp_path / "run")])
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("imettk:")]
    assert caught.value.code == 2
    assert len(error) == 1 and message in error[0]
    assert not (tmp_path / "run" / "folds.csv").exists()


def test_odd_data_is_named_and_kept(own_data, tmp_path, capsys):
    shutil.copy(own_data / "train" / "s00000.png", own_data / "train" / "spare.png")
    csv = own_data / "train.csv"
    first = csv.read_text().splitlines()[1]
    csv.write_text(csv.read_text().replace(first, "s00000,,g00"))
    (own_data / "train" / "s00001.png").unlink()
    words = ["--table.on-missing-image", "drop"]
    main(["prepare", "digits", "--data", str(own_data), "--run-dir", str(tmp_path / "run"), *words])
    text = capsys.readouterr().out
    assert "1 image (spare.png) without a row in the table" in text
    assert "1 row (s00000) without any label" in text
    assert "dropped 1 row (s00001) without an image" in text
    assert "71 rows in 12 groups" in text
    assert len(json.loads((tmp_path / "run" / "table.json").read_text())["remarks"]) == 3


@pytest.mark.parametrize("stage", ["train", "validate", "infer"])
def test_a_stage_too_early_names_the_one_that_is_missing(stage, digits_data, tmp_path, imettk):
    done = imettk(stage, "digits", "--data", digits_data / "data", "--run-dir", tmp_path, code=2)
    wanted = "validate" if stage == "infer" else "prepare"
    assert f"run `imettk {wanted}` first" in done.stderr


def test_data_that_changed_after_prepare_is_noticed(own_data, tmp_path, imettk):
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    imettk("prepare", "digits", *common)
    csv = own_data / "train.csv"
    csv.write_text("\n".join(csv.read_text().splitlines()[:-1]) + "\n")
    done = imettk("train", "digits", *common, "--fold", 0, code=2)
    assert "folds.csv belongs to another table (72 ids against 71)" in done.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_breaks_after_prepare_is_one_clear_line(own_data, tmp_path, imettk, workers):
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    imettk("prepare", "digits", *common, "--cache.kind", "none")
    for path in (own_data / "train").iterdir():
        path.write_bytes(b"gone bad")
    done = imettk("train", *common, "--fold", 0, "--session.num-workers", workers, code=2)
    errors = [line for line in done.stderr.splitlines() if "%|" not in line]
    assert len(errors) == 1 and ".png (8 bytes): it is text that begins with 'gone bad'" in errors[0]


def test_a_multiclass_competition_runs_from_a_python_recipe(own_data, tmp_path, imettk):
    """One class a sheet, labels from the table itself, no groups, a timm network with flips."""
    csv = own_data / "train.csv"
    frame = pd.read_csv(csv, dtype=str)
    frame["kind"] = np.where(frame["attribute_ids"].str.contains("13"), "single", "many")
    frame[["id", "kind"]].to_csv(csv, index=False)
    sample = pd.read_csv(own_data / "sample_submission.csv", dtype=str)
    sample.rename(columns={"attribute_ids": "kind"}).to_csv(own_data / "sample_submission.csv", index=False)
    recipe = tmp_path / "kinds.py"
    recipe.write_text(
        "from imettk.config import *\n\ndef recipe():\n"
        "    return Recipe(table=TableFormat(task='multiclass', label_column='kind'), folds=FoldConfig(num_folds=2),\n"
        "        images=ImageFormat(image_size=(32, 32)), model=ModelConfig(backbone='timm:test_resnet'),\n"
        "        train=TrainConfig(loss='cross_entropy'), rule=RuleConfig(kind='argmax'),\n"
        "        stages=(StageConfig(batch_size=12, augmentation='flips'),),\n"
        "        predict=PredictConfig(views=('plain', 'hflip')))\n"
    )
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    imettk("prepare", recipe, *common)
    imettk("train", recipe, *common, "--session.num-workers", 1)
    text = imettk("validate", recipe, *common).stdout
    assert "OOF      accuracy" in text
    imettk("infer", recipe, *common)
    submission = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert list(submission.columns) == ["id", "kind"]
    assert set(submission["kind"]) <= {"single", "many"} and len(submission) == 24


def hidden_rerun(story: tuple[Path, str], digits_data: Path, folder: Path, names: list[str]) -> tuple[Path, Path]:
    """Data with another test set, the images under other names, and a run folder whose input is the story's."""
    data = folder / "data"
    shutil.copytree(digits_data / "data", data)
    images = sorted((data / "test").iterdir())
    for number, name in enumerate(names):
        shutil.copy(images[number % len(images)], folder / f"{name}.png")
    shutil.rmtree(data / "test")
    (data / "test").mkdir()
    for name in names:
        (folder / f"{name}.png").rename(data / "test" / f"{name}.png")
    pd.DataFrame({"id": names, "attribute_ids": ["0"] * len(names)}).to_csv(data / "sample_submission.csv", index=False)
    return data, folder / "run"


@pytest.mark.parametrize("count", [0, 3, 100])
def test_a_hidden_test_set_of_another_size_is_answered(story, digits_data, tmp_path, count):
    """A competition's rerun: other ids, more or fewer of them, or none; the run folder's own table stays as it is."""
    names = [f"hidden{number:03d}" for number in range(count)]
    data, run_dir = hidden_rerun(story, digits_data, tmp_path, names)
    main(["infer", "--data", str(data), "--run-dir", str(run_dir), "--inputs", str(story[0])])
    found = pd.read_csv(run_dir / "submission.csv", dtype=str, keep_default_na=False)
    assert list(found["id"]) == names and list(found.columns) == ["id", "attribute_ids"]
    same = labels_of(story[0] / "submission.csv")
    images = sorted(path.stem for path in (digits_data / "data" / "test").iterdir())
    for number, labels in enumerate(found["attribute_ids"].str.split()):
        assert labels == same[images[number % len(images)]]  # the same image, the same answer


def test_a_session_without_time_gives_a_valid_submission_all_the_same(story, digits_data, tmp_path, capsys):
    names = [f"hidden{number:03d}" for number in range(90)]
    data, run_dir = hidden_rerun(story, digits_data, tmp_path, names)
    short = ["--session.limit-seconds", "0.01", "--session.margin-seconds", "0", "--predict.batch-size", "8"]
    main(["infer", "--data", str(data), "--run-dir", str(run_dir), "--inputs", str(story[0]), *short])
    text = capsys.readouterr().out
    assert "no time for 2 of 3 folds" in text and "no time for 82 of 90 images: they get the others' mean" in text
    found = pd.read_csv(run_dir / "submission.csv", dtype=str, keep_default_na=False)
    assert list(found["id"]) == names and (found["attribute_ids"] != "").all()
    assert not (run_dir / "fold0" / "test.safetensors").exists()  # the next try has more time
