"""Arrays whose first axis counts images, in files of arrays: which ones are, and how their images are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MOST_STACKS = 8  # arrays side by side, beyond which each of them is an image
MOST_CHANNELS = 4  # length of an axis up to which it counts channels, not images
ID_NAME = re.compile(r"(image|img|file|sample)?_?(ids?|names?|keys?|filenames?|uuids?)", re.IGNORECASE)


def is_stack(shape: Sequence[int], beside: int = 1) -> bool:
    """Return whether the first axis of an array of numbers counts images.

    Args:
        beside: arrays of two dimensions or more that stand side by side, itself among them; one alone holds all images.
    """
    if beside > MOST_STACKS:
        return False
    return len(shape) >= (3 if beside == 1 else 4) or (len(shape) == 3 and shape[0] > MOST_CHANNELS < shape[2])


def places_of(count: int, beside: Iterable[Sequence[object]]) -> dict[str, int]:
    """Return the place of each image of a stack by its name: as an array of ids says, else its position from 0.

    Args:
        beside: arrays that may hold ids.
    """
    for values in beside:
        names = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
        if len(set(names)) == len(names) == count:
            return {name: place for place, name in enumerate(names)}
    return {str(place): place for place in range(count)}


def shared_folder(folders: Sequence[str]) -> str:
    """Return the folder in which all of these lie, with the slash behind it; "" where they share none."""
    first, last = min(folders, default="").split("/"), max(folders, default="").split("/")
    same = 0
    while same < min(len(first), len(last)) - 1 and first[same] == last[same]:
        same += 1
    return "".join(f"{name}/" for name in first[:same])
