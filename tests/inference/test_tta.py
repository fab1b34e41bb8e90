"""Each view is the numpy operation of its name; zooms are those of Pillow."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from imettk.config.choices import VIEWS
from imettk.data.geometry import VIEW_MAPS
from imettk.data.warp import Warp
from imettk.inference.tta import apply_view, crop

NUMPY = {
    "plain": lambda images: images,
    "hflip": lambda images: images[:, :, ::-1],
    "vflip": lambda images: images[:, ::-1],
    "rot90": lambda images: np.rot90(images, 1, (1, 2)),
    "rot180": lambda images: np.rot90(images, 2, (1, 2)),
    "rot270": lambda images: np.rot90(images, 3, (1, 2)),
    "transpose": lambda images: images.swapaxes(1, 2),
    "transverse": lambda images: np.rot90(images, 2, (1, 2)).swapaxes(1, 2),
}
ODD = ("rot45", "rot135", "rot225", "rot315")
CROPS = ("crop0", "crop1", "crop2", "crop3")
INVERSE = {"rot90": "rot270", "rot270": "rot90"}  # the others undo themselves


def pixels(height=32, width=48, channels=3):
    return np.random.default_rng(0).integers(0, 256, (2, height, width, channels), np.uint8)


def view_of(images, view):
    return apply_view(torch.from_numpy(images), view).numpy()


def test_the_recipe_knows_exactly_these_views():
    assert set(VIEWS) == {*NUMPY, *ODD, *CROPS, "zoom_in", "zoom_out"}
    assert set(VIEW_MAPS) == {*NUMPY, *ODD}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", NUMPY)
def test_turns_and_flips_equal_numpy(view, channels):
    result = view_of(pixels(channels=channels), view)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, NUMPY[view](pixels(channels=channels)))


@pytest.mark.parametrize("view", NUMPY)
def test_the_inverse_gives_the_pixels_back(view):
    once = apply_view(torch.from_numpy(pixels()), view)
    np.testing.assert_array_equal(apply_view(once, INVERSE.get(view, view)).numpy(), pixels())


def resize(image, height, width):
    """One channel after the other with Pillow, in floating point."""
    channels = [Image.fromarray(image[:, :, channel].astype(np.float32)) for channel in range(image.shape[2])]
    return np.stack([np.asarray(one.resize((width, height), Image.Resampling.BILINEAR)) for one in channels], 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", ["zoom_in", "zoom_out"])
def test_zooms_equal_a_crop_or_pad_resized_with_pillow(view, channels):
    images = pixels(channels=channels)
    result = view_of(images, view)
    assert result.shape == images.shape
    for ours, image in zip(result, images, strict=True):
        # A sixteenth of 32 x 48 pixels at each edge.
        edges = image[2:-2, 3:-3] if view == "zoom_in" else np.pad(image, ((2, 2), (3, 3), (0, 0)), "edge")
        np.testing.assert_allclose(ours, resize(edges, 32, 48), atol=0.01)


@pytest.mark.parametrize("view", VIEWS)
def test_pixels_stay_pixels(view):
    result = view_of(np.full((1, 9, 9, 3), 200, np.uint8), view)
    np.testing.assert_allclose(result, 200, atol=1e-3)


@pytest.mark.parametrize("view", ODD)
def test_odd_turns_equal_pillows_rotation_enlarged_and_cropped(view):
    """Turned by Pillow about the centre, then the central square of side / sqrt(2) is resized to the whole."""
    image = cv2.resize(pixels(6, 6)[0], (64, 64), interpolation=cv2.INTER_CUBIC)
    ours = view_of(image[None], view)[0]
    large = Image.fromarray(image).resize((640, 640), Image.Resampling.BILINEAR)
    turned = large.rotate(int(view[3:]), Image.Resampling.BILINEAR)
    edge = 320 - 320 / 2**0.5
    theirs = np.asarray(turned.crop((edge, edge, 640 - edge, 640 - edge)).resize((64, 64), Image.Resampling.BOX), float)
    inner = slice(4, -4)  # the corners touch the image's edge
    assert np.abs(ours - theirs)[inner, inner].mean() < 3
    assert np.abs(ours - image)[inner, inner].mean() > 10


@pytest.mark.parametrize("view", sorted(VIEW_MAPS))
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_views_are_what_the_augmentation_of_that_name_does(view, size):
    """The list of `dihedral`'s draws is the list of test-time views: both come from the same maps."""
    image = cv2.resize(pixels(5, 5)[0], size[::-1], interpolation=cv2.INTER_CUBIC)
    warped = Warp(size, choices=(VIEW_MAPS[view],))
    drawn = warped.apply(image, **warped.get_params_dependent_on_data({"shape": image.shape}, {}))
    seen = view_of(image[None], view)[0]
    if view in ("rot90", "rot270", "transpose", "transverse") and size[0] != size[1]:
        assert seen.shape[:2] == size[::-1]  # a view exchanges the sides, an augmentation fills its frame
        seen = cv2.resize(seen, size[::-1], interpolation=cv2.INTER_LINEAR)
        assert np.abs(drawn - seen)[4:-4, 4:-4].mean() < 6
    elif view in ODD:
        assert np.abs(drawn - seen).mean() < 1.5  # rounded once more
    else:
        np.testing.assert_array_equal(drawn, seen)


def numbered(count, height, width):
    """Images whose every pixel says where it is: its line in the first channel, its column in the second."""
    lines, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([lines, columns], 2).to(torch.uint8).expand(count, height, width, 2)


def places(view, rows, *, side=(20, 30), size=(8, 10)):
    """(top, left) of each image's crop, int (B, 2); each is seen to be one piece."""
    cut = crop(numbered(len(rows), *side), view, size=size, rows=torch.tensor(rows))
    assert cut.shape == (len(rows), *size, 2) and cut.dtype == torch.uint8
    corners = cut[:, 0, 0].long()
    assert torch.equal(cut - corners[:, None, None].to(torch.uint8), numbered(len(rows), *size))
    return corners


@pytest.mark.parametrize("view", ["plain", "hflip", "rot90", "zoom_out"])
@pytest.mark.parametrize(("side", "corner"), [((20, 30), (6, 10)), ((9, 13), (0, 1)), ((8, 10), (0, 0))])
def test_other_views_look_at_the_centre(view, side, corner):
    assert places(view, [5, 900], side=side).tolist() == [list(corner)] * 2


def test_a_crop_is_where_its_view_and_row_say_whatever_the_batch():
    rows = [7, 3, 100_000, 3]
    together = {view: places(view, rows) for view in CROPS}
    for view in CROPS:
        assert torch.equal(torch.cat([places(view, [row]) for row in rows]), together[view])
        assert torch.equal(places(view, rows[::-1]).flip(0), together[view])
    assert len({tuple(together[view].flatten().tolist()) for view in CROPS}) == 4


def test_crops_are_spread_over_all_places():
    seen = {view: places(view, range(2000)) for view in CROPS}
    for view in CROPS:
        for axis, count in ((0, 13), (1, 21)):
            hits = seen[view][:, axis].bincount(minlength=count)
            assert len(hits) == count, "in range"
            # 2,000 draws over so many places: 5 standard deviations about what is expected.
            assert ((hits - 2000 / count).abs() < 5 * (2000 / count) ** 0.5).all()
        assert abs(np.corrcoef(seen[view].T.numpy())[0, 1]) < 0.1, "lines and columns are drawn apart"
    for one, other in pairwise(CROPS):
        assert (seen[one] == seen[other]).all(1).float().mean() < 0.02


def test_a_crop_of_the_whole_is_the_whole():
    assert places("crop2", [4, 5], side=(8, 10)).tolist() == [[0, 0]] * 2


def test_a_crop_is_not_changed_by_its_view():
    np.testing.assert_array_equal(view_of(pixels(), "crop1"), pixels())
