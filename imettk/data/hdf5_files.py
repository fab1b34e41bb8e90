"""HDF5 files of images: datasets of JPEG bytes or of arrays, or one array whose first axis counts images."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from imettk.data.containers import Shape, npy_content
from imettk.data.stacks import ID_NAME, find_stacks, name_any, name_arrays, places_of, shared_folder

INDEXED = 16  # bytes of a file per byte of its index of names, at least
MOST_OPENED = 64  # datasets in a group up to which each is opened to see what it holds; above, each is an image


class _Stack(NamedTuple):
    """A dataset whose first axis counts images, the folder that it stands for, and the position of each name."""

    path: str
    folder: str
    places: dict[str, int]


class _Index(NamedTuple):
    """The datasets of images.

    Attributes:
        single: path of each dataset that is one image, by its name.
        stacks: datasets that hold many images.
        wholes: path of each dataset by its name if every dataset is one image; see `name_arrays`.
        doubtful: names that, if wanted, show that every dataset is one image.
    """

    single: dict[str, str]
    stacks: list[_Stack]
    wholes: dict[str, str]
    doubtful: list[str]


class Hdf5File:
    """The images of an HDF5 file; see `data.containers.Container`.

    A member is a dataset of an encoded file (a scalar, or one dimension of bytes) or of an array, named by its path
    without the groups that all members share. Images of a dataset with one more leading axis are named by a dataset of
    ids beside it, or else by position from 0.
    """

    def __init__(self, path: str) -> None:
        self._file = h5py.File(path, "r")
        self._index: _Index | None = None

    def names(self, wanted: Collection[str] = ()) -> Sequence[str]:
        index = self._listed()
        if name_any(wanted, index.doubtful):
            alone = len(set(index.wholes.values())) == 1
            return [name for name in index.wholes if name in wanted][:1] if alone else list(index.wholes)
        return [*index.single, *(stack.folder + name for stack in index.stacks for name in stack.places)]

    def read(self, name: str, shape: Shape) -> bytes:
        # With one dataset per image, a loader process needs no index of the file.
        if self._index is None and (dataset := self._find(name)) is not None and not _holds_files(dataset):
            return _content(dataset, ())
        index = self._listed()
        if (path := index.wholes.get(name) or index.single.get(name)) is not None:
            return _content(_open(self._file, path), ())
        for stack in index.stacks:
            if (place := stack.places.get(name.removeprefix(stack.folder))) is not None:
                return _content(_open(self._file, stack.path), (place,))
        raise KeyError(name)

    def frame(self) -> None:
        return None

    def most_bytes(self) -> int:
        return int(self._file.id.get_filesize()) // INDEXED

    def fault(self, shape: Shape) -> str | None:
        return None

    def _find(self, name: str) -> Any:
        """Return the dataset of this exact path: it saves listing a file with hundreds of thousands of datasets."""
        try:
            return _open(self._file, name)
        except (KeyError, ValueError):
            return None

    def _listed(self) -> _Index:
        if self._index is None:
            self._index = self._list()
        return self._index

    def _list(self) -> _Index:
        groups: dict[str, list[str]] = {}
        for path in _list_datasets(self._file):
            groups.setdefault(path.rpartition("/")[0], []).append(path)
        # Opening a dataset takes long enough that a group of many is not inspected: there each dataset is an image.
        many = [path for paths in groups.values() if len(paths) > MOST_OPENED for path in paths]
        looked = {group: paths for group, paths in groups.items() if len(paths) <= MOST_OPENED}
        datasets = {path: _open(self._file, path) for paths in looked.values() for path in paths}
        shapes = {path: dataset.shape or () for path, dataset in datasets.items()}
        is_many = {*([] if many else find_stacks(shapes)), *(path for path in shapes if _holds_files(datasets[path]))}
        single, stacks = many.copy(), list[tuple[str, Any]]()
        for paths in looked.values():
            there = [path for path in paths if path in is_many]
            stacks += [(path, _places(datasets[path], [(other, datasets[other]) for other in paths])) for path in there]
            single += [path for path in paths if not there and _is_image(datasets[path])]
        arrays = {path for path, _ in stacks if len(shapes[path]) > 1}
        wholes = name_arrays([*single, *arrays]) if arrays or len(single) == 1 else {}
        doubtful = [name for name, path in wholes.items() if path in arrays or not arrays]
        return _Index(*_shorten(single, stacks), wholes, doubtful)


def _list_datasets(file: Any) -> list[str]:
    """Return the paths of all datasets, without links to other files."""
    paths: list[str] = []

    def visit(name: bytes, info: Any) -> None:
        if info.type == h5py.h5o.TYPE_DATASET:
            paths.append(name.decode("utf-8", "surrogateescape"))

    # The low-level visit returns paths and kinds without opening any dataset.
    h5py.h5o.visit(file.id, visit, info=True)
    return paths


def _open(file: Any, path: str) -> Any:
    """Open a dataset; raise KeyError if it is missing or a link, ValueError if its values lie in another file.

    A file that people share must not make the reader open other files of the machine.
    """
    name = path.encode("utf-8", "surrogateescape")
    ends = [*(match.start() for match in re.finditer(b"/", name)), len(name)]
    try:
        is_there = all(file.id.links.get_info(name[:end]).type == h5py.h5l.TYPE_HARD for end in ends if end)
    except RuntimeError:
        is_there = False
    if not is_there:
        raise KeyError(path)
    dataset = h5py.h5d.open(file.id, name)
    plan = dataset.get_create_plist()
    if plan.get_external_count() or plan.get_layout() == h5py.h5d.VIRTUAL:
        raise ValueError("its values lie in another file")
    return h5py.Dataset(dataset)


def _holds_files(dataset: Any) -> bool:
    """Return whether a dataset holds many encoded files; fixed-length text may be ids."""
    shape, dtype = dataset.shape, dataset.dtype
    return shape is not None and len(shape) == 1 != shape[0] and _is_file(dtype) and dtype.kind != "S"


def _is_file(dtype: np.dtype) -> bool:
    """Return whether each value of a dataset is a whole encoded file."""
    return h5py.check_vlen_dtype(dtype) == np.uint8 or (dtype.kind in "VS" and dtype.itemsize > 1)


def _is_image(dataset: Any) -> bool:
    """Return whether a dataset that is not a stack may be one image: an encoded file, or an array."""
    shape, dtype = dataset.shape, dataset.dtype
    if shape is None or len(shape) > 1:
        return shape is not None
    return _is_file(dtype) or (len(shape) == 1 and (dtype == np.uint8 or dtype.kind == "V"))


def _places(dataset: Any, beside: Sequence[tuple[str, Any]]) -> dict[str, int]:
    """Return the position of each image of a stack by its name."""
    count = dataset.shape[0]
    ids = (other for path, other in beside if ID_NAME.fullmatch(path.rpartition("/")[2]) and other.shape == (count,))
    return places_of(count, (other[()].tolist() for other in ids))


def _shorten(single: list[str], stacks: list[tuple[str, dict[str, int]]]) -> tuple[dict[str, str], list[_Stack]]:
    """Name members without the groups that all of them share; a stack acts as a group of its images."""
    shared = shared_folder([path[: path.rfind("/") + 1] for path in single] + [f"{path}/" for path, _ in stacks])
    members = {path[len(shared) :]: path for path in single}
    if not stacks and len(single) > 1:
        members = name_arrays(single)
    return members, [_Stack(path, f"{path}/"[len(shared) :], places) for path, places in stacks]


def _content(dataset: Any, place: tuple[int, ...]) -> bytes:
    """Return an encoded file unchanged, and an array as a `.npy` file."""
    low, is_file = dataset.id, dataset.dtype.kind in "VS"
    if place or low.dtype.hasobject:
        array = np.asarray(dataset[place])
        if array.dtype.hasobject and array.size == 1:  # bytes of variable length
            array = np.asarray(array.item())
    else:  # h5py's own read with less overhead; opaque bytes need the tagged type of the file
        array = np.empty(low.shape, low.dtype)
        low.read(h5py.h5s.ALL, h5py.h5s.ALL, array, low.get_type() if is_file else None)
    is_file = is_file or (array.ndim == 1 and array.dtype == np.uint8)
    return array.tobytes() if is_file else npy_content(array)
