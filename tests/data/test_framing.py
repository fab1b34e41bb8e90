"""The region of an image: compared with Pillow's fit and pad, and with plain slices on real whale boxes."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps
from places import SHARED

from imettk.config import TableFormat
from imettk.data.framing import frame_image
from imettk.data.reader import ImageReader
from imettk.data.source import ImageSource
from imettk.data.table import read_table
from imettk.errors import DataError

WHALES = SHARED / "data" / "whale_flukes"


def saved(tmp_path, height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return str(tmp_path / "a.png"), pixels


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (50, 50), (8, 200)])
@pytest.mark.parametrize("size", [(32, 32), (24, 48)])
class TestAspects:
    def test_shorter_side_then_crop_is_pillows_fit(self, tmp_path, height, width, size):
        path, pixels = saved(tmp_path, height, width)
        ours = ImageReader(size=size, aspect="shorter_side", fast_resize=False).read(path)
        left, top, right, bottom = _centred(width, height, size[1] / size[0])
        part = pixels[round(top) : round(bottom), round(left) : round(right)]
        theirs = ImageReader(size=size, fast_resize=False)
        Image.fromarray(part).save(tmp_path / "b.png")
        assert np.abs(ours - theirs.read(str(tmp_path / "b.png")).astype(int)).mean() < 12  # noise, half a pixel apart

    def test_pad_is_pillows(self, tmp_path, height, width, size):
        path, pixels = saved(tmp_path, height, width)
        ours = ImageReader(size=size, aspect="pad", background=(9, 8, 7)).read(path)
        theirs = np.asarray(ImageOps.pad(Image.fromarray(pixels), size[::-1], color=(9, 8, 7)))
        np.testing.assert_array_equal((ours == (9, 8, 7)).all(2), (theirs == (9, 8, 7)).all(2))

    def test_marginal_ratios_are_cut_to_the_limit_and_others_left_alone(self, height, width, size):
        frame = frame_image((height, width), size, aspect="crop_marginal", aspect_limit=1.5)
        before = width / height * size[0] / size[1]
        after = (frame.right - frame.left) / (frame.bottom - frame.top) * size[0] / size[1]
        assert after == pytest.approx(np.clip(before, 1 / 1.5, 1.5))
        assert (frame.bottom - frame.top == height) or (frame.right - frame.left == width)
        assert frame.left + frame.right == pytest.approx(width) and frame.top + frame.bottom == pytest.approx(height)

    def test_stretch_sees_all(self, height, width, size):
        frame = frame_image((height, width), size, aspect="stretch", aspect_limit=1.0)
        assert frame == (0, 0, height, width, *size)


def _centred(width, height, ratio):
    if width / height > ratio:
        return (width - height * ratio) / 2, 0, (width + height * ratio) / 2, height
    return 0, (height - width / ratio) / 2, width, (height + width / ratio) / 2


def test_a_box_is_a_slice_with_its_margin_clipped_to_the_image(tmp_path):
    path, pixels = saved(tmp_path, 60, 80)
    box = np.array([10, 20, 50, 40], np.float32)
    for margin, part in ((0, pixels[20:40, 10:50]), (25, pixels[15:45, 0:60]), (200, pixels)):
        reader = ImageReader(size=part.shape[:2], box_margin=margin)
        np.testing.assert_array_equal(reader.read(path, box=box), part)
    relative = ImageReader(size=(20, 40), boxes_relative=True)
    np.testing.assert_array_equal(relative.read(path, box=box / [80, 60, 80, 60]), pixels[20:40, 10:50])
    np.testing.assert_array_equal(ImageReader(size=(60, 80)).read(path, box=np.full(4, np.nan)), pixels)
    turned = ImageReader(size=(20, 40)).read(path, box=box, turned=True)
    np.testing.assert_array_equal(turned, pixels[20:40, 10:50][::-1, ::-1])


@pytest.mark.parametrize("box", [(90, 10, 99, 20), (10, -30, 20, -1), (10, 10, 10.5, 30)])
def test_a_box_without_a_pixel_is_named(tmp_path, box):
    path, _ = saved(tmp_path, 60, 80)
    with pytest.raises(DataError, match=r"a\.png .*box .* contains no pixel of the image, which is 80 x 60"):
        ImageReader(size=(8, 8)).read(path, box=np.array(box, np.float32))


def test_every_real_fluke_is_cut_as_by_hand(tmp_path):
    if not WHALES.is_dir():
        pytest.skip("shared/data/whale_flukes is not here")
    boxes = pd.read_csv(WHALES / "boxes.csv")
    (tmp_path / "train").symlink_to(WHALES)
    boxes.assign(Id="whale")[["image", "Id"]].to_csv(tmp_path / "train.csv", index=False)
    boxes.to_csv(tmp_path / "boxes.csv", index=False)
    (tmp_path / "turned.csv").write_text(boxes["image"][3] + "\n")
    (tmp_path / "bad.csv").write_text(f"{boxes['image'][5]}\n{boxes['image'][6]}\n")
    table = read_table(
        TableFormat(
            task="multiclass", id_column="image", label_column="Id", image_suffix="", boxes_csv="boxes.csv",
            box_id_column="image", box_columns=("x_center", "y_center", "width", "height"), box_format="centre",
            turned_csv="turned.csv", left_out_csv="bad.csv",
        ),
        tmp_path,
    )  # fmt: skip
    assert len(table) == 74 and np.flatnonzero(table.turned).tolist() == [3]
    assert any("left out 2 rows" in remark for remark in table.remarks)
    source = ImageSource(table, ImageReader(size=(64, 128), boxes_relative=True, box_margin=5, reduce=False))
    kept = boxes.drop([5, 6]).reset_index(drop=True)
    for row in range(0, 74, 7 if len(kept) else 1):
        name, x, y, wide, high = kept.loc[row, ["image", "x_center", "y_center", "width", "height"]]
        with Image.open(WHALES / name) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
        left, right = max(0, x - wide * 0.55) * image.width, min(1, x + wide * 0.55) * image.width
        top, bottom = max(0, y - high * 0.55) * image.height, min(1, y + high * 0.55) * image.height
        theirs = image.crop((round(left), round(top), round(right), round(bottom)))
        theirs = np.asarray(theirs.resize((128, 64), Image.Resampling.BOX), np.int64)
        ours = source.read(row).astype(np.int64)
        assert np.abs((ours[::-1, ::-1] if row == 3 else ours) - theirs).mean() < 6, name
