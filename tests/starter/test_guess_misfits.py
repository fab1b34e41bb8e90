"""No table that names images, in whatever way, is passed over in silence; parts of the data are never labels."""

import os
import unicodedata
from pathlib import Path

import pytest
from laid_folders import TWELVE, guess_folder, lay_out, rows

from imettk.cli.main import main
from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.recipes import load_recipe
from imettk.starter.guess import guess
from imettk.starter.guess_columns import Choices
from imettk.starter.look import look_at, look_into
from imettk.starter.oddities import find_oddities


def by_class(folder, count=12, ending=".jpg"):
    return [f"{folder}{('cat', 'dog')[number % 2]}/{number}{ending}" for number in range(count)]


CLASSES = by_class("train/")


@pytest.mark.parametrize("test", ["Test", "test_images", "TestSet", "Validation", "valid", "VAL"])
def test_a_folder_of_a_part_of_the_data_is_not_a_class(tmp_path, monkeypatch, capsys, test):
    """It was a class once, and most answers were its name; a handwritten recipe gets the same labels."""
    monkeypatch.chdir(tmp_path)
    names = [f"q{number}.jpg" for number in range(5)]
    sample = ["id,label", *(f"{name},cat" for name in names)]
    lay_out(tmp_path / "data", [*by_class(""), *(f"{test}/{name}" for name in names)], sample_submission=sample)
    main(["new", "mine", "--data", "data"])
    printed = capsys.readouterr().out
    assert "2 folders in ." in printed and f"5 of its 5 ids are files in {test}/" in printed
    assert f"skipped 1 folder ({test}) named like a part of the data, not like a label" in printed
    main(["prepare", "mine.py", "--data", "data", "--run-dir", "run"])
    assert f"note: data: skipped 1 folder ({test}) named like a part" in capsys.readouterr().out
    table = read_table(load_recipe("mine.py").table, Path("data"))
    assert table.labels == ("cat", "dog") and len(table) == 12


@pytest.mark.parametrize(
    ("images", "tables", "message"),
    [
        # A study is a folder, and fewer than half are there.
        (
            [f"train/s{study}/{number}.jpg" for study in range(6) for number in range(3)],
            {"train": rows("study_id,label", *(f"s{study}" for study in range(20)))},
            r"train\.csv: 6 of 20 .* study_id name folders of images, such as train/s0/: for one answer per folder",
        ),
        # Fewer than half are there.
        (
            [f"train/{name}.jpg" for name in TWELVE],
            {"train": rows("id,label", *map(str, range(40)))},
            r"train\.csv: 12 of 40 values of column id name images \(0 is train/0\.jpg\), fewer than half",
        ),
        # A name may mean two files.
        (
            [f"train/f{(int(name) + step) % 6}/{name}.jpg" for name in TWELVE for step in (0, 1)],
            {"train": rows("id,label", *TWELVE)},
            r"train\.csv: 12 of 12 .* name images in 5 folders \(0 is train/f0/0\.jpg\): put the images, or links",
        ),
        # Messages about images in folders of labels: a table of theirs may hold the targets instead.
        (
            CLASSES,
            {"info": ["file,camera", *(f"{name}.jpg,{'xy'[int(name) % 3 == 0]}" for name in TWELVE)]},
            r"info\.csv: .*; or give --train-csv train if its folders are the labels$",
        ),
        # Neither parts of the data (dogs-vs-cats) nor a few of many nested folders (herbarium) are labels.
        (
            [f"{part}/{part}{name}.jpg" for name in TWELVE for part in ("train", "valid", "TEST")],
            {},
            "No table has a column of image names, .* and no folder contains a folder of images for each label",
        ),
        (
            [f"train_images/{number // 30:03d}/{number % 30:02d}/x.jpg" for number in (1, 2, 33, 65, 98, 127, 159)],
            {},
            r"labels may be the folders of train_images/000, but these hold only 29% of the images: give --train-csv",
        ),
        ([*by_class("train/", 1), *by_class("Test/", 3)], {}, "the folders of Test, but these hold only 0% of"),
        ([f"train/{name}/1.jpg" for name in ("cat", "Test", "val")], {}, "and no folder contains a folder of images"),
    ],
)  # fmt: skip
def test_a_misfit_is_reported_in_one_line(tmp_path, images, tables, message):
    lay_out(tmp_path, images, **tables)
    with pytest.raises(DataError, match=message) as caught:
        guess_folder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "choices", "unused"),
    [
        ({"classes": ["name,number", "cat,0", "dog,1"]}, {}, "classes.csv is not used: 2 rows, columns name, number"),
        (
            {"pairs": ["a,b", *(f"{number}.jpg,{(number + 1) % 12}.jpg" for number in range(12))]},
            {},
            "pairs.csv is not used: 12 rows, columns a, b",
        ),
        (
            {"info": ["file,camera", *(f"{name}.jpg,{'xy'[int(name) % 3 == 0]}" for name in TWELVE)]},
            {"train_csv": "train"},
            "info.csv is not used: 12 rows, columns file, camera",
        ),
        ({"test": rows("file,camera", *(f"t{name}.jpg" for name in TWELVE))}, {}, "test.csv is not used: 12 rows"),
    ],
)  # fmt: skip
def test_folders_are_labels_beside_unrelated_tables(tmp_path, tables, choices, unused):
    lay_out(tmp_path, [*CLASSES, *(f"test/t{name}.jpg" for name in TWELVE), "more/x.jpg"], **tables)
    if not choices:
        (tmp_path / "more" / "x.jpg").unlink()
    contents = look_into(tmp_path)
    guessed = guess(contents, tmp_path, Choices(**choices))
    assert guessed.table.train_folders and set(guessed.labels) == {"cat", "dog"}
    lines = find_oddities(guessed, contents, look_at([[str(tmp_path / CLASSES[0])]]))
    assert any(unused in line for line in lines)
    assert guessed.table.test_images == "test" and not any("test/ is not used" in line for line in lines)
    assert any("more/ is not used: 1 image (x.jpg)" in line for line in lines) == bool(choices)


def test_a_few_rows_with_images_elsewhere_are_reported_and_dropped(tmp_path):
    names = [str(number) for number in range(30)]
    lay_out(tmp_path, [*(f"train/{name}.jpg" for name in names[1:]), "more/0.jpg"], train=rows("id,label", *names))
    assert guess_folder(tmp_path).found.tolist() == [False] + [True] * 29


def test_classes_that_were_made_numbers_by_empty_cells_are_classes(tmp_path):
    images = [f"train/{name}.jpg" for name in TWELVE]
    lay_out(tmp_path, images, train=["id,target", *(f"{name},{int(name) % 2}.0" for name in TWELVE)])
    assert set(guess_folder(tmp_path).labels) == {"0.0", "1.0"}


def test_a_second_column_of_images_in_another_folder_is_refused_unless_one_is_requested(tmp_path):
    images = [f"{side}/{name}_{side}.jpg" for name in TWELVE for side in "LR"]
    lines = ["left,right,label", *(f"{name}_L.jpg,{name}_R.jpg,{'ab'[int(name) % 2]}" for name in TWELVE)]
    contents = look_into(lay_out(tmp_path, images, train=lines))
    with pytest.raises(DataError, match=r"columns left and right both name images .* --id-column left"):
        guess(contents, tmp_path, Choices())
    guessed = guess(contents, tmp_path, Choices(id_column="right"))
    lines = find_oddities(guessed, contents, look_at([[str(tmp_path / images[0])]]))
    assert any("column left names images in L/ too: these are not used" in line for line in lines)


def test_two_columns_with_the_same_images_count_as_one(tmp_path):
    """An id and its file name; the test table has both, so neither is a label."""
    images = [f"{part}/{name}.jpg" for part in ("train", "test") for name in TWELVE]
    known = [f"{name}.jpg,{name},{int(name) % 2}" for name in TWELVE]
    lay_out(tmp_path, images, train=["file_name,id,night,animal", *(f"{row},x{row[0]}" for row in known)],
            test=["file_name,id,night", *known])  # fmt: skip
    guessed = guess_folder(tmp_path)
    assert (guessed.table.id_column, guessed.table.label_column) == ("file_name", "animal")


@pytest.mark.parametrize(
    ("images", "ids", "tests", "test_ids"),
    [
        ([f"train/{name}{('.jpg', '.JPG', '.png')[int(name) % 3]}" for name in TWELVE], TWELVE, ".jpeg", "q{}"),
        ([f"train/{name}.png" for name in TWELVE], [f"{name}.jpg" for name in TWELVE], ".jpg", "q{}"),
        ([f"train/{name}.jpg" for name in TWELVE], TWELVE, ".png", "q{}.png"),
        ([unicodedata.normalize("NFD", f"train/é{name}.jpg") for name in TWELVE], [f"é{name}" for name in TWELVE],
         ".jpg", "q{}"),
    ],
)  # fmt: skip
def test_images_are_found_with_any_extension_and_form_as_prepare_finds_them(tmp_path, images, ids, tests, test_ids):
    sample = rows("id,label", *(test_ids.format(name) for name in TWELVE))
    lay_out(tmp_path, [*images, *(f"test/q{name}{tests}" for name in TWELVE)], train=rows("id,label", *ids),
            sample_submission=sample)  # fmt: skip
    guessed = guess_folder(tmp_path)
    assert guessed.found.all() and guessed.test_found.all()
    table = read_table(guessed.table, tmp_path)
    assert all(map(os.path.isfile, table.paths)) and len(table) == 12
    assert all(map(os.path.isfile, read_test_table(guessed.table, tmp_path, table).paths))
    assert [os.path.basename(path) for path in table.paths] == guessed.files.tolist()


def test_labels_that_name_a_few_images_are_still_labels_beside_paths(tmp_path):
    """They were mistaken for other names of images, and folders for the labels."""
    files = [f"train/{'ab'[number % 2]}/{number}.png" for number in range(200)]
    paths = [f"/home/comp/train/{'ab'[number % 2]}/{number}.png" for number in (*range(50), *range(1000, 1150))]
    lines = ["path,label", *(f"{path},{number % 25}" for number, path in enumerate(paths))]
    lay_out(tmp_path, files, train=lines)
    with pytest.raises(DataError, match=r"train\.csv: 50 of 200 values of column path "):
        guess_folder(tmp_path)
    every = [f"/home/comp/{file}" for file in files]
    lay_out(tmp_path, [], train=["path,label", *(f"{path},{number % 25}" for number, path in enumerate(every))])
    guessed = guess_folder(tmp_path)
    assert guessed.table.id_column == "path" and len(guessed.labels) == 25 and guessed.found.all()


def test_ids_for_the_same_image_are_reported(tmp_path):
    lay_out(tmp_path, [f"train/{name}.jpg" for name in TWELVE], train=rows("id,label", *TWELVE, "./3", ".//5"))
    contents = look_into(tmp_path)
    lines = find_oddities(guess_folder(tmp_path), contents, look_at([[str(tmp_path / "train/0.jpg")]]))
    assert lines == ["4 ids (3, 5, ./3, .//5) for the same image as another id: `prepare` will stop"]
    lay_out(tmp_path, [], train=rows("id,label", *(f"./{name}" for name in TWELVE)))
    assert find_oddities(guess_folder(tmp_path), look_into(tmp_path), look_at([[str(tmp_path / "train/0.jpg")]])) == []


@pytest.mark.parametrize("order", [("id", "image"), ("image", "id")])
def test_row_numbers_that_name_images_by_accident_are_not_advised_first(tmp_path, order):
    """Each row number is the name of another row's image, so every image would be wrong."""
    cells = {"id": range(12), "image": [f"{number * 7 % 12}.jpg" for number in range(12)]}
    lines = [",".join((*order, "label"))]
    lines += [f"{cells[order[0]][row]},{cells[order[1]][row]},{'ab'[row % 2]}" for row in range(12)]
    lay_out(tmp_path, [f"train/{name}.jpg" for name in TWELVE], train=lines)
    asked = r"give --id-column image \(7\.jpg is train/7\.jpg\) or --id-column id \(1 is train/1\.jpg\)$"
    with pytest.raises(DataError, match=asked):
        guess_folder(tmp_path)
    assert guess_folder(tmp_path, id_column="image").files.tolist() == cells["image"]
