"""Columns of a sample submission are filled, or refused if their answers cannot be guessed."""

import pytest
from laid_folders import guess_folder, lay_out

from imettk.errors import DataError

ABC = ("train/a.jpg", "train/b.jpg", "train/c.jpg", "train/d.jpg")
BIRDS = ["id,label", "a,owl", "b,hen", "c,owl", "d,hen"]


def test_a_sample_with_ambiguous_columns_is_refused(tmp_path):
    lay_out(tmp_path, ABC, train=BIRDS)
    for names in ("class_0,class_1", "owl,jay"):
        (tmp_path / "sample_submission.csv").write_text(f"id,{names}\nx,0.5,0.5\n")
        with pytest.raises(DataError, match=r"2 columns beside id \(.*\), which are neither the labels \(hen, owl"):
            guess_folder(tmp_path)
    (tmp_path / "sample_submission.csv").write_text("image,label\nx,owl\n")
    with pytest.raises(DataError, match=r"has no column id, and no value in image, label names an image"):
        guess_folder(tmp_path)


def test_a_column_of_the_sample_without_answers_is_refused(tmp_path):
    """With --label-column owl, the other columns kept the numbers of the sample."""
    flags = ["id,owl,hen,jay", "a,1,0,0", "b,0,1,0", "c,0,0,1", "d,1,0,0"]
    lay_out(tmp_path, (*ABC, "test/x.jpg"), train=flags)
    (tmp_path / "sample_submission.csv").write_text("id,owl,hen,jay\nx,0.3,0.3,0.4\n")
    with pytest.raises(DataError, match=r"nothing would fill 2 columns \(hen, jay\): answers go only into owl"):
        guess_folder(tmp_path, label_column="owl")


def test_columns_of_the_sample_become_fields_of_the_format(tmp_path):
    lay_out(tmp_path, (*ABC, "test/x.jpg"), train=BIRDS, sample_submission=["image,hen,owl", "x,0.5,0.5"])
    form = guess_folder(tmp_path).table
    assert (form.sample_id_column, form.answer_columns, form.answer_column) == ("image", ("hen", "owl"), None)
    (tmp_path / "sample_submission.csv").write_text("id,kind\nx,owl\n")
    form = guess_folder(tmp_path).table
    assert (form.sample_id_column, form.answer_columns, form.answer_column) == (None, (), "kind")
