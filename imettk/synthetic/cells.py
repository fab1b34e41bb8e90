"""A small competition of drawn cells in HPA 2018's file format: four grey files per image, and copies among them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import pandas as pd

from imettk.errors import DataError

COLOURS = ("red", "green", "blue", "yellow")
NUM_LABELS = (0.5, 0.4, 0.1)  # shares of images with 1 to 3 labels
COPIES = 0.05  # share of images that are near-duplicates of training images
TEST_COPIES = 2  # near-duplicates in the test set
ANTIBODY_IMAGES = 4  # external images per antibody


class Pattern(NamedTuple):
    """A class: its frequency, and the region and texture of its protein.

    Attributes:
        rows: number of rows in the real training set.
        texture: `rays` lead across the region, `arcs` along it, `chords` connect points of it.
        low, high: the region, from 0 at the centre of the nucleus through 1 at its rim to 2 at the edge of the cell.
        number: number of dots, rings or lines in each cell.
        size: their radius or thickness in pixels of a 96 pixel image.
        aside: the protein is on one side of the nucleus only.
        length: length of arcs, in radians.
    """

    rows: int
    texture: Literal["fill", "outline", "dots", "rings", "rays", "arcs", "chords"]
    low: float
    high: float
    number: int = 1
    size: int = 1
    aside: bool = False
    length: float = 1.4


PATTERNS = (
    Pattern(12885, "fill", 0.0, 0.95),  # 0 nucleoplasm
    Pattern(1254, "outline", 1.0, 1.0, size=2),  # 1 nuclear membrane
    Pattern(3621, "dots", 0.2, 0.5, 2, 3),  # 2 nucleoli
    Pattern(1561, "rings", 0.2, 0.5, 2, 3),  # 3 nucleoli, fibrillar centre
    Pattern(1858, "dots", 0.1, 0.85, 14, 1),  # 4 nuclear speckles
    Pattern(2513, "dots", 0.5, 0.9, 5, 2),  # 5 nuclear bodies
    Pattern(1008, "fill", 1.05, 1.5),  # 6 endoplasmic reticulum
    Pattern(2822, "dots", 1.2, 1.5, 7, 2, aside=True),  # 7 Golgi
    Pattern(53, "dots", 1.1, 1.9, 40, 1),  # 8 peroxisomes
    Pattern(45, "dots", 1.1, 1.4, 10, 2),  # 9 endosomes
    Pattern(28, "dots", 1.5, 1.9, 18, 2),  # 10 lysosomes
    Pattern(1093, "arcs", 1.1, 1.8, 9),  # 11 intermediate filaments
    Pattern(688, "chords", 2.0, 2.0, 8),  # 12 actin filaments
    Pattern(537, "rays", 1.75, 2.0, 14, 2),  # 13 focal adhesion sites
    Pattern(1066, "rays", 1.0, 2.0, 26),  # 14 microtubules
    Pattern(21, "dots", 1.9, 2.0, 24, 1),  # 15 microtubule ends
    Pattern(530, "rays", 2.0, 2.6, 2, 3),  # 16 cytokinetic bridge
    Pattern(210, "chords", 1.0, 1.0, 7),  # 17 mitotic spindle
    Pattern(902, "rays", 1.0, 1.5, 5, 1, aside=True),  # 18 microtubule organising centre
    Pattern(1482, "dots", 1.1, 1.2, 2, 2, aside=True),  # 19 centrosome
    Pattern(172, "rings", 1.2, 1.8, 9, 2),  # 20 lipid droplets
    Pattern(3777, "outline", 2.0, 2.0, size=2),  # 21 plasma membrane
    Pattern(802, "arcs", 2.0, 2.0, 2, 4),  # 22 cell junctions
    Pattern(2965, "arcs", 1.15, 1.85, 22, 1, length=0.3),  # 23 mitochondria
    Pattern(322, "dots", 1.4, 1.5, 1, 5, aside=True),  # 24 aggresome
    Pattern(8228, "fill", 1.0, 1.95),  # 25 cytosol
    Pattern(328, "dots", 1.2, 1.8, 5, 3),  # 26 cytoplasmic bodies
    Pattern(11, "rings", 1.3, 1.7, 3, 5),  # 27 rods and rings
)
# The patterns of the red, blue and yellow planes of every image; the green one shows the protein.
MICROTUBULES, NUCLEUS, HAZE = Pattern(0, "rays", 0.9, 1.95, 22), Pattern(0, "fill", 0, 1), Pattern(0, "fill", 1, 1.9)


class Subject(NamedTuple):
    """The properties shared by images of one antibody: labels and cell line; radii are shares of the image's side."""

    labels: list[int]
    num_cells: int
    nucleus: float
    edge: float


class Sample(NamedTuple):
    """An image: its id, its subject, and its red, green, blue and yellow planes, uint8 (4, side, side)."""

    name: str
    subject: Subject
    planes: np.ndarray


class Cell(NamedTuple):
    """The outline of a cell; `aside` is the angle of the side of the nucleus on which some proteins lie."""

    centre: np.ndarray
    nucleus: float
    edge: float
    squash: float
    tilt: float
    aside: float

    def at(self, levels: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """Return points (x, y), int32 (..., 2), at levels from 0 (centre) over 1 (rim of the nucleus) to 2 (edge)."""
        radius = np.interp(levels, [0, 1, 2, 3], [0, self.nucleus, self.edge, 2 * self.edge])
        radius = radius * (1 + 0.06 * np.minimum(levels, 2) * np.sin(3 * angles + self.aside))
        along = np.exp(1j * angles)
        points = radius * (along.real + 1j * self.squash * along.imag) * np.exp(1j * self.tilt)
        return np.round(np.stack([points.real, points.imag], -1) + self.centre).astype(np.int32)


def make_cells(
    data_dir: Path,
    answers_csv: Path,
    *,
    num_train: int = 200,
    num_external: int = 60,
    num_test: int = 60,
    side: int = 96,
    seed: int = 0,
) -> None:
    """Lay out a multi-label competition of drawn cells in HPA 2018's format.

    The external and the test set contain near-duplicates of training images: brighter or darker, shifted by a pixel in
    each direction, with other noise. External images come in fours with the same antibody, the second part of their
    id: they share labels and cell line, and the first may be such a copy. Labels are as frequent as in the real
    training set.

    Args:
        data_dir: receives `train.csv`, `external.csv`, `sample_submission.csv` and the folders `train`, `external` and
            `test`; must not exist yet.
        answers_csv: receives the labels of the test images, in the format of `train.csv`.
        num_train: with 28 or more, every class has at least one row.
        side: side of the images in pixels.
    """
    if data_dir.exists():
        raise DataError(f"{data_dir} exists already; give another folder, or remove it to make the competition again")
    rng = np.random.default_rng(seed)
    # Each class is dealt to one training row, so that none is missing; all other labels are random.
    dealt = dict(zip(rng.permutation(num_train).tolist(), range(len(PATTERNS)), strict=False))
    train = [_sample(_uuid(rng), _subject(rng, dealt.get(row)), side, rng) for row in range(num_train)]
    copied = [train[row] for row in rng.permutation(num_train)]
    num_copies = round(COPIES * (num_train + num_external + num_test)) - TEST_COPIES
    external = _external(num_external, copied[TEST_COPIES:][: max(0, num_copies)], side, rng)
    test = [_copy(original, _uuid(rng), rng) for original in copied[: min(TEST_COPIES, num_test)]]
    test += [_sample(_uuid(rng), _subject(rng), side, rng) for _ in range(num_test - len(test))]

    _write(data_dir / "train", train).to_csv(data_dir / "train.csv", index=False)
    _write(data_dir / "external", external).to_csv(data_dir / "external.csv", index=False)
    answers = _write(data_dir / "test", test)
    sample = pd.DataFrame({"Id": answers["Id"], "Predicted": "0"})  # the real column is not called Target either
    sample.to_csv(data_dir / "sample_submission.csv", index=False)
    answers_csv.parent.mkdir(parents=True, exist_ok=True)
    answers.to_csv(answers_csv, index=False)


def _external(count: int, copied: list[Sample], side: int, rng: np.random.Generator) -> list[Sample]:
    """Draw images of several antibodies; the first image of each of the first antibodies copies one of `copied`."""
    samples: list[Sample] = []
    for antibody in range(-(-count // ANTIBODY_IMAGES)):
        original = copied[antibody] if antibody < len(copied) else None
        subject = original.subject if original else _subject(rng)
        prefix = f"ENSG{rng.integers(1000, 280000):011d}_{1000 + 7 * antibody + rng.integers(7)}"
        for site in range(1, min(ANTIBODY_IMAGES, count - len(samples)) + 1):
            name = f"{prefix}_{rng.integers(100, 1000)}_{'ABCDEFGH'[rng.integers(8)]}{rng.integers(1, 13)}_{site}"
            if site == 1 and original:
                samples.append(_copy(original, name, rng))
            else:
                samples.append(_sample(name, subject, side, rng))
    return samples


def _subject(rng: np.random.Generator, label: int | None = None) -> Subject:
    """Make a subject with random labels, this one among them if given."""
    rows = np.array([pattern.rows for pattern in PATTERNS])
    count = int(rng.choice(len(NUM_LABELS), p=NUM_LABELS)) + 1
    labels = rng.choice(len(PATTERNS), count, replace=False, p=rows / rows.sum()).tolist()
    if label is not None and label not in labels:
        labels[0] = label
    nucleus = rng.uniform(0.095, 0.115)
    return Subject(sorted(labels), int(rng.integers(2, 5)), nucleus, nucleus * rng.uniform(1.9, 2.2))


def _uuid(rng: np.random.Generator) -> str:
    """Return a random id in the form of a UUID."""
    digits = rng.bytes(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _sample(name: str, subject: Subject, side: int, rng: np.random.Generator) -> Sample:
    """Draw an image of a subject."""
    cells = []
    # A quarter of the image for each cell: they overlap little, and some are cut off, as in real images.
    for quarter in rng.permutation(4)[: subject.num_cells]:
        centre = side * (0.25 + 0.5 * np.array(divmod(quarter, 2)) + rng.uniform(-0.08, 0.08, 2))
        turn, aside = rng.uniform(0, 2 * np.pi, 2)
        cells.append(Cell(centre, side * subject.nucleus, side * subject.edge, rng.uniform(0.75, 1), turn, aside))
    microtubules = _draw(MICROTUBULES, cells, side, rng)
    nuclei = _draw(NUCLEUS, cells, side, rng)
    haze = cv2.GaussianBlur(_draw(HAZE, cells, side, rng), (0, 0), side / 32)
    protein = np.zeros((side, side), np.float32)
    for label in subject.labels:
        protein += rng.uniform(0.8, 1.0) * _draw(PATTERNS[label], cells, side, rng)
    planes = np.stack([0.7 * microtubules, protein, nuclei, 0.8 * haze])
    return Sample(name, subject, _exposed(planes, rng))


def _copy(original: Sample, name: str, rng: np.random.Generator) -> Sample:
    """Make a near-duplicate: another brightness, a shift by a pixel in each direction, other noise."""
    moved = np.roll(original.planes, rng.choice([-1, 1], 2), (1, 2)).astype(np.float32)
    return Sample(name, original.subject, _exposed(moved * rng.uniform(0.85, 1.1), rng))


def _exposed(planes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add noise, and return the planes as uint8."""
    noise = 6 + 3 * rng.standard_normal(planes.shape, np.float32)
    return np.clip(planes + noise, 0, 255).astype(np.uint8)


def _draw(pattern: Pattern, cells: list[Cell], side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one pattern in every cell, float32 (side, side), 0 to 255."""
    canvas = np.zeros((side, side), np.uint8)
    size = max(1, round(pattern.size * side / 96))
    circle, steps = np.linspace(0, 2 * np.pi, 40), np.linspace(0, 1, 8)
    for cell in cells:
        levels = rng.uniform(pattern.low, pattern.high, pattern.number)
        angles = cell.aside + rng.uniform(-0.5, 0.5, pattern.number) * (1.2 if pattern.aside else 2 * np.pi)
        around = cell.at(np.full(40, pattern.high), circle)
        match pattern.texture:
            case "fill":
                cv2.fillPoly(canvas, [around], 120, cv2.LINE_AA)
                cv2.fillPoly(canvas, [cell.at(np.full(40, pattern.low), circle)], 0, cv2.LINE_AA)
                continue
            case "dots" | "rings":
                thickness = -1 if pattern.texture == "dots" else 1
                for point in cell.at(levels, angles).tolist():
                    cv2.circle(canvas, point, size, 230, thickness, cv2.LINE_AA)
                continue
            case "outline":
                lines = around[None]
            case "rays":
                lines = cell.at(pattern.low + (pattern.high - pattern.low) * steps, angles[:, None] + 0.2 * steps)
            case "arcs":
                lines = cell.at(levels[:, None], angles[:, None] + pattern.length * steps)
            case "chords":  # parallel within a cell
                lines = cell.at(levels[:, None], np.stack([angles, 2 * cell.aside + np.pi - angles], 1))
        cv2.polylines(canvas, list(lines), False, 200, size, cv2.LINE_AA)
    return canvas.astype(np.float32)


def _write(folder: Path, samples: list[Sample]) -> pd.DataFrame:
    """Write four grey files for each sample, and return the table, sorted by id."""
    folder.mkdir(parents=True)
    for sample in samples:
        for colour, plane in zip(COLOURS, sample.planes, strict=True):
            cv2.imwrite(str(folder / f"{sample.name}_{colour}.png"), plane, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    rows = [{"Id": sample.name, "Target": " ".join(map(str, sample.subject.labels))} for sample in samples]
    return pd.DataFrame(rows, columns=["Id", "Target"]).sort_values("Id", ignore_index=True)
