"""A user's own code is found by its name in every process, and its errors are reported with file and line."""

import hashlib
import pickle
import subprocess
import sys

import pytest

from imettk.config import own
from imettk.config.own import describe, find_own, is_own, load_own, refer, running
from imettk.errors import ConfigError

SOURCE = """
from dataclasses import dataclass

@dataclass
class Kept:
    value: int = 3

def triple(number):
    return 3 * number

def fail(number):
    raise ValueError("too\\n large")
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def run(path):
    with running(path) as (sha256, _):
        return sha256


@pytest.mark.parametrize(
    ("name", "expected"),
    [("recipe:x", True), ("my.module:x", True), ("timm:resnet18", False), ("bce", False), ("x:", False), (":x", False)],
)
def test_names_of_a_users_own_code(name, expected):
    assert is_own(name) == expected


def test_a_file_is_known_by_its_hash_and_while_it_runs(file):
    with running(file) as (sha256, names):
        assert sha256 == hashlib.sha256(SOURCE.encode()).hexdigest()
        assert find_own("recipe:triple", "")(2) == 6
    assert find_own("recipe:triple", "") is None, "any recipe could name it"
    assert find_own("recipe:triple", sha256) is names["triple"]
    assert pickle.loads(pickle.dumps(names["Kept"](4))).value == 4, "its module can be found"


def test_a_file_that_runs_another_one_has_its_own_names_again(tmp_path, file):
    outer = tmp_path / "outer.py"
    outer.write_text("def triple(number):\n    return 'outer'\n")
    with running(outer):
        with running(file):
            assert find_own("recipe:triple", "")(1) == 3
        assert find_own("recipe:triple", "")(1) == "outer"


def test_a_file_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "bad.py").write_text("x = 1\n1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "bad.py")
    assert find_own("recipe:x", "") is None
    assert find_own("recipe:x", hashlib.sha256(b"x = 1\n1 / 0\n").hexdigest()) is None


def test_a_file_with_another_hash_is_not_run(tmp_path):
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(ConfigError, match="has changed"), running(tmp_path / "mine.py", only="0" * 64):
        pass
    assert not (tmp_path / "ran").exists()


def test_unknown_names_are_refused(tmp_path, monkeypatch, file):
    sha256 = run(file)
    with pytest.raises(
        ConfigError, match=r"recipe:nothing: the recipe's file does not define nothing: define it there"
    ):
        find_own("recipe:nothing", sha256)
    with pytest.raises(ConfigError, match=r"recipe:triple is defined in the recipe's own file: give that \.py file"):
        load_own("recipe:triple", "0" * 64)
    with pytest.raises(ConfigError, match=r"no_such_module:x: No module .*PYTHONPATH.*recipe:x"):
        find_own("no_such_module:x", "")
    with pytest.raises(ConfigError, match="the module math does not define cube"):
        find_own("math:cube", "")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_module.py").write_text("import math\nmath.sqrt(-1)\n")
    with pytest.raises(ConfigError, match=r"broken_module:x: .*ValueError: (math domain|expected)"):
        find_own("broken_module:x", "")


def test_errors_are_described_with_file_and_line(file):
    fail = load_own("recipe:fail", run(file))
    with pytest.raises(ValueError) as caught:
        fail(1)
    assert describe(caught.value) == f"{file}, line 12: ValueError: too large"
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    assert describe(caught.value) is None, "not the user's"


def test_another_process_finds_it(tmp_path, file):
    (tmp_path / "sent").write_bytes(pickle.dumps(refer("recipe:triple", run(file))))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).load()(5))"
    words = [sys.executable, "-c", code, str(tmp_path / "sent")]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "15\n"


def test_another_process_does_not_run_a_changed_file(file, monkeypatch):
    reference = refer("recipe:triple", run(file))
    file.write_text(SOURCE.replace("3 *", "4 *"))
    assert reference.load()(5) == 15, "this one has the first"
    monkeypatch.setattr(own, "_SOURCES", {})
    with pytest.raises(ConfigError, match="has changed"):
        reference.load()


def test_the_code_behind_a_name_is_known_by_its_hash(tmp_path, monkeypatch, file):
    sha256 = run(file)
    assert refer("recipe:triple", sha256).code() == sha256
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "beside.py").write_text("x = 1\n")
    assert refer("beside:x", "").code() == hashlib.sha256(b"x = 1\n").hexdigest()
