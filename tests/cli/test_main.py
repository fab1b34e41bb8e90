"""The command line: help, listing of fields, exit codes."""

import os
import re
import subprocess
import sys

import pytest
from places import PROJECT

from imettk.cli.doctor import PACKAGES
from imettk.cli.main import STAGE_RUNNERS, main
from imettk.cli.options import STAGES, make_parser, split_overrides
from imettk.config.fields import field_names
from imettk.kaggle.kernel import STAGES as KERNEL_STAGES
from imettk.recipes.digits import digits


def code_of(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    return int(caught.value.code or 0)


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


@pytest.mark.parametrize("stage", STAGES)
def test_every_option_in_the_help_of_a_stage_can_be_given(stage, capsys):
    """None of them is taken for a field of the recipe, whose names all have a dot in them."""
    assert code_of(stage, "--help") == 0
    options = set(re.findall(r"(?<![\w.`-])--[a-z][a-z-]*", capsys.readouterr().out))
    assert {"--data", "--help", "--fields"} <= options and not any("--" + name in options for name in ("stages", "x"))
    for option in options:
        assert split_overrides([stage, option, "1", "--train.seed", "2"]) == (
            [stage, option, "1"],
            ["--train.seed", "2"],
        )
        assert split_overrides([stage, f"{option}=1"])[1] == []


def test_every_stage_has_a_parser_a_runner_and_kernels_of_some():
    assert set(STAGES) == set(STAGE_RUNNERS) and set(KERNEL_STAGES) < set(STAGES)
    for stage in STAGES:
        needed = {"ensemble": ["--members", "a"], "neighbours": ["--classifier", "a", "--features", "b"]}
        assert make_parser().parse_args([stage, *needed.get(stage, [])]).command == stage


def test_pairs_that_embeddings_find_can_be_asked_to_be_nearer(tmp_path, capsys):
    assert code_of("duplicates", "digits", "--data", str(tmp_path / "none"), "--similarity", "0.95") == 2
    assert "train.csv is missing" in capsys.readouterr().err


def test_an_option_of_another_stage_is_named_as_that(capsys):
    assert code_of("train", "digits", "--similarity", "0.95") == 2
    assert capsys.readouterr().err == "imettk: --similarity belongs to duplicates: `imettk train` has no such option\n"


def test_doctor_looks_for_whatever_the_package_needs():
    setup = (PROJECT / "setup.py").read_text()
    needed = re.findall(r'^        "([\w.-]+)', setup.split("install_requires")[1].split("extras_require")[0], re.M)
    assert len(needed) > 15 and set(needed) == set(PACKAGES)


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


@pytest.mark.parametrize("scores", [["nan"], ["inf"], ["0.5", "-inf"], ["x"]])
def test_what_is_no_score_does_not_come_into_the_log(scores, tmp_path, capsys):
    assert code_of("log", "lb", str(tmp_path), "--", *scores) == 2
    assert "invalid score value" in capsys.readouterr().err and not list(tmp_path.iterdir())


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


def test_demo_refuses_a_folder_that_is_not_empty(tmp_path, capsys):
    (tmp_path / "mine").write_text("x")
    assert code_of("demo", "--run-dir", str(tmp_path)) == 2
    assert "is not empty" in capsys.readouterr().err


def test_doctor_finds_everything(capfd):
    assert code_of("doctor") == 0
    assert "everything is there" in capfd.readouterr().out


def test_doctor_names_what_is_broken(monkeypatch, capsys):
    monkeypatch.setitem(PACKAGES, "nothing-such", "no_such_module")
    assert code_of("doctor") == 2
    assert "missing or broken: nothing-such" in capsys.readouterr().out
