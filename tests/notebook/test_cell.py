"""Lines are printed; those that overwrite each other are one output of a notebook."""

import sys
from types import SimpleNamespace

from imettk.notebook.cell import Cell


def test_lines_go_to_their_streams(capsys):
    cell = Cell()
    cell.print("a")
    cell.print("\rb", is_error=True)
    assert capsys.readouterr() == ("a\n", "b\n") and not cell.overwrites


def test_a_notebook_shows_the_last_of_the_lines_that_overwrite_each_other(monkeypatch, capsys):
    shown = []
    handle = SimpleNamespace(update=lambda content, raw: shown.append(content["text/plain"]))

    def display(content, *, raw, display_id):
        assert raw and display_id
        handle.update(content, raw)
        return handle

    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1), display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", shell.display)
    cell = Cell()
    for line in ("\r10%", "text", "\r20%"):
        cell.print(line, is_error=True)
    assert shown == ["10%", "20%"] and capsys.readouterr().err == "text\n"
