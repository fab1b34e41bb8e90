"""The command line: help, listing of fields, exit codes."""

import os
import re
import subprocess
import sys

import pytest
from places import PROJECT
from tiny import code_of

from imettk.cli.main import main
from imettk.config.fields import field_names
from imettk.recipes.digits import digits


def test_help_names_every_command(capsys):
    assert code_of("--help") == 0
    text = capsys.readouterr().out
    for command in ("demo", "prepare", "train", "validate", "infer", "doctor", "kaggle"):
        assert command in text


def test_fields_lists_every_field_with_its_value(capsys):
    main(["train", "digits", "--fields"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["--" + name.replace("_", "-") for name in field_names(digits())]
    assert any(line.startswith("--stages.0.num-epochs") and " 11 " in line for line in lines)


@pytest.mark.parametrize(
    "words",
    [
        ["fly"], [], ["train", "digitz"], ["train", "digits", "--train.los", "x"], ["train", "digits", "--fold", "x"],
        ["demo", "--stages.0.lr", "1"], ["train", "digits", "--inputs", "/nowhere"], ["kaggle", "pack", "absent.py"],
    ],
)  # fmt: skip
def test_wrong_input_is_code_2(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert code_of(*words) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "--stages.0.num-epochs inf", "--train.validate-epochs inf", "--folds.seed -1", "--images.mean nan",
        "--images.std inf", "--stages.0.lr inf", "--stages.0.lr -inf", "--rule.beta inf",
        "--session.num-workers 99999", "--train.seed 99999999999999999999", "--cache.max-gb nan",
    ],
)  # fmt: skip
def test_a_number_out_of_every_range_is_one_line(words, capsys):
    assert code_of("prepare", "digits", *words.split()) == 2
    text = capsys.readouterr().err
    assert text.startswith("imettk: `") and text.count("\n") == 1 and "got" in text


def entry_point() -> str:
    """What pip makes the `imettk` command of."""
    setup = (PROJECT / "setup.py").read_text()
    module, function = re.findall(r'"imettk = ([\w.]+):(\w+)"', setup)[0]
    return f"import sys; from {module} import {function}; sys.exit({function}())"


@pytest.mark.parametrize("start", [["-m", "imettk"], ["-c", entry_point()]], ids=["module", "command"])
@pytest.mark.parametrize("module", ["imettk.cli.main", "imettk.config", "imettk.recipes.digits", "argparse"])
def test_ctrl_c_while_python_still_imports_is_one_line(start, module, tmp_path):
    """As if it came at the moment when the module is looked for."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n\n\nclass Interrupt:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n            raise KeyboardInterrupt\n\n\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(PROJECT)])
    done = subprocess.run(
        [sys.executable, *start, "--help"], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout) == (1, "imettk: stopped\n", "")


def test_a_fold_that_does_not_exist(digits_data, tmp_path, capsys):
    assert (
        code_of("train", "digits", "--data", str(digits_data / "data"), "--run-dir", str(tmp_path), "--fold", "3") == 2
    )
    assert "--fold must be in [0, 3), got 3" in capsys.readouterr().err
