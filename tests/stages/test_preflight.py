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
from imettk.stages import preflight

TINY = ["--model.backbone", "timm:test_resnet", "--session.num-workers", "0"]


def test_it_plays_every_stage_and_leaves_an_estimate(digits_data, tmp_path, capsys):
    main(["preflight", "digits", "--data", str(digits_data / "data"), "--run-dir", str(tmp_path / "run")])
    text = capsys.readouterr().out
    for part in ("paused at step 1 of 2", "continues at step 1 of 2", "OOF", "checked against", "everything works"):
        assert part in text
    result = json.loads((tmp_path / "run" / "preflight.json").read_text())
    assert result["recipe"] == "digits" and 0 < result["seconds_a_fold"] < 600 and result["sessions_a_fold"] == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["preflight.json"]


def test_its_estimate_is_made_of_steps_and_validations_of_the_real_size(digits_data, tmp_path, monkeypatch):
    """By hand: 72 rows in 3 folds, batches of 16, 2 + 5 epochs; a step takes 10 or 20 s, 24 rows are validated in 6."""
    monkeypatch.setattr(preflight, "measure", lambda *_, fold: (None, [10.0, 20.0], 6.0))
    at = ["--data", str(digits_data / "data"), "--run-dir", str(tmp_path / "run")]
    (tmp_path / "mine.py").write_text(
        "import dataclasses\nfrom imettk.recipes.digits import digits\n\n\ndef recipe():\n    one = digits()\n"
        "    (stage,) = one.stages\n"
        "    stages = tuple(dataclasses.replace(stage, num_epochs=e, batch_size=16) for e in (2.0, 5.0))\n"
        "    return dataclasses.replace(one, stages=stages)\n"
    )
    main(
        ["preflight", str(tmp_path / "mine.py"), *at, "--train.validate-epochs", "2", "--session.limit-seconds", "500"]
    )
    found = json.loads((tmp_path / "run" / "preflight.json").read_text())
    assert found["seconds_a_fold"] == 2 * 3 * 10 + 5 * 3 * 20 + (1 + 3) * 6
    assert found["sessions_a_fold"] == 2  # of 500 - 300 seconds each


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
