"""The options of `new`."""

import argparse
from dataclasses import fields

import pytest

from imettk.cli.new_options import add_new, pixel_shape
from imettk.commands.new import Choices


def test_every_choice_has_an_option():
    parser = argparse.ArgumentParser()
    add_new(parser)
    arguments = vars(parser.parse_args(["mine", "--pixel-shape", "137x236", "--hold-out", "0.2"]))
    assert {item.name for item in fields(Choices)} | {"name", "data", "like", "hold_out"} == set(arguments)
    assert arguments["pixel_shape"] == (137, 236) and arguments["hold_out"] == 0.2


def test_a_pixel_shape_is_numbers_between_crosses():
    assert pixel_shape("28X28x3") == (28, 28, 3)
    with pytest.raises(ValueError):
        pixel_shape("28 by 28")
