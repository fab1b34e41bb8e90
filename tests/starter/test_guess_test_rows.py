"""Without a sample submission, a table or folder called after testing holds the test rows."""

import pytest
from laid_folders import TWELVE, guess_folder, lay_out, rows

from imettk.data.asked_rows import find_row_source, read_test_rows
from imettk.data.table import read_table, read_test_table
from imettk.starter.look import look_at, look_into
from imettk.starter.oddities import find_oddities

TRAIN = [f"train/{name}.jpg" for name in TWELVE]
LABELS = rows("id,label", *TWELVE)


def finding_of(guessed):
    return next((" ".join(line) for line in guessed.findings if line.what == "test rows"), None)


@pytest.mark.parametrize(
    ("images", "tables", "csv", "folder", "ids"),
    [
        (["test/q1.jpg", "test/q0.jpg"], {}, None, "test", ["q0", "q1"]),
        (["Test_images/b/q1.jpg", "Test_images/a/q0.jpg"], {}, None, "Test_images", ["q0", "q1"]),
        (["images/test/q1.jpg", "test/q2.jpg"], {}, None, "test", ["q2"]),
        (["test/q1.jpg", "test/q0.jpg"], {"test": ["id,taken", "q1,1"]}, "test.csv", "test", ["q1"]),
        (["test/q1.jpg"], {"test": ["id,taken", "q8,1", "q9,2"]}, None, "test", ["q1"]),  # hidden images
        (["test/q1.jpg"], {"test": ["id,taken", "q9,1", "q8,2", "q1,2"]}, "test.csv", "test", ["q9", "q8", "q1"]),
        (["test/q1.jpg"], {"extra": ["id,taken", "q1,1"]}, None, "test", ["q1"]),
        (["quiz/q1.jpg"], {"test_info": ["id,taken", "q1,1"]}, "test_info.csv", "quiz", ["q1"]),
    ],
)
def test_test_rows_come_from_a_table_or_a_folder(tmp_path, images, tables, csv, folder, ids):
    guessed = guess_folder(lay_out(tmp_path, [*TRAIN, *images], train=LABELS, **tables))
    form = guessed.table
    assert (form.test_csv, form.test_images) == (csv, folder) and guessed.has_test and guessed.sample is None
    assert read_test_rows(form, tmp_path)["id"].tolist() == ids, "`prepare` finds the same"
    assert "`infer` writes the columns id, label" in finding_of(guessed)
    odd = find_oddities(guessed, look_into(tmp_path), look_at([[str(tmp_path / TRAIN[0])]]))
    assert not any(line.startswith(f"{folder}/ is not used") for line in odd)


@pytest.mark.parametrize(
    "images", [[], ["val/q.jpg"], ["contest/q.jpg"], ["test bench/q.jpg"], ["test/notes.txt"], ["more/q.jpg"]]
)
def test_no_other_folder_has_test_rows(tmp_path, images):
    guessed = guess_folder(lay_out(tmp_path, [*TRAIN, *images], train=LABELS))
    assert not guessed.has_test and finding_of(guessed) is None and find_row_source(guessed.table, tmp_path) is None


def test_folders_of_labels_may_have_test_rows_beside(tmp_path):
    images = [f"data/train/{label}/{number}.jpg" for label in ("cat", "dog") for number in range(6)]
    guessed = guess_folder(lay_out(tmp_path, [*images, "data/test/q.jpg"]))
    assert guessed.table.train_folders and read_test_rows(guessed.table, tmp_path)["id"].tolist() == ["q.jpg"]


def test_folders_of_studies_may_have_test_studies_beside(tmp_path):
    studies = {"train": [f"t{number}" for number in range(6)], "test": [f"q{number}" for number in range(6)]}
    images = [f"{part}/{study}/{number}.jpg" for part, names in studies.items() for study in names for number in (0, 1)]
    guessed = guess_folder(lay_out(tmp_path, images, train=rows("study,label", *studies["train"])))
    assert guessed.table.unit_folders and read_test_rows(guessed.table, tmp_path)["study"].tolist() == studies["test"]


@pytest.mark.parametrize("csv", ["test", "sample_submission"])
def test_a_few_test_images_in_one_folder_do_not_exclude_others(tmp_path, csv):
    """Hidden test images may lie in other folders."""
    images = [f"train/{int(name) % 4}/{name}.jpg" for name in TWELVE]
    guessed = guess_folder(lay_out(tmp_path, [*images, "test/0/q1.jpg"], train=LABELS, **{csv: ["id,label", "q1,a"]}))
    assert guessed.table.test_images == "test" and guessed.test_files.tolist() == ["0/q1.jpg"]


def test_a_sample_submission_comes_first(tmp_path):
    sample = ["id,label", "q1,a"]
    guessed = guess_folder(
        lay_out(tmp_path, [*TRAIN, "test/q1.jpg", "test/q2.jpg"], train=LABELS, sample_submission=sample)
    )
    assert finding_of(guessed) is None and guessed.table.test_csv is None
    assert read_test_rows(guessed.table, tmp_path)["id"].tolist() == ["q1"]


@pytest.mark.parametrize("number", [1, 10])
@pytest.mark.parametrize(("first", "second"), [("test-jpg", "test-jpg-additional"), ("x/test", "x/y/more")])
def test_test_images_in_two_folders_are_found_below_their_common_one(tmp_path, number, first, second):
    """Every test row needs an answer; those with images in the smaller folder got a neutral one."""
    names = [f"q{name}" for name in range(30)]
    tests = [f"{second if place < number else first}/{name}.jpg" for place, name in enumerate(names)]
    sample = ["id,label", *(f"{name},a" for name in names)]
    form = guess_folder(lay_out(tmp_path, [*TRAIN, *tests], train=LABELS, sample_submission=sample)).table
    assert form.test_images == ("x" if "/" in first else ".")
    paths = read_test_table(form, tmp_path, read_table(form, tmp_path)).paths
    assert [path.removeprefix(f"{tmp_path}/") for path in paths] == tests
