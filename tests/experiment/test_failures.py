"""The reason why a training failed, in one line, and the reasons that are not the training's own."""

from __future__ import annotations

import errno

import pytest

from imettk.config.own import running
from imettk.errors import BusyError, DataError
from imettk.experiment.failures import describe_failure


def caught(raising: Exception) -> Exception:
    try:
        raise raising
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("row 3 is bad"), "row 3 is bad"),
        (BusyError("another process"), None),
        (OSError(errno.ENOSPC, "No space left on device"), None),
        (MemoryError(), "out of memory: lower --session.num-workers"),
    ],
)
def test_a_full_disk_is_no_fault_of_the_training_and_a_bad_row_is(error, line, capsys):
    fault = describe_failure(caught(error))
    assert (fault is None) == (line is None) and (fault or "").startswith(line or "")
    assert capsys.readouterr().err == ""


def test_an_error_in_the_users_own_code_is_named_by_its_line(tmp_path, capsys):
    path = tmp_path / "recipe.py"
    path.write_text("def loss():\n    raise RuntimeError('shapes\\n differ')\n")
    with running(path) as (_, names), pytest.raises(RuntimeError) as raised:
        names["loss"]()
    assert describe_failure(raised.value) == f"{path}, line 2: RuntimeError: shapes differ"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyError("answer"), "KeyError: 'answer'"),
        (RuntimeError("CUDA error: assert\nCompile with DSA"), "RuntimeError: CUDA error: assert"),
        (ValueError("Caught in worker 0.\nOriginal Traceback\n  line 3\nValueError: 7"), "ValueError: ValueError: 7"),
    ],
)
def test_a_bug_is_printed_with_its_traceback(error, line, capsys):
    fault = describe_failure(caught(error))
    assert fault is not None and fault.startswith(f"{__file__}, line ") and fault.endswith(line)
    assert "Traceback" in capsys.readouterr().err
