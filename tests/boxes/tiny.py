"""Commands in this process, on recipes that are small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imettk.cli.main import main
from imettk.config import Recipe, to_json

TINY = ["--stages.0.num-epochs", "1", "--stages.0.batch-size", "16", "--stages.0.warmup-epochs", "0.5"]
TINY += ["--images.image-size", "32", "32", "--session.tensorboard", "false"]
SMALL = ["--folds.num-folds", 2, "--model.backbone", "timm:test_resnet", "--session.num-workers", 0]


def run(*words: object) -> None:
    main([str(word) for word in words])


def two_runs(folder: Path, recipe: Recipe, data: Path) -> Path:
    """Make the runs `one` and `two` of a recipe with different seeds, by all commands on both folds."""
    path = folder / "recipe.json"
    path.write_text(to_json(recipe))
    for seed, name in enumerate(("one", "two")):
        common = ["--data", data, "--run-dir", folder / name]
        run("prepare", path, *common, "--train.seed", seed)
        for fold in range(2):
            run("train", *common, "--fold", fold)
        run("validate", *common)
        run("infer", *common, "--answers", data / "answers.csv")
    return folder


def scores_of(run_dir: Path) -> Any:
    """Read the scores.json that `validate` and `infer` have written."""
    return json.loads((run_dir / "scores.json").read_text())


def code_of(*words: object) -> int:
    """Return the exit code of a command that exits."""
    with pytest.raises(SystemExit) as caught:
        run(*words)
    return int(caught.value.code or 0)


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Return the single error line of a refused command."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert caught.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("imettk:")]
    return line


def kaggle_command(*words: object, code: int = 0) -> None:
    """Run a command of `imettk kaggle`, which must end with this code."""
    try:
        run("kaggle", *words)
    except SystemExit as ending:
        assert ending.code == code, ending.code
        return
    raise AssertionError("it did not end")
