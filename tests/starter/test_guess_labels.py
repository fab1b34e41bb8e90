"""Cells of one label or of several, individuals, and lists of labels."""

from collections import Counter

import pytest
from laid_folders import guess_folder, lay_text, mentions

from imettk.data.table import read_table
from imettk.starter.guess_labels import odd_labels
from imettk.starter.questions import QUESTIONS

ABC = ("train/a.jpg", "train/b.jpg", "train/c.jpg", "train/d.jpg")


CARS = "id,label\na,red car\nb,blue car\nc,red bus\nd,blue bus\ne,tan car\nf,tan bus\n"


@pytest.mark.parametrize(
    ("cells", "task", "separator"),
    [
        (["T-Shirt", "Not sure", "Skip", "Not sure"], "multiclass", None),
        (["3", "12", "3", "7"], "multiclass", None),
        (["3 12", "12", "3 12 7", "7"], "multilabel", " "),
        (["3 12", "7 12", "3 7", "12 3"], "multilabel", " "),  # numbers never form one name
        (["scab rust", "rust", "scab", "scab rust mold"], "multilabel", " "),
        (["black cat, dog", "dog", "black cat", "dog, hen, black cat"], "multilabel", ","),
        (["cat|dog", "cat", "dog", "cat|hen"], "multilabel", "|"),
        (["cat;dog", "cat", "dog", "hen"], "multilabel", ";"),
        (["Afghan hound", "Basset hound", "Beagle", "Beagle"], "multiclass", None),
    ],
)
def test_one_label_or_several(tmp_path, cells, task, separator):
    rows = "".join(f'{name},"{cell}"\n' for name, cell in zip("abcd", cells, strict=True))
    guessed = guess_folder(lay_text(tmp_path, "id,label\n" + rows, *ABC))
    assert guessed.question.name == task
    assert separator is None or guessed.table.label_separator == separator
    wanted = {part.strip() for cell in cells for part in (cell.split(separator) if separator else [cell])}
    assert set(guessed.labels) == wanted == set(read_table(guessed.table, tmp_path).labels)


def test_individuals_without_a_sample_submission(tmp_path):
    names = [f"{number:03d}" for number in range(650)]
    lay_text(tmp_path, "id,whale\n" + "".join(f"{name},w{int(name) % 320}\n" for name in names), "train/000.jpg")
    for name in names[1:]:
        (tmp_path / "train" / f"{name}.jpg").touch()
    assert guess_folder(tmp_path).question.name == "retrieval"
    assert guess_folder(tmp_path, question="multiclass").question.name == "multiclass"


def test_an_option_decides_an_ambiguous_column(tmp_path):
    lay_text(tmp_path, CARS, *ABC, "train/e.jpg", "train/f.jpg")
    assert guess_folder(tmp_path, question="multiclass").labels["red car"] == 1
    assert guess_folder(tmp_path, question="multilabel").labels == {"red": 2, "blue": 2, "tan": 2, "car": 3, "bus": 3}


def test_row_numbers_are_not_a_list_of_labels(tmp_path):
    lay_text(tmp_path, "id,label\na,0\nb,1\nc,0\nd,1\n", *ABC)
    lay_text(tmp_path, ",file,fold\n" + "".join(f"{row},f{row},0\n" for row in range(30)), csv="folds.csv")
    assert guess_folder(tmp_path).table.labels_csv is None
    lay_text(tmp_path, "number,name\n0,owl\n1,hen\n2,jay\n", csv="names.csv")
    form = guess_folder(tmp_path).table
    assert (form.labels_csv, form.label_id_column, form.label_name_column) == ("names.csv", "number", "name")


def test_identities_with_a_single_row_are_reported():
    line = "identities with a single row each"
    assert not mentions(odd_labels(Counter(a=2, b=2, c=3), QUESTIONS["retrieval"], unknown=None), line)
    assert mentions(odd_labels(Counter(a=1, b=2, c=3), QUESTIONS["retrieval"], unknown=None), f"1 of 3 {line}")
