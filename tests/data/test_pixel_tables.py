"""Columns of a table that are pixels, their shape, and the names of rows."""

import numpy as np
import pandas as pd
import pytest

from imettk.data.containers import NoImages
from imettk.data.pixel_tables import (
    PixelTable,
    Planes,
    count_numbers,
    find_id_column,
    find_planes,
    require_planes,
    shape_planes,
)
from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.errors import DataError

PIXELS = {f"pixel{number}": 1 for number in range(784)}


@pytest.mark.parametrize(
    ("numbers", "columns"),
    [
        ({"label": 1, **PIXELS}, [tuple(PIXELS)]),
        ({"id": 0, "band_1": 5625, "band_2": 5625, "inc_angle": 1}, [("band_1",), ("band_2",)]),
        ({"margin1": 1, "x": 300, "pixels": 2304}, [("pixels",)]),
        (
            {f"{colour}{n}": 1 for colour in "rgb" for n in range(400)},
            [tuple(f"{c}{n}" for n in range(400)) for c in "rgb"],
        ),
    ],
)
def test_pixels_are_numbered_columns_or_long_cells(numbers, columns):
    planes = find_planes(numbers)
    assert planes is not None and list(planes.columns) == columns


def test_few_numbers_are_measurements():
    assert find_planes({f"{name}{n}": 1 for name in ("margin", "shape") for n in range(64)} | {"box": 4}) is None
    with pytest.raises(NoImages, match="no column has cells of 256 numbers"):
        require_planes(None)


def test_cells_of_pixels_have_one_length():
    rows = [{"id": "a", "rle": "1 3 " * count, "pixels": "[1, 2]" * 128, "list": [[1.5, 2]] * 200} for count in (9, 10)]
    assert count_numbers(rows) == {"id": 0, "rle": 0, "pixels": 256, "list": 400}
    row = {"a": "1 2 " * 150, "b": "3 " * 400, "c": 7, "d": None}
    assert count_numbers([row]) == {"a": 0, "b": 400, "c": 1, "d": 0}


def test_shapes():
    flat = np.arange(16 * 16 * 3) % 256
    assert shape_planes([flat[:256]], None).shape == (16, 16)
    assert np.array_equal(shape_planes([flat], (16, 16, 3)), flat.reshape(16, 16, 3))
    assert shape_planes([flat[:384]], (12, 32)).shape == (12, 32) and shape_planes([flat[:300]], None).shape == (300,)
    both = shape_planes([flat[:256], flat[256:512]], None)
    assert both.shape == (16, 16, 2) and np.array_equal(both[..., 1].ravel(), flat[256:512])
    assert shape_planes([np.zeros((9, 7))], None).shape == (9, 7)  # its own
    with pytest.raises(ValueError, match=r"it has 256 values, but table.pixel_shape has 10 x 10 = 100"):
        shape_planes([flat[:256]], (10, 10))
    with pytest.raises(ValueError, match="its channels have 256 and 289 values"):
        shape_planes([flat[:256], flat[:289]], None)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int64", "float32", "float64"])
def test_numbers_keep_their_type(dtype):
    assert shape_planes([np.full(256, 200, dtype)], None).dtype == dtype


@pytest.mark.parametrize("form", ["csv", "csv of cells", "json", "parquet", "parquet of text"])
@pytest.mark.parametrize(("values", "white"), [((4000, 200), (0, 4095)), ((-1000, 150), (-1000, 400))])
def test_dark_rows_are_as_dark_as_their_numbers(tmp_path, form, values, white):
    pixels = np.repeat(np.array(values, np.int16), 256).reshape(2, 256)
    frame = pd.DataFrame({"id": ["a", "b"], "pixels": pixels.tolist()})
    if "of" in form:
        frame["pixels"] = [" ".join(map(str, row)) for row in pixels]
    path = tmp_path / f"train.{form.split()[0]}"
    if form == "csv":
        frame = pd.concat([frame[["id"]], pd.DataFrame(pixels).add_prefix("pixel")], axis=1)
    if "csv" in form:
        frame.to_csv(path, index=False)
    elif form == "json":
        frame.to_json(path, orient="records")
    else:
        frame.to_parquet(path, index=False)
    reader = ImageReader(size=(16, 16), channels=1, white=ValueRange(*white))
    black, span = white[0], white[1] - white[0]
    levels = [np.unique(reader.read(f"{path}/{name}")).tolist() for name in "ab"]
    assert levels == [[round((value - black) / span * 255)] for value in values]
    with pytest.raises(DataError, match=r"train.\w+/b \(.*: its values are \w+, so .*: set `images.white`$"):
        ImageReader(size=(16, 16), channels=1).read(f"{path}/b")


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"label": ["1", "2"], "image_id": ["a", "b"]}, "image_id"),
        ({"ImageId": ["1", "2"]}, "ImageId"),
        ({"id": ["a", "a"], "filename": ["x", "y"]}, "filename"),
        ({"": ["0", "1"]}, ""),
        ({"emotion": ["1", "2"], "Usage": ["Training", "Test"]}, None),
        ({"patient_id": ["a", "a"]}, None),
        ({"grid": ["3", "4"], "valid": ["5", "6"]}, None),
        ({}, None),
    ],
)
def test_ids(columns, found):
    assert find_id_column(pd.DataFrame(columns, index=range(2), dtype=str)) == found


class Rows:
    def __init__(self, frame, pixels):
        self._frame, self.planes, self.unused = frame, Planes((("p",),), pixels), frozenset()

    def frame(self):
        return self._frame

    def values(self, row):
        return [np.full(self.planes.pixels, row)]


def test_rows_without_ids_are_called_by_their_number():
    table = PixelTable(Rows(pd.DataFrame({"label": ["x", "y"]}), 256))
    assert table.names() == ["1", "2"] and table.frame()["row"].tolist() == ["1", "2"]
    assert table.read("2", None).endswith(np.full(256, 1).tobytes())
    with pytest.raises(KeyError):
        table.read("3", None)


def test_a_column_that_is_called_as_the_numbers_of_rows_is_not_lost():
    table = PixelTable(Rows(pd.DataFrame({"row": ["7", "7"]}), 256))
    with pytest.raises(ValueError, match="no column holds ids, and the name for row numbers, row, is taken"):
        table.names()


def test_what_is_no_square_needs_a_shape():
    table = PixelTable(Rows(pd.DataFrame({"id": ["x", "y"]}), 32332))
    assert str(table.fault(None)) == (
        "each image has 32332 values, which do not make a square: set its height and width in table.pixel_shape, "
        "or for `imettk new`: --pixel-shape 137x236"
    )
    assert table.fault((137, 236)) is None and "has 137 x 237 = 32469" in str(table.fault((137, 237)))
