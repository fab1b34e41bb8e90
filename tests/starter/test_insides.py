"""Arrays, TIFF and DICOM files: channels, frames and white are guessed and reported, and can be trained with."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import SMALL, TINY, refused, run

from imettk.data.source import cache_key
from imettk.data.table import read_table
from imettk.errors import DataError
from imettk.experiment.prepared import open_source
from imettk.recipes import load_recipe
from imettk.starter.insides import Insides, look_inside
from imettk.starter.look import look_at
from imettk.tracking.run_dir import RunDir

SIDE = 24


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def save_all(folder, arrays, ending=".npy"):
    paths = []
    for number, array in enumerate(arrays):
        path = folder / f"{number}{ending}"
        if ending == ".npy":
            np.save(path, array)
        else:
            layout = "contig" if array.ndim == 3 and array.shape[2] == 5 else None
            pytest.importorskip("tifffile").imwrite(path, array, photometric="minisblack", planarconfig=layout)
        paths.append(str(path))
    return paths


@pytest.mark.parametrize(
    ("shapes", "channels", "frame"),
    [
        ([(SIDE, SIDE)] * 3, None, None),
        ([(SIDE, SIDE, 3)] * 3, None, None),
        ([(1, SIDE, SIDE)] * 3, None, None),
        ([(SIDE, SIDE, 5)] * 3, 5, None),
        ([(6, SIDE, 30)] * 3, 6, None),
        ([(40, SIDE, SIDE)] * 3, None, "middle"),
        ([(SIDE, 30, 7), (SIDE, 30, 9), (SIDE, 30, 12)], None, "middle"),
        ([(7, SIDE, SIDE), (9, SIDE, SIDE), (30, SIDE, SIDE)], None, "middle"),  # two of them might be channels
        ([(4, SIDE, SIDE, 3)] * 3, None, "middle"),
    ],
)
def test_the_shape_of_arrays_decides_channels_and_frames(tmp_path, shapes, channels, frame):
    paths = save_all(tmp_path, [(noise(*shape) * 255).astype(np.uint8) for shape in shapes])
    insides = look_inside(paths)
    assert (insides.channels, insides.frame, insides.white) == (channels, frame, None)
    named = ["channels"] * (channels is not None) + ["frame"] * (frame is not None)
    assert [finding.what for finding in insides.findings] == named
    looks = look_at([[path] for path in paths])
    assert len(looks.mean) == len(looks.std) == looks.channels and looks.number == len(paths)
    assert looks.mean == pytest.approx([0.5] * looks.channels, abs=0.1)


@pytest.mark.parametrize("ending", [".npy", ".tif"])
@pytest.mark.parametrize(
    ("array", "white"),
    [
        (noise(SIDE, SIDE).astype(np.float32), 1),
        ((noise(SIDE, SIDE) * 250).astype(np.float32), 255),
        (np.rint(noise(SIDE, SIDE) * 3000 - 1000).astype(np.int16), "-985..1990"),
        ((noise(SIDE, SIDE, 5) - 0.5).astype(np.float64), "-0.495..0.495"),
        ((noise(SIDE, SIDE) * 250).astype(np.uint8), None),
        ((noise(SIDE, SIDE) * 65535).astype(np.uint16), None),
        ((noise(SIDE, SIDE) * 4000).astype(np.uint16), 4095),
    ],
)
def test_white_is_guessed_from_the_numbers(tmp_path, array, white, ending):
    looks = look_at([[path] for path in save_all(tmp_path, [array], ending)])
    if isinstance(white, str):
        ends = [float(end) for end in str(looks.insides.white).split("..")]
        assert ends == pytest.approx([float(end) for end in white.split("..")], rel=0.03)
    else:
        assert looks.insides.white == white
    assert [finding.what for finding in looks.insides.findings if finding.what == "white"] == ["white"] * (
        white is not None
    )
    assert looks.mean == pytest.approx([0.5] * looks.channels, abs=0.05)


def test_white_is_guessed_for_numbers_that_only_pictures_take_for_16_bits(tmp_path):
    """Otherwise the reader would refuse a file that was accepted here."""
    tifffile = pytest.importorskip("tifffile")
    numbers = np.rint(noise(SIDE, SIDE) * 3000)
    np.save(tmp_path / "a.npy", numbers.astype(np.int16))
    tifffile.imwrite(tmp_path / "a.tif", numbers.astype(">u4"), byteorder=">")
    for path in sorted(tmp_path.iterdir()):
        looks = look_at([[str(path)]])
        low, high = (float(end) for end in str(looks.insides.white).split(".."))
        assert (low, high) == pytest.approx((15, 2985), abs=20), path.name


def test_pages_of_a_tiff_are_channels_or_a_stack(tmp_path):
    few = save_all(tmp_path, [(noise(5, SIDE, 30) * 255).astype(np.uint8)] * 2, ".tif")
    assert (look_inside(few).channels, look_inside(few).frame) == (5, None)
    many = save_all(tmp_path, [(noise(20, SIDE, 30) * 255).astype(np.uint8)] * 2, ".tif")
    assert (look_inside(many).channels, look_inside(many).frame) == (None, "middle")


def test_pictures_need_nothing(tmp_path):
    Image.fromarray((noise(SIDE, SIDE, 3) * 255).astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray((noise(SIDE, SIDE, 4) * 255).astype(np.uint8)).save(tmp_path / "b.tif")
    assert look_inside([str(tmp_path / "a.png"), str(tmp_path / "b.tif"), str(tmp_path / "none.png")]) == Insides()


def write_dicom(path, *, frames=1, window=True):
    pytest.importorskip("pydicom")
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    array = np.rint(noise(*([frames] if frames > 1 else []), SIDE, 30, seed=int(path.stem[-1])) * 4095).astype(
        np.uint16
    )
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.NumberOfFrames = SIDE, 30, 1, frames
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    if window:
        dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = array.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path, enforce_file_format=True)
    return str(path)


def test_dicom_files_contain_their_white(tmp_path):
    single = [write_dicom(tmp_path / f"{number}.dcm", window=number > 1) for number in range(3)]
    assert look_inside(single) == Insides()
    looks = look_at([[path] for path in single])
    assert looks.grey and looks.size == (SIDE, 30) and looks.mean == pytest.approx([0.5], abs=0.03)
    assert look_inside([write_dicom(tmp_path / "7.dcm", frames=6)]).frame == "middle"


def test_a_missing_library_is_reported_in_one_line_with_the_number_of_files(tmp_path, monkeypatch):
    paths = [write_dicom(tmp_path / f"{number}.dcm") for number in range(3)]
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    for name in [
        name for name in sys.modules if name == "pydicom" or name.startswith(("pydicom.", "imettk.data.dicom"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(
        DataError, match=r"3 of 4 images have the extension \.dcm; .*: a DICOM file .*pip install .pydicom>=3"
    ):
        look_at([[path] for path in [*paths, str(tmp_path / "a.png")]])


@pytest.mark.parametrize("kind", ["npy", "tif", "dcm"])
def test_from_a_folder_to_a_cache_equal_to_the_files(tmp_path, monkeypatch, capsys, kind):
    (tmp_path / "data" / "train").mkdir(parents=True)
    lines = ["id,label"]
    for number in range(24):
        path: Path = tmp_path / "data" / "train" / f"s{number:02d}.{kind}"
        if kind == "dcm":
            write_dicom(path)
        else:
            save_all(path.parent, [noise(SIDE, SIDE, 5, seed=number).astype(np.float64)], f".{kind}")
            (path.parent / f"0.{kind}").rename(path)
        lines.append(f"s{number:02d},{'owl' if number % 2 else 'hen'}")
    (tmp_path / "data" / "train.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    run("new", "mine", "--data", "data")
    printed = capsys.readouterr().out
    assert ("grey" if kind == "dcm" else "5 channels") in printed
    images = load_recipe("mine.py").images
    assert (images.channels, images.white) == ((1, None) if kind == "dcm" else (5, 1))
    common = ["--data", "data", "--run-dir", "run"]
    run("prepare", "mine.py", *common, *TINY, *SMALL)
    directory = RunDir(tmp_path / "run")
    recipe = directory.recipe()
    table = read_table(recipe.table, Path("data"))
    cached = open_source(recipe, table, Path("data"), directory)
    assert cached.num_cached == 24
    for row in (0, 23):
        np.testing.assert_array_equal(cached.read(row), cached._reader.read(cached.path(row)))
    index = tmp_path / "run" / "cache" / "index.json"
    stored = json.loads(index.read_text())
    earlier = stored | {"key": cache_key(cached._reader, stored["kind"], recipe.cache.quality)}
    index.write_text(json.dumps(earlier))  # as written by a version that read some TIFF files otherwise
    assert open_source(recipe, table, Path("data"), directory).num_cached == (0 if kind == "tif" else 24)
    assert ("by a version that read files differently" in capsys.readouterr().out) == (kind == "tif")
    (tmp_path / "data" / "train" / f"s07.{kind}").write_text("<html>gone</html>")
    line = refused(capsys, "prepare", "mine.py", *common, *TINY, *SMALL)
    assert "1 of 24 train images cannot be read" in line
    assert "it is an HTML page" in (tmp_path / "run" / "bad_images.csv").read_text()
