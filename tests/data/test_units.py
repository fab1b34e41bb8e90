"""Images of one breast, study or row form a unit, whose labels agree and which no fold splits."""

from dataclasses import replace

import numpy as np
import pytest

from imettk.config import ExtraTable, FoldConfig, TableFormat
from imettk.data.asked_rows import read_test_units
from imettk.data.folds import make_table_folds
from imettk.data.table import read_answers, read_groups, read_table, read_test_table, read_units
from imettk.errors import DataError
from imettk.tasks import TASKS

BREASTS = TableFormat(
    task="multiclass",
    id_column="image_id",
    label_column="cancer",
    unit_columns=("patient_id", "laterality"),
    image_path="{patient_id}/{image_id}",
    test_csv="test.csv",
    sample_id_column="prediction_id",
)
STUDIES = TableFormat(task="multiclass", id_column="study_id", label_column="label", unit_folders=True)
VIEWS = TableFormat(task="multiclass", label_column="label", image_columns=("left", "right"), test_csv="test.csv")


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(folder, **tables):
    folder.mkdir(exist_ok=True)
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)


@pytest.fixture
def breasts(tmp_path):
    """Write two training patients, one with two breasts; the sample asks for two of three test units, and one more."""
    write(
        tmp_path,
        train="patient_id,image_id,laterality,cancer\n7,11,L,0\n7,12,R,1\n8,13,L,0\n7,14,L,0\n",
        test="patient_id,image_id,laterality,prediction_id\n9,21,R,9_R\n9,22,L,9_L\n9,23,R,9_R\n9,24,X,9_X\n",
        sample_submission="prediction_id,cancer\n9_L,0\n9_R,0\n9_Y,0\n",
    )
    touch(tmp_path, "train/7/11.png", "train/7/12.png", "train/8/13.png", "train/7/14.png")
    touch(tmp_path, *(f"test/9/{name}.png" for name in (21, 22, 23, 24)))
    return tmp_path


def test_rows_are_images_whose_columns_name_the_unit(breasts):
    table = read_table(BREASTS, breasts)
    assert table.ids.tolist() == ["11", "12", "13", "14"]
    assert table.units.tolist() == ["7_L", "7_R", "8_L", "7_L"]
    assert table.paths.tolist() == [str(breasts / f"train/{name}.png") for name in ("7/11", "7/12", "8/13", "7/14")]
    assert table.groups.tolist() == table.units.tolist()
    assert read_units(BREASTS, breasts) == {"11": "7_L", "12": "7_R", "13": "8_L", "14": "7_L"}


def test_groups_are_of_whole_units(breasts):
    grouped = read_table(replace(BREASTS, group_column="patient_id"), breasts)
    assert grouped.groups.tolist() == ["7", "7", "8", "7"]
    assert read_groups(replace(BREASTS, group_column="patient_id"), breasts)["14"] == "7"
    by_pattern = read_table(replace(BREASTS, group_pattern="^([0-9]+)_"), breasts)
    assert by_pattern.groups.tolist() == ["7", "7", "8", "7"]
    with pytest.raises(DataError, match=r"1 unit \(7_L\) with images of different groups"):
        read_table(replace(BREASTS, group_column="image_id"), breasts)


def test_images_of_the_test_set_stand_in_the_order_of_the_sample(breasts):
    test = read_test_table(BREASTS, breasts, read_table(BREASTS, breasts))
    assert test.ids.tolist() == ["22", "21", "23", "9_Y"]
    assert test.units.tolist() == ["9_L", "9_R", "9_R", "9_Y"]
    assert test.paths.tolist()[:3] == [str(breasts / f"test/9/{name}.png") for name in (22, 21, 23)]
    remarks = "\n".join(test.remarks)
    assert "1 unit (9_X) that sample_submission.csv does not ask for" in remarks
    assert "1 row (9_Y) without an image" in remarks and "they get a neutral answer" in remarks
    assert "3 units of 1 to 2 images, 1 typically" in remarks


def test_the_test_csv_may_name_units_as_the_training_table_does(breasts):
    write(breasts, test="patient_id,image_id,laterality\n9,21,R\n9,22,L\n9,23,R\n9,24,Y\n")
    test = read_test_table(BREASTS, breasts, read_table(BREASTS, breasts))
    assert test.units.tolist() == ["9_L", "9_R", "9_R", "9_Y"] and test.ids.tolist()[:3] == ["22", "21", "23"]


@pytest.mark.parametrize(
    ("form", "tables", "message"),
    [
        (
            replace(BREASTS, test_csv=None),
            {},
            "sample_submission.csv names units, but not their images.*--table.test-csv",
        ),
        (replace(BREASTS, test_csv="gone.csv"), {}, "gone.csv is missing"),
        (BREASTS, {"test": "patient_id,image_id\n9,21\n"}, "test.csv has no column laterality"),
        (
            BREASTS,
            {"test": "patient_id,image_id,prediction_id\n9,21,9_R\n8,21,9_L\n"},
            r"test.csv: 1 id \(21\) more than once",
        ),
    ],
)
def test_test_images_that_cannot_be_told_are_refused(breasts, form, tables, message):
    labels = read_table(BREASTS, breasts)
    write(breasts, **tables)
    with pytest.raises(DataError, match=message):
        read_test_table(form, breasts, labels)


def test_labels_of_one_unit_agree(breasts):
    write(breasts, train="patient_id,image_id,laterality,cancer\n7,11,L,0\n7,12,R,1\n8,13,L,0\n7,14,L,1\n")
    with pytest.raises(DataError, match=r"1 unit \(7_L\) with images of different labels"):
        read_table(BREASTS, breasts)
    numbers = replace(BREASTS, task="regression", label_column="age")
    write(breasts, train="patient_id,image_id,laterality,age\n7,11,L,0.5\n7,12,R,1\n8,13,L,0\n7,14,L,0.25\n")
    with pytest.raises(DataError, match=r"1 unit \(7_L\) with images of different labels"):
        read_table(numbers, breasts)
    several = replace(BREASTS, task="multilabel", label_column="signs")
    write(breasts, train="patient_id,image_id,laterality,signs\n7,11,L,a b\n7,12,R,a\n8,13,L,b\n7,14,L,b a\n")
    assert read_table(several, breasts).targets.tolist() == [[1, 1], [1, 0], [0, 1], [1, 1]]


def test_answers_are_of_units(breasts):
    write(breasts, answers="patient_id,image_id,laterality,cancer\n9,21,R,1\n9,22,L,0\n9,23,R,1\n5,25,L,1\n")
    asked = np.array(["9_L", "9_R"])
    assert read_answers(BREASTS, breasts / "answers.csv", ("0", "1"), asked).tolist() == [0, 1]
    with pytest.raises(DataError, match=r"no answer for 1 id \(9_Z\)"):
        read_answers(BREASTS, breasts / "answers.csv", ("0", "1"), np.array(["9_L", "9_Z"]))
    write(breasts, answers="patient_id,image_id,laterality,cancer\n9,21,R,1\n9,22,L,0\n9,23,R,0\n")
    with pytest.raises(DataError, match=r"1 unit \(9_R\) with images of different labels"):
        read_answers(BREASTS, breasts / "answers.csv", ("0", "1"), asked)


def test_images_of_a_study_lie_in_its_folder(tmp_path):
    write(tmp_path, train="study_id,label\ns0,a\ns1,b\n", sample_submission="study_id,label\nt1,a\nt0,a\n")
    touch(tmp_path, "train/s0/b.png", "train/s0/a.JPG", "train/s0/.hidden.png", "train/s0/notes.txt")
    touch(tmp_path, "train/s1/series/0.png", "test/t0/0.png", "test/t0/1.png", "test/t1/0.png")
    table = read_table(STUDIES, tmp_path)
    assert table.ids.tolist() == ["s0/a.JPG", "s0/b.png", "s1/series/0.png"]
    assert table.units.tolist() == ["s0", "s0", "s1"] and table.targets.tolist() == [0, 0, 1]
    assert table.paths.tolist() == [str(tmp_path / "train" / name) for name in table.ids]
    test = read_test_table(STUDIES, tmp_path, table)
    assert test.ids.tolist() == ["t1/0.png", "t0/0.png", "t0/1.png"] and test.units.tolist() == ["t1", "t0", "t0"]
    write(tmp_path, answers="study_id,label\nt0,b\nt1,a\n")
    assert read_answers(STUDIES, tmp_path / "answers.csv", table.labels, np.array(["t1", "t0"])).tolist() == [0, 1]


def test_a_study_without_images_stops_or_is_dropped(tmp_path):
    write(tmp_path, train="study_id,label\ns0,a\ns1,b\ns2,b\n")
    touch(tmp_path, "train/s0/0.png", "train/s2/0.png")
    with pytest.raises(DataError, match=r"1 row \(s1\) without an image"):
        read_table(STUDIES, tmp_path)
    table = read_table(replace(STUDIES, on_missing_image="drop"), tmp_path)
    assert table.units.tolist() == ["s0", "s2"] and table.labels == ("a", "b")


def test_a_study_leads_nowhere_else(tmp_path):
    write(tmp_path / "data", train="study_id,label\ns0,a\n../../other,b\n")
    touch(tmp_path, "data/train/s0/0.png", "other/0.png")
    with pytest.raises(DataError, match="would lead out of"):
        read_table(STUDIES, tmp_path / "data")


def test_a_row_has_two_views(tmp_path):
    write(
        tmp_path,
        train="id,left,right,label\n0,a,b,x\n1,c,,y\n",
        test="id,left,right\n8,d,e\n9,f,g\n",
        sample_submission="id,label\n9,x\n8,x\n",
    )
    touch(tmp_path, *(f"train/{name}.png" for name in "abc"), *(f"test/{name}.png" for name in "defg"))
    table = read_table(VIEWS, tmp_path)
    assert table.ids.tolist() == ["a", "b", "c"] and table.units.tolist() == ["0", "0", "1"]
    test = read_test_table(VIEWS, tmp_path, table)
    assert test.ids.tolist() == ["f", "g", "d", "e"] and test.units.tolist() == ["9", "9", "8", "8"]
    write(tmp_path, train="id,left,right,label\n0,a,b,x\n1,c,a,y\n")
    with pytest.raises(DataError, match=r"1 id \(a\) more than once"):
        read_table(VIEWS, tmp_path)


def test_rows_of_extra_tables_without_units_are_units_of_their_own(breasts):
    write(breasts, more="image_id,cancer\n31,1\n32,0\n")
    touch(breasts, "more/31.png", "more/32.png")
    form = replace(BREASTS, extra=(ExtraTable(csv="more.csv", images="more"),))
    table = read_table(form, breasts)
    assert table.units.tolist() == ["7_L", "7_R", "8_L", "7_L", "31", "32"]
    assert table.groups.tolist() == table.units.tolist()


def test_no_fold_parts_a_unit(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"p{unit // 2},i{unit}x{image},{'LR'[unit % 2]},{unit % 3 == 0:d}"
            for unit in range(60) for image in range(rng.integers(1, 5))]  # fmt: skip
    rng.shuffle(rows)
    write(tmp_path, train="patient_id,image_id,laterality,cancer\n" + "\n".join(rows) + "\n")
    touch(tmp_path, *("train/{}/{}.png".format(*row.split(",")) for row in rows))
    table = read_table(BREASTS, tmp_path)
    plan, task = FoldConfig(num_folds=3), TASKS["multiclass"]
    folds = make_table_folds(table.targets, table.sources, plan, task=task, validates=[True], groups=table.groups)
    pairs = {(unit, fold) for unit, fold in zip(table.units.tolist(), folds.tolist(), strict=True)}
    assert len(pairs) == 60 and {fold for _, fold in pairs} == {0, 1, 2}


@pytest.mark.parametrize("rows", ["{id}_{label}", "part"])
def test_units_of_a_long_sample_are_named_by_its_images(tmp_path, rows):
    """An ensemble asks for the same units as the test table."""
    ids = ["C_y1", "C_y2", "D_y1", "D_y2"] if "{" in rows else ["C", "C", "D", "D"]
    sample = "row,part,v\n" + "".join(f"{name},y{1 + row % 2},0.5\n" for row, name in enumerate(ids))
    if "{" in rows:
        sample = "row,v\n" + "".join(f"{name},0.5\n" for name in ids)
    write(tmp_path, train="id,y1,y2\nA,1,0\nB,0,1\n", sample_submission=sample)
    touch(tmp_path, "train/A/1.png", "train/B/1.png", "test/C/1.png", "test/C/2.png", "test/D/1.png")
    form = TableFormat(
        label_columns=("y1", "y2"), unit_folders=True, sample_rows=rows, sample_id_column="row", answer_column="v"
    )
    test = read_test_table(form, tmp_path, read_table(form, tmp_path))
    assert test.units.tolist() == ["C", "C", "D"]
    assert read_test_units(form, tmp_path) == dict(zip(test.ids.tolist(), test.units.tolist(), strict=True))


def test_a_lost_image_of_a_unit_leaves_the_answer_to_the_others(breasts):
    (breasts / "test/9/21.png").unlink()
    test = read_test_table(BREASTS, breasts, read_table(BREASTS, breasts))
    assert test.units.tolist() == ["9_L", "9_R", "9_Y"] and test.ids.tolist() == ["22", "23", "9_Y"]
    assert any("1 image (21) not in" in remark and "answered by the others" in remark for remark in test.remarks)


def test_other_files_in_a_studys_folder_are_none_of_its_images(tmp_path):
    write(tmp_path, train="study_id,label\nA,0\nB,1\n")
    names = ("A/1_rgb.png", "A/2_rgb.PNG", "A/1_mask.png", "A/notes.csv", "B/3_rgb.jpg", "B/preview.jpg")
    touch(tmp_path, *(f"train/{name}" for name in names))
    table = read_table(replace(STUDIES, image_suffix="_rgb.png"), tmp_path)
    assert table.ids.tolist() == ["A/1_rgb.png", "A/2_rgb.PNG", "B/3_rgb.jpg"]
    assert len(read_table(replace(STUDIES, image_suffix=""), tmp_path)) == 5  # whatever is no table


def test_a_study_is_found_in_another_unicode_form(tmp_path):
    write(tmp_path, train="study_id,label\ncaf\u00e9,0\nB,1\n")
    touch(tmp_path, "train/cafe\u0301/1.png", "train/B/1.png")
    table = read_table(STUDIES, tmp_path)
    assert len(table) == 2 and table.units.tolist() == ["caf\u00e9", "B"]


def test_rows_that_name_no_unit_are_refused(breasts):
    write(breasts, train="patient_id,image_id,laterality,cancer\n7,11,L,0\n7,12, ,1\n8,13,,0\n")
    with pytest.raises(DataError, match=r"2 rows \(12, 13\) with an empty cell in patient_id or laterality"):
        read_table(BREASTS, breasts)


def test_a_sample_whose_ids_are_called_as_those_of_images_names_units(tmp_path):
    write(
        tmp_path,
        train="id,patient,side,label\na,p1,L,0\nb,p1,L,0\nc,p2,R,1\n",
        test="id,patient,side\nt1,q1,L\nt2,q1,L\nt3,q1,R\n",
        sample_submission="id,label\nq1_L,0\nq1_R,0\n",
    )
    touch(tmp_path, *(f"train/{name}.png" for name in "abc"), *(f"test/t{number}.png" for number in (1, 2, 3)))
    form = TableFormat(task="multiclass", label_column="label", unit_columns=("patient", "side"), test_csv="test.csv")
    form = replace(form, sample_id_column="id")
    test = read_test_table(form, tmp_path, read_table(form, tmp_path))
    assert test.ids.tolist() == ["t1", "t2", "t3"] and test.units.tolist() == ["q1_L", "q1_L", "q1_R"]


def test_a_first_view_may_stand_for_the_id_of_training_rows(tmp_path):
    write(
        tmp_path,
        train="left,right,label\na,b,0\nc,d,1\n",
        test="id,left,right\n1,t1,t2\n2,t3,t4\n",
        sample_submission="id,label\n1,0\n2,0\n",
    )
    touch(tmp_path, *(f"train/{name}.png" for name in "abcd"), *(f"test/t{number}.png" for number in (1, 2, 3, 4)))
    form = replace(VIEWS, id_column="left", sample_id_column="id")
    test = read_test_table(form, tmp_path, read_table(form, tmp_path))
    assert test.ids.tolist() == ["t1", "t2", "t3", "t4"] and test.units.tolist() == ["1", "1", "2", "2"]


def test_an_empty_sample_has_no_unit(breasts):
    write(breasts, sample_submission="prediction_id,cancer\n")
    assert len(read_test_table(BREASTS, breasts, read_table(BREASTS, breasts))) == 0


def test_joined_rows_of_one_image_are_of_one_unit(tmp_path):
    write(tmp_path, train="id,study,label\na,s1,cat\na,s2,dog\nb,s2,cat\n")
    touch(tmp_path, "train/a.png", "train/b.png")
    form = TableFormat(label_column="label", unit_columns=("study",), join_rows=True)
    with pytest.raises(DataError, match="differ in column study"):
        read_table(form, tmp_path)
