"""Files of many images replace folders: paths lead into them, and processes and threads open their own."""

import os
import signal
import threading
from typing import ClassVar

import h5py
import numpy as np
import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.data import containers
from imettk.data.arrays import read_npy
from imettk.data.containers import (
    container_frame,
    find_files,
    list_members,
    npy_content,
    opened,
    read_member,
    split_path,
)
from imettk.data.decode import read_content
from imettk.errors import DataError


def write_stack(path, images):
    np.save(path, images)
    return path


@pytest.fixture
def stack(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 9, 8), np.uint8)
    return write_stack(tmp_path / "all.npy", images), images


def load(content):
    return read_npy(content, channels=1, frame=None, as_shown=True).numbers


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", "bool", "int64"])
def test_a_member_of_numbers_is_the_content_of_a_npy_file(tmp_path, dtype):
    array = np.random.default_rng(0).normal(0, 90, (5, 7)).astype(dtype)[:, ::2]
    (tmp_path / "a.npy").write_bytes(npy_content(array))
    back = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert back.dtype == array.dtype and np.array_equal(back, array)
    assert (tmp_path / "a.npy").read_bytes().index(b"\n") % 64 == 63  # numbers begin at a multiple, as numpy writes


def test_paths_lead_into_files(stack, tmp_path):
    path, images = stack
    assert np.array_equal(load(read_content(f"{path}/4")), images[4])
    assert split_path(f"{path}/a/b.jpg") == (str(path), "a/b.jpg")
    assert split_path(str(tmp_path / "none" / "a.jpg")) is None
    assert read_member(str(tmp_path / "a.jpg")) is None


def test_what_is_not_there_is_named(stack, tmp_path):
    path, _ = stack
    with pytest.raises(DataError, match=rf"^{path}/9 cannot be read: {path} holds no 9$"):
        read_content(f"{path}/9")
    with pytest.raises(DataError, match=r"none.npy/9 cannot be read: No such file or directory$"):
        read_content(str(tmp_path / "none.npy" / "9"))
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(DataError, match=r"a.jpg is neither a folder nor a readable file of many images"):
        read_content(str(tmp_path / "a.jpg" / "9"))


def test_a_file_of_another_ending_is_known_by_its_first_bytes(tmp_path):
    with h5py.File(tmp_path / "train.mat", "w") as file:
        file["a"] = np.frombuffer(b"\xff\xd8 JPEG", np.uint8)
    assert read_content(str(tmp_path / "train.mat" / "a")) == b"\xff\xd8 JPEG"


def test_a_cut_file_is_one_line(tmp_path):
    with h5py.File(tmp_path / "train.h5", "w") as file:
        for number in range(40):
            file[f"i{number}"] = np.zeros(5000, np.uint8)
    whole = (tmp_path / "train.h5").read_bytes()
    (tmp_path / "train.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"^[^\n]*train.h5 cannot be read: .*truncated[^\n]*$"):
        read_content(str(tmp_path / "train.h5" / "i3"))


def test_a_missing_library_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "train.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    monkeypatch.delitem(__import__("sys").modules, "imettk.data.hdf5_files", raising=False)
    with pytest.raises(DataError, match=r"train.h5: HDF5 is read by h5py, .*: pip install 'h5py>=3.8'"):
        list_members(tmp_path / "train.h5", None)


def test_a_pattern_stands_for_several_files_in_the_order_of_their_numbers(tmp_path):
    for part in (0, 2, 10):
        frame = pd.DataFrame({"image_id": [f"p{part}_{row}" for row in range(2)], "label": ["x", "y"]})
        frame.assign(pixels=[" ".join(["7"] * 256)] * 2).to_csv(tmp_path / f"part_{part}.csv", index=False)
    (tmp_path / "part_x").mkdir()
    pattern = tmp_path / "part_*.csv"
    assert [path.name for path in find_files(pattern)] == ["part_0.csv", "part_2.csv", "part_10.csv"]
    assert list_members(pattern, None) == ["p0_0", "p0_1", "p2_0", "p2_1", "p10_0", "p10_1"]
    frame = container_frame(pattern)
    assert frame is not None and frame["label"].tolist() == ["x", "y"] * 3 and list(frame) == ["image_id", "label"]
    (tmp_path / "part_3.csv").write_bytes((tmp_path / "part_2.csv").read_bytes())
    with pytest.raises(DataError, match=r"part_\*.csv: 2 images \(p2_0, p2_1\) in more than one of 4 files"):
        list_members(pattern, None)


def test_folders_and_missing_files_are_no_containers(tmp_path):
    (tmp_path / "train").mkdir()
    assert list_members(tmp_path / "train", None) is None and list_members(tmp_path / "none.h5", None) is None
    pd.DataFrame({"id": [1], "label": [2]}).to_csv(tmp_path / "train.csv", index=False)
    assert container_frame(tmp_path / "train.csv") is None


def test_a_file_that_has_changed_is_opened_again(stack):
    path, images = stack
    read_content(f"{path}/0")
    write_stack(path, 255 - images[:4])
    assert np.array_equal(load(read_content(f"{path}/0")), 255 - images[0])
    with pytest.raises(DataError, match="holds no 5"):
        read_content(f"{path}/5")


class Opened:
    """Container that records who opens it, and asserts that it is only read while locked."""

    makers: ClassVar[list[int]] = []

    def __init__(self, path):
        self.makers.append(os.getpid())
        self.path = path

    def names(self, wanted=()):
        return ["a"]

    def read(self, name, shape):
        _, lock, container = containers._SHELVES[os.getpid()]._open[self.path]
        assert container is self and lock.locked()
        return b"a"

    def most_bytes(self):
        return 1000


@pytest.fixture
def counted(tmp_path, monkeypatch):
    kind = containers.CONTAINERS["npy"]
    monkeypatch.setitem(containers.CONTAINERS, "npy", type(kind)(make=Opened, title="t", endings=(".npy",)))
    monkeypatch.setattr(Opened, "makers", [])
    (tmp_path / "a.npy").write_bytes(b"a")
    return str(tmp_path / "a.npy")


def test_threads_share_a_container_one_at_a_time(counted):
    faults = []

    def read():
        try:
            for _ in range(20):
                read_member(f"{counted}/a")
        except AssertionError as error:
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults and len(Opened.makers) == 1


def test_a_process_that_was_forked_opens_its_own(counted):
    with opened(counted):  # whose lock is held while the process forks, as by another thread
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            signal.alarm(20)  # where it would wait for ever
            try:
                read_member(f"{counted}/a")
                os.write(writing, str(len(Opened.makers)).encode())
            finally:  # never on into the tests of the process that forked
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        assert os.read(reading, 9) == b"2" and Opened.makers == [os.getpid()]
    os.close(reading)


@pytest.mark.parametrize(("most_bytes", "stay"), [(0, 8), (10_500, 10), (1 << 29, 128)])
def test_containers_stay_open_while_they_are_few_or_small(tmp_path, counted, monkeypatch, most_bytes, stay):
    monkeypatch.setattr(containers, "OPEN_BYTES", most_bytes)
    for number in range(stay + 1):
        (tmp_path / f"b{number}.npy").write_bytes(b"b")
        read_member(f"{tmp_path}/b{number}.npy/a")
    before = len(Opened.makers)
    read_member(f"{tmp_path}/b1.npy/a")
    assert len(Opened.makers) == before
    read_member(f"{tmp_path}/b0.npy/a")
    assert len(Opened.makers) == before + 1


def test_the_format_says_where_images_are():
    assert TableFormat(train_images="train_*.parquet", pixel_shape=(137, 236)).pixel_shape == (137, 236)


def test_what_containers_keep_is_known_before_they_do(tmp_path):
    rows = pd.DataFrame(np.zeros((50, 400), np.uint8)).add_prefix("p")
    rows.to_csv(tmp_path / "a.csv", index=False)
    rows.to_parquet(tmp_path / "a.parquet", index=False)
    stack = np.zeros((50, 20, 20), np.uint8)
    np.save(tmp_path / "a.npy", stack)
    np.savez_compressed(tmp_path / "a.npz", images=stack)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = stack
    for ending, most in {"csv": 6000, "parquet": 20_000, "npy": 0, "npz": 20_128, "h5": 1500}.items():
        with opened(str(tmp_path / f"a.{ending}")) as container:
            assert most * 0.8 <= container.most_bytes() <= most, ending
