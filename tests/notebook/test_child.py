"""The process of a command leaves its error in a file."""

import json

import pytest

from imettk.errors import PlatformError
from imettk.notebook import child


def test_an_error_is_left_as_its_class_and_message(tmp_path, monkeypatch):
    def fail(argv, on_error):
        assert argv == ["train"]
        on_error(PlatformError("no answer"))
        raise SystemExit(1)

    monkeypatch.setattr(child, "main", fail)
    monkeypatch.setattr(child.threading, "Thread", lambda **how: type("Unstarted", (), {"start": lambda self: None})())
    with pytest.raises(SystemExit):
        child.run_child(tmp_path / "error.json", ["train"])
    assert json.loads((tmp_path / "error.json").read_text()) == {"kind": "PlatformError", "text": "no answer"}
