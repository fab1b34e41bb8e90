"""DICOM files written by pydicom look as its own functions show them, or return their rescaled values."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from imettk.data.file_facts import FileFacts
from imettk.data.pixel_values import ValueRange
from imettk.data.reader import ImageReader
from imettk.errors import DataError

pydicom = pytest.importorskip("pydicom")
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array  # noqa: E402
from pydicom.uid import (  # noqa: E402
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

SIZE = (64, 80)
PLAIN = ExplicitVRLittleEndian


def values(bits, *, signed=False, shape=SIZE):
    """Return the full range of a file's type on a slope, so that windows clip some of it."""
    low = -(2 ** (bits - 1)) if signed else 0
    kind = "i" if signed else "u"
    return (
        np.linspace(low, low + 2**bits - 1, int(np.prod(shape))).astype(f"{kind}{1 if bits <= 8 else 2}").reshape(shape)
    )


def make(array, *, bits=12, photometric="MONOCHROME2", syntax=PLAIN, compress=None, **tags):
    """Return a dataset of one or several frames that satisfies the standard."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Modality = "OT"
    is_colour = photometric in ("RGB", "YBR_FULL", "YBR_FULL_422")
    dataset.Rows, dataset.Columns = array.shape[-3:-1] if is_colour else array.shape[-2:]
    if array.ndim == (4 if is_colour else 3):
        dataset.NumberOfFrames = len(array)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3 if is_colour else 1), photometric
    if is_colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * array.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.PixelData = array.astype(array.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OB" if array.itemsize == 1 else "OW"
    for name, value in tags.items():
        setattr(dataset, name, value)
    if compress is not None:
        dataset.compress(compress, generate_instance_uid=False)
    return dataset


def save(path, dataset, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path, **{"enforce_file_format": True, **options})


def lut(entries, first, bits, name):
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = list(entries)
    item["LUTData"].VR = "US"
    return {name: pydicom.Sequence([item])}


def shown(dataset, low, high, index=0):
    """Return what a viewer shows according to pydicom's functions, float, 0 to 255."""
    out = apply_voi_lut(apply_modality_lut(pixel_array(dataset, index=index), dataset), dataset)
    grey = np.clip((out.astype(np.float64) - low) / (high - low), 0, 1) * 255
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def read(path, channels=1, white=None, frame=None, facts=None):
    reader = ImageReader(size=SIZE, channels=channels, white=white and ValueRange(*white), frame=frame)
    return reader.read(str(path), facts=facts)


WINDOWS = [
    {},
    {"WindowCenter": 700, "WindowWidth": 900},
    {"WindowCenter": [700, 40], "WindowWidth": [900, 80]},
    {"WindowCenter": 700, "WindowWidth": 900, "VOILUTFunction": "LINEAR_EXACT"},
    {"WindowCenter": 700, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
    {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400},
    {"RescaleSlope": 0.5, "RescaleIntercept": 3},
    {"WindowCenter": 700, "WindowWidth": 1},
    {"WindowCenter": None, "WindowWidth": None},
]


@pytest.mark.parametrize("tags", WINDOWS, ids=str)
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (16, False), (12, True), (16, True)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_grey_files_are_shown_as_pydicom_shows_them(tmp_path, tags, bits, signed, photometric):
    array = values(bits, signed=signed)
    dataset = make(array, bits=bits, photometric=photometric, **tags)
    save(tmp_path / "a.dcm", dataset)
    slope, intercept = tags.get("RescaleSlope", 1), tags.get("RescaleIntercept", 0)
    expected = shown(dataset, int(array.min()) * slope + intercept, int(array.max()) * slope + intercept)
    pixels = read(tmp_path / "a.dcm")[:, :, 0]
    assert np.abs(pixels - expected).max() <= 0.5 + 1e-6
    np.testing.assert_array_equal(read(tmp_path / "a.dcm", 3), np.repeat(pixels[:, :, None], 3, 2))


@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
def test_tables_of_a_file_are_followed(tmp_path, kind):
    entries = np.linspace(0, 1, 1000) ** 2 * 4095
    dataset = make(values(12), **lut(entries.astype(int).tolist(), 500, 12 if kind[0] == "V" else 16, kind))
    save(tmp_path / "a.dcm", dataset)
    expected = shown(dataset, 0, 4095 if kind[0] == "V" else 65535)
    assert np.abs(read(tmp_path / "a.dcm")[:, :, 0] - expected).max() <= 0.5 + 1e-6


def test_a_range_of_the_recipe_replaces_the_window(tmp_path):
    array = values(12, signed=True)
    for tags in ({"RescaleSlope": 1, "RescaleIntercept": -1024}, {"RescaleSlope": 0.3, "RescaleIntercept": 7}, {}):
        save(tmp_path / "a.dcm", make(array, WindowCenter=40, WindowWidth=80, **tags))
        units = array * tags.get("RescaleSlope", 1) + tags.get("RescaleIntercept", 0)
        facts = FileFacts()
        pixels = read(tmp_path / "a.dcm", white=(-160, 240), facts=facts)[:, :, 0]
        assert np.abs(pixels - np.clip((units + 160) / 400, 0, 1) * 255).max() <= 0.5 + 1e-3
        assert facts.brightest == pytest.approx(units.max())
        np.testing.assert_allclose(ImageReader(size=SIZE).read_numbers(str(tmp_path / "a.dcm")), units, rtol=1e-6)
    save(tmp_path / "a.dcm", make(array, photometric="MONOCHROME1"))
    assert np.abs(read(tmp_path / "a.dcm", white=(-160, 240))[:, :, 0] + pixels.astype(int) - 255).max() <= 1


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_way_to_write_it_gives_the_same(tmp_path, syntax):
    array, tags = values(12, signed=True), {"WindowCenter": 0, "WindowWidth": 900}
    save(tmp_path / "a.dcm", make(array, **tags))
    save(tmp_path / "b.dcm", make(array, syntax=syntax, **tags))
    np.testing.assert_array_equal(read(tmp_path / "a.dcm"), read(tmp_path / "b.dcm"))


@pytest.mark.parametrize("compress", [JPEG2000Lossless, RLELossless])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_compressed_files_give_the_same(tmp_path, compress, bits):
    array, tags = values(bits), {"WindowCenter": 100, "WindowWidth": 150}
    save(tmp_path / "a.dcm", make(array, bits=bits, **tags))
    save(tmp_path / "b.dcm", make(array, bits=bits, compress=compress, **tags))
    np.testing.assert_array_equal(read(tmp_path / "a.dcm"), read(tmp_path / "b.dcm"))


def test_lossless_jpeg_gives_the_same(tmp_path):
    gdcm = pytest.importorskip("gdcm")
    save(tmp_path / "a.dcm", make(values(12), WindowCenter=900, WindowWidth=1500))
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(tmp_path / "a.dcm"))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(tmp_path / "b.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert pydicom.dcmread(tmp_path / "b.dcm").file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    np.testing.assert_array_equal(read(tmp_path / "a.dcm"), read(tmp_path / "b.dcm"))


def test_a_jpeg_within_is_read(tmp_path):
    file = io.BytesIO()
    Image.fromarray(values(8)).save(file, "JPEG", quality=95)
    dataset = make(values(8), bits=8, syntax=JPEGBaseline8Bit)
    dataset.PixelData = encapsulate([file.getvalue()])
    save(tmp_path / "a.dcm", dataset)
    assert np.abs(read(tmp_path / "a.dcm")[:, :, 0].astype(int) - values(8)).max() <= 8


def test_colours_are_rgb(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    save(tmp_path / "a.dcm", make(colour, bits=8, photometric="RGB"))
    np.testing.assert_array_equal(read(tmp_path / "a.dcm", 3), colour)
    ybr = np.asarray(Image.fromarray(colour).convert("YCbCr"))
    save(tmp_path / "a.dcm", make(ybr, bits=8, photometric="YBR_FULL"))
    assert np.abs(read(tmp_path / "a.dcm", 3).astype(int) - colour).max() <= 3
    save(tmp_path / "a.dcm", make(colour.astype(np.uint16) << 4, bits=12, photometric="RGB"))
    assert np.abs(read(tmp_path / "a.dcm", 3).astype(int) - colour).max() <= 1


def test_palettes_are_followed(tmp_path):
    palette = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype("<u2")
    names = ("Red", "Green", "Blue")
    tags = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in names}
    tags |= {f"{name}PaletteColorLookupTableData": part.tobytes() for name, part in zip(names, palette, strict=True)}
    array = values(8)
    save(tmp_path / "a.dcm", make(array, bits=8, photometric="PALETTE COLOR", **tags))
    expected = np.rint(np.moveaxis(palette[:, array], 0, 2) / 257)
    np.testing.assert_array_equal(read(tmp_path / "a.dcm", 3), expected)


def test_frame_says_which(tmp_path):
    stack = np.stack([np.full(SIZE, level, np.uint16) for level in (0, 819, 1638, 4095)])
    for compress in (None, RLELossless):
        save(tmp_path / "a.dcm", make(stack, compress=compress))
        assert [read(tmp_path / "a.dcm", frame=frame)[0, 0, 0] for frame in (0, 1, "middle", -1)] == [0, 51, 102, 255]
        with pytest.raises(DataError, match=r"a\.dcm .*it holds 4 frames: select one with `--images.frame middle`"):
            read(tmp_path / "a.dcm")
        with pytest.raises(DataError, match=r"a\.dcm .*it holds 4 frames, and `images.frame` is 4"):
            read(tmp_path / "a.dcm", frame=4)
    save(tmp_path / "a.dcm", make(stack[:1]))
    assert read(tmp_path / "a.dcm").max() == 0


def test_a_file_that_is_too_large_is_refused_by_its_header(tmp_path):
    save(tmp_path / "a.dcm", make(values(12), compress=RLELossless))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.Rows = dataset.Columns = 60_000
    save(tmp_path / "a.dcm", dataset)
    with pytest.raises(DataError, match=r"a\.dcm .*it has 60000 x 60000 pixels, more than the limit of \d+"):
        read(tmp_path / "a.dcm")


def test_frames_may_have_a_rescale_and_a_window_of_their_own(tmp_path):
    def group(name, **tags):
        outer, inner = pydicom.Dataset(), pydicom.Dataset()
        for tag, value in tags.items():
            setattr(inner, tag, value)
        setattr(outer, name, pydicom.Sequence([inner]))
        return outer

    stack = np.stack([values(12)] * 3)
    rescale = group("PixelValueTransformationSequence", RescaleSlope=1, RescaleIntercept=-1024)
    windows = [group("FrameVOILUTSequence", WindowCenter=40 + 300 * number, WindowWidth=400) for number in range(3)]
    save(
        tmp_path / "a.dcm",
        make(
            stack,
            SharedFunctionalGroupsSequence=pydicom.Sequence([rescale]),
            PerFrameFunctionalGroupsSequence=pydicom.Sequence(windows),
        ),
    )
    for place in range(3):
        plain = make(
            stack[place], RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40 + 300 * place, WindowWidth=400
        )
        save(tmp_path / "b.dcm", plain)
        np.testing.assert_array_equal(read(tmp_path / "a.dcm", frame=place), read(tmp_path / "b.dcm"))
    hu = read(tmp_path / "a.dcm", frame=0, white=(-1024, 3071))[:, :, 0]
    assert np.abs(hu - stack[0] / 4095 * 255).max() <= 0.5 + 1e-3


def test_a_file_is_told_by_its_content_with_or_without_a_preamble(tmp_path):
    save(tmp_path / "a.dcm", make(values(12)))
    content = (tmp_path / "a.dcm").read_bytes()
    expected = read(tmp_path / "a.dcm")
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b.png").write_bytes(content[132:])
    dataset = make(values(12), syntax=ImplicitVRLittleEndian)
    del dataset.file_meta
    save(tmp_path / "c.dcm", dataset, enforce_file_format=False, implicit_vr=True, little_endian=True)
    assert not (tmp_path / "c.dcm").read_bytes()[128:].startswith(b"DICM")
    for name in ("a", "b.png", "c.dcm"):
        np.testing.assert_array_equal(read(tmp_path / name), expected)
    Image.fromarray(values(8)).save(tmp_path / "d.png")
    (tmp_path / "d.png").rename(tmp_path / "d.dcm")  # a picture all the same
    np.testing.assert_array_equal(read(tmp_path / "d.dcm")[:, :, 0], values(8))


def test_bad_files_are_one_line(tmp_path):
    dataset = make(values(12))
    save(tmp_path / "a.dcm", dataset)
    content = (tmp_path / "a.dcm").read_bytes()
    save(tmp_path / "b.dcm", make(values(12), compress=JPEG2000Lossless))
    packed = (tmp_path / "b.dcm").read_bytes()
    del dataset.PixelData
    save(tmp_path / "c.dcm", dataset)
    save(tmp_path / "d.dcm", make(values(12), WindowCenter=3, WindowWidth=0))
    for bad, message in (
        (content[:-9], "its pixels cannot be read"),
        (content[: len(content) // 2], "its pixels cannot be read"),
        (packed[: len(packed) // 2], "truncated before them|its pixels cannot be read|damaged DICOM"),
        (content[:140], "damaged DICOM|without pixels"),
        (content[:132], "without pixels"),
        (content[:60] + bytes(9000), ""),
        ((tmp_path / "c.dcm").read_bytes(), r"a DICOM file without pixels \(its modality is OT\)"),
        ((tmp_path / "d.dcm").read_bytes(), "Window Width must be greater"),
    ):
        (tmp_path / "bad.dcm").write_bytes(bad)
        with pytest.raises(DataError, match=rf"bad\.dcm \({len(bad)} bytes\): .*({message})") as raised:
            read(tmp_path / "bad.dcm")
        assert "\n" not in str(raised.value)


def test_nothing_is_printed_of_what_can_be_read(tmp_path, capfd, recwarn):
    dataset = make(values(12))
    dataset.PixelData += bytes(10)
    dataset.add_new("WindowCenter", "DS", "700")
    dataset.add_new("WindowWidth", "DS", "900")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.add_new("PatientBirthDate", "DA", "yesterday")
    save(tmp_path / "a.dcm", dataset)
    read(tmp_path / "a.dcm")
    assert capfd.readouterr() == ("", "") and not recwarn.list
