"""What is guessed of a folder is what the built-in recipe says of the same format; what cannot be told is asked."""

import os
import shutil
from collections import Counter

import cv2
import numpy as np
import pandas as pd
import pytest
from laid_folders import look
from PIL import Image
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
from imettk.starter.guess_labels import odd_labels
from imettk.starter.look import Contents, look_at, look_into
from imettk.starter.oddities import find_oddities
from imettk.starter.questions import QUESTIONS
from imettk.synthetic.artworks import make_artworks
from imettk.synthetic.cells import make_cells
from imettk.synthetic.turtles import TurtlesSize, make_turtles
from imettk.synthetic.whales import WhalesSize, make_whale_folders, make_whales

DATA = SHARED / "data"
CLOTHING, TABLES = DATA / "clothing", DATA / "tables"
# What no folder tells: which of the other tables are boxes, lists or more rows, and what is in an id.
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
    found = guess(look_into(data), data, Choices())
    # Folders tell labels, not what they are called.
    passed_over = BEYOND | BOXES | ({"label_column"} if real.table.train_folders else set())
    differ = [name for name in vars(real.table) if getattr(found.table, name) != getattr(real.table, name)]
    assert set(differ) <= passed_over
    assert found.question.name == task
    table = read_table(found.table, data)  # and it can be read so
    test = read_test_table(found.table, data, table)
    assert len(table) == len(found.frame) and found.found.all() and found.test_found.all() and len(test) > 0
    assert set(found.labels) - {found.table.unknown_label} <= set(table.labels)
    if task == "retrieval":
        assert found.ranked.number == real.ranking.num_answers
        assert found.ranked.of_images == (real.ranking.answers == "images")
    assert {finding.what for finding in found.findings} >= {"labels", "task", "sample submission"}
    assert all(finding.reason and finding.change for finding in found.findings)


def test_what_the_other_tables_may_be_is_said(tmp_path):
    small_whales(tmp_path / "data", tmp_path / "answers.csv")
    lines = oddities(tmp_path / "data")
    assert has(lines, "boxes.csv is not used", "table.boxes_csv")
    assert has(lines, "left_out.csv is not used", "a list of images") and has(lines, "duplicate_ids.csv is not used")


def oddities(data):
    contents = look_into(data)
    found = guess(contents, data, Choices())
    ids = found.frame[found.table.id_column][found.found]
    files = [[str(data / found.table.train_images / (name + found.table.image_suffix))] for name in ids]
    return find_oddities(found, contents, look_at(files))


def has(lines, *parts):
    return any(all(part in line for part in parts) for line in lines)


@pytest.mark.skipif(not CLOTHING.is_dir(), reason="needs the real clothing photos in ../shared/data")
def test_real_clothing():
    contents = look_into(CLOTHING)
    found = guess(contents, CLOTHING, Choices())
    assert found.table == TableFormat(
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
    assert found.found.tolist() == frame["image"].isin(there).tolist() and (~found.found).sum() == 5
    assert found.labels == frame["label"].value_counts().to_dict() and len(found.labels) == 20
    lines = find_oddities(found, contents, look_at([[str(CLOTHING / "images" / f"{name}.jpg")] for name in there][:8]))
    assert has(lines, "5 rows", "without an image") and has(lines, "1 image", "without a row")
    assert has(lines, "2 labels", "'Not sure': 41 rows", "'Skip': 12 rows")
    assert has(lines, "near_dup_pairs.csv is not used: 8 rows")


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
    found = guess(Contents({"train.csv": frame}, {"train": files}, []), TABLES, Choices())
    assert {name for name in vars(real) if getattr(found.table, name) != getattr(real, name)} <= BEYOND | BOXES
    assert found.question.name == task and found.found.all()


def lay_out(folder, text, *images, csv="train.csv", encoding="utf-8"):
    """A table and tiny images."""
    for name in images:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    (folder / csv).write_text(text, encoding=encoding)
    return folder


ABC = ("train/a.jpg", "train/b.jpg", "train/c.jpg", "train/d.jpg")
CARS = "id,label\na,red car\nb,blue car\nc,red bus\nd,blue bus\ne,tan car\nf,tan bus\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("id,kind\na,owl\nb,hen\nc,owl\nd,hen\n", "utf-8"),
        ("id;kind\na;owl\nb;hen\nc;owl\nd;hen\n", "utf-8"),
        ("id\tkind\na\towl\nb\then\nc\towl\nd\then\n", "utf-8"),
        ("id,kind\na,owl\nb,hen\nc,owl\nd,hen\n", "utf-8-sig"),
        ('"id";"kind"\n"a";"owl"\n"b";"hen"\n"c";"owl"\n"d";"hen"\n', "utf-8-sig"),
    ],
)
def test_csv_files_as_they_come(tmp_path, text, encoding):
    found = look(lay_out(tmp_path, text, *ABC, encoding=encoding))
    assert (found.table.id_column, found.table.label_column, found.table.image_suffix) == ("id", "kind", ".jpg")
    assert read_table(found.table, tmp_path).targets.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("cells", "task", "separator"),
    [
        (["T-Shirt", "Not sure", "Skip", "Not sure"], "multiclass", None),
        (["3", "12", "3", "7"], "multiclass", None),
        (["3 12", "12", "3 12 7", "7"], "multilabel", " "),
        (["3 12", "7 12", "3 7", "12 3"], "multilabel", " "),  # numbers are never one name
        (["scab rust", "rust", "scab", "scab rust mold"], "multilabel", " "),
        (["black cat, dog", "dog", "black cat", "dog, hen, black cat"], "multilabel", ","),
        (["cat|dog", "cat", "dog", "cat|hen"], "multilabel", "|"),
        (["cat;dog", "cat", "dog", "hen"], "multilabel", ";"),
        (["Afghan hound", "Basset hound", "Beagle", "Beagle"], "multiclass", None),
    ],
)
def test_one_label_or_several(tmp_path, cells, task, separator):
    rows = "".join(f'{name},"{cell}"\n' for name, cell in zip("abcd", cells, strict=True))
    found = look(lay_out(tmp_path, "id,label\n" + rows, *ABC))
    assert found.question.name == task
    assert separator is None or found.table.label_separator == separator
    wanted = {part.strip() for cell in cells for part in (cell.split(separator) if separator else [cell])}
    assert set(found.labels) == wanted == set(read_table(found.table, tmp_path).labels)


def test_individuals_without_a_sample_submission(tmp_path):
    names = [f"{number:03d}" for number in range(650)]
    lay_out(tmp_path, "id,whale\n" + "".join(f"{name},w{int(name) % 320}\n" for name in names), "train/000.jpg")
    for name in names[1:]:
        (tmp_path / "train" / f"{name}.jpg").touch()
    assert look(tmp_path).question.name == "retrieval"
    assert look(tmp_path, question="multiclass").question.name == "multiclass"


NESTED = ["p/1/a.jpg", "p/1/b.jpg", "p/2/a.jpg", "p/2/b.jpg"]


@pytest.mark.parametrize(
    ("images", "ids", "folder", "suffix"),
    [
        (["a.png", "b.png", "c.png", "d.png"], "abcd", ".", ".png"),
        (["pics/a_x.JPG", "pics/b_x.JPG", "pics/c_x.JPG", "pics/d_x.JPG"], "abcd", "pics", "_x.JPG"),
        (["d/train/a.jpg", "d/train/b.jpg", "d/train/c.jpg", "d/train/d.jpg"], "abcd", "d/train", ".jpg"),
        (NESTED, ["1/a", "1/b", "2/a", "2/b"], "p", ".jpg"),
        (NESTED, NESTED, ".", ""),
        (["test/a.jpg", "test/b.jpg", "test/c.jpg", "test/d.jpg", *ABC], "abcd", "train", ".jpg"),
    ],
)
def test_where_images_are_and_how_ids_name_them(tmp_path, images, ids, folder, suffix):
    rows = "".join(f"{name},{kind}\n" for name, kind in zip(ids, ("owl", "hen") * 2, strict=True))
    found = look(lay_out(tmp_path, "name,kind\n" + rows, *images))
    assert (found.table.train_images, found.table.image_suffix) == (folder, suffix)
    assert len(read_table(found.table, tmp_path)) == 4


TWO = "id,label,{}\na,owl,1\nb,hen,1\nc,owl,2\nd,hen,3\ne,owl,3\nf,owl,3\n"


@pytest.mark.parametrize(
    ("column", "group"), [("patient_id", "patient_id"), ("sender", "sender"), ("weight", None), ("group", "group")]
)
def test_groups_go_by_their_name(tmp_path, column, group):
    lay_out(tmp_path, TWO.format(column), *ABC, "train/e.jpg", "train/f.jpg")
    assert look(tmp_path).table.group_column == group
    assert look(tmp_path, group_column="none").table.group_column is None
    assert look(tmp_path, group_column=column).table.group_column == column


def test_a_column_that_is_the_label_again_is_no_group(tmp_path):
    text = "id,label,animal_id\na,owl,1\nb,hen,2\nc,cat,3\nd,cat,3\n"
    assert look(lay_out(tmp_path, text, *ABC)).table.group_column is None
    text = "id,label,patient\na,owl,1\nb,hen,2\nc,cat,3\nd,cat,4\n"  # nor one whose values never come again
    assert look(lay_out(tmp_path, text)).table.group_column is None
    lay_out(tmp_path, "id,label,patient\na,owl,\nb,hen,2\nc,cat,\nd,owl,1\n")
    assert has(oddities(tmp_path), "2 rows (a, c) without a patient: each is a group of its own")


@pytest.mark.parametrize(
    ("text", "choices", "message"),
    [
        ("id,colour,breed,kind\na,1,x,p\nb,2,y,q\nc,1,y,q\nd,2,x,p\n", {}, "in breed .*, kind .* --label-column"),
        ("id,colour,form\na,1,x\nb,2,y\nc,1,y\nd,2,x\n", {}, "colour .2 different values., form .* --label-column"),
        (CARS, {}, "5 different parts make 6 different cells, such as 'blue car'; give --task multilabel, or --task"),
        ("a,owl\nb,hen\nc,owl\nd,hen\n", {}, "has no header"),
        ("id,label\nx,owl\ny,hen\n", {}, "no table has a column whose values are names of images, such as a.jpg"),
        ("id,label\na,owl\nb,hen\nc,owl\nd,hen\n", {"label_column": "lable"}, "has no column lable; it has id, label"),
        ("id,label\na,owl\nb,hen\nc,owl\nd,hen\n", {"train_csv": "rows.csv"}, "no such table.*there is train.csv"),
        ("id,label\na,owl\nb,hen\n", {"id_column": "label"}, "no table has a column label that names an image in half"),
        ("id,label\na,owl\nb,hen\n", {"id_column": "name"}, "no table has a column name that names an image in half"),
        ("id,tags\na,['x' 'y']\nb,['x']\nc,[]\nd,['y']\n", {}, r"holds lists, and cells that .* as .*'x' 'y'"),
        ("id,label\na,x\na,y\nb,x\nb,y\n", {"question": "multiclass"}, r"more than once.*or give --task multilabel"),
        ("id,label\nx,owl\ny,hen\n", {"train_csv": "train.csv"}, "no column of id, label names an image in half"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_one_line_with_the_option(tmp_path, text, choices, message):
    lay_out(tmp_path, text, *ABC, "train/e.jpg", "train/f.jpg")
    with pytest.raises(DataError, match=message) as caught:
        look(tmp_path, **choices)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ids", "files"),
    [
        ("a b c", "a.jpg b.jpg c.jpg"),
        ("a.jpg b c", "a.jpg b.jpg c.jpg"),
        ("a.jpeg b.jpeg c.jpeg", "a.jpg b.jpg c.jpg"),
        ("x/a.jpg x/b.jpg x/c.jpg", "x/a.jpg x/b.jpg x/c.jpg"),
        ("x/a x/b y/c", "x/a.jpg x/b.jpg y/c.jpg"),
        ("e\u0301 b c", "\u00e9.jpg b.jpg c.jpg"),
    ],
)
def test_a_first_line_that_names_an_image_is_no_header(tmp_path, ids, files):
    rows = zip(ids.split(), ("owl", "hen", "cat"), strict=True)
    lay_out(
        tmp_path, "".join(f"{name},{label}\n" for name, label in rows), *(f"train/{name}" for name in files.split())
    )
    with pytest.raises(DataError, match=r"train\.csv has no header: its first line names an image"):
        look(tmp_path)


def test_what_could_not_be_told_is_taken_as_asked_for(tmp_path):
    lay_out(tmp_path, CARS, *ABC, "train/e.jpg", "train/f.jpg")
    assert look(tmp_path, question="multiclass").labels["red car"] == 1
    assert look(tmp_path, question="multilabel").labels == {"red": 2, "blue": 2, "tan": 2, "car": 3, "bus": 3}


def test_two_training_tables(tmp_path):
    text = "id,label\na,owl\nb,hen\nc,owl\nd,hen\n"
    lay_out(tmp_path, text, *ABC, csv="first.csv")
    lay_out(tmp_path, text, csv="second.csv")
    with pytest.raises(DataError, match=r"may be first\.csv or second\.csv: each names images; give --train-csv"):
        look(tmp_path)
    assert look(tmp_path, train_csv="second.csv").table.train_csv == "second.csv"
    lay_out(tmp_path, text, csv="train_v2.csv")
    assert look(tmp_path).table.train_csv == "train_v2.csv"


def test_a_sample_without_its_images_is_told(tmp_path):
    lay_out(tmp_path, "id,label\na,owl\nb,hen\nc,owl\nd,hen\n", *ABC)
    (tmp_path / "sample_submission.csv").write_text("id,label\nx,owl\n")
    assert has(oddities(tmp_path), "sample_submission.csv: 1 row (x) without an image: `prepare` stops there")


def test_a_training_table_that_cannot_be_read_is_the_reason(tmp_path):
    lay_out(tmp_path, "x", *ABC, csv="readme.txt")
    (tmp_path / "train.csv").write_bytes(b"id,label\0a")
    with pytest.raises(DataError, match=r"there is no table that can be read; .*train\.csv is no table: it holds"):
        look(tmp_path)


def test_everything_odd_is_counted_and_named(tmp_path):
    rows = [
        ("a", "owl"),
        ("b", "hen"),
        ("c", "Owl"),
        ("d", ""),
        ("d", "hen"),
        ("z", "n/a"),
        ("b2", "hen"),
        ("b3", "hen"),
    ]
    lay_out(tmp_path, "id,label\n" + "".join(f"{name},{label}\n" for name, label in rows), *ABC)
    lay_out(tmp_path, "x", "train/b2.jpg", "train/b3.jpg", "train/spare.jpg", "more/m.jpg", csv="bad.txt")
    (tmp_path / "train" / "b3.jpg").write_bytes(b"")
    (tmp_path / "broken.csv").write_bytes(b"\xff\xfe\x00")
    lines = oddities(tmp_path)
    for parts in [
        ("1 row (z) without an image",),
        ("1 id (d) more than once",),
        ("1 row (d) without a label",),
        ("1 label ('n/a': 1 rows) may mean that there is no answer",),
        ("3 labels ('owl': 1, 'Owl': 1, 'n/a': 1) with 1 or 2 rows",),
        ("1 label ('Owl' and 'owl') spelled in two ways",),
        ("1 image (spare.jpg) in train/ without a row",),
        ("more/ is not used: 1 image (m.jpg)",),
        ("b3.jpg",),
        ("broken.csv is not a readable csv table",),
    ]:
        assert has(lines, *parts), (parts, lines)


def test_grey_channels_and_shapes(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (40, 100), np.uint8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "as_colour.png"), np.repeat(grey[:, :, None], 3, 2))
    looks = look_at([[str(tmp_path / "grey.png")], [str(tmp_path / "as_colour.png")]])
    assert looks.grey and looks.size == (40, 100) and looks.strips == 1
    assert looks.mean == pytest.approx([(grey / 255).mean()], abs=6e-4)
    assert looks.std == pytest.approx([(grey / 255).std()], abs=6e-4)
    colour = rng.integers(0, 256, (40, 50, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "colour.png"), colour)
    looks = look_at([[str(tmp_path / "colour.png")]])
    assert not looks.grey and looks.strips == 0
    assert looks.mean == pytest.approx((colour[:, :, ::-1] / 255).mean((0, 1)), abs=6e-4)
    with pytest.raises(DataError, match="none of 1 images can be read"):
        look_at([[str(tmp_path / "absent.png")]])


def test_folders_as_labels(tmp_path):
    images = [
        f"{kind}/{label}/{number}.jpg" for kind in ("train", "val") for label in ("owl", "hen") for number in "12"
    ]
    lay_out(tmp_path, "", *images, csv="readme.txt")
    found = look(tmp_path)
    assert found.table.train_folders and found.table.train_images == "train" and found.question.name == "multiclass"
    assert read_table(found.table, tmp_path).labels == ("hen", "owl")
    (tmp_path / "train").rename(tmp_path / "first")
    with pytest.raises(DataError, match="may be the folders of first or val; give one of them as --train-csv"):
        look(tmp_path)
    assert look(tmp_path, train_csv="val").table.train_images == "val"
    with pytest.raises(DataError, match="no table has a column"):
        look(tmp_path, question="multilabel")


def test_numbered_rows_are_no_list_of_labels(tmp_path):
    lay_out(tmp_path, "id,label\na,0\nb,1\nc,0\nd,1\n", *ABC)
    lay_out(tmp_path, ",file,fold\n" + "".join(f"{row},f{row},0\n" for row in range(30)), csv="folds.csv")
    assert look(tmp_path).table.labels_csv is None
    lay_out(tmp_path, "number,name\n0,owl\n1,hen\n2,jay\n", csv="names.csv")
    form = look(tmp_path).table
    assert (form.labels_csv, form.label_id_column, form.label_name_column) == ("names.csv", "number", "name")


def test_what_is_no_file_is_passed_over_and_told(tmp_path):
    lay_out(tmp_path, "id,label\na,owl\nb,hen\nc,owl\nd,hen\n", *ABC)
    os.mkfifo(tmp_path / "train" / "e.jpg")
    os.mkfifo(tmp_path / "more.csv")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert look_into(tmp_path).num_images == 4
    assert has(
        oddities(tmp_path), "passed over 3 things (gone, more.csv, train/e.jpg) that are neither files nor folders"
    )


def test_names_that_are_no_text_are_passed_over_and_told(tmp_path):
    lay_out(tmp_path, "id,label\na,owl\nb,hen\nc,owl\nd,hen\n", *ABC)
    for name in ("caf\udce9.csv", "train/caf\udce9.jpg"):
        (tmp_path / name).touch()
    told = r"passed over 2 things (caf\udce9.csv, train/caf\udce9.jpg) that are neither files nor folders, or"
    assert has(oddities(tmp_path), told)
    (tmp_path / "train").rename(tmp_path / "tr\udce9in")
    with pytest.raises(DataError, match="holds no image"):
        look(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train/a.nii", "train/b.nii", "more.xml"], r"; it holds 2 \.nii, 1 \.xml, which are not read: write"),
        (["train/a.fits", "train/b.fits", "train/b"], r"; it holds 2 \.fits, 1 without an ending, which are not read"),
        (["train.zip", "more.zip", "more.7z", "readme.txt"], r"; it holds 2 \.zip, 1 \.7z: unpack them"),
        ([], ": is it the right folder?"),
    ],
)
def test_what_is_there_in_place_of_images_is_said(tmp_path, files, message):
    lay_out(tmp_path, "id,label\na,owl\n")
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    with pytest.raises(DataError, match=rf"holds no image \(\.bmp, .*\){message}"):
        look(tmp_path)


def test_images_count_whatever_they_are_called(tmp_path):
    """What is in a file decides, as it does when it is read."""
    for folder in ("owl", "hen"):
        lay_out(tmp_path, "x", f"{folder}/1.jpg", f"{folder}/2.png", csv="notes.txt")
        for name in ("3.pgm", "4.jp2", "5.tga"):
            Image.new("L", (8, 8)).save(tmp_path / folder / name)
        for name, copied in (("6", "1.jpg"), ("7.dat", "2.png"), ("8.jfif", "1.jpg")):
            shutil.copy(tmp_path / folder / copied, tmp_path / folder / name)
        (tmp_path / folder / "list.txt").write_text("1 2 3")
    contents = look_into(tmp_path)
    assert contents.num_images == 16 and contents.others == {".txt": 3}
    lines = oddities(tmp_path)
    assert has(lines, "files of other kinds are not read: 3 .txt")
    assert has(lines, "2 files (hen/list.txt, owl/list.txt) in folders of labels are no images by their names")


def test_identities_with_a_single_row_are_told_where_there_are_some():
    told = "identities have a single row"
    assert not has(odd_labels(Counter(a=2, b=2, c=3), QUESTIONS["retrieval"], unknown=None), told)
    assert has(odd_labels(Counter(a=1, b=2, c=3), QUESTIONS["retrieval"], unknown=None), f"1 of 3 {told}")


def test_no_images(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        look(lay_out(tmp_path, "id,label\na,owl\n"))
    with pytest.raises(DataError, match="is no folder"):
        look_into(tmp_path / "gone")
