"""Folds and submission of a run as they stand in its files, read without torch."""

import subprocess
import sys

import pytest

from imettk.errors import MissingFileError
from imettk.evaluation.run_tables import fold_frame, submission_frame
from imettk.tracking.run_dir import RunDir


def test_a_submission_keeps_what_is_no_number(tmp_path):
    (tmp_path / "submission.csv").write_text("id;label;top;none;share\n01;007;3 12;;0.25\n02;012;4;nan;1e-05\n")
    frame = submission_frame(RunDir(tmp_path))
    assert frame.iloc[0].tolist() == ["01", "007", "3 12", "", 0.25] and frame.iloc[1, 3:].tolist() == ["nan", 1e-5]


def test_folds_that_are_missing_name_their_command(tmp_path):
    with pytest.raises(MissingFileError, match="run `imettk prepare` first"):
        fold_frame(RunDir(tmp_path))


def test_neither_loads_torch():
    code = "import sys, imettk.evaluation.run_tables; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
