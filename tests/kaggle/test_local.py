"""`imettk kaggle run-local` makes the checks of a push, and mounts folders in place of models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny import kaggle_command as command
from typed_pushes import MODEL, OWN

from imettk.kaggle import local
from imettk.kaggle.sandbox import COMPLETE, Ending, Mounts


def test_run_local_makes_the_checks_of_a_push(cells_box, tmp_path, capsys):
    words = ["run-local", "train", "digits", "--data", "data", "--run-dir", "r"]
    for more, says in [
        (["--fold", "7"], "--fold: 7"),
        (["--limit-seconds", "nan"], "--limit-seconds: nan must be above 0"),
        (["--limit-seconds", "inf"], "--limit-seconds: inf must be above 0"),
        (["--limit-seconds", "0"], "--limit-seconds: 0 must be above 0"),
        (["--model.weights", "kaggle-model:x"], "names no Kaggle model"),
        (["--models", "timm/resnet=data"], "names no Kaggle model"),
        (["--models", "timm/resnet/pyTorch/resnet18=data"], "--models: "),
        (["--models", f"{MODEL}=nowhere"], "an existing folder"),
    ]:
        command(*words, *more, code=2)
        assert says in capsys.readouterr().err
    assert not Path("r").exists()


def test_run_local_mounts_folders_in_place_of_models(cells_box, tmp_path, monkeypatch):
    sessions = []

    def session(script: str, root: Path, mounts: Mounts, **_: object) -> Ending:
        sessions.append((script, mounts))
        return Ending(COMPLETE, 0, 1.0, root)

    monkeypatch.setattr(local, "run_session", session)
    Path("mine.py").write_text(OWN.format(weights=f"kaggle-model:{MODEL}"))
    command("run-local", "train", "mine.py", "--data", "data", "--run-dir", "r", "--models", f"{MODEL}=data")
    ((script, mounts),) = sessions
    assert dict(mounts.models) == {MODEL: Path("data")}
    assert f'["--model.weights", "kaggle-model:{MODEL}"]' in script


def test_run_local_executes_notebooks(cells_box, tmp_path, monkeypatch, capsys):
    sessions = []

    def session(text: str, root: Path, mounts: Mounts, **_: object) -> Ending:
        sessions.append((text, mounts))
        return Ending(COMPLETE, 0, 1.0, root)

    monkeypatch.setattr(local, "run_session", session)
    words = ["digits", "--data", "data", "--run-dir", "r"]
    command("run-local", "train", *words, "--notebook", "--fold", 1)
    command("notebook", "digits", "--competition", "whales", "--out", "out")
    command("run-local", "out/train.ipynb", *words)
    assert sessions[0][0].startswith("{") and '"--fold\\", \\"1' in sessions[0][0]
    assert sessions[1][0] == Path("out/train.ipynb").read_text()
    assert dict(sessions[1][1].competitions) == {"whales": Path("data")}  # where the notebook looks for it
    Path("other.ipynb").write_text("{}")
    for notebook, more, says in [
        ("out/train.ipynb", ["--fold", "0"], "a notebook gets no options: change its cells"),
        ("out/train.ipynb", ["--train.seed", "1"], "a notebook gets no options"),
        ("none.ipynb", [], "none.ipynb is missing: `imettk kaggle notebook RECIPE` writes it"),
        ("other.ipynb", [], "it sets no COMPETITION"),
    ]:
        command("run-local", notebook, *words, *more, code=2)
        assert says in capsys.readouterr().err
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    command("run-local", "train", *words, "--notebook", code=2)
    assert "nbclient and ipykernel: pip install 'ipykernel" in capsys.readouterr().err


# A recipe whose training no session can finish.
HANGS_THERE = """
import os, time
from imettk.recipes.digits import digits as recipe

if "IMETTK_KAGGLE_ROOT" in os.environ:
    time.sleep(3600)
"""


@pytest.mark.slow
def test_run_local_runs_the_script_unchanged(digits_data, tmp_path, monkeypatch, capfd):
    """It runs in Kaggle's layout, with the package from the pack; again from its output; and killed at its limit."""
    monkeypatch.chdir(tmp_path)
    data = ["--data", digits_data / "data"]
    command("run-local", "prepare", "digits", *data, "--run-dir", "first")
    text = capfd.readouterr().out
    assert "72 rows in 12 groups" in text and "complete after" in text
    assert ("read-only, no network" in text) is bool(shutil.which("unshare")) or "plain folder" in text
    assert {"recipe.json", "folds.csv", "imettk-output.json"} <= {path.name for path in Path("first/working").iterdir()}
    command("run-local", "train", "digits", *data, "--run-dir", "second", "--inputs", "first/working", "--fold", 0,
            "--session.limit-steps", 3)  # fmt: skip
    assert "paused at step 3 of 11" in capfd.readouterr().out
    Path("hangs.py").write_text(HANGS_THERE)
    command("run-local", "prepare", "hangs.py", *data, "--run-dir", "third", "--limit-seconds", 2, code=1)
    assert "killed at its limit after 2 s" in capfd.readouterr().out
    command("run-local", "prepare", "digits", *data, "--run-dir", "first", code=2)
    assert "is not empty" in capfd.readouterr().err
