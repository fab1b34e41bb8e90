"""JSON files are read back, anything but a JSON object is refused in one line, and digests equal those of sha256sum."""

import json
import subprocess

import pytest

from imettk.errors import MismatchError
from imettk.tracking.files import read_json, sha256, write_json


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
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"123", "holds 123 instead of a JSON object"),
        (b"null", "holds null instead"),
        (b'[{"a": 1}]', "instead of a JSON object"),
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
