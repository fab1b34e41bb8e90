"""A miniature of a competition keeps what commands need of it, and stays in its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imettk.commands import preflight
from imettk.config import Recipe, RuleConfig, StageConfig, TableFormat, TrainConfig
from imettk.data.folds import make_folds
from imettk.data.table import read_table
from imettk.recipes import load_recipe
from imettk.synthetic import miniature
from imettk.synthetic.artworks import make_artworks
from imettk.synthetic.cells import make_cells
from imettk.synthetic.leaves import make_leaves
from imettk.synthetic.lesions import make_lesions
from imettk.synthetic.miniature import IMAGES_A_LABEL, choose_rows, make_miniature
from imettk.synthetic.pastures import make_pastures
from imettk.synthetic.pets import make_pets
from imettk.synthetic.retinas import make_retinas
from imettk.synthetic.turtles import make_turtles
from imettk.synthetic.whales import WhalesSize, make_whale_folders, make_whales


@pytest.mark.parametrize(
    "name",
    [
        "imet2019",
        "hpa2018",
        "humpback2018",
        "gdsc2020",
        "turtle2022",
        "melanoma2020",
        "plant2020",
        "csiro2025",
        "aptos2019",
        "pawpularity2021",
    ],
)
def test_each_format_in_miniature(tmp_path, name):
    """The same recipe reads the reduced tables back, and can make folds of them."""
    data, answers = tmp_path / "data", tmp_path / "answers.csv"
    if name == "imet2019":
        make_artworks(data, answers, num_train=96, num_test=24)
    elif name == "hpa2018":
        make_cells(data, answers, num_train=60, num_external=24, num_test=16, side=64)
    elif name == "turtle2022":
        make_turtles(data, answers)
    elif name == "melanoma2020":
        make_lesions(data, answers)
    elif name == "plant2020":
        make_leaves(data, answers)
    elif name == "csiro2025":
        make_pastures(data, answers)
    elif name in ("aptos2019", "pawpularity2021"):
        (make_retinas if name == "aptos2019" else make_pets)(data, answers)
    else:
        (make_whales if name == "humpback2018" else make_whale_folders)(data, answers, size=WhalesSize())
    recipe = load_recipe(name)
    whole = read_table(recipe.table, data)
    recipe, count = make_miniature(recipe, whole, data, tmp_path / "small", rows=40, test_rows=5)
    small = read_table(recipe.table, tmp_path / "small")
    assert 20 <= count == len(small) < len(whole) and set(small.ids) <= set(whole.ids)
    rows = len(recipe.table.label_columns) if recipe.table.sample_rows else 1
    assert len(pd.read_csv(tmp_path / "small" / recipe.table.sample_csv)) == 5 * rows
    if small.targets is not None and small.targets.ndim == 1:
        assert (pd.Series(small.targets[small.targets >= 0]).value_counts() >= 2).any()
    assert all(Path(path).exists() for path in small.paths if "*" not in path)


@pytest.mark.parametrize("by", ["columns", "folders"])
def test_units_are_whole_in_miniature(tmp_path, by):
    data = tmp_path / "data"
    names = [f"u{unit}/{image}.png" for unit in range(80) for image in range(3)]
    for name in names:
        (data / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (data / "train" / name).touch()
    frame = pd.DataFrame({"id": names, "study": [name.split("/")[0] for name in names]})
    form = TableFormat(task="multiclass", label_column="label", unit_columns=("study",))
    if by == "folders":
        frame = frame[["study"]].drop_duplicates()
        form = TableFormat(task="multiclass", label_column="label", id_column="study", unit_folders=True)
    frame.assign(label=frame["study"].str[-1]).to_csv(data / "train.csv", index=False)
    recipe = Recipe(table=form, train=TrainConfig(loss="cross_entropy"), rule=RuleConfig(kind="argmax"))
    whole = read_table(form, data)
    small, _ = make_miniature(recipe, whole, data, tmp_path / "small", rows=24, test_rows=2)
    read = read_table(small.table, tmp_path / "small")
    assert len(read) < len(whole) / 1.5
    counts = pd.Series(read.units).value_counts()
    assert set(counts) == {3}


@pytest.mark.parametrize(("name", "make"), [("imet2019", make_artworks), ("csiro2025", make_pastures)])
def test_a_miniature_has_a_sample_where_the_folder_of_test_images_is_all_there_is(tmp_path, name, make):
    make(tmp_path / "data", tmp_path / "answers.csv")
    recipe = load_recipe(name)
    sample = tmp_path / "data" / recipe.table.sample_csv
    columns = list(pd.read_csv(sample).columns)
    sample.unlink()
    whole = read_table(recipe.table, tmp_path / "data")
    small, _ = make_miniature(recipe, whole, tmp_path / "data", tmp_path / "small", rows=40, test_rows=5)
    rows = len(recipe.table.label_columns) if recipe.table.sample_rows else 1
    made = pd.read_csv(tmp_path / "small" / small.table.sample_csv)
    assert list(made.columns) == columns and len(made) == 5 * rows


def test_classes_whose_names_are_not_their_ids(tmp_path):
    """The list of labels keeps the rows of the chosen labels, and of names merged with them."""
    data = tmp_path / "data"
    (data / "train").mkdir(parents=True)
    rows = [(f"i{number}", "abc"[number % 3]) for number in range(60)] + [("last", "d")]
    for name, _ in rows:
        (data / "train" / f"{name}.png").touch()
    pd.DataFrame(rows, columns=["id", "label"]).to_csv(data / "train.csv", index=False)
    (data / "labels.csv").write_text("key,title\n" + "".join(f"{key},the {key}\n" for key in "abcde"))
    (data / "merged.csv").write_text("names\na d\n")
    form = TableFormat(
        task="multiclass", label_column="label", labels_csv="labels.csv", label_id_column="key",
        label_name_column="title", merged_csv="merged.csv",
    )  # fmt: skip
    loss, rule = TrainConfig(loss="cross_entropy"), RuleConfig(kind="argmax")
    recipe, table = Recipe(table=form, train=loss, rule=rule), read_table(form, data)
    small, count = make_miniature(recipe, table, data, tmp_path / "small", rows=16, test_rows=4)
    found = read_table(small.table, tmp_path / "small")
    assert found.labels == ("a", "b") and len(found) == count == 16


@pytest.mark.parametrize("name", ["../train.csv", "a/../../train.csv", "/tmp/train.csv", "link/train.csv", "alias.csv"])
def test_writing_outside_the_scratch_folder_is_stopped(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    (tmp_path / "out" / "alias.csv").symlink_to(tmp_path / "train.csv")
    with pytest.raises(RuntimeError, match="is not inside"):
        miniature._place(tmp_path / "out", name)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("images_per_identity", [1, 2, 4, 8])
def test_a_miniature_has_enough_identities_for_a_batch(images_per_identity):
    """That holds for fold 0 of five too, from 100 identities with 12 images each."""
    stage = StageConfig(batch_size=64, sampler="identities", images_per_identity=images_per_identity)
    classes = TableFormat(task="multiclass")
    recipe = Recipe(
        table=classes, train=TrainConfig(loss="cross_entropy"), rule=RuleConfig(kind="argmax"), stages=(stage,)
    )
    targets = np.repeat(np.arange(100), 12)
    rows = choose_rows([(target,) for target in targets.tolist()], 0 * targets, preflight._num_rows(recipe))
    trains = rows[make_folds(targets[rows], recipe.folds, task=recipe.task) != 0]
    assert len(trains) >= 2 * 64 and len(np.unique(targets[trains])) >= 64 // images_per_identity


FIRST = np.zeros(40, int)  # all rows are of the training table


def test_rows_with_several_labels_are_spread_over_the_table():
    labels = [(0,), (1, 2), (), (3,)] * 10
    assert choose_rows(labels, FIRST, 4).tolist() == [0, 13, 26, 39]
    assert choose_rows(labels, FIRST, 100).tolist() == [*range(40)]


def test_rows_of_one_label_are_taken_from_the_most_frequent_ones():
    labels = [(2,)] * 3 + [(5,)] * 12 + [(6,)] * 12 + [(-1,)] * 13
    fives, sixes = [*range(3, 3 + IMAGES_A_LABEL)], [*range(15, 15 + IMAGES_A_LABEL)]
    assert choose_rows(labels, FIRST, 8).tolist() == [*fives, 27]  # an eighth as many of no known identity
    assert choose_rows(labels, FIRST, 16).tolist() == [*fives, *sixes, 27, 28]  # of as many rows the lower label first
    assert choose_rows(labels, FIRST, 17).tolist() == [0, 1, 2, *fives, *sixes, 27, 28]


def test_a_further_table_gives_rows_of_labels_that_are_there():
    labels = [(0, 1)] * 8 + [(2,), (0,), (0, 2), (), (1, 0), (1,)]
    sources = np.repeat([0, 1], [8, 6])
    assert choose_rows(labels, sources, 8).tolist() == [*range(8), 9, 11, 12, 13]
    only_new = labels[:8] + [(2,)] * 6
    assert choose_rows(only_new, sources, 8).tolist() == [*range(8), 8, 9, 10, 11]
    assert choose_rows(only_new, sources, 8)[8:].size == max(4, 8 // 4)
