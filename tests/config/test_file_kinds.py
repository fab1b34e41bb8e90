"""Files are recognised by content before name, and a missing library is reported in one line."""

import pytest

from imettk.config import ExtraTable, Recipe, TableFormat
from imettk.config.file_kinds import IMAGE_READERS, FileKind, extras_of, image_kind, kind_of_name
from imettk.errors import DataError

SCAN = FileKind(make="json:loads", title="a scan", endings=(".scan",), starts=((4, b"SCAN"),), without_start=True)
LACKING = FileKind(
    make="no_such_library:read", title="a dump", endings=(".dump",), needs=("no_such_library",), extra="x"
)


def test_content_comes_before_the_name(monkeypatch):
    monkeypatch.setitem(IMAGE_READERS, "scan", SCAN)
    assert image_kind(b"1234SCAN...", "a.jpg") is SCAN
    assert image_kind(b"anything", "a.SCAN") is SCAN
    assert image_kind(b"anything", "a.jpg") is None


def test_a_kind_is_recognised_by_the_ending():
    rows = {"scan": SCAN, "dump": LACKING}
    assert kind_of_name(rows, "b/a.DUMP") is LACKING
    assert kind_of_name(rows, "a.csv") is None


def test_a_missing_library_is_named_with_what_installs_it():
    with pytest.raises(DataError, match=r"a.dump: a dump is read by no_such_library, .*: pip install no_such_library"):
        LACKING.load_for("a.dump")
    with pytest.raises(ModuleNotFoundError):  # any other missing module is a fault of imettk
        FileKind(make="no_such_library:read", title="t", endings=()).load_for("a")


def test_a_recipe_names_the_extras_that_its_files_need():
    form = TableFormat(train_csv="train.parquet", extra=(ExtraTable(csv="more.csv", images="more"),))
    assert extras_of(Recipe()) == ()
    assert extras_of(Recipe(table=form)) == ("parquet",)
    assert extras_of(Recipe(table=TableFormat(train_images="train.h5", image_suffix=".dcm"))) == ("dicom", "hdf5")
    assert extras_of(Recipe(table=TableFormat(image_path="{id}.dcm", image_suffix=""))) == ("dicom",)
    assert extras_of(Recipe(table=TableFormat(image_suffix=".tif"))) == ()  # most of which Pillow reads
    form = TableFormat(train_images="train_*.parquet", test_images="test.HDF5")
    assert extras_of(Recipe(table=form)) == ("hdf5", "parquet")
