"""Options of `imettk kaggle` that exclude each other are refused by the parser."""

from __future__ import annotations

from tiny import kaggle_command as command
from typed_pushes import PUSH


def test_cpu_and_accelerator_are_one_choice(cells_box, capsys):
    command(*PUSH, "--cpu", "--accelerator", "NvidiaL4", code=2)
    assert "not allowed with argument" in capsys.readouterr().err
