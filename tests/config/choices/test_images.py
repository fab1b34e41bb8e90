"""Every augmentation, sampler and view has its implementation."""

import pytest

from imettk.config.choices.images import AUGMENTATIONS, READERS, SAMPLERS, VIEWS


@pytest.mark.parametrize("rows", [AUGMENTATIONS, SAMPLERS, VIEWS], ids=["augmentations", "samplers", "views"])
def test_the_implementation_of_every_row_is_there(rows):
    for name, row in rows.items():
        assert callable(row.load()), name


def test_one_reader_recognises_files_by_content():
    assert [name for name, row in READERS.items() if row.load() is None] == ["files"]
