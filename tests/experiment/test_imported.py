"""Imported predictions stand in for those of models, of the same rows and labels only."""

from dataclasses import replace

import numpy as np
import pytest

from imettk.data.sample_table import LabelledTable
from imettk.errors import MismatchError, MissingFileError
from imettk.experiment.imported import IMPORTED, imported_folds, predicted_folds, read_imported, save_imported
from imettk.experiment.prepared import ImageRows
from imettk.inference.predictor import Predictions
from imettk.tracking.run_dir import RunDir

IDS = np.array(["a", "b", "c"])
TARGETS = np.array([0, 1, 1])
MADE = Predictions(
    IDS, np.full((1, 3, 2), 0.5, np.float32), {"labels": ["x", "y"], IMPORTED: {"file": "oof.csv"}}, TARGETS
)


def images(targets=TARGETS, labels=("x", "y"), rows=(0, 1, 2)):
    table = LabelledTable(IDS, IDS, labels, ("", ""), targets=targets)
    return ImageRows(table, None, np.array(rows))


def test_they_are_read_as_they_were_saved(tmp_path):
    run = RunDir(tmp_path / "run")
    save_imported(run, {0: MADE, 2: MADE}, replace(MADE, targets=None))
    for reader in (run, RunDir(tmp_path / "later", [tmp_path / "run"])):  # a kernel has it as an input
        assert imported_folds(reader) == predicted_folds(reader, None) == [0, 2]
        assert predicted_folds(reader, 2) == [2]
        for name, asked in (("oof", images()), ("test", images(targets=None))):
            np.testing.assert_array_equal(read_imported(reader, 2, name, asked).probs, MADE.probs)
        assert read_imported(reader, 1, "oof", images()) is None


def test_a_second_import_leaves_nothing_of_the_first(tmp_path):
    run = RunDir(tmp_path)
    save_imported(run, {0: MADE, 1: MADE}, MADE)
    save_imported(run, {1: MADE}, None)
    assert imported_folds(run) == [1]
    with pytest.raises(MissingFileError, match=r"fold1/test.safetensors is missing: .*`imettk import --test`"):
        read_imported(run, 1, "test", images())


def test_a_training_and_an_import_do_not_share_a_folder(tmp_path):
    run = RunDir(tmp_path)
    save_imported(run, {0: MADE}, None)
    (tmp_path / "fold0" / "model.safetensors").write_bytes(b"")  # trained all the same: its own predictions count
    assert imported_folds(run) == [] and read_imported(run, 0, "oof", images()) is None
    with pytest.raises(MismatchError, match="holds a training of imettk: import into another --run-dir"):
        save_imported(run, {0: MADE}, None)
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "oof.safetensors").write_bytes(b"")
    with pytest.raises(MismatchError, match="holds an ensemble: import into another --run-dir"):
        save_imported(RunDir(tmp_path / "both"), {0: MADE}, None)


@pytest.mark.parametrize(
    "changed", [images(targets=np.array([0, 1, 0])), images(labels=("y", "x")), images(rows=(1, 0, 2))]
)
def test_other_rows_or_labels_are_refused(tmp_path, changed):
    save_imported(RunDir(tmp_path), {0: MADE}, None)
    with pytest.raises(MismatchError, match="imported for other rows or labels"):
        read_imported(RunDir(tmp_path), 0, "oof", changed)
