"""The command line: help, listing of fields, exit codes."""

import pytest

from imettk.cli import main
from imettk.fields import field_names
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
    monkeypatch.setitem(__import__("imettk.doctor").doctor.PACKAGES, "nothing-such", "no_such_module")
    assert code_of("doctor") == 2
    assert "missing or broken: nothing-such" in capsys.readouterr().out
