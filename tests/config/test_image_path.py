"""A pattern of columns names images, or is refused in one line."""

import pytest

from imettk.config import TableFormat
from imettk.config.image_path import columns_of
from imettk.errors import ConfigError


def test_columns_of_a_pattern_are_listed_once_without_that_of_ids():
    assert columns_of("{chain}/img {chain}_{the image}") == ("chain", "the image")
    assert columns_of(None) == ()
    assert TableFormat(image_path="{chain}/{id}").path_columns == ("chain",)
    assert TableFormat().path_columns == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(({"image_path": text}, "must be a pattern of columns") for text in ("", "chain", "{}", "{a", "{a}/{")),
        ({"image_path": "{a}", "unit_folders": True}, "`table.image_path` must be none with unit_folders"),
        ({"image_path": "{a}", "image_columns": ("b", "c")}, "`table.image_path` must be none with image_columns"),
        (
            {"image_path": "{a}", "task": "multiclass", "train_folders": True},
            "`table.image_path` must be none with train_folders",
        ),
    ],
)
def test_a_pattern_that_names_no_images_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        TableFormat(**fields)
