"""The options of a command are told apart from fields of the recipe and from options of other commands."""

import re

import pytest
from tiny import code_of

from imettk.cli.main import RUNNERS
from imettk.cli.options import COMMANDS, make_parser, split_overrides
from imettk.kaggle.kernel import COMMANDS as KERNEL_COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_in_the_help_of_a_command_is_accepted(command, capsys):
    """None of them is taken for a field of the recipe, whose names all contain a dot."""
    assert code_of(command, "--help") == 0
    options = set(re.findall(r"(?<![\w.`-])--[a-z][a-z-]*", capsys.readouterr().out))
    assert {"--data", "--help", "--fields"} <= options and not any("--" + name in options for name in ("stages", "x"))
    for option in options:
        assert split_overrides([command, option, "1", "--train.seed", "2"]) == (
            [command, option, "1"],
            ["--train.seed", "2"],
        )
        assert split_overrides([command, f"{option}=1"])[1] == []


def test_every_command_has_a_parser_and_a_runner_and_some_have_kernels():
    assert set(COMMANDS) == set(RUNNERS) and set(KERNEL_COMMANDS) < set(COMMANDS)
    for command in COMMANDS:
        needed = {
            "ensemble": ["--members", "a"],
            "soup": ["--members", "a"],
            "neighbours": ["--classifier", "a", "--features", "b"],
            "import": ["--oof", "a"],
        }
        assert make_parser().parse_args([command, *needed.get(command, [])]).command == command


def test_the_similarity_of_duplicates_is_an_option(tmp_path, capsys):
    assert code_of("duplicates", "digits", "--data", str(tmp_path / "none"), "--similarity", "0.95") == 2
    assert "train.csv is missing" in capsys.readouterr().err


def test_an_option_of_another_command_is_named(capsys):
    assert code_of("train", "digits", "--similarity", "0.95") == 2
    assert capsys.readouterr().err == "imettk: --similarity belongs to duplicates: `imettk train` has no such option\n"
