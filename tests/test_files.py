"""A file is written whole or not at all, and errors name it."""

import errno
from pathlib import Path

import pytest

from imettk.files import write_atomically


def test_content_is_written_and_replaced_without_leftovers(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    for content in (b"one", b"\x00two\n", b""):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_content(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"imettk.files.os.{call}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new content")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_disk_before_the_file_gets_its_name(tmp_path, monkeypatch):
    seen = []
    path = tmp_path / "file"
    monkeypatch.setattr("imettk.files.os.fsync", lambda _: seen.append(("fsync", path.exists())))
    write_atomically(path, b"new")
    assert seen == [("fsync", False)]


def test_an_error_without_a_name_gets_the_name_of_the_file(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("imettk.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "file", b"new")
    assert caught.value.filename == str(tmp_path / "file") and list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    with pytest.raises(OSError) as caught:  # nothing can be made there
        write_atomically(Path("/proc/file"), b"new")
    assert caught.value.filename == "/proc/file"
