"""A guess equals the built-in recipe of the same format; whatever is unclear raises one line with the option."""

import pandas as pd
import pytest
from laid_folders import guess_folder, lay_text, mentions
from places import SHARED

from imettk.config import TableFormat
from imettk.data.csv_files import read_csv
from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.recipes.digits import digits
from imettk.recipes.gdsc2020 import gdsc2020
from imettk.recipes.hpa2018 import hpa2018
from imettk.recipes.humpback2018 import humpback2018
from imettk.recipes.imet2019 import imet2019
from imettk.recipes.turtle2022 import turtle2022
from imettk.starter.guess import guess
from imettk.starter.guess_columns import Choices
from imettk.starter.look import Contents, look_at, look_into
from imettk.starter.oddities import find_oddities
from imettk.synthetic.artworks import make_artworks
from imettk.synthetic.cells import make_cells
from imettk.synthetic.turtles import TurtlesSize, make_turtles
from imettk.synthetic.whales import WhalesSize, make_whale_folders, make_whales

DATA = SHARED / "data"


CLOTHING, TABLES = DATA / "clothing", DATA / "tables"


BEYOND = {"extra", "group_pattern", "merged_csv", "turned_csv", "left_out_csv"}


BOXES = {name for name in TableFormat.__dataclass_fields__ if name.startswith("box")}


def small_artworks(data, answers):
    make_artworks(data, answers, num_train=60, num_test=10)


def small_cells(data, answers):
    make_cells(data, answers, num_train=60, num_external=12, num_test=8, side=32)


TURTLES = TurtlesSize(scored=6, extra=4, extra_of_scored=2, test=8, test_extra=2, test_new=2, side=48)


WHALES = WhalesSize(whales=8, singletons=2, unknown_train=12, test=8, unknown_test=4, merged=1, width=48)


def small_turtles(data, answers):
    make_turtles(data, answers, size=TURTLES)


def small_whales(data, answers):
    make_whales(data, answers, size=WHALES)


def small_whale_folders(data, answers):
    make_whale_folders(data, answers, size=WHALES)


@pytest.mark.parametrize(
    ("make", "recipe", "task"),
    [
        (small_artworks, imet2019, "multilabel"),
        (small_cells, hpa2018, "multilabel"),
        (small_whales, humpback2018, "retrieval"),
        (small_turtles, turtle2022, "retrieval"),
        (small_whale_folders, gdsc2020, "retrieval"),
    ],
)
def test_the_guess_is_the_built_in_recipe(tmp_path, make, recipe, task):
    make(tmp_path / "data", tmp_path / "answers.csv")
    check_guess(tmp_path / "data", recipe(), task)


def test_the_guess_is_the_demos_recipe(digits_data):
    check_guess(digits_data / "data", digits(), "multilabel")


def check_guess(data, real, task):
    guessed = guess(look_into(data), data, Choices())
    # Folders tell labels, not the name of their column.
    passed_over = BEYOND | BOXES | ({"label_column"} if real.table.train_folders else set())
    differ = [name for name in vars(real.table) if getattr(guessed.table, name) != getattr(real.table, name)]
    assert set(differ) <= passed_over
    assert guessed.question.name == task
    table = read_table(guessed.table, data)  # and `prepare` can read it
    test = read_test_table(guessed.table, data, table)
    assert len(table) == len(guessed.frame) and guessed.found.all() and guessed.test_found.all() and len(test) > 0
    assert set(guessed.labels) - {guessed.table.unknown_label} <= set(table.labels)
    if task == "retrieval":
        assert guessed.ranked.number == real.ranking.num_answers
        assert guessed.ranked.of_images == (real.ranking.answers == "images")
    assert {finding.what for finding in guessed.findings} >= {"labels", "task", "sample submission"}
    assert all(finding.reason and finding.change for finding in guessed.findings)


@pytest.mark.skipif(not CLOTHING.is_dir(), reason="needs the real clothing photos in ../shared/data")
def test_real_clothing():
    contents = look_into(CLOTHING)
    guessed = guess(contents, CLOTHING, Choices())
    assert guessed.table == TableFormat(
        task="multiclass",
        train_csv="images.csv",
        id_column="image",
        label_column="label",
        group_column="sender_id",
        train_images="images",
        image_suffix=".jpg",
        on_missing_image="drop",
    )
    frame = pd.read_csv(CLOTHING / "images.csv")
    there = {path.stem for path in (CLOTHING / "images").iterdir()}
    assert guessed.found.tolist() == frame["image"].isin(there).tolist() and (~guessed.found).sum() == 5
    assert guessed.labels == frame["label"].value_counts().to_dict() and len(guessed.labels) == 20
    lines = find_oddities(
        guessed, contents, look_at([[str(CLOTHING / "images" / f"{name}.jpg")] for name in there][:8])
    )
    assert mentions(lines, "5 rows", "without an image") and mentions(lines, "1 image", "without a row")
    assert mentions(lines, "2 labels", "'Not sure': 41 rows", "'Skip': 12 rows")
    assert mentions(lines, "near_dup_pairs.csv is not used: 8 rows")


@pytest.mark.parametrize(
    ("name", "suffix", "real", "task"),
    [
        ("imet2019/train_with_folds.csv", ".png", TableFormat(), "multilabel"),
        ("humpback2019/train.csv", "", humpback2018().table, "retrieval"),
    ],
)
def test_real_tables_beside_images_of_their_names(name, suffix, real, task):
    csv = TABLES / name
    if not csv.is_file():
        pytest.skip("needs the real tables in ../shared/data")
    frame = read_csv(csv)
    files = sorted(frame[real.id_column] + suffix)
    guessed = guess(Contents({"train.csv": frame}, {"train": files}, []), TABLES, Choices())
    assert {name for name in vars(real) if getattr(guessed.table, name) != getattr(real, name)} <= BEYOND | BOXES
    assert guessed.question.name == task and guessed.found.all()


ABC = ("train/a.jpg", "train/b.jpg", "train/c.jpg", "train/d.jpg")


CARS = "id,label\na,red car\nb,blue car\nc,red bus\nd,blue bus\ne,tan car\nf,tan bus\n"


@pytest.mark.parametrize(
    ("text", "choices", "message"),
    [
        ("id,colour,breed,kind\na,1,x,p\nb,2,y,q\nc,1,y,q\nd,2,x,p\n", {}, "in breed .*, kind .* --label-column"),
        ("id,colour,form\na,1,x\nb,2,y\nc,1,y\nd,2,x\n", {}, "colour .2 distinct values., form .* --label-column"),
        (CARS, {}, "5 distinct parts form 6 distinct cells, such as 'blue car': give --task multilabel, or --task"),
        ("a,owl\nb,hen\nc,owl\nd,hen\n", {}, "has no header"),
        ("id,label\nx,owl\ny,hen\n", {}, "No table has a column of image names, such as a.jpg"),
        ("id,label\na,owl\nb,hen\nc,owl\nd,hen\n", {"label_column": "lable"}, "has no column lable; it has id, label"),
        ("id,label\na,owl\nb,hen\nc,owl\nd,hen\n", {"train_csv": "rows.csv"}, "no such table.*it has train.csv"),
        ("id,label\na,owl\nb,hen\n", {"id_column": "label"}, "no table has a column label that names an image"),
        ("id,label\na,owl\nb,hen\n", {"id_column": "name"}, "no table has a column name that names an image"),
        ("id,tags\na,['x' 'y']\nb,['x']\nc,[]\nd,['y']\n", {}, r"holds lists, but also cells that .* as .*'x' 'y'"),
        ("id,label\na,x\na,y\nb,x\nb,y\n", {"question": "multiclass"}, r"more than once.*or give --task multilabel"),
        ("id,label\nx,owl\ny,hen\n", {"train_csv": "train.csv"}, "none of its columns id, label names an image"),
    ],
)  # fmt: skip
def test_ambiguity_is_one_line_with_the_option(tmp_path, text, choices, message):
    lay_text(tmp_path, text, *ABC, "train/e.jpg", "train/f.jpg")
    with pytest.raises(DataError, match=message) as caught:
        guess_folder(tmp_path, **choices)
    assert "\n" not in str(caught.value)
