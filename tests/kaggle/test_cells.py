"""Notebooks as JSON: valid, in the form that the platform's server takes, and read back in whatever form it stores."""

from __future__ import annotations

import ast
import json

import nbformat
import pytest

from imettk.kaggle.cells import code_cell, is_notebook, literal, markdown_cell, setting_in, source_of, to_notebook

TEXT = to_notebook([markdown_cell("# Title\n"), code_cell('\nPUSH = "p1"\n'), code_cell("b = 2")], machine="NvidiaL4")


def test_a_notebook_is_valid_and_has_one_string_a_cell():
    content = json.loads(TEXT)
    nbformat.validate(nbformat.from_dict(content))
    assert [cell["source"] for cell in content["cells"]] == ["# Title", 'PUSH = "p1"', "b = 2"]
    settings = content["metadata"]["kaggle"]
    assert (settings["accelerator"], settings["isInternetEnabled"]) == ("nvidiaL4", False)
    assert json.loads(to_notebook([], gpu=False, machine="NvidiaL4"))["metadata"]["kaggle"]["accelerator"] == "none"


def test_code_is_found_in_every_form():
    stored = json.loads(TEXT)
    stored["cells"][1]["source"] = ["PUSH = ", '"p1"']
    for text in (TEXT, json.dumps(stored), source_of(TEXT)):
        assert source_of(text) == 'PUSH = "p1"\nb = 2' and setting_in(text, "PUSH") == "p1"
    for text in ("", "{", "{}", '{"cells": [7]}', "PUSH = 7", 'PUSH = "\\N"', ' PUSH = "indented"'):
        assert setting_in(text, "PUSH") == "" and source_of(text) == text
    assert is_notebook(TEXT) and not is_notebook('"""A script."""')


@pytest.mark.parametrize(
    "value", ["\U0001f600 \"'\\\n", (0.1,), [1, None, True], {"a": ("b", ()), "\ud83d": -0.0}, 1e300], ids=ascii
)
def test_a_literal_is_read_back_as_it_was(value):
    assert literal(value).isascii() and ast.literal_eval(literal(value)) == value
