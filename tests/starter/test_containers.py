"""Containers are recognised by their headers, and told from images and from tables of labels or measurements."""

import sys

import h5py
import numpy as np
import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.errors import DataError
from imettk.starter.containers import find_containers
from imettk.starter.look import look_into

RNG = np.random.default_rng(0)


def table(count, columns=400, *, least=0, most=255, name="pixel", dtype=int):
    values = RNG.integers(least, most, (count, columns), endpoint=True).astype(dtype)
    return pd.DataFrame(values, columns=[f"{name}{number}" for number in range(columns)])


def look(folder):
    return find_containers(folder, sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")))


def test_hdf5(tmp_path):
    with h5py.File(tmp_path / "train-image.hdf5", "w") as file:
        for name in ("a", "b", "c/1", "c/2"):
            file[name] = np.void(b"\xff\xd8")
    found = look(tmp_path)
    assert found.images == {"train-image.hdf5": ["a", "b"], "train-image.hdf5/c": ["1", "2"]}
    assert found.reasons == {"train-image.hdf5": "HDF5 of 4 images"} and not found.tables
    (line,) = found.findings(TableFormat(train_images="train-image.hdf5/c", test_images="test"))
    assert line[:3] == ("images in a file", "train-image.hdf5", "HDF5 of 4 images")
    assert look_into(tmp_path).below("train-image.hdf5") == ["a", "b", "c/1", "c/2"]


@pytest.mark.parametrize("count", [1, 5, 12])
@pytest.mark.parametrize("ending", ["h5", "npz"])
def test_each_volume_is_an_image_however_few_there_are(tmp_path, ending, count):
    for part, number in {"train": 24, "test": count}.items():
        volumes = {f"{part}{place}": np.zeros((9, 20, 20), np.uint8) for place in range(number)}
        if ending == "npz":
            np.savez(tmp_path / f"{part}.npz", **volumes)
            continue
        with h5py.File(tmp_path / f"{part}.h5", "w") as file:
            for name, volume in volumes.items():
                file[name] = volume
    write_ids(tmp_path / "train.csv", [f"train{place}" for place in range(24)])
    write_ids(tmp_path / "test.csv", [f"test{place}" for place in range(count)])
    assert {name: len(images) for name, images in look_into(tmp_path).images.items()} == {
        f"train.{ending}": 24,
        f"test.{ending}": count,
    }


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_of_pixels(tmp_path, ending):
    write = {"csv": pd.DataFrame.to_csv, "parquet": pd.DataFrame.to_parquet}[ending]
    (tmp_path / "in").mkdir()
    write(table(6).assign(label=range(6)), tmp_path / "in" / f"train.{ending}", index=False)
    write(table(4), tmp_path / "in" / f"test.{ending}", index=False)
    found = look(tmp_path)
    assert found.images == {f"in/train.{ending}": list("123456"), f"in/test.{ending}": list("1234")}
    assert list(found.tables) == [f"in/train.{ending}"]
    assert found.tables[f"in/train.{ending}"].columns.tolist() == ["label", "row"]
    assert "of 6 images, named by row number from 1" in found.reasons[f"in/train.{ending}"]
    contents = look_into(tmp_path)
    assert not contents.unread and list(contents.tables) == [f"in/train.{ending}"]


def test_numbered_files_are_one_container_if_their_images_differ(tmp_path):
    for part in (0, 1, 2, 10):
        ids = pd.Series([f"p{part}_{row}" for row in range(3)], name="image_id")
        pd.concat([ids, table(3)], axis=1).to_parquet(tmp_path / f"train_image_data_{part}.parquet")
        table(2).to_csv(tmp_path / f"mnist{part}.csv", index=False)
    found = look(tmp_path)
    assert sorted(found.images) == [*sorted(f"mnist{part}.csv" for part in (0, 1, 10, 2)), "train_image_data_*.parquet"]
    assert found.images["train_image_data_*.parquet"][::3] == ["p0_0", "p1_0", "p2_0", "p10_0"]
    assert "12 images, named by column image_id" in found.reasons["train_image_data_*.parquet"]
    assert len(found.files) == 8


@pytest.mark.parametrize(
    "frame",
    [
        table(9, 400, most=1, name="label_"),  # a column for each label
        table(5, 300, most=99, name="feature"),  # not square, and too few
        table(5, 400, name="embedding", dtype=float) / 7,
        table(5, 192, name="margin"),
        pd.DataFrame({"id": ["a", "b"], "rle": ["1 2 " * 200, "1 2 " * 300]}),
    ],
    ids=["labels", "features", "embeddings", "measurements", "masks"],
)
def test_tables_without_images(tmp_path, frame):
    frame.to_csv(tmp_path / "train.csv", index=False)
    assert not look(tmp_path).files


def write_ids(path, ids):
    numbers = [place // 2 for place in range(len(ids))]  # these name members of stacks, but are not ids
    pd.DataFrame({"id": ids, "age": numbers}).to_csv(path, index=False)


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize("count", [1, 4, 12])
def test_array_files_that_ids_name_are_images_however_few(tmp_path, ending, count):
    for part, number in {"train": 24, "test": count}.items():
        (tmp_path / part).mkdir()
        for place in range(number):  # a shape that a stack of images may have too
            image = np.zeros((5, 40, 40), np.float32)
            path = tmp_path / part / f"{part}{place}.{ending}"
            np.save(path, image) if ending == "npy" else np.savez(path, image=image, mask=image[0])
    write_ids(tmp_path / "train.csv", [f"train{place}" for place in range(24)])
    contents = look_into(tmp_path)
    assert {folder: len(names) for folder, names in contents.images.items()} == {"train": 24, "test": count}
    assert not contents.containers.files


@pytest.mark.parametrize("count", [1, 3, 12])
def test_array_files_whose_members_ids_name_are_containers_however_few(tmp_path, count):
    for part, number in {"train": 24, "test": count}.items():
        np.save(tmp_path / f"{part}.npy", np.zeros((number, 20, 20), np.uint8))
        np.savez(tmp_path / f"{part}.npz", **{f"{part}{place}": np.zeros((20, 20)) for place in range(number)})
    write_ids(tmp_path / "a.csv", [f"train{place}" for place in range(24)])
    assert look_into(tmp_path).containers.files == {"train.npz", "test.npz"}
    write_ids(tmp_path / "a.csv", range(24))
    assert look_into(tmp_path).containers.files == {"train.npy", "test.npy"}
    (tmp_path / "a.csv").unlink()
    assert not look_into(tmp_path).containers.files


def test_an_unreadable_container_is_named(tmp_path, monkeypatch):
    (tmp_path / "train.h5").write_bytes(b"\x89HDF\r\n\x1a\n cut")
    (tmp_path / "train.csv").write_text('id,label\n"a,1\n')
    (fault,) = look(tmp_path).unread
    assert "train.h5 cannot be read: " in fault
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.delitem(sys.modules, "imettk.data.hdf5_files", raising=False)
    with pytest.raises(DataError, match=r"train.h5: HDF5 is read by h5py, .*: pip install 'h5py>=3.8'"):
        look_into(tmp_path)
