"""A run in a notebook does what the command line does, with the same bits, and says what it says."""

import hashlib
import math
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from pages import PAGES, block
from safetensors.numpy import load_file

import imettk
from imettk.cli.main import main
from imettk.errors import ConfigError, DataError, MissingFileError
from imettk.notebook import run as module

FIELDS = {
    "stages.0.num_epochs": 1,
    "stages.0.batch_size": 16,
    "stages.0.warmup_epochs": 0.5,
    "images.image_size": [32, 32],
    "folds.num_folds": 2,
    "model.backbone": "timm:test_resnet",
    "session.num_workers": 0,
    "session.tensorboard": False,
}


@pytest.fixture
def here(monkeypatch):
    """Run commands in this process."""

    def run_here(words, environment):
        def give(error):
            raise error

        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            main(words, give)

    monkeypatch.setattr(module, "run_command", run_here)


def tensors(path):
    """Return a digest of each tensor of a file, as it lies there."""
    return {name: hashlib.sha256(value.tobytes()).hexdigest() for name, value in load_file(path).items()}


@pytest.mark.slow
def test_five_lines_of_a_notebook_give_the_bits_of_the_command_line(digits_data, tmp_path, imettk):
    cells = [
        "import imettk",
        f"recipe = imettk.load_recipe('digits', {FIELDS!r})\n"
        f"run = imettk.open_run('nb', recipe, data={str(digits_data / 'data')!r})",
        "run.prepare()",
        "run.train(fold=0, budget='30m')",
        "run.validate()",
        "import sys; print('torch' in sys.modules)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    words = [word for name, value in FIELDS.items() for word in option(name, value)]
    common = ["digits", "--data", digits_data / "data", "--run-dir", tmp_path / "shell", *words]
    for command in (["prepare"], ["train", "--fold", 0], ["validate"]):
        imettk(command[0], *common, *command[1:])
    for name in ("fold0/model.safetensors", "fold0/oof.safetensors"):
        ours, theirs = tensors(tmp_path / "nb" / name), tensors(tmp_path / "shell" / name)
        assert ours and ours == theirs
    status, scores = (cell.outputs[-1].data["text/html"] for cell in notebook.cells[3:5])
    assert "done" in status and "<svg" in scores and "OOF" in scores
    # One line that is overwritten, not one for each refresh; and nothing of torch in the notebook's own process.
    assert sum(output.output_type == "display_data" for output in notebook.cells[2].outputs) == 1
    assert notebook.cells[5].outputs[0].text == "False\n"


def option(name, value):
    values = value if isinstance(value, list) else [str(value).lower() if isinstance(value, bool) else value]
    return ["--" + name.replace("_", "-"), *values]


def test_a_run_goes_on_where_it_was_and_the_page_tells_the_truth(digits_data, tmp_path, here, no_charts, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(digits_data / "data")
    Path("mine.py").write_text(f"import imettk\ndef recipe():\n    return imettk.load_recipe('digits', {FIELDS!r})\n")
    run = imettk.open_run("runs/mine", "mine.py", fields={"session.limit_steps": 1})
    run.prepare()
    assert run.status.state.tolist() == ["new", "new"] and run.status.step.tolist() == [0, 0]
    first = run.train(fold=0)
    assert first.state[0] == "paused" and first.step[0] == 1 and first.reason[0] == "step limit of the session"
    assert repr(run) == f"<Run {tmp_path / 'runs' / 'mine'}: digits, 0 of 2 folds trained>"
    with pytest.raises(MissingFileError, match="run `validate` first"):
        _ = run.scores
    page, names = PAGES["docs/notebooks.md"], {}
    for title in ("notebook", "fields", "results"):
        exec(block(page, title), names)
    run = names["run"]
    assert run.status.state.tolist() == ["done"] * 2 and run.status.sessions.tolist() == [2, 1]
    assert run.status.step.tolist() == run.status.num_steps.tolist()
    assert names["recipe"].images.image_size == (64, 64)
    assert not math.isnan(run.validate()["oof"]) and run.infer(answers=digits_data / "answers.csv").equals(
        run.submission
    )
    sample = pd.read_csv("data/sample_submission.csv", dtype=str)
    assert run.submission["id"].tolist() == sample["id"].tolist() and "test" in run.scores
    oof, test = names["oof"], names["test"]
    assert sorted(oof["fold"].unique()) == [0, 1] and set(oof["id"]) == set(run.folds["id"])
    assert list(test)[1:] == [name for name in oof if name not in ("id", "fold") and ":" not in name]
    assert "<iframe" in run.report()._repr_html_()
    # A folder that was moved opens by itself, with the recipe that it holds.
    assert imettk.open_run(Path("runs/mine").rename("moved")).recipe.name == "digits"


def test_errors_are_those_of_the_command_line(digits_data, tmp_path, here):
    run = imettk.open_run(tmp_path / "run", "digits", data=tmp_path)
    with pytest.raises(DataError, match=r"train.csv is missing: --data must be the competition's folder"):
        run.prepare()
    with pytest.raises(ConfigError, match="belongs to"):
        run.command("prepare", "--action", "group")
    with pytest.raises(MissingFileError, match=r"recipe\.json"):
        imettk.open_run(tmp_path / "new")
    with pytest.raises(MissingFileError, match="--inputs"):
        imettk.open_run(tmp_path / "new", "digits", inputs=[tmp_path / "none"])
    (tmp_path / "file").touch()
    with pytest.raises(MissingFileError, match="is a file, not a folder"):
        imettk.open_run(tmp_path / "file", "digits")
    with pytest.raises(ConfigError, match="by its name or file"):
        imettk.open_run(tmp_path / "new", imettk.load_recipe("digits"), fields={"train.seed": 1})


def test_arguments_of_other_types_are_taken_or_named(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "run_command", lambda words, environment: calls.append(words))
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    run = imettk.open_run("run", "digits", inputs="in")
    monkeypatch.chdir("in")  # the run stays where it was
    run.train(np.int64(1))
    places = ["--data", "../data", "--run-dir", "../run", "--inputs", "../in"]
    expected = [word if word.startswith("--") else str(tmp_path / word[3:]) for word in places]
    assert calls[0][2:10] == [*expected, "--fold", "1"]
    for fold in (True, 0.0, "0", [0]):
        for call in (run.train, run.validate, run.infer, lambda fold: imettk.predict(run, "x.png", fold=fold)):
            with pytest.raises(ConfigError, match="`fold` must be a whole number, or None for all, got"):
                call(fold)
    for recipe in (imettk.Recipe, {"name": "digits"}, 3):
        with pytest.raises(ConfigError, match="`recipe` must be a Recipe, a name or a file, got"):
            imettk.open_run("run", recipe)


def test_words_of_a_call_are_those_of_the_command_line(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "run_command", lambda words, environment: calls.append(words))
    (tmp_path / "in").mkdir()
    run = imettk.open_run(tmp_path / "run", "digits", data="data", inputs=[tmp_path / "in"], fields={"train.seed": 7})
    run.train(fold=1, budget=600, processes=2)
    run.preflight()
    command, recipe, *rest = calls[0]
    assert command == "train" and recipe.endswith("recipe.json")
    common = [
        "--data",
        str(Path("data").absolute()),
        "--run-dir",
        str(tmp_path / "run"),
        "--inputs",
        str(tmp_path / "in"),
    ]
    assert rest[: len(common) + 2] == [*common, "--fold", "1"] and rest[-2:] == ["--processes", "2"]
    assert float(rest[rest.index("--session.limit-seconds") + 1]) == pytest.approx(600, abs=1)
    assert [words[0] for words in calls] == ["train", "preflight"]
