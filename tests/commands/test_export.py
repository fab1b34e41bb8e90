"""`export`: every file that a run has, each named with its rows; what it lacks is one line."""

import numpy as np
import pandas as pd
from ensemble_members import LABELS, NUM_FOLDS, ROWS, TEST_IDS, ids_of, make_member
from tiny import refused, run

from imettk.config import to_json
from imettk.inference.predictor import Predictions, save_predictions
from imettk.recipes import load_recipe


def test_files_are_named_with_their_rows_and_missing_ones_are_notes(tmp_path, capsys):
    folder = tmp_path / "run"
    make_member(folder, test=False)
    run("export", "--run-dir", folder)
    text = capsys.readouterr().out
    assert f"{folder}/export/oof.csv: {ROWS} rows, {2 + 2 * len(LABELS)} columns\n" in text
    assert f"note: no test.csv: {folder} holds no fold*/test.safetensors: run `imettk infer` first" in text
    assert "note: no folds.csv" in text and "note: no embeddings: the model learns none" in text
    assert [path.name for path in (folder / "export").iterdir()] == ["oof.csv"]
    oof = pd.read_csv(folder / "export" / "oof.csv")
    assert sorted(oof["id"]) == sorted(ids_of([0, 1, 2])) and set(oof["fold"]) == set(range(NUM_FOLDS))


def test_parquet_goes_where_it_is_told_to(tmp_path, capsys):
    make_member(tmp_path / "run", task="multiclass")
    run("export", "--run-dir", tmp_path / "run", "--format", "parquet", "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["oof.parquet", "test.parquet"]
    test = pd.read_parquet(tmp_path / "out" / "test.parquet")
    assert test["id"].tolist() == TEST_IDS.tolist() and test["a"].dtype == np.float32


def test_a_run_that_ranks_by_neighbours_exports_embeddings_by_fold(tmp_path, capsys):
    ids, vectors = np.array(["r0", "r1"]), np.eye(2, 4, dtype=np.float32)
    for kind in ("oof", "gallery"):
        made = Predictions(
            ids, np.zeros((1, 2, 0), np.float32), {"labels": ["a"]}, np.zeros(2, np.int64), vectors[None]
        )
        save_predictions(tmp_path / "fold0" / f"{kind}.safetensors", made)
    (tmp_path / "recipe.json").write_text(to_json(load_recipe("humpback2018")))
    run("export", "--run-dir", tmp_path)
    names = sorted(path.name for path in (tmp_path / "export").iterdir())
    assert names == ["embeddings_gallery.csv", "embeddings_oof.csv"]
    assert "note: no embeddings_test.csv" in capsys.readouterr().out
    back = pd.read_csv(tmp_path / "export" / "embeddings_oof.csv")
    assert list(back) == ["id", "fold", "e0", "e1", "e2", "e3"]
    np.testing.assert_array_equal(back.iloc[:, 2:], vectors)


def test_a_run_without_anything_is_one_line(tmp_path, capsys):
    line = refused(capsys, "export", "digits", "--run-dir", tmp_path / "none")
    assert "folds.csv is not in" in line and "run `imettk prepare` first" in line
    assert not (tmp_path / "none").exists()
