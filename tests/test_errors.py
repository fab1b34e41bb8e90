"""A fault of the machine is one line with a next step; a bug keeps its traceback."""

from __future__ import annotations

import errno

import pytest
from tiny import code_of

from imettk.cli import main as cli
from imettk.cli.main import main
from imettk.errors import describe_fault


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: free some space", 1),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "a/b: Read-only file system: use a path that may", 2),
        (PermissionError(errno.EACCES, "Permission denied", b"a"), "a: Permission denied: use a path", 2),
        (OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"), "a -> b: Invalid cross-device link: ", 1),
        (OSError("no number"), "no number: IMETTK_TRACEBACK=1 shows where", 1),
        (TimeoutError(), "TimeoutError: IMETTK_TRACEBACK=1 shows where", 1),
        (RuntimeError("I/O error: No space (os error 28)"), "No space left on device: free some space", 1),
        (OSError("a cannot be written: (os error 28)"), "a cannot be written: (os error 28): free some space", 1),
        (MemoryError(), "out of memory: lower", 1),
    ],
)
def test_a_fault_is_one_line_with_its_code(error, line, code, monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert code_of() == code
    assert capsys.readouterr().err.startswith(f"imettk: {line}")
    monkeypatch.setenv("IMETTK_TRACEBACK", "1")
    assert code_of() == code
    text = capsys.readouterr().err
    assert text.startswith("Traceback") and f"\nimettk: {line}" in text


def test_a_bug_is_not_taken_for_a_fault_of_the_machine(monkeypatch):
    def fail(*_: object) -> None:
        raise ValueError("an error of ours")

    assert describe_fault(ValueError("an error of ours")) is None
    monkeypatch.setattr(cli, "_run", fail)
    with pytest.raises(ValueError, match="an error of ours"):
        main([])
