"""HDF5 of encoded files and of arrays, as h5py writes and reads them."""

import h5py
import numpy as np
import pytest

from imettk.data.arrays import read_npy
from imettk.data.hdf5_files import Hdf5File

FILE = b"\xff\xd8 a file \x00\x00"  # with zeros at its end, which text loses
VARYING = h5py.vlen_dtype(np.uint8)


def write(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name.replace("__", "/")] = value
    return str(path)


def load(content, channels=1):
    return read_npy(content, channels=channels, frame=None, as_shown=True).numbers


@pytest.mark.parametrize(
    "value",
    [np.void(FILE), np.bytes_(FILE), np.frombuffer(FILE, np.uint8), np.frombuffer(FILE, "V1")],
    ids=["opaque", "string", "bytes", "opaque bytes"],
)
@pytest.mark.parametrize("count", [1, 2, 12])
def test_bytes_of_files_stay_as_they_are(tmp_path, value, count):
    path = write(tmp_path / "a.h5", **{f"ISIC_{number}": value for number in range(count)})
    assert sorted(Hdf5File(path).names()) == sorted(f"ISIC_{number}" for number in range(count))
    listed, direct = Hdf5File(path), Hdf5File(path)
    listed.names()
    assert all(file.read("ISIC_0", None) == FILE for file in (listed, direct))


def test_opaque_bytes_may_have_a_tag(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        kind = h5py.h5t.create(h5py.h5t.OPAQUE, len(FILE))
        kind.set_tag(b"JPEG")
        dataset = h5py.h5d.create(file.id, b"a", kind, h5py.h5s.create(h5py.h5s.SCALAR))
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(np.void(FILE)), kind)
    assert Hdf5File(str(tmp_path / "a.h5")).read("a", None) == FILE


def test_bytes_of_any_length_may_stand_in_one_dataset(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("images", (3,), VARYING)
        for row in range(3):
            dataset[row] = np.frombuffer(FILE + bytes([row]), np.uint8)
        file["image_id"] = [b"x", b"y", b"z"]
        file.create_dataset("single/one", (), VARYING)[()] = np.frombuffer(FILE, np.uint8)
    file = Hdf5File(str(tmp_path / "a.h5"))
    assert file.names() == ["single/one", "images/x", "images/y", "images/z"]
    assert file.read("images/y", None) == FILE + b"\x01" and file.read("single/one", None) == FILE


def test_arrays_are_images_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    images = {f"images__{name}": rng.normal(size=(20, 30)).astype(np.float32) for name in "abc"}
    path = write(tmp_path / "a.h5", **images, labels=np.arange(3))
    file = Hdf5File(path)
    assert file.names() == ["a", "b", "c"]  # without the group that all are in
    for name in ("a", "images/a"):
        assert np.array_equal(load(Hdf5File(path).read(name, None)), images["images__a"])
    with h5py.File(path) as same:
        assert np.array_equal(load(file.read("b", None)), same["images/b"][()])


@pytest.mark.parametrize("chunks", [None, (2, 20, 20, 3)])
def test_one_array_of_all_images_is_called_by_ids_beside_it(tmp_path, chunks):
    images = np.random.default_rng(0).integers(0, 65536, (6, 20, 20, 3), np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=images, chunks=chunks, compression=None if chunks is None else "gzip")
        file["y"], file["ids"] = np.arange(6), np.arange(60, 66)
    file = Hdf5File(str(tmp_path / "a.h5"))
    assert file.names() == ["60", "61", "62", "63", "64", "65"]
    assert np.array_equal(load(file.read("64", None), 3), images[4])


def test_several_arrays_are_folders(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 20), np.uint8)
    file = Hdf5File(write(tmp_path / "a.h5", x_train=images, x_test=images[:2].repeat(4, 0), y_train=np.arange(5)))
    assert {name.partition("/")[0] for name in file.names()} == {"x_train", "x_test"} and len(file.names()) == 13
    assert np.array_equal(load(file.read("x_train/4", None)), images[4])
    with pytest.raises(KeyError):
        file.read("x_train/5", None)


def test_nothing_leads_out_of_the_file(tmp_path):
    write(tmp_path / "other.h5", a=np.void(FILE))
    (tmp_path / "raw").write_bytes(bytes(16))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["own"] = np.void(FILE)
        file["outer"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "a")
        file["soft"] = h5py.SoftLink("/own")
        file["group/there"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
    for name in ("outer", "soft", "group/there/a", "nothing"):
        with pytest.raises(KeyError):
            Hdf5File(str(tmp_path / "a.h5")).read(name, None)
    assert Hdf5File(str(tmp_path / "a.h5")).names() == ["own"]
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.create_dataset("raw", (4, 4), np.uint8, external=[(str(tmp_path / "raw"), 0, 16)])
        layout = h5py.VirtualLayout((4, 4), np.uint8)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "a", (4, 4))
        file.create_virtual_dataset("virtual", layout)
    for name in ("raw", "virtual"):
        with pytest.raises(ValueError, match="its values lie in another file"):
            Hdf5File(str(tmp_path / "a.h5")).read(name, None)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 70])
def test_a_volume_is_one_image_however_few_there_are(tmp_path, count):
    volumes = {f"v__s{number}": np.full((12, 20, 20), number, np.uint8) for number in range(count)}
    path = write(tmp_path / "a.h5", **volumes)
    names = [f"s{number}" for number in range(count)]
    for file in (Hdf5File(path), Hdf5File(path)):
        assert sorted(file.names({*names[:1], "s999"})) == sorted(names)
        content = file.read(names[-1], None)
        same = read_npy(content, channels=12, frame=None, as_shown=True).numbers
        assert same.shape == (20, 20, 12) and same.max() == count - 1
    assert count == 1 or sorted(Hdf5File(path).names()) == sorted(names)


def test_a_stack_alone_holds_all_images_unless_it_is_asked_for_itself(tmp_path):
    file = Hdf5File(write(tmp_path / "a.h5", images=np.zeros((4, 20, 20), np.uint8)))
    assert file.names() == file.names({"1", "7"}) == ["0", "1", "2", "3"] and file.names({"images"}) == ["images"]


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_group_may_stand_for_each_image(tmp_path, count):
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 30, 3), np.uint8)
    path = write(tmp_path / "a.h5", **{f"s{row}__image": image for row, image in enumerate(images)})
    file = Hdf5File(path)
    last = f"s{count - 1}"
    assert sorted(file.names({last, "s99"})) == sorted(f"s{row}" for row in range(count))
    assert count == 1 or sorted(file.names()) == sorted(f"s{row}" for row in range(count))
    for name in (last, f"{last}/image"):
        assert np.array_equal(load(Hdf5File(path).read(name, None), 3), images[-1])
