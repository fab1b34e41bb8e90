"""Images through the stages: bad ones, the cache, more tables, and the picture of an augmentation."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tiny import TINY, refused, run

from imettk.config import read_recipe
from imettk.data.table import read_table, read_test_table
from imettk.experiment.prepared import open_source, read_prepared
from imettk.tracking.run_dir import RunDir

pytestmark = pytest.mark.usefixtures("no_charts_here")


def test_a_cache_changes_no_bit_of_a_training(own_data, tmp_path, capsys):
    models = {}
    for kind in ("none", "pixels", "jpeg"):
        folder = tmp_path / kind
        common = ["--data", own_data, "--run-dir", folder]
        run("prepare", "digits", *common, *TINY, "--cache.kind", kind)
        images = {path: (path.read_bytes(), path.stat()) for path in own_data.glob("train/*.png")}
        for path, (content, status) in images.items() if kind == "pixels" else ():
            path.write_bytes(bytes(len(content)))  # so nothing can come from the files, which look unchanged
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        run("train", *common, "--fold", 0)
        for path, (content, status) in images.items():
            path.write_bytes(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        models[kind] = load_file(folder / "fold0" / "model.safetensors")
    same = {
        kind: all(np.array_equal(tensor, models["none"][name]) for name, tensor in models[kind].items())
        for kind in models
    }
    assert same == {"none": True, "pixels": True, "jpeg": False}
    session = (tmp_path / "jpeg" / "fold0" / "journal.jsonl").read_text().splitlines()[0]
    assert json.loads(session)["environment"]["images"] == "jpeg cache"


def test_a_training_image_that_was_replaced_after_prepare_is_read_from_its_file(own_data, tmp_path, capsys):
    """One of the same size among them: the rest of the cache is used."""
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    run("prepare", "digits", *common, *TINY)
    first, second = sorted((own_data / "train").glob("*.png"))[:2]
    shutil.copy(second, first)
    capsys.readouterr()
    run("train", *common, "--fold", 0)
    assert "1 of 72 images are not in" in capsys.readouterr().out
    directory = RunDir(tmp_path / "run")
    recipe = directory.recipe()
    table = read_table(recipe.table, own_data)
    source = open_source(recipe, table, own_data, directory)
    np.testing.assert_array_equal(source.read(0), source.read(1))


def test_a_cache_that_does_not_fit_is_refused_or_passed_over(own_data, tmp_path, capsys):
    common = ["prepare", "digits", "--data", own_data, "--run-dir", tmp_path / "run", *TINY]
    line = refused(capsys, *common, "--cache.kind", "pixels", "--cache.max-gb", "0.00005")
    assert "the cache would not fit: 96 images of 32 x 32 x 1 as pixels: about 98.3 kB" in line
    assert "more than `cache.max_gb` 5e-05" in line
    run(*common, "--cache.max-gb", "0.00000001")
    text = capsys.readouterr().out
    assert "note: no cache of 96 images of 32 x 32 x 1 as pixels" in text and "as jpeg" in text
    assert not (tmp_path / "run" / "cache").exists()


def test_a_cache_of_other_settings_is_told_and_not_used(own_data, tmp_path, capsys):
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    run("prepare", "digits", *common, *TINY)
    capsys.readouterr()
    run("train", *common, "--fold", 0, "--images.load-size", "40", "40")
    said = capsys.readouterr().out
    assert "was made with other settings, or by a version that read files differently: images are read from" in said


def test_a_test_image_that_took_the_name_of_another_is_read_from_its_file(own_data, tmp_path, capsys):
    """As in a code competition, whose hidden test set may have the names of the public one."""
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    run("prepare", "digits", *common, *TINY)
    shutil.copy(own_data / "train" / "s00003.png", own_data / "test" / "t00001.png")
    directory = RunDir(tmp_path / "run")
    recipe = directory.recipe()
    train = read_table(recipe.table, own_data)
    test = read_test_table(recipe.table, own_data, train)
    source = open_source(recipe, test, own_data, directory)
    assert "1 of 24 images are not in" in capsys.readouterr().out
    np.testing.assert_array_equal(source.read(1), open_source(recipe, train, own_data, directory).read(3))


def test_a_cache_that_is_not_made_again_is_not_used_again(own_data, tmp_path, capsys):
    common = ["prepare", "digits", "--data", own_data, "--run-dir", tmp_path / "run", *TINY]
    run(*common)
    run(*common, "--cache.kind", "none")
    assert "is not used any more and may be deleted" in capsys.readouterr().out
    assert not (tmp_path / "run" / "cache" / "index.json").exists()
    run(*common)
    assert (tmp_path / "run" / "cache" / "index.json").exists()


def test_bad_training_images_are_listed_and_left_out_where_the_recipe_says_so(own_data, tmp_path, capsys):
    (own_data / "train" / "s00004.png").write_bytes(b"")
    content = (own_data / "train" / "s00007.png").read_bytes()
    (own_data / "train" / "s00007.png").write_bytes(content[:300])
    (own_data / "test" / "t00001.png").write_bytes(b"hello")
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    line = refused(capsys, "prepare", "digits", *common, *TINY)
    assert "2 of 72 train images cannot be read" in line and "--images.on-bad-image skip" in line
    listed = pd.read_csv(tmp_path / "run" / "bad_images.csv")
    assert listed[["table", "id"]].to_numpy().tolist() == [["train", "s00004"], ["train", "s00007"], ["test", "t00001"]]
    assert listed["fault"].str.contains("truncated|it is empty|begins with 'hello'").all()
    every = {path: path.read_bytes() for path in own_data.glob("train/*.png")}
    for path in every:
        path.write_bytes(b"")
    line = refused(capsys, "prepare", "digits", *common, *TINY, "--images.on-bad-image", "skip")
    assert "72 of 72 train images cannot be read" in line and line.endswith("none is left to train on")
    for path, content in every.items():
        path.write_bytes(content)
    run("prepare", "digits", *common, *TINY, "--images.on-bad-image", "skip")
    assert "note: 1 of 24 test images cannot be read" in capsys.readouterr().out
    directory = RunDir(tmp_path / "run")
    prepared = read_prepared(directory.recipe(), own_data, directory)
    trains = np.concatenate([prepared.rows(fold, valid=False) for fold in range(3)])
    valid = np.concatenate([prepared.rows(fold, valid=True) for fold in range(3)])
    assert sorted(set(range(72)) - set(trains.tolist())) == [4, 7] and sorted(valid.tolist()) == list(range(72))
    run("train", *common, "--fold", prepared.folds[4])
    run("validate", *common)
    assert "cannot be read, and got the mean prediction" in capsys.readouterr().out


def test_a_pipe_among_the_images_is_a_bad_one(own_data, tmp_path, imettk):
    (own_data / "train" / "s00004.png").unlink()
    os.mkfifo(own_data / "train" / "s00004.png")
    common = ["prepare", "digits", "--data", own_data, "--run-dir", tmp_path / "run", *TINY]
    said = imettk(*common, code=2).stderr
    assert "1 of 72 train images cannot be read" in said and "s00004.png cannot be read: it is a pipe, not" in said
    said = imettk(*common, "--images.on-bad-image", "skip").stdout
    assert "note: 1 of 72 train images cannot be read" in said
    assert pd.read_csv(tmp_path / "run" / "bad_images.csv")["id"].tolist() == ["s00004"]


def test_rows_of_extra_tables_only_train_as_often_as_their_weight(own_data, tmp_path, capsys):
    frame = pd.read_csv(own_data / "train.csv", dtype=str)
    more = frame.iloc[:10].assign(id=[f"x{row}" for row in range(10)])
    (own_data / "external").mkdir()
    for name in more["id"]:
        shutil.copy(own_data / "train" / "s00000.png", own_data / "external" / f"{name}.png")
    more.drop(columns="group").to_csv(own_data / "external.csv", index=False)
    recipe = tmp_path / "more.py"
    recipe.write_text(
        "from dataclasses import replace\nfrom imettk.config import ExtraTable\n"
        "from imettk.recipes.digits import digits\n"
        "def recipe():\n    base = digits()\n"
        "    extra = (ExtraTable(csv='external.csv', images='external', weight=0.5),)\n"
        "    return replace(base, table=replace(base.table, extra=extra))\n"
    )
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    run("prepare", recipe, *common, *TINY)
    assert "10 rows of extra tables only train" in capsys.readouterr().out
    folds = pd.read_csv(tmp_path / "run" / "folds.csv")
    assert folds["fold"].tolist()[72:] == [-1] * 10 and set(folds["fold"][:72]) == {0, 1, 2}
    run("train", *common, "--fold", 0)
    status = json.loads((tmp_path / "run" / "fold0" / "status.json").read_text())
    assert status["num_steps"] == (48 + 5) // 16
    run("validate", *common)
    assert "OOF" in capsys.readouterr().out
    more.iloc[:1].assign(id="s00001").to_csv(own_data / "external.csv", index=False)
    shutil.copy(own_data / "train" / "s00000.png", own_data / "external" / "s00001.png")
    assert "1 id (s00001) more than once" in refused(capsys, "prepare", recipe, *common, *TINY)


def test_files_that_hold_fewer_bits_than_they_say_are_told_and_seen(own_data, tmp_path, capsys):
    """12 bits of brightness in 16: also where the cache is kept from before."""
    stored = {}
    for number, path in enumerate(sorted(own_data.glob("t*/*.png"))):
        stored[path] = np.asarray(Image.open(path)).astype(np.uint16) * 14 + number % 3
        Image.fromarray(stored[path]).save(path)
    most = max(values.max() for values in stored.values())
    common = ["prepare", "digits", "--data", own_data, "--run-dir", tmp_path / "run", *TINY]
    for _ in range(2):
        run(*common)
        said = capsys.readouterr().out
        assert f"note: the brightest pixel of 96 images of more than 8 bits is {most}" in said
        assert "the images will look dark; try --images.white 4095" in said
    found = json.loads((tmp_path / "run" / "table.json").read_text())
    assert any("--images.white 4095" in line for line in found["remarks"])
    run(*common, "--images.white", 4095)
    said = capsys.readouterr().out
    assert "brightest" not in said and "images of 32 x 32 x 1 as pixels" in said
    mean = np.mean([values / 4095 for values in stored.values()])
    assert json.loads((tmp_path / "run" / "table.json").read_text())["mean"] == pytest.approx([mean], abs=1e-3)
    run(*common, "--images.white", 3000)
    assert f"the brightest pixel of 96 images of more than 8 bits is {most}" in (said := capsys.readouterr().out)
    assert "of `images.white` 3000: all values above it become white" in said


def test_broken_colour_profiles_are_counted_once(own_data, tmp_path, capfd):
    for path in sorted(own_data.glob("train/*.png"))[:5]:
        Image.open(path).save(path, icc_profile=b"not a profile" * 20)
    common = ["--data", own_data, "--run-dir", tmp_path / "run"]
    run("prepare", "digits", *common, *TINY, "--cache.kind", "none")
    run("train", *common, "--fold", 0)
    said = capfd.readouterr()
    assert said.out.count("note: 5 images have a broken colour profile, which is ignored") == 1
    assert "libpng" not in said.err


def test_mean_and_std_of_the_channels_are_printed_and_kept(own_data, tmp_path, capsys):
    run("prepare", "digits", "--data", own_data, "--run-dir", tmp_path / "run", *TINY)
    found = json.loads((tmp_path / "run" / "table.json").read_text())
    files = sorted((own_data / "train").iterdir()) + sorted((own_data / "test").iterdir())
    pixels = np.stack([np.asarray(Image.open(path)) for path in files]) / 255
    assert found["mean"] == pytest.approx([pixels.mean()]) and found["std"] == pytest.approx([pixels.std()])
    assert f"channel mean {pixels.mean():.3f}, std {pixels.std():.3f}" in capsys.readouterr().out
    assert read_recipe(tmp_path / "run" / "recipe.json").images.mean == (0.2,), "told, never put in place in silence"
    assert Path(tmp_path / "run" / "cache" / "index.json").is_file()
