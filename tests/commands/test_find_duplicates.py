"""From copies in a competition's folders to folds, training rows and answers that know of them."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import TINY, run

from imettk.cli.main import main
from imettk.config import read_recipe
from imettk.data.table import read_table, read_test_table
from imettk.errors import MismatchError
from imettk.evaluation import scoring
from imettk.evaluation.scoring import honest_scores
from imettk.experiment.groups import row_groups
from imettk.experiment.known import read_known_answers
from imettk.experiment.prepared import read_prepared
from imettk.inference.predictor import Predictions, save_predictions
from imettk.recipes import load_recipe
from imettk.tracking.run_dir import RunDir

pytestmark = pytest.mark.usefixtures("no_charts_here")


@pytest.fixture
def copies(own_data):
    """s00001 is a copy of s00000 in another group, s00002 the same pixels in another file, t00003 a leak of s00005."""
    train, test = own_data / "train", own_data / "test"
    shutil.copy(train / "s00000.png", train / "s00001.png")
    with Image.open(train / "s00000.png") as image:
        image.save(train / "s00002.png", compress_level=1)
    with Image.open(train / "s00005.png") as image:
        image.resize((40, 40), Image.Resampling.BICUBIC).save(test / "t00003.png")
    return own_data


def test_reports_actions_and_what_reads_them(copies, tmp_path, capsys, monkeypatch):
    common = ["--data", copies, "--run-dir", tmp_path / "run"]
    run("duplicates", "digits", *common, *TINY, "--action", "group", "answer")
    text = capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "run" / "duplicates.csv", dtype=str)
    same = frame[frame["same"] == "True"].set_index(["id_a", "id_b"])
    assert same.loc[("s00000", "s00001"), "kind"] == "bytes"
    assert same.loc[("s00000", "s00002"), "kind"] == "pixels" and ("s00001", "s00002") not in same.index
    assert same.loc[("s00005", "t00003"), "kind"] == "near" and same.loc[("s00005", "t00003"), "table_b"] == "test"
    assert "train and test: 1 pairs (1 near) (a leak)" in text
    labels = pd.read_csv(copies / "train.csv", dtype=str).set_index("id")["attribute_ids"]
    differ = labels["s00000"] != labels["s00001"]
    assert (same.loc[("s00000", "s00001"), "conflict"] == "True") == differ and ("labels that differ" in text) == differ
    with Image.open(tmp_path / "run" / "duplicates.png") as picture:
        assert picture.width > 600

    run("prepare", *["digits", *common], *TINY)
    folds = pd.read_csv(tmp_path / "run" / "folds.csv").set_index("id")["fold"]
    groups = pd.read_csv(copies / "train.csv").set_index("id")["group"]
    assert folds["s00000"] == folds["s00001"] == folds["s00002"]
    joined = groups.isin(groups[["s00000", "s00001", "s00002"]])
    assert folds[groups.index[joined]].nunique() == 1, "the groups that they are in are joined as well"
    run("train", *common, "--fold", 0)
    given = {}
    monkeypatch.setattr(
        scoring, "honest_scores", lambda *rows, **more: given.update(more) or honest_scores(*rows, **more)
    )
    run("validate", *common)
    table = read_prepared(read_recipe(tmp_path / "run" / "recipe.json"), copies, RunDir(tmp_path / "run")).table
    drawn = pd.Series(
        row_groups(table, RunDir(tmp_path / "run")), table.ids
    )  # as a whole, for the interval of the score
    np.testing.assert_array_equal(given["groups"], drawn[folds.index[folds == 0]])
    assert drawn[groups.index[joined]].nunique() == 1
    assert drawn.nunique() == groups.nunique() - groups[joined].nunique() + 1
    run("infer", *common)
    assert "1 answers are those of a duplicate" in capsys.readouterr().out
    submission = pd.read_csv(tmp_path / "run" / "submission.csv", dtype=str).set_index("id")["attribute_ids"]
    assert submission["t00003"] == labels["s00005"]


def test_dropped_rows_neither_train_nor_validate(copies, tmp_path, capsys):
    common = ["--data", copies, "--run-dir", tmp_path / "run"]
    run("duplicates", "digits", *common, *TINY, "--action", "drop")
    assert "2 rows (s00001, s00002) will neither train nor validate" in capsys.readouterr().out
    run("prepare", "digits", *common, *TINY)
    assert "2 duplicates neither train nor validate" in capsys.readouterr().out
    directory = RunDir(tmp_path / "run")
    prepared = read_prepared(directory.recipe(), copies, directory)
    for fold in range(3):
        rows = np.concatenate([prepared.rows(fold, valid=valid) for valid in (True, False)])
        assert sorted(rows.tolist()) == [0, *range(3, 72)]
    run("train", *common, "--fold", 0)
    run("validate", *common)


def test_near_embeddings_of_another_run_propose_pairs(copies, tmp_path, capsys):
    """s00005 and its leak t00003 are near, as are two that have nothing in common; s00009 has not been predicted."""
    names = [f"s{row:05d}" for row in range(72) if row != 9]
    basis = np.eye(100, dtype=np.float32)
    near = (basis[5] + 0.1 * basis[99])[None]
    train = np.delete(basis[:72], 9, 0)
    train[names.index("s00031")] = basis[30]
    for name, ids, embeddings in (("gallery", names[:50], train[:50]), ("oof", names[50:], train[50:]),
                                  ("test", ["t00003"], near)):  # fmt: skip
        nothing = np.zeros((1, len(ids), 0), np.float32)
        file = tmp_path / "features" / "fold1" / f"{name}.safetensors"
        save_predictions(file, Predictions(np.array(ids), nothing, {}, None, embeddings[None]))
    common = ["duplicates", "digits", "--data", copies, "--run-dir", tmp_path / "run", *TINY, "--limit", 0]
    run(*common)
    before = pd.read_csv(tmp_path / "run" / "duplicates.csv")
    run(*common, "--features", tmp_path / "features")
    assert "fold 1: 2 pairs alike; 24 images have no embedding there" in capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "run" / "duplicates.csv").set_index(["id_a", "id_b"])
    assert frame.loc[("s00005", "t00003"), "same"] and len(frame) >= len(before)
    with pytest.raises(SystemExit):
        run(*common, "--features", tmp_path / "run")
    assert "run `imettk validate` there first" in capsys.readouterr().err


def test_answers_that_are_images_are_no_labels(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run("duplicates", "gdsc2020", "--data", tmp_path, "--run-dir", tmp_path / "run", "--action", "answer")
    assert caught.value.code == 2 and "`ranking.answers` are images" in capsys.readouterr().err


def test_known_answers_are_of_the_images_and_labels_that_were_looked_at(copies, tmp_path, capsys):
    """A hidden test set may have other images under the same names; and a label may have been corrected since."""
    directory = RunDir(tmp_path / "run")
    recipe = load_recipe("digits")
    run("duplicates", "digits", "--data", copies, "--run-dir", directory.path, *TINY, "--action", "answer")

    def known() -> dict[str, str]:
        labelled = read_table(recipe.table, copies)
        return read_known_answers(directory, recipe, labelled, read_test_table(recipe.table, copies, labelled))

    assert list(known()) == ["t00003"]
    path = copies / "test" / "t00003.png"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")  # of the same size
    capsys.readouterr()
    assert known() == {}
    assert "1 image (t00003) changed since" in capsys.readouterr().out
    path.write_bytes(content)
    csv = copies / "train.csv"
    table = pd.read_csv(csv, dtype=str)
    table.loc[40, "attribute_ids"] = "1"
    table.to_csv(csv, index=False)
    with pytest.raises(MismatchError, match="other training labels"):
        known()
    pd.DataFrame({"id": ["t00003"], "label": ["1"]}).to_csv(directory.path / "known_answers.csv", index=False)
    with pytest.raises(MismatchError, match="does not identify its images"):
        known()


def test_an_unknown_action_is_refused(copies, tmp_path):
    with pytest.raises(SystemExit) as caught:
        main(["duplicates", "digits", "--data", str(copies), "--run-dir", str(tmp_path), "--action", "hide"])
    assert caught.value.code == 2
