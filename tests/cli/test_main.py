"""The command line: help, list of fields, and exit codes."""

from dataclasses import replace

import pytest
from tiny import code_of

from imettk.cli.main import _note_one_process, main
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
def test_a_number_out_of_range_is_one_line(words, capsys):
    assert code_of("prepare", "digits", *words.split()) == 2
    text = capsys.readouterr().err
    assert text.startswith("imettk: `") and text.count("\n") == 1 and "got" in text


def test_a_missing_fold_is_one_line(digits_data, tmp_path, capsys):
    assert (
        code_of("train", "digits", "--data", str(digits_data / "data"), "--run-dir", str(tmp_path), "--fold", "3") == 2
    )
    assert "--fold must be in [0, 3), got 3" in capsys.readouterr().err


def test_a_command_that_trains_in_one_process_says_so_where_train_takes_several(capsys):
    recipe = digits()
    for count, note in ((2, "note: this command trains in one process, where `imettk train` would start 2\n"), (1, "")):
        _note_one_process(replace(recipe, session=replace(recipe.session, num_processes=count)))
        assert capsys.readouterr().out == note
