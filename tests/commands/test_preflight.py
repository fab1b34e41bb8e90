"""Every stage in miniature, in each of the competitions' formats; and what it says a run will take."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from imettk.cli.main import main
from imettk.commands import preflight
from imettk.config import StageConfig
from imettk.data.table import read_table
from imettk.recipes import load_recipe
from imettk.synthetic.digits import DigitsSize, make_digits
from imettk.synthetic.miniature import make_miniature
from imettk.synthetic.whales import WhalesSize, make_whale_folders, make_whales

TINY = ["--model.backbone", "timm:test_resnet", "--session.num-workers", "0"]


def test_it_plays_every_stage_and_leaves_an_estimate(digits_data, tmp_path, capsys):
    main(["preflight", "digits", "--data", str(digits_data / "data"), "--run-dir", str(tmp_path / "run")])
    text = capsys.readouterr().out
    for part in ("paused at step 1 of 2", "continues at step 1 of 2", "OOF", "checked against", "everything works"):
        assert part in text
    result = json.loads((tmp_path / "run" / "preflight.json").read_text())
    assert result["recipe"] == "digits" and 0 < result["seconds_a_fold"] < 600 and result["sessions_a_fold"] == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["preflight.json"]


@pytest.mark.usefixtures("no_charts")
def test_its_estimate_is_made_of_steps_and_validations_of_the_real_size(tmp_path, monkeypatch):
    """By hand: of 132 rows in 3 folds 88 train and 44 validate. Whole batches of 20, in 4 parts each: 4 steps an epoch,
    8 and 20 in 2 + 5 epochs, of 10 and 20 s. Every 2 epochs, and at the end of each stage, comes a validation, 1 + 3 in
    all, which takes 6 s for the 32 rows of the 96 in miniature."""
    make_digits(
        tmp_path / "data", tmp_path / "answers.csv", size=DigitsSize(train_sheets=132, test_sheets=24, sheet_pixels=32)
    )
    monkeypatch.setattr(preflight, "measure", lambda *_, fold: (SimpleNamespace(start_seconds=0.0), [10.0, 20.0], 6.0))
    at = ["--data", str(tmp_path / "data"), "--run-dir", str(tmp_path / "run")]
    (tmp_path / "mine.py").write_text(
        "import dataclasses\nfrom imettk.recipes.digits import digits\n\n\ndef recipe():\n    one = digits()\n"
        "    (stage,) = one.stages\n"
        "    stages = [dataclasses.replace(stage, num_epochs=e, batch_size=20, accumulate=4) for e in (2.0, 5.0)]\n"
        "    return dataclasses.replace(one, stages=tuple(stages))\n"
    )
    main(
        ["preflight", str(tmp_path / "mine.py"), *at, "--train.validate-epochs", "2", "--session.limit-seconds", "600"]
    )
    found = json.loads((tmp_path / "run" / "preflight.json").read_text())
    assert found["seconds_a_fold"] == 8 * 10 + 20 * 20 + (1 + 3) * 6 * 44 / 32
    assert found["sessions_a_fold"] == 2  # of 600 - 300 seconds each


@pytest.mark.usefixtures("no_charts")
def test_an_identity_recipe_flies_too(tmp_path, capsys):
    make_whales(tmp_path / "data", tmp_path / "answers.csv", size=WhalesSize())
    at = ["--data", str(tmp_path / "data"), "--run-dir", str(tmp_path / "run"), "--folds.num-folds", "2", *TINY]
    sizes = ["--images.image-size", "32", "64", "--model.embedding-size", "16", "--stages.0.batch-size", "16"]
    main(["preflight", "humpback2018-arcface", *at, *sizes])
    assert "everything works" in capsys.readouterr().out


def test_what_would_fail_after_hours_fails_now(digits_data, tmp_path, capsys):
    at = ["--data", str(digits_data / "data"), "--run-dir", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ending:
        main(["preflight", "digits", *at, "--model.weights", str(tmp_path / "none.pth")])
    assert ending.value.code == 2 and "none.pth not found" in capsys.readouterr().err


def tree_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file below a folder; folders have no bytes."""
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else b"", path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def fly(user: Path, run_dir: Path, *words: str, data: str = "data") -> None:
    """Preflight the digits in the user's folder, and hold every file there against what it was."""
    before = tree_of(user)
    main(["preflight", "digits", "--data", str(user / data), "--run-dir", str(run_dir), *TINY, *words])
    assert tree_of(user) == before
    assert [path.name for path in run_dir.iterdir()] == ["preflight.json"]


@pytest.fixture
def user(tmp_path, no_charts) -> Path:
    """A user's folder: a competition larger than any miniature in `data`, and beside it tables of their own."""
    folder = tmp_path / "user"
    data = folder / "data"
    make_digits(data, folder / "answers.csv", size=DigitsSize(train_sheets=132, test_sheets=40, sheet_pixels=32))
    frame = pd.read_csv(data / "train.csv", dtype=str)
    (folder / "more").mkdir()
    more = []
    for number in range(40):
        shutil.copy(data / "train" / f"{frame['id'][number]}.png", folder / "more" / f"more{number}.png")
        more.append({"id": f"more{number}", "attribute_ids": frame["attribute_ids"][number]})
    pd.DataFrame(more).to_csv(folder / "more.csv", index=False)
    for name in ("train.csv", "labels.csv", "sample_submission.csv"):
        shutil.copy(data / name, folder / f"my_{name}")
    (folder / "shares.csv").write_text("label,share\n" + "".join(f"{one},0.3\n" for one in labels_of(data)))
    for name in ("turned.csv", "left_out.csv"):
        (folder / name).write_text(f"id\n{frame['id'][0 if name == 'turned.csv' else 1]}\n")
    boxes = frame[["id"]].assign(x0=0, y0=0, x1=24, y1=24).rename(columns={"id": "Image"})
    boxes.to_csv(folder / "boxes.csv", index=False)
    return folder


def labels_of(data: Path) -> list[str]:
    return pd.read_csv(data / "labels.csv", dtype=str)["attribute_id"].tolist()


@pytest.mark.parametrize("way", ["absolute", "upward"])
def test_it_writes_nothing_where_the_recipe_points(user, tmp_path, way):
    """Every table and every folder of images that a recipe can name, somewhere else than in the data folder."""

    def at(name: str) -> str:
        return str(user / name) if way == "absolute" else f"../{name}"

    words = []
    for field, name in (
        ("table.train-csv", "my_train.csv"),
        ("table.sample-csv", "my_sample_submission.csv"),
        ("table.labels-csv", "my_labels.csv"),
        ("table.boxes-csv", "boxes.csv"),
        ("table.turned-csv", "turned.csv"),
        ("table.left-out-csv", "left_out.csv"),
        ("table.train-images", "data/train"),
        ("table.test-images", "data/test"),
        ("rule.shares-csv", "shares.csv"),
    ):
        words += [f"--{field}", at(name)]
    (tmp_path / "mine.py").write_text(
        "import dataclasses\nfrom imettk.config import ExtraTable\nfrom imettk.recipes.digits import digits\n\n\n"
        "def recipe():\n    one = digits()\n"
        f"    more = ExtraTable(csv={at('more.csv')!r}, images={at('more')!r})\n"
        "    table = dataclasses.replace(one.table, extra=(more,))\n"
        "    return dataclasses.replace(one, table=table)\n"
    )
    before = tree_of(user)
    at_ = ["--data", str(user / "data"), "--run-dir", str(tmp_path / "run"), *TINY]
    main(["preflight", str(tmp_path / "mine.py"), *at_, *words, "--rule.kind", "share", "--rule.shares", "csv"])
    assert tree_of(user) == before
    assert {path.name for path in tmp_path.iterdir()} == {"user", "mine.py", "run"}


def test_tables_in_a_folder_below_the_data(user, tmp_path):
    (user / "data" / "csv").mkdir()
    for name in ("train.csv", "labels.csv", "sample_submission.csv"):
        (user / "data" / name).rename(user / "data" / "csv" / name)
    words = ["--table.train-csv", "csv/train.csv", "--table.labels-csv", "csv/labels.csv"]
    fly(user, tmp_path / "run", *words, "--table.sample-csv", "csv/sample_submission.csv")


@pytest.mark.usefixtures("no_charts")
def test_folders_as_labels_by_an_absolute_path(tmp_path):
    user = tmp_path / "user"
    make_whale_folders(user / "data", tmp_path / "answers.csv", size=WhalesSize())
    form = load_recipe("gdsc2020").table
    (user / "data" / form.train_images).rename(user / "elsewhere")
    before = tree_of(user)
    for images in (str(user / "elsewhere"), "../elsewhere"):
        recipe = load_recipe("gdsc2020")
        recipe = replace(recipe, table=replace(form, train_images=images))
        table = read_table(recipe.table, user / "data")
        out = tmp_path / f"small{len(images)}"
        small, count = make_miniature(recipe, table, user / "data", out, rows=40, test_rows=5)
        assert len(read_table(small.table, out)) == count < len(table)
        assert tree_of(user) == before


def test_pseudo_labels_stay_whole(user, tmp_path, capsys):
    """Their csv is named by its absolute path, always."""
    run = tmp_path / "labelled"
    at = ["--data", str(user / "data"), "--run-dir", str(run), *TINY, "--stages.0.num-epochs", "1"]
    main(["prepare", "digits", *at])
    for command in ("train", "validate", "infer"):
        main([command, *at[:4]])
    main(["pseudo", "--run-dir", str(run), "--confidence", "0.5"])
    before = tree_of(run)
    fly(user, tmp_path / "run", "--pseudo", str(run))
    assert tree_of(run) == before and len(pd.read_csv(run / "pseudo.csv")) > 24


def test_a_recipe_of_new_with_a_held_out_test_set(user, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(user)
    (user / "data" / "sample_submission.csv").unlink()
    main(["new", "mine", "--data", "data", "--hold-out", "0.2"])
    before = tree_of(user)
    words = ["--data", "mine-data", "--run-dir", str(tmp_path / "run"), *TINY, "--images.image-size", "32", "32"]
    main(["preflight", "mine.py", *words])
    assert tree_of(user) == before
    assert "checked against" in capsys.readouterr().out


def test_a_missing_table_or_folder_is_named_as_the_user_knows_it(user, tmp_path, capsys):
    for field, name in (("test-images", "no_such_folder"), ("turned-csv", "no_such.csv")):
        with pytest.raises(SystemExit) as ending:
            fly(user, tmp_path / "run", f"--table.{field}", name)
        assert ending.value.code == 2
        assert f"{user / 'data' / name} is missing" in capsys.readouterr().err


def test_a_miniature_has_none_of_what_only_a_whole_training_has_room_for():
    stage = StageConfig(num_epochs=12, num_cycles=6, cycle_factor=3, label_weights={"rare": 3.0}, class_weights="sqrt")
    recipe = preflight.miniature(replace(load_recipe("digits"), stages=(stage,)))
    small = recipe.stages[0]
    assert (small.num_cycles, small.cycle_factor, small.label_weights, small.class_weights) == (2, 1.0, {}, "sqrt")


def test_a_weight_of_no_label_is_named_before_anything_is_played(digits_data, tmp_path, capsys):
    at = ["--data", str(digits_data / "data"), "--run-dir", str(tmp_path)]
    with pytest.raises(SystemExit) as ending:
        main(["preflight", "digits", *at, "--stages.0.label-weights", "no such label", "2"])
    written = capsys.readouterr()
    assert ending.value.code == 2 and "`stages.0.label_weights` names 'no such label'" in written.err
    assert "every command once" not in written.out
