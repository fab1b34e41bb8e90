"""Every stage in miniature, in each of the competitions' formats; and what it says a run will take."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from imettk.cli import main
from imettk.data.made_artworks import make_artworks
from imettk.data.made_cells import make_cells
from imettk.data.made_turtles import make_turtles
from imettk.data.made_whales import WhalesSize, make_whale_folders, make_whales
from imettk.data.miniature import make_miniature
from imettk.data.table import read_table
from imettk.recipes import load_recipe

TINY = ["--model.backbone", "timm:test_resnet", "--session.num-workers", "0"]


def test_it_plays_every_stage_and_leaves_an_estimate(digits_data, tmp_path, capsys):
    main(["preflight", "digits", "--data", str(digits_data / "data"), "--run-dir", str(tmp_path / "run")])
    text = capsys.readouterr().out
    for part in ("paused at step 1 of 2", "continues at step 1 of 2", "OOF", "checked against", "everything works"):
        assert part in text
    result = json.loads((tmp_path / "run" / "preflight.json").read_text())
    assert result["recipe"] == "digits" and 0 < result["seconds_a_fold"] < 600 and result["sessions_a_fold"] == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["preflight.json"]


def test_its_estimate_is_that_of_a_dry_run(digits_data, tmp_path, capsys):
    """Of a training that is long enough to compare: within a factor of three, as machines are shared."""
    at = ["--data", str(digits_data / "data"), "--run-dir", str(tmp_path / "run"), "--stages.0.num-epochs", "200"]
    main(["preflight", "digits", *at])
    guess = json.loads((tmp_path / "run" / "preflight.json").read_text())["seconds_a_fold"]
    main(["prepare", "digits", *at])
    capsys.readouterr()
    main(["train", "digits", *at, "--dry-run", "--fold", "0"])
    words = capsys.readouterr().out.partition("about ")[2].split()
    seconds = float(words[0]) * {"s": 1, "min": 60, "h": 3600}[words[1]]
    assert seconds / 3 < guess < seconds * 3


@pytest.mark.parametrize("name", ["imet2019", "hpa2018", "humpback2018", "gdsc2020", "turtle2022"])
def test_each_format_in_miniature(tmp_path, name):
    """Fewer rows that are still of the right format: read back by the same recipe, with folds to be made of them."""
    data, answers = tmp_path / "data", tmp_path / "answers.csv"
    if name == "imet2019":
        make_artworks(data, answers, num_train=96, num_test=24)
    elif name == "hpa2018":
        make_cells(data, answers, num_train=60, num_external=24, num_test=16, side=64)
    elif name == "turtle2022":
        make_turtles(data, answers)
    else:
        (make_whales if name == "humpback2018" else make_whale_folders)(data, answers, size=WhalesSize())
    form = load_recipe(name).table
    whole = read_table(form, data)
    count = make_miniature(form, data, tmp_path / "small", rows=40, test_rows=5)
    small = read_table(form, tmp_path / "small")
    assert 20 <= count == len(small) < len(whole) and set(small.ids) <= set(whole.ids)
    assert len(pd.read_csv(tmp_path / "small" / form.sample_csv)) == 5
    if small.targets is not None and small.targets.ndim == 1:
        assert (pd.Series(small.targets[small.targets >= 0]).value_counts() >= 2).any()
    assert all(Path(path).exists() for path in small.paths if "*" not in path)


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
