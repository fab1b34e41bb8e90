"""NumPy files with many images, compared with NumPy's own reading."""

import numpy as np
import pytest

from imettk.data.array_files import ArrayArchive, ArrayFile
from imettk.data.arrays import read_npy

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 20, 30, 3), np.uint8)


def load(content, channels=3):
    return read_npy(content, channels=channels, frame=None, as_shown=True).numbers


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_npy_of_all_images(tmp_path, order):
    np.save(tmp_path / "a.npy", np.asarray(IMAGES, order=order))
    file = ArrayFile(str(tmp_path / "a.npy"))
    assert file.names() == [str(row) for row in range(12)] and file.fault(None) is None
    assert np.array_equal(load(file.read("11", None)), IMAGES[11])
    for name in ("12", "-1", "01", "x", ""):
        with pytest.raises(KeyError):
            file.read(name, None)


def test_a_npy_of_one_image_or_of_objects_holds_none(tmp_path):
    np.save(tmp_path / "one.npy", IMAGES[0, :, :, 0])
    file = ArrayFile(str(tmp_path / "one.npy"))
    assert file.names() == [] and "one array of shape (20, 30)" in str(file.fault(None))
    np.save(tmp_path / "objects.npy", np.array([{}, []], object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        ArrayFile(str(tmp_path / "objects.npy"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_npz_of_an_array_an_image(tmp_path, save):
    save(tmp_path / "a.npz", **{f"id_{row}": image for row, image in enumerate(IMAGES)}, labels=np.arange(12))
    file = ArrayArchive(str(tmp_path / "a.npz"))
    assert file.names() == [f"id_{row}" for row in range(12)]
    with np.load(tmp_path / "a.npz") as same:
        assert np.array_equal(load(file.read("id_3", None)), same["id_3"])
    with pytest.raises(KeyError):
        file.read("labels", None)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_npz_of_all_images(tmp_path, save):
    save(tmp_path / "a.npz", images=IMAGES, ids=np.array([f"x/{row}" for row in range(12)]))
    file = ArrayArchive(str(tmp_path / "a.npz"))
    assert file.names()[:2] == ["x/0", "x/1"] and np.array_equal(load(file.read("x/7", None)), IMAGES[7])
    save(tmp_path / "b.npz", train_images=IMAGES[:, :, :, 0], train_labels=np.arange(12), test_images=IMAGES[:5])
    file = ArrayArchive(str(tmp_path / "b.npz"))
    assert len(file.names()) == 17
    assert np.array_equal(load(file.read("train_images/11", None), 1), IMAGES[11, :, :, 0])
    assert np.array_equal(load(file.read("test_images/4", None)), IMAGES[4])


def test_objects_in_a_npz_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([[{}]], object), allow_pickle=True)
    file = ArrayArchive(str(tmp_path / "a.npz"))
    with pytest.raises(ValueError, match="Python objects"):
        load(file.read("a", None))
