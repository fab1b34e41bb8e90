"""Tables, columns of ids and groups, and the folder that ids name images in."""

import pytest
from laid_folders import guess_folder, lay_text, list_oddities, mentions

from imettk.data.table import read_table
from imettk.errors import DataError

ABC = ("train/a.jpg", "train/b.jpg", "train/c.jpg", "train/d.jpg")


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
    guessed = guess_folder(lay_text(tmp_path, text, *ABC, encoding=encoding))
    assert (guessed.table.id_column, guessed.table.label_column, guessed.table.image_suffix) == ("id", "kind", ".jpg")
    assert read_table(guessed.table, tmp_path).targets.tolist() == [1, 0, 1, 0]


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
    guessed = guess_folder(lay_text(tmp_path, "name,kind\n" + rows, *images))
    assert (guessed.table.train_images, guessed.table.image_suffix) == (folder, suffix)
    assert len(read_table(guessed.table, tmp_path)) == 4


TWO = "id,label,{}\na,owl,1\nb,hen,1\nc,owl,2\nd,hen,3\ne,owl,3\nf,owl,3\n"


@pytest.mark.parametrize(
    ("column", "group"), [("patient_id", "patient_id"), ("sender", "sender"), ("weight", None), ("group", "group")]
)
def test_groups_are_recognised_by_name(tmp_path, column, group):
    lay_text(tmp_path, TWO.format(column), *ABC, "train/e.jpg", "train/f.jpg")
    assert guess_folder(tmp_path).table.group_column == group
    assert guess_folder(tmp_path, group_column="none").table.group_column is None
    assert guess_folder(tmp_path, group_column=column).table.group_column == column


def test_a_column_that_repeats_the_label_is_not_a_group(tmp_path):
    text = "id,label,animal_id\na,owl,1\nb,hen,2\nc,cat,3\nd,cat,3\n"
    assert guess_folder(lay_text(tmp_path, text, *ABC)).table.group_column is None
    text = "id,label,patient\na,owl,1\nb,hen,2\nc,cat,3\nd,cat,4\n"  # nor does a column without repeated values
    assert guess_folder(lay_text(tmp_path, text)).table.group_column is None
    lay_text(tmp_path, "id,label,patient\na,owl,\nb,hen,2\nc,cat,\nd,owl,1\n")
    assert mentions(list_oddities(tmp_path), "2 rows (a, c) without a patient: each is a group of its own")


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
    lay_text(
        tmp_path, "".join(f"{name},{label}\n" for name, label in rows), *(f"train/{name}" for name in files.split())
    )
    with pytest.raises(DataError, match=r"train\.csv has no header: its first line names an image"):
        guess_folder(tmp_path)


def test_two_training_tables(tmp_path):
    text = "id,label\na,owl\nb,hen\nc,owl\nd,hen\n"
    lay_text(tmp_path, text, *ABC, csv="first.csv")
    lay_text(tmp_path, text, csv="second.csv")
    with pytest.raises(
        DataError, match=r"may be first\.csv or second\.csv, as each of them names images: give --train-csv"
    ):
        guess_folder(tmp_path)
    assert guess_folder(tmp_path, train_csv="second.csv").table.train_csv == "second.csv"
    lay_text(tmp_path, text, csv="train_v2.csv")
    assert guess_folder(tmp_path).table.train_csv == "train_v2.csv"


def test_a_training_table_that_cannot_be_read_is_the_reason(tmp_path):
    lay_text(tmp_path, "x", *ABC, csv="readme.txt")
    (tmp_path / "train.csv").write_bytes(b"id,label\0a")
    with pytest.raises(DataError, match=r"there is no table that can be read; .*train\.csv is not a table: it cont"):
        guess_folder(tmp_path)
