"""A submission has the sample's columns, ids and order, or is refused."""

import numpy as np
import pandas as pd
import pytest

from imettk.data.submission import AnswerRules, SubmissionForm, check_kind, check_submission, write_submission
from imettk.errors import DataError

SAMPLE = "Id,Predicted\n007,0\nt2,0\nNA,0\n"


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "sample.csv"
    path.write_text(SAMPLE)
    return path


def write(tmp_path, sample, ids, answers, *columns, kept_columns=(), **rules):
    path = tmp_path / "out" / "submission.csv"
    answers = [[answer] if isinstance(answer, str) else answer for answer in answers]
    form = SubmissionForm("Id", columns or ("Predicted",), kept_columns)
    write_submission(path, sample, np.array(ids), answers, form=form, rules=AnswerRules(**rules))
    return path


def test_it_is_written_in_the_order_and_columns_of_the_sample(tmp_path, sample):
    path = write(tmp_path, sample, ["NA", "t2", "007"], [["1", "2"], [], ["3"]])
    assert path.read_text() == "Id,Predicted\n007,3\nt2,\nNA,1 2\n"
    check_submission(path, sample, id_column="Id")


def test_ids_and_answers_that_a_spreadsheet_takes_for_formulas_stay_as_they_are(tmp_path, sample):
    names = ["=1+1", "+a", "-b", "@c"]
    sample.write_text("Id,Predicted\n" + "".join(f"{name},0\n" for name in names))
    path = write(tmp_path, sample, names, [[f"{name}!"] for name in names])
    assert path.read_text() == "Id,Predicted\n" + "".join(f"{name},{name}!\n" for name in names)
    check_submission(path, sample, id_column="Id")


def test_columns_that_nothing_fills_are_refused_unless_they_are_to_stay(tmp_path, sample):
    sample.write_text("Predicted,Usage,Id\n0,Public,a\n0,Private,b\n")
    with pytest.raises(DataError, match=r"nothing fills column Usage, so the sample's own values would remain"):
        write(tmp_path, sample, ["b", "a"], ["x,y", "z"])
    assert not (tmp_path / "out").exists()
    path = write(tmp_path, sample, ["b", "a"], ["x,y", "z"], kept_columns=["Usage"])
    assert path.read_text() == 'Predicted,Usage,Id\nz,Public,a\n"x,y",Private,b\n'


def test_it_is_separated_as_the_sample_is(tmp_path, sample):
    sample.write_text(SAMPLE.replace(",", ";"))
    path = write(tmp_path, sample, ["NA", "t2", "007"], ["1", "2", "3"])
    assert path.read_text() == "Id;Predicted\n007;3\nt2;2\nNA;1\n"
    check_submission(path, sample, id_column="Id")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["007", "t2"], r"1 id \(NA\) missing"),
        (["7", "t2", "x"], r"2 ids \(007, NA\) missing"),
        (["007", "t2", "NA", "t2"], r"1 id \(t2\) repeated"),
    ],
)
def test_wrong_ids_are_refused_and_nothing_is_written(tmp_path, sample, ids, message):
    with pytest.raises(DataError, match=message):
        write(tmp_path, sample, ids, ["0"] * len(ids))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("submission", "message"),
    [
        ("Id,Target\n007,0\nt2,0\nNA,0\n", "has columns Id, Target; the sample has Id, Predicted"),
        ("Predicted,Id\n0,007\n0,t2\n0,NA\n", "has columns Predicted, Id"),
        ("Id,Predicted\n007,0\nNA,0\n", r"1 id \(t2\) missing"),
        ("Id,Predicted\n7,0\nt2,0\nNA,0\n", r"1 id \(007\) missing"),
        (SAMPLE + "t3,0\nt4,0\n", r"2 ids \(t3, t4\) not in the sample"),
        (SAMPLE + "t2,1\n", r"1 id \(t2\) repeated"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, sample, submission, message):
    path = tmp_path / "submission.csv"
    path.write_text(submission)
    with pytest.raises(DataError, match=message):
        check_submission(path, sample, id_column="Id")


def test_any_order_of_rows_fits(tmp_path, sample):
    path = tmp_path / "submission.csv"
    path.write_text("Id,Predicted\nNA,1\n007,2\nt2,3\n")
    check_submission(path, sample, id_column="Id")


def test_a_column_that_the_sample_lacks_and_a_double_id_in_it_write_nothing(tmp_path, sample):
    with pytest.raises(DataError, match="the sample has no column Target; it has Id, Predicted"):
        write(tmp_path, sample, ["007", "t2", "NA"], ["0"] * 3, "Target")
    sample.write_text(SAMPLE + "t2,0\n")
    with pytest.raises(DataError, match=r"1 id \(t2\) repeated in the sample"):
        write(tmp_path, sample, ["007", "t2", "NA"], ["0"] * 3)
    assert not (tmp_path / "out").exists()


RANKED = "Id,first,second\n007,a,b\nt2,a,b\n"


def test_several_columns_take_an_answer_each_in_order(tmp_path, sample):
    sample.write_text(RANKED)
    path = write(tmp_path, sample, ["t2", "007"], [["w_2", "new"], ["w_9", "w_1"]], "first", "second")
    assert path.read_text() == "Id,first,second\n007,w_9,w_1\nt2,w_2,new\n"
    check_submission(path, sample, id_column="Id")


def test_one_column_takes_all_answers_in_order(tmp_path, sample):
    answers = [["w_5", "new", "w_1"], ["w_1", "w_5", "new"], ["new", "w_5", "w_1"]]
    path = write(tmp_path, sample, ["NA", "007", "t2"], answers, num_answers=3)
    assert path.read_text() == "Id,Predicted\n007,w_1 w_5 new\nt2,new w_5 w_1\nNA,w_5 new w_1\n"


def test_twenty_nearest_images(tmp_path, sample):
    names = [f"prediction{number}" for number in range(1, 21)]
    images = [f"w {number}/im{number}.jpg" for number in range(20)]  # a separator in them does no harm here
    sample.write_text(",".join(["Id", *names]) + "\n" + ",".join(["q.jpg", *["x"] * 20]) + "\n")
    path = write(tmp_path, sample, ["q.jpg"], [images], *names)
    assert path.read_text().splitlines()[1].split(",") == ["q.jpg", *images]


@pytest.mark.parametrize(
    ("row", "columns", "options", "message"),
    [
        (["a", "b", "a"], 1, {}, "t2 has a repeated answer: a b a"),
        (["a", "a"], 2, {}, "t2 has a repeated answer: a a"),
        (["a"], 2, {}, "t2 has 1 answer, but needs 2"),
        (["a", "b", "c"], 2, {}, "t2 has 3 answers, but needs 2"),
        (["a", "b"], 1, {"num_answers": 5}, "t2 has 2 answers, but needs 5"),
        (["a", " "], 2, {}, "t2 has an empty answer among 2"),
        (["", "a"], 1, {}, "t2 has an empty answer among 2"),
        (["a b", "c"], 1, {}, "t2 has an answer that contains the separator ' '"),
    ],
)
def test_bad_answers_are_refused_and_nothing_is_written(tmp_path, sample, row, columns, options, message):
    sample.write_text(RANKED)
    names = ["first", "second"][:columns]
    with pytest.raises(DataError, match=message):
        write(
            tmp_path,
            sample,
            ["007", "t2"],
            [["x", "y"][:columns] if not options else list("abcde"), row],
            *names,
            **options,
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("cells", "labels", "message"),
    [
        (
            ["0.5", "0.5"],
            ["cat", "dog"],
            r"column x holds '0\.5', where labels such as 'cat' would be written: for prob",
        ),
        (["0", "0"], ["cat", "dog"], r"column x holds '0', where labels such as 'cat' would be"),
        (["0.2", "0.5"], ["0", "1"], r"holds '0\.2' and 1 others, where labels such as '0'"),
        (["cat", "0"], None, r"holds 'cat' and 1 others, where probabilities would be written"),
        (["0", "42"], None, r"holds '42', which is not a probability"),
        (["0", "0"], ["0", "1"], None),
        (["42", ""], ["3", "7"], None),  # a label that no row has
        (["0.5", "1.5"], ["0.5", "1.5"], None),  # labels that look like numbers
        (["0 1 2", "0 1 2"], ["0", "1", "2"], None),
        (["dog", "dog"], ["cat", "dog"], None),
        (["0", "1"], None, None),
        (["", ""], ["cat"], None),
        (["1e-3", "1"], None, None),
        (["['dog']", "[]"], ["cat", "dog"], r"holds \"\['dog'\]\" and 1 others, a list, where one answer, or several"),
        (["[1]", "[1]"], ["0", "1"], r"holds '\[1\]', a list, where"),
        (["[1]", "[2]"], ["[1]", "[2]"], None),
    ],
)
def test_answers_of_another_kind_than_the_sample_has_are_refused(tmp_path, cells, labels, message):
    frame = pd.DataFrame({"id": range(len(cells)), "x": cells})
    if message is None:
        check_kind(frame, tmp_path / "s.csv", ["x"], labels=labels)
        return
    with pytest.raises(DataError, match=message):
        check_kind(frame, tmp_path / "s.csv", ["x"], labels=labels)


def test_lists_may_stand_where_the_sample_has_them(tmp_path):
    frame = pd.DataFrame({"id": range(3), "x": ["[1, 2]", "", "[3]"]})
    check_kind(frame, tmp_path / "s.csv", ["x"], labels=["1", "2"], lists=True)


@pytest.mark.parametrize("answer", ["1.01", "-0.1", "nan", "inf", "dog"])
def test_probabilities_are_numbers_from_0_to_1(tmp_path, sample, answer):
    with pytest.raises(DataError, match=f"t2 has '{answer}', which is not a number in"):
        write(tmp_path, sample, ["007", "t2", "NA"], [["0.5"], [answer], ["1"]], numbers=True)
    assert not (tmp_path / "out").exists()
