"""A command ends with one line and a code that says whose fault it was."""

import pytest

from imettk.cli.ending import end_with
from imettk.errors import ConfigError, DistributedOutOfMemoryError, PlatformError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a field is wrong"), 2),
        (DistributedOutOfMemoryError("smaller micro-batches"), 75),
        (PlatformError("no answer"), 1),
        (FileNotFoundError(2, "No such file", "x.csv"), 2),
        (KeyboardInterrupt(), 1),
    ],
)
def test_each_error_has_its_line_and_its_code(error, code, capsys):
    with pytest.raises(SystemExit) as caught:
        end_with(error)
    assert caught.value.code == code
    text = capsys.readouterr().err
    assert text.startswith("imettk: ") and text.count("\n") == 1 and str(error.args[-1] if error.args else "") in text


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        end_with(ZeroDivisionError("a bug"))
