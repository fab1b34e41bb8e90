"""The options of `try` and `pseudo`."""

import argparse

import pytest
from tiny import code_of

from imettk.cli.search_options import add_pseudo, add_try, seconds


def test_a_budget_is_a_number_with_a_unit(capsys):
    assert [seconds(text) for text in ("90s", "45m", "1.5h")] == [90, 2700, 5400]
    for text in ("6", "h", "-1h", "6d", "nanh", "infs", ""):
        with pytest.raises(ValueError):
            seconds(text)
    assert code_of("try", "digits", "--budget", "6") == 2
    assert "argument --budget: invalid seconds value: '6'" in capsys.readouterr().err


def test_what_is_not_given_is_left_to_the_command():
    parser = argparse.ArgumentParser()
    add_try(parser)
    add_pseudo(parser)
    arguments = vars(parser.parse_args(["--vary", "a=1", "--vary", "b=2"]))
    assert arguments.pop("vary") == ["a=1", "b=2"]
    assert arguments == dict.fromkeys(("budget", "confidence", "share", "power", "rounds", "weight")) | dict.fromkeys(
        ("halving", "hard"), False
    )
