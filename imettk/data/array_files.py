"""NumPy files with many images: `.npz` with one array per image, or arrays whose first axis counts images."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Sequence

import numpy as np

from imettk.data.arrays import read_header, require_numbers
from imettk.data.containers import Shape, npy_content
from imettk.data.stacks import ID_NAME, find_stacks, is_stack, name_any, places_of, shared_folder


class ArrayFile:
    """A memory-mapped `.npy` file with an array of images; see `data.containers.Container`."""

    def __init__(self, path: str) -> None:
        # Mapped, not read: such arrays are often larger than memory, and each process would hold a copy.
        self._array = np.load(path, mmap_mode="r", allow_pickle=False)
        require_numbers(self._array.dtype)
        self._is_stack = is_stack(self._array.shape)

    def names(self, wanted: Collection[str] = ()) -> Sequence[str]:
        return [str(place) for place in range(len(self._array))] if self._is_stack else []

    def read(self, name: str, shape: Shape) -> bytes:
        if not self._is_stack or not name.isdecimal() or not str(int(name)) == name or int(name) >= len(self._array):
            raise KeyError(name)
        return npy_content(np.asarray(self._array[int(name)]))

    def frame(self) -> None:
        return None

    def most_bytes(self) -> int:
        return 0

    def fault(self, shape: Shape) -> str | None:
        if self._is_stack:
            return None
        return f"it holds one array of shape {self._array.shape}; many images must be (N, H, W) or (N, H, W, C)"


class ArrayArchive:
    """A `.npz` file; see `data.containers.Container`.

    A member has the name of its array; an image of a stack is `ARRAY/POSITION`, or `POSITION` if the file holds a
    single stack. Zip members cannot be read from the middle, so a stack is unpacked once and kept in memory.
    """

    def __init__(self, path: str) -> None:
        self._archive = np.load(path, allow_pickle=False)
        self._zip: zipfile.ZipFile = self._archive.zip
        self._held: dict[str, np.ndarray] = {}
        names = list(self._archive.files)
        shapes = {name: self._shape(name) for name in names}
        stacks = find_stacks(shapes)
        shared = shared_folder([f"{name}/" for name in stacks])
        ids = {name: self._archive[name] for name in names if len(shapes[name]) == 1 and ID_NAME.fullmatch(name)}
        self._members: dict[str, tuple[str, int | None]] = {}
        for name in stacks:
            places = places_of(shapes[name][0], [values.tolist() for values in ids.values()])
            folder = f"{name}/"[len(shared) :]
            self._members |= {folder + member: (name, place) for member, place in places.items()}
        self._stacks = stacks
        self._wholes: dict[str, tuple[str, int | None]] = {
            name: (name, None) for name in names if len(shapes[name]) > 1
        }
        if not stacks:
            self._members = self._wholes

    def _shape(self, name: str) -> tuple[int, ...]:
        with self._zip.open(f"{name}.npy") as file:
            return read_header(file)[0]

    def names(self, wanted: Collection[str] = ()) -> Sequence[str]:
        return list(self._wholes if name_any(wanted, self._stacks) else self._members)

    def read(self, name: str, shape: Shape) -> bytes:
        array, place = self._wholes.get(name) or self._members[name]
        if place is None:
            return self._zip.read(f"{array}.npy")
        if array not in self._held:
            self._held[array] = self._archive[array]
        return npy_content(self._held[array][place])

    def frame(self) -> None:
        return None

    def most_bytes(self) -> int:
        return sum(self._zip.getinfo(f"{name}.npy").file_size for name in self._stacks)

    def fault(self, shape: Shape) -> str | None:
        return None if self._members else "it holds no array with at least two dimensions"
