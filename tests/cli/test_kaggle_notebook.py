"""`imettk kaggle notebook` makes the checks of a push, and says how to go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import kaggle_command as command
from typed_pushes import MODEL, OWN

from imettk.kaggle.cells import setting_in, source_of


def test_notebooks_are_written_with_the_overrides_in_a_cell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("my own.py").write_text(OWN.format(weights=f"kaggle-model:{MODEL}"))
    command("notebook", "my own.py", "--dataset", "me/cells", "--folds", "0,1", "--out", "out", "--train.seed", 7)
    text = capsys.readouterr().out
    assert "imettk kaggle run-local out/train.ipynb 'my own.py'" in text and "pack 'my own.py' --upload" in text
    train = Path("out/train.ipynb").read_text()
    assert (setting_in(train, "RECIPE"), setting_in(train, "COMPETITION")) == ("my own.py", "cells")
    source = source_of(train)
    assert '"train.seed": 7,' in source and "FOLDS = [0, 1]" in source and f'"kaggle-model:{MODEL}"' in source
    assert f"the model `{MODEL}`" in train


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "where is the data?"),
        (["--competition", "cells", "--folds", "9"], "--folds: '9'"),
        (["--competition", "cells", "--accelerator", "P100"], "is retired"),
        (["--competition", "cells", "--model.weights", "input:weights"], "no 'weights' is attached"),
        (["--competition", "cells", "--train.sed", "7"], "did you mean"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    command("notebook", "digits", *words, code=2)
    assert says in capsys.readouterr().err and not Path("runs").exists()
