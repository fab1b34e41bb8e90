"""A table of small images, and their cache."""

import numpy as np
from PIL import Image

from imettk.data.cache import ImageCache
from imettk.data.reader import ImageReader
from imettk.data.sample_table import SampleTable
from imettk.data.source import ImageSource, cache_key, image_names
from imettk.data.stamps import stamp_files
from imettk.data.survey import CacheTarget, survey_images

COUNT = 23


def make_table(folder, count=COUNT, channels=3):
    (folder / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for row in range(count):
        blocks = rng.integers(0, 256, (5, 4, 3) if channels == 3 else (5, 4), np.uint8)
        pixels = blocks.repeat(10, 0).repeat(10, 1)[: 30 + row % 20]
        Image.fromarray(pixels).save(folder / "train" / f"{row}.png")
    ids = np.array([str(row) for row in range(count)])
    paths = np.array([str(folder / "train" / f"{row}.png") for row in range(count)])
    return SampleTable(ids, paths, ("a",), ("",))


class Reads:
    """A reader that counts the files read, and can be killed."""

    def __init__(self, source, killed_at=None):
        self.source, self.killed_at, self.rows = source, killed_at, []

    def __call__(self, row):
        if row == self.killed_at:
            raise KeyboardInterrupt
        self.rows.append(row)
        return self.source.read(row)


def build(tmp_path, table, kind, *, killed_at=None, **settings):
    reader = ImageReader(size=(24, 32), **settings)
    reads = Reads(ImageSource(table, reader), killed_at)
    target = CacheTarget(folder=tmp_path / "cache", kind=kind, key=cache_key(reader, kind, 95), quality=95)
    names = image_names(table, tmp_path)
    stamps = stamp_files(table.paths, ())
    survey = survey_images(reads, names, stamps, (24, 32, reader.channels), cache=target)
    return (
        ImageSource(table, reader),
        ImageSource(table, reader, cache=ImageCache(target.folder), names=names),
        reads,
        survey,
    )


def bitmaps(folder):
    """Make a table of images whose files have equal sizes, as uncompressed ones of one resolution have."""
    (folder / "train").mkdir(parents=True)
    paths = [folder / "train" / f"{row}.bmp" for row in range(7)]
    for row, path in enumerate(paths):
        Image.fromarray(np.full((60, 80, 3), 20 * row, np.uint8)).save(path)
    assert len({path.stat().st_size for path in paths}) == 1
    return SampleTable(np.arange(7).astype(str), np.array(list(map(str, paths))), ("a",), ("",))


def black_out(path):
    """Replace only the pixels of a bitmap."""
    size = path.stat().st_size
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(path)
    assert path.stat().st_size == size
