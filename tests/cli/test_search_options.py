"""The options of `try` and `pseudo`."""

import argparse

from tiny import code_of

from imettk.cli.search_options import add_pseudo, add_try


def test_a_budget_is_a_number_with_a_unit(capsys):
    assert code_of("try", "digits", "--budget", "6") == 2
    assert "argument --budget: invalid duration value: '6'" in capsys.readouterr().err


def test_what_is_not_given_is_left_to_the_command():
    parser = argparse.ArgumentParser()
    add_try(parser)
    add_pseudo(parser)
    arguments = vars(parser.parse_args(["--vary", "a=1", "--vary", "b=2"]))
    assert arguments.pop("vary") == ["a=1", "b=2"]
    assert arguments == dict.fromkeys(("budget", "confidence", "share", "power", "rounds", "weight")) | dict.fromkeys(
        ("halving", "hard"), False
    )
