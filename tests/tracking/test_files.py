"""A file holds its old content or its new, whatever happens in between."""

import errno
import json
import subprocess
from pathlib import Path

import pytest

from imettk.errors import MismatchError
from imettk.files import write_atomically
from imettk.tracking.files import read_json, sha256, write_json


def test_content_is_written_and_replaced_and_nothing_else_stays(tmp_path):
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


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    seen = []
    path = tmp_path / "file"
    monkeypatch.setattr("imettk.files.os.fsync", lambda _: seen.append(("fsync", path.exists())))
    write_atomically(path, b"new")
    assert seen == [("fsync", False)]


def test_what_the_system_says_of_an_open_file_names_the_one_that_cannot_be_written(tmp_path, monkeypatch):
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


def test_json_is_read_back_and_a_missing_file_is_none(tmp_path):
    content = {"a": [1, 2.5, None, "ä"], "b": {"c": True}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == json.loads((tmp_path / "a.json").read_text()) == content
    assert read_json(tmp_path / "b.json") is None


def test_the_digest_is_that_of_sha256sum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 5000)
    done = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    assert sha256(path) == done.stdout.split()[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no JSON"),
        (b"{", "holds no JSON"),
        (b"\xff\xfe{}", "holds no JSON"),
        (b"123", "holds 123 in place of a JSON object"),
        (b"null", "holds null in place"),
        (b'[{"a": 1}]', "in place of a JSON object"),
        (b'{"a": 1}', "lacks b, c"),
    ],
)
def test_what_is_no_object_or_lacks_a_key_is_one_line(tmp_path, content, says):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(MismatchError) as caught:
        read_json(path, needs=("a", "b", "c"))
    assert str(caught.value).startswith(f"{path} is damaged, it {says}") or says in str(caught.value)
    assert "\n" not in str(caught.value)
