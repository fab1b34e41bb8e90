"""Several pictures of each row, none of them called an image or a mask: finding them, and choosing by `--images`."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import replace

import pandas as pd

from imettk.data.image_files import compose
from imettk.data.part_names import is_beside_images, is_held_out, is_training, is_within
from imettk.errors import DataError
from imettk.starter.look import Contents, sign_places
from imettk.starter.naming import NEARLY_ALL, Naming, match_names


def restrict(contents: Contents, images: str) -> Contents:
    """Return the contents with only those images that lie in a folder or below it.

    Args:
        images: the folder, or `FOLDER/*.EXTENSION` for those with that extension.

    Raises:
        DataError: there are no such images.
    """
    folder, ending = split_pattern(images)
    kept = {
        inner: [name for name in names if name.endswith(ending)]
        for inner, names in contents.images.items()
        if is_within(inner, folder)
    }
    if not any(kept.values()):
        folders = ", ".join([*contents.images][:5])
        raise DataError(f"--images {images}: no such image; images lie in {folders}")
    return replace(contents, images={inner: names for inner, names in kept.items() if names})


def split_pattern(images: str) -> tuple[str, str]:
    """Return the folder and the extension of `FOLDER/*.EXTENSION`, either of which may be absent."""
    folder, star, ending = images.partition("*")
    return folder.strip("/").removeprefix("./") or ".", ending if star else ""


def find_rivals(ids: pd.Series, naming: Naming, contents: Contents) -> list[str]:
    """Return all folders in which nearly every id has an image, if no name tells which one is meant; else nothing.

    The naming's own folder comes first. All are written as `restrict` takes them.
    """
    others = []
    for other in match_names(ids, contents):
        decided = is_training(naming.folder) and not is_training(other.folder)
        decided |= is_held_out(other.folder) > is_held_out(naming.folder)
        decided |= other.is_beside_images > naming.is_beside_images
        if other.share >= NEARLY_ALL and not decided and not other.is_same(naming.folder, naming.files):
            others.append(other.folder)
    if others:
        return [naming.folder, *others]
    counts: Counter[str] = Counter()
    stems = {compose(re.split(r"[/\\]", name)[-1]) for name in ids.unique()}
    for name in {compose(name.rpartition("/")[2]) for name in contents.below(naming.folder)}:
        counts.update(name[at:] for at in sign_places(name) if name[:at] in stems)
    endings = [
        suffix
        for suffix, count in counts.most_common()
        if count >= NEARLY_ALL * len(stems) and not is_beside_images(suffix) and suffix != naming.suffix
    ]
    if naming.channels or counts[naming.suffix] == 0 or not endings:
        return []
    return [shlex.quote(f"{naming.folder}/*{suffix}") for suffix in (naming.suffix, *endings)]
