"""Search for the image of each row, with remarks about images found elsewhere than named."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import TableFormat
from imettk.config.file_kinds import TABLE_ENDINGS
from imettk.data.csv_files import as_text, is_utf8, list_names, printable, require_utf8
from imettk.data.file_search import BELOW, BY_END, HERE, WHOLE, Search
from imettk.data.file_tree import FileTree, open_tree
from imettk.data.image_files import (
    ENDING_SIGNS,
    find_leaving,
    refuse_leaving,
    without_ending,
)
from imettk.errors import DataError

MOST_LOOKED_AT = 1000  # names compared with the files for a hint


def find_images(
    names: pd.Series,
    csv: Path,
    folder: Path,
    data_dir: Path,
    table_format: TableFormat,
    remarks: list[str],
    *,
    unshared: bool,
) -> np.ndarray:
    """Return the file of each name as a path from the folder, str (N,); "" if there is none.

    An image of several files keeps its `*` for the channel. Images found in another way than by name and suffix become
    a remark, as do images without a row unless other tables use the folder too.

    Raises:
        DataError: the folder is missing, a name matches several files, two match the same, or one leads out of the
            folder and its end does not exist here.
    """
    require_utf8(folder)
    # Paths that lead out are not refused at once: their end may exist here, if another machine wrote them.
    leaving = set(find_leaving(names, folder, data_dir))
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: the recipe's `table` expects images there")
    suffix, channels = table_format.image_suffix, table_format.channel_files
    data = None if os.path.realpath(folder) == os.path.realpath(data_dir) else open_tree(data_dir)
    way, back = (os.path.relpath(*ends).replace(os.sep, "/") for ends in ((folder, data_dir), (data_dir, folder)))
    search = Search(open_tree(folder), suffix, channels, data=data, way=way, back=back)
    matches = search.find_all(names.tolist(), leaving)
    ways, files = matches.ways, np.array([files[0] if files else "" for files in matches.files], object)
    doubtful = {row: files for row, files in enumerate(matches.files) if len(files) > 1}
    _refuse_ambiguous(names, doubtful, ways, csv, folder)
    if leaving:
        refuse_leaving(names[files == ""], csv, folder, data_dir)
    _refuse_shared(names, files, csv, folder)
    remarks += [f"{folder}/{fault}" for fault in search.tree.unread]
    _remark_other_names(names[ways == HERE], files[ways == HERE], suffix, csv, remarks)
    remarks += [f"{csv}: {text}" for text in _describe_ways(names, files, ways, folder, data_dir)]
    if matches.companions:
        lost = [f"{names.iloc[row]} is {file}" for row, file in matches.companions.items()]
        remarks.append(f"{csv}: {list_names(lost, 'row')} without an image beside those of most rows in {folder}")
    if unshared:
        used = {file.replace("*", channel) for file in files for channel in channels} if channels else set(files)
        used = set(map(plain_path, used))
        _remark_spare(used, search.tree, suffix, folder, remarks)
    return as_text(files)


def _refuse_ambiguous(
    names: pd.Series, doubtful: dict[int, list[str]], ways: np.ndarray, csv: Path, folder: Path
) -> None:
    """Raise `DataError` if names match several files each."""
    if doubtful:
        examples = [f"{names.iloc[row]}: {' or '.join(files[:2])}" for row, files in doubtful.items()]
        what_to_do = "set the ending with --table.image-suffix, or append it to the ids"
        if any(ways[row] != HERE for row in doubtful):
            what_to_do = "name the folder that holds the images, or build paths from columns with table.image_path"
        raise DataError(f"{csv}: {list_names(examples, 'id')} that may mean several files in {folder}: {what_to_do}")


def _refuse_shared(names: pd.Series, files: np.ndarray, csv: Path, folder: Path) -> None:
    """Raise `DataError` if several names match the same file."""
    # `./a.jpg` and `a.jpg` are one file: as two rows it could validate in one fold and train in the others.
    plain = [plain_path(file) for file in files]
    counts = Counter(filter(None, plain))
    if max(counts.values(), default=1) == 1:
        return
    shared = [f"{name}: {file}" for name, file in zip(names, plain, strict=True) if counts[file] > 1]
    raise DataError(f"{csv}: {list_names(shared, 'id')} with the same file as another id in {folder}")


def plain_path(file: str) -> str:
    """Return a path without redundant steps, as in `./a.jpg`."""
    return posixpath.normpath(file) if "./" in file or "//" in file else file


def _remark_other_names(names: pd.Series, files: np.ndarray, suffix: str, csv: Path, remarks: list[str]) -> None:
    """Remark files that are not named exactly by id and suffix."""
    both = zip(names.tolist(), files.tolist(), strict=True)
    pairs = [f"{name} is {file}" for name, file in both if file and file != name + suffix]
    if pairs:
        expected = f"followed by {suffix}" if suffix else "itself"
        remarks.append(f"{csv}: {list_names(pairs, 'image')} found by another name than the id {expected}")


def _describe_ways(
    names: pd.Series, files: np.ndarray, ways: np.ndarray, folder: Path, data_dir: Path
) -> Iterator[str]:
    """Yield one line for each way in which images were found elsewhere than named: a count and an example."""
    texts = {
        BELOW: ("image", f"found by name in folders below {folder}"),
        BY_END: ("path", "of another machine or folder matched by the end"),
        WHOLE: ("image", "found after removing `.0` behind a number"),
    }
    for way, (noun, text) in texts.items():
        rows = np.flatnonzero((ways == way) & (files != ""))
        if not len(rows):
            continue
        path = os.path.relpath(folder / files[rows[0]], data_dir if way == BY_END else folder)
        count = f"{len(rows):,} {noun}{'s' if len(rows) > 1 else ''}"
        yield f"{count} {text}: {printable(f'{names.iloc[rows[0]]} is {path}')}"


def _remark_spare(used: set[str], tree: FileTree, suffix: str, folder: Path, remarks: list[str]) -> None:
    """Remark images in the folder without a row; also those below if rows name any there."""
    ending = suffix.rpartition("*")[2]
    others = tree.files() - used
    if any("/" in file and not file.startswith("../") for file in used):
        others |= {*tree.paths_below()} - used
    endings = {os.path.splitext(file)[1] for file in used}
    spare = [
        name
        for name in others
        if (name.endswith(ending) if ending else without_ending(name) != name or os.path.splitext(name)[1] in endings)
        and not name.lower().endswith(TABLE_ENDINGS)
    ]
    if spare:
        remarks.append(f"{folder}: {list_names(sorted(spare), 'image')} without a row in the table")


def describe_expected_file(names: pd.Series, folder: Path, table_format: TableFormat) -> str:
    """Return the expected name of the first row's image, and a file that another suffix would match."""
    suffix, name = table_format.image_suffix, str(names.iloc[0])
    text = f"that of {printable(name)} would be {printable(name + suffix)}"
    if table_format.lists_images:
        return text
    search = Search(open_tree(folder), suffix, table_format.channel_files)
    if files := search.here(name) or search.elsewhere(name, leaves=False)[0]:
        return f"{text}; {printable(files[0])} does not lie beside the images of most rows, or has another ending"
    if table_format.channel_files:
        return text
    known = set(names.iloc[:MOST_LOOKED_AT])
    for file in sorted(open_tree(folder).files()):
        stems = [file, *(file[:at] for at in range(len(file) - 1, 0, -1) if file[at] in ENDING_SIGNS)]
        if (stem := next((stem for stem in stems if stem in known), None)) is not None and is_utf8(file):
            ending = file[len(stem) :]
            return f"{text}; there is {file}, so try --table.image-suffix {ending or repr(ending)}"
    return text
