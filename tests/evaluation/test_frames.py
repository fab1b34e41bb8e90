"""Frames of a run folder: their columns, rows and numbers, recomputed from the prediction files."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from ensemble_members import LABELS, NUM_FOLDS, ROWS, TEST_IDS, ids_of, make_member, recipe_of, truth

from imettk.config import RuleConfig
from imettk.errors import MismatchError, MissingFileError
from imettk.evaluation.frames import embedding_frame, label_columns, oof_frame, test_frame
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.tracking.run_dir import RunDir

test_frame.__test__ = False  # pytest would collect it


def write_folds_csv(folder):
    folds = pd.DataFrame({"id": ids_of([0, 1, 2]), "fold": np.arange(ROWS) % NUM_FOLDS})
    folds.to_csv(folder / "folds.csv", index=False)
    return folds


def save(folder, probs, *, targets=None, fold=0, labels=("id", "b", "c"), kind="oof", **values):
    """Write predictions of rows r0, r1, ..."""
    ids = np.array([f"r{row}" for row in range(probs.shape[1])])
    values = {"labels": list(labels), "merge": "mean"} | values
    save_predictions(folder / f"fold{fold}" / f"{kind}.safetensors", Predictions(ids, probs, values, targets))
    return RunDir(folder)


def test_oof_has_a_column_a_label_in_the_order_of_the_folds(tmp_path):
    known = make_member(tmp_path / "run", views=2, shuffled=True)["oof"]
    folds = write_folds_csv(tmp_path / "run")
    frame = oof_frame(recipe_of(), RunDir(tmp_path / "run"))
    assert list(frame) == ["id", "fold", *LABELS, *(f"truth:{label}" for label in LABELS)]
    pd.testing.assert_frame_equal(frame[["id", "fold"]], folds, check_dtype=False)
    by_id = {name: probs for part in known.values() for name, probs in part.items()}
    expected = np.array([by_id[name] for name in folds["id"]])  # the mean of two views
    assert frame["a"].dtype == np.float32
    np.testing.assert_allclose(frame[list(LABELS)], expected, rtol=1e-6)
    np.testing.assert_array_equal(frame.filter(like="truth:"), truth())


def test_test_predictions_are_the_mean_over_folds(tmp_path):
    known = make_member(tmp_path / "run", task="multiclass")["test"]
    frame = test_frame(recipe_of("multiclass"), RunDir(tmp_path / "run"))
    assert list(frame) == ["id", *LABELS] and frame["id"].tolist() == TEST_IDS.tolist()
    expected = [np.mean([known[fold][name] for fold in known], axis=0) for name in TEST_IDS]
    np.testing.assert_allclose(frame[list(LABELS)], expected, rtol=1e-6)
    oof = oof_frame(recipe_of("multiclass"), RunDir(tmp_path / "run"))
    names = dict(zip(ids_of([0, 1, 2]), np.array(LABELS)[truth("multiclass")], strict=True))
    assert oof["truth"].tolist() == [names[name] for name in oof["id"]]


def test_grades_get_the_probability_of_each(tmp_path):
    above = np.array([[[0.9, 0.3], [0.5, 0.5], [0.1, 1e-9]]], np.float32)
    base = recipe_of("multiclass")
    table, train = replace(base.table, task="ordinal"), replace(base.train, loss="corn")
    recipe = replace(base, table=table, train=train, rule=RuleConfig(kind="cutpoints"))
    frame = oof_frame(recipe, save(tmp_path, above, targets=np.array([1, -1, 0])))
    assert list(frame) == ["id", "fold", "label:id", "b", "c", "truth"]
    expected = np.column_stack([1 - above[0, :, 0], above[0, :, 0] - above[0, :, 1], above[0, :, 1]])
    np.testing.assert_allclose(frame[["label:id", "b", "c"]], expected, rtol=1e-6)
    assert frame["truth"].isna().tolist() == [False, True, False] and frame["truth"][0] == "b"


def test_what_was_imported_is_read_beside_the_run_whose_folds_it_has(tmp_path):
    save(
        tmp_path / "new", np.full((1, 3, 3), 0.5, np.float32), targets=np.eye(3, dtype=np.uint8), imported={}, model="x"
    )
    (tmp_path / "old" / "fold0").mkdir(parents=True)
    (tmp_path / "old" / "fold0" / "model.safetensors").write_bytes(b"")
    frame = oof_frame(recipe_of(), RunDir(tmp_path / "new", [tmp_path / "old"]))
    assert frame["id"].tolist() == ["r0", "r1", "r2"] and (frame["b"] == 0.5).all()


def test_no_two_labels_share_a_column():
    names = ["id", "label:id", "answer", "fold", "truth", "truth:a", "a", "e0"]
    columns = label_columns(names)
    assert len({*columns, "id", "answer", "fold", "truth", "truth:a"}) == len(names) + 5
    assert columns[-2:] == ["a", "e0"]


def test_embeddings_come_fold_by_fold(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    ids = np.array(["r0", "r1", "r2"])
    for fold in (0, 1):
        made = Predictions(ids, np.zeros((2, 3, 0), np.float32), {"labels": ["a"]}, None, vectors + fold)
        save_predictions(tmp_path / f"fold{fold}" / "gallery.safetensors", made)
    frame = embedding_frame(RunDir(tmp_path), "gallery")
    assert list(frame) == ["id", "fold", "e0", "e1", "e2", "e3"]
    assert frame["id"].tolist() == [*ids, *ids] and frame["fold"].tolist() == [0, 0, 0, 1, 1, 1]
    mean = (vectors + 1).mean(0)
    np.testing.assert_allclose(frame.iloc[3:, 2:], mean / np.linalg.norm(mean, axis=1, keepdims=True), rtol=1e-6)


def test_files_that_are_missing_or_do_not_fit_are_refused(tmp_path):
    recipe, run = recipe_of(), RunDir(tmp_path)
    for make, command in ((oof_frame, "validate"), (test_frame, "infer")):
        with pytest.raises(MissingFileError, match=f"run `imettk {command}` first"):
            make(recipe, run)
    make_member(tmp_path / "run")
    run, folds = RunDir(tmp_path / "run"), write_folds_csv(tmp_path / "run")
    with pytest.raises(MismatchError, match="its model learns none"):
        embedding_frame(run, "oof")
    folds.assign(fold=(folds["fold"] + (folds["id"] == "r00")) % NUM_FOLDS).to_csv(run.path / "folds.csv", index=False)
    with pytest.raises(MismatchError, match=r"1 row \(r00\) predicted in another fold than folds.csv has"):
        oof_frame(recipe, run)
    (run.path / "fold1" / "model.safetensors").write_bytes(b"another")
    with pytest.raises(MismatchError, match=r"fold1/oof.safetensors is not of .*: run `imettk validate` again"):
        oof_frame(recipe, run)
    path = run.path / "fold2" / "test.safetensors"
    save_predictions(path, replace(load_predictions(path), ids=TEST_IDS[::-1]))
    (run.path / "fold1" / "model.safetensors").unlink()
    with pytest.raises(MismatchError, match="different test rows"):
        test_frame(recipe, run)
    save(tmp_path / "near", np.zeros((1, 3, 0), np.float32), targets=np.zeros(3, np.int64))
    with pytest.raises(MismatchError, match="ranks by neighbours"):
        oof_frame(recipe_of("multiclass"), RunDir(tmp_path / "near"))
