"""A chain that pushes notebooks; in tests/kaggle/test_whole_chain.py they really train."""

from __future__ import annotations

import pytest
from kaggle_box import KaggleBox
from tiny import kaggle_command as command
from typed_chains import CHAIN, RUN, once_until

from imettk.kaggle.cells import is_notebook
from imettk.kaggle.chain_state import read_chain

# MLflow's, about SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def kinds(box: KaggleBox) -> list[tuple[str, bool]]:
    """Return type and form of every kernel that was pushed."""
    pushed = [request for method, request in box.requests if method == "SaveKernel"]
    return [(request["kernelType"], is_notebook(request["text"])) for request in pushed]


def test_a_chain_keeps_its_kind_until_it_is_asked_for_another(chain_box, capsys):
    once_until(chain_box, "prepare-s1", *CHAIN, "--notebook")
    once_until(chain_box, "f0-s1")
    assert set(kinds(chain_box)) == {("notebook", True)}
    command(*CHAIN, "--no-notebook")
    assert "cells: from here on notebook: True -> False" in capsys.readouterr().out
    assert kinds(chain_box)[-1] == ("script", False) and read_chain(RUN).is_done("infer")


def test_one_command_is_pushed_as_a_notebook_and_found_again(cells_box, capsys):
    command("push", "train", "digits", "--competition", "cells", "--notebook")
    assert kinds(cells_box) == [("notebook", True)]
    command("status", "me/imettk-digits-train", "--run-dir", "elsewhere")  # by the push in its text
    assert "using version 1" in capsys.readouterr().out
