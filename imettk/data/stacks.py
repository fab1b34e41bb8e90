"""Arrays whose first axis counts images, in files of arrays: recognising them, and naming their images."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

CHANNELS = (1, 3, 4)  # lengths of a picture's last axis
ID_NAME = re.compile(r"(image|img|file|sample)?_?(ids?|names?|keys?|filenames?|uuids?)", re.IGNORECASE)


def is_stack(shape: Sequence[int]) -> bool:
    """Return whether the first axis of an array may count images: it does not if channels are last."""
    return len(shape) > 3 or (len(shape) == 3 and shape[2] not in CHANNELS)


def find_stacks(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Return the arrays of a file whose first axis counts images; any other array is one image.

    A single array is a stack. Several arrays are stacks if a one-dimensional array (labels or ids) beside one of them
    has its length. The number of arrays does not matter: eight volumes must not be read differently from nine.
    """
    arrays = [name for name, shape in shapes.items() if len(shape) > 1]
    stacks = [name for name in arrays if is_stack(shapes[name])]
    lists = {(name.rpartition("/")[0], shape[0]) for name, shape in shapes.items() if len(shape) == 1}
    counted = any((name.rpartition("/")[0], shapes[name][0]) in lists for name in stacks)
    return stacks if counted or len(arrays) == 1 else []


def name_any(wanted: Collection[str], names: Iterable[str]) -> bool:
    """Return whether any of these names is wanted."""
    return bool(wanted) and any(name in wanted for name in names)


def name_arrays(paths: Sequence[str]) -> dict[str, str]:
    """Return the paths of arrays by their names, which omit the common folders.

    If the last step is the same in all, as in `a/image` and `b/image`, it is omitted too. A single array gets all the
    names that it might have beside others.
    """
    folders = [path.rpartition("/")[0] for path in paths]
    if len(paths) == 1:
        steps = paths[0].split("/")
        ends = range(len(steps), max(0, len(steps) - 2), -1)
        return {"/".join(steps[start:end]): paths[0] for end in ends for start in range(end)}
    if "" not in folders and len({path.rpartition("/")[2] for path in paths}) == 1:
        cut = len(shared_folder([folder[: folder.rfind("/") + 1] for folder in folders]))
        return {folder[cut:]: path for folder, path in zip(folders, paths, strict=True)}
    cut = len(shared_folder([f"{folder}/" for folder in folders] if "" not in folders else []))
    return {path[cut:]: path for path in paths}


def places_of(count: int, beside: Iterable[Sequence[object]]) -> dict[str, int]:
    """Return the position of each image of a stack by its name: from an array of ids, or else counted from 0.

    Args:
        beside: arrays that may hold ids.
    """
    for values in beside:
        names = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
        if len(set(names)) == len(names) == count:
            return {name: place for place, name in enumerate(names)}
    return {str(place): place for place in range(count)}


def shared_folder(folders: Sequence[str]) -> str:
    """Return the common folder of all of these, with its slash; "" without one."""
    first, last = min(folders, default="").split("/"), max(folders, default="").split("/")
    same = 0
    while same < min(len(first), len(last)) - 1 and first[same] == last[same]:
        same += 1
    return "".join(f"{name}/" for name in first[:same])
