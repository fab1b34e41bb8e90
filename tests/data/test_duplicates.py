"""Pairs equal those of brute force; copies of real photos are found, and look-alikes judged by eye are not."""

import cv2
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from image_samples import DATA, photos
from PIL import Image

from imettk.data import duplicates as module
from imettk.data.duplicates import (
    Pair,
    answers_of_duplicates,
    components,
    find_duplicates,
    merge_groups,
    near_pairs,
    rows_to_drop,
    second_look,
    similar_pairs,
)
from imettk.data.hashes import THUMB, hash_images
from imettk.data.reader import ImageReader


def bits(one, other):
    return (int(one) ^ int(other)).bit_count()


def hashed(paths, **options):
    reader = ImageReader(size=(THUMB, THUMB))
    return hash_images(lambda row: reader.read(str(paths[row])), [[str(path)] for path in paths], **options)


def found(hashes, same_pixels=lambda a, b: False, **options):
    return {(pair.first, pair.second): pair for pair in find_duplicates(hashes, same_pixels, **options) if pair.same}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("old_numpy", [False, True])
def test_pairs_are_those_of_brute_force(monkeypatch, channels, old_numpy):
    if old_numpy:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    monkeypatch.setattr(module, "BLOCK", 16)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, (90, channels), np.uint64)
    for row in range(40, 90):  # neighbours at every distance up to 20
        flips = rng.choice(64, (channels, row % 20 + 1))
        for channel in range(channels):
            hashes[row, channel] = hashes[row - 40, channel] ^ np.bitwise_or.reduce(
                np.uint64(1) << flips[channel].astype(np.uint64)
            )
    mirrored = rng.permutation(hashes)
    for others in (hashes, mirrored):
        expected = {}
        for a in range(90):
            for b in range(a + 1, 90):
                distance = max(bits(hashes[a, c], others[b, c]) for c in range(channels))
                if distance <= 12:
                    expected[a, b] = distance
        pairs, distances = near_pairs(hashes, others, 12)
        assert dict(zip(map(tuple, pairs.tolist()), distances.tolist(), strict=True)) == expected and expected


@pytest.mark.parametrize("count", [0, 1])
def test_no_pairs_of_nothing(count):
    pairs, distances = near_pairs(np.zeros((count, 1), np.uint64), np.zeros((count, 1), np.uint64), 12)
    assert pairs.shape == (0, 2) and distances.shape == (0,)
    pairs, values = similar_pairs(np.zeros((count, 3), np.float32), 0.5)
    assert pairs.shape == (0, 2) and values.shape == (0,)


def test_similar_embeddings_are_those_of_the_whole_matrix(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    embeddings = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    pairs, values = similar_pairs(embeddings, 0.8)
    matrix = np.triu(embeddings @ embeddings.T, 1)
    assert set(map(tuple, pairs.tolist())) == set(map(tuple, np.argwhere(matrix >= 0.8).tolist())) and len(pairs)
    np.testing.assert_allclose(values, matrix[pairs[:, 0], pairs[:, 1]], rtol=1e-5)


def change(image, how):
    height, width = image.shape[:2]
    return {
        "saved": lambda: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 25])[1], 1),
        "smaller": lambda: cv2.resize(image, (width // 3, height // 3), interpolation=cv2.INTER_AREA),
        "mirrored": lambda: image[:, ::-1],
        "darker": lambda: (image * 0.6).astype(np.uint8),
        "cut by 5%": lambda: image[height // 20 : -height // 20, width // 20 : -width // 20],
        "cut": lambda: image[height // 40 : -height // 50, width // 30 : -width // 60],
    }[how]()


@pytest.mark.parametrize("how", ["saved", "smaller", "mirrored", "darker", "cut", "cut by 5%"])
def test_copies_of_photos_are_found_and_other_photos_are_not(tmp_path, how):
    originals = photos(40, first=300)
    copies = [tmp_path / f"{number}.png" for number in range(40)]
    for path, copy in zip(originals, copies, strict=True):
        cv2.imwrite(str(copy), change(cv2.imread(str(path)), how))
    pairs = found(hashed([*originals, *copies]))
    assert len(set(pairs) & {(row, row + 40) for row in range(40)}) >= (36 if how == "cut by 5%" else 38)
    assert {(a % 40, b % 40) for a, b in pairs} <= {(row, row) for row in range(40)}
    assert all(pair.kind == "near" and pair.mirrored == (how == "mirrored") for pair in pairs.values())


def test_proposed_pairs_get_a_second_look_whatever_their_hashes_say(tmp_path):
    originals = photos(6)
    pixels = cv2.imread(str(originals[0]))
    high, wide = (side // 12 for side in pixels.shape[:2])
    cv2.imwrite(str(tmp_path / "cut.png"), pixels[high:-high, wide:-wide])
    cv2.imwrite(str(tmp_path / "mirrored.png"), pixels[high:-high, wide:-wide][:, ::-1])
    (tmp_path / "bad.png").write_bytes(b"")
    hashes = hashed([*originals, tmp_path / "cut.png", tmp_path / "mirrored.png", tmp_path / "bad.png"])
    assert set(found(hashes, limit=0)) <= {(6, 7)}, "by hashes alone the cut ones are not found"
    proposed = np.array([(0, 1), (2, 3), (0, 6), (0, 7), (0, 8)])
    pairs = found(hashes, limit=0, proposed=proposed)
    assert {(0, 6), (0, 7)} <= set(pairs) <= {(0, 6), (0, 7), (6, 7)}
    assert not pairs[0, 6].mirrored and pairs[0, 7].mirrored
    assert pairs[0, 6].distance == bits(hashes.perceptual[0, 0], hashes.perceptual[6, 0]) > 0


def test_pairs_judged_by_eye():
    frame = pd.read_csv((DATA / "clothing") / "near_dup_pairs.csv") if photos(1) else None
    names = sorted({*frame["image_a"], *frame["image_b"]})
    pairs = found(hashed([(DATA / "clothing") / "images" / f"{name}.jpg" for name in names]))
    ours = {frozenset((names[a], names[b])) for a, b in pairs}
    sure = frame[frame["verdict_by_eye"] != "unsure"]
    for first, second, verdict in sure[["image_a", "image_b", "verdict_by_eye"]].to_numpy():
        assert (frozenset((first, second)) in ours) == (verdict == "duplicate"), (first, second)


def test_bytes_pixels_and_unreadable_files(tmp_path):
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (90, 80), interpolation=cv2.INTER_CUBIC)
    nearly = pixels.copy()
    nearly[3, 3] ^= 1
    Image.fromarray(pixels).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes())
    Image.fromarray(pixels).save(tmp_path / "2.bmp")
    Image.fromarray(nearly).save(tmp_path / "3.bmp")
    (tmp_path / "4.png").write_bytes(b"no image")
    (tmp_path / "5.png").write_bytes(b"no image")
    paths = sorted(tmp_path.iterdir())
    hashes = hashed(paths)
    assert list(hashes.bad) == [4, 5] and "4.png" in hashes.bad[4]
    reader = ImageReader(size=(8, 8))

    def same_pixels(a, b):
        return np.array_equal(reader.read_whole(str(paths[a])), reader.read_whole(str(paths[b])))

    kinds = {rows: pair.kind for rows, pair in found(hashes, same_pixels).items()}
    assert kinds == {(0, 1): "bytes", (0, 2): "pixels", (0, 3): "near", (2, 3): "near"}  # one of each file is compared


def test_blank_images_pair_only_with_the_same_pixels(tmp_path):
    for number, level in enumerate((0, 0, 255, 128, 129)):
        Image.fromarray(np.full((50 + number, 60, 3), level, np.uint8)).save(tmp_path / f"{number}.png")
    Image.fromarray(np.full((50, 60, 3), 128, np.uint8)).save(tmp_path / "5.bmp")
    Image.fromarray(np.full((50, 60, 3), 128, np.uint8)).save(tmp_path / "6.png")
    paths = sorted(tmp_path.iterdir())
    reader = ImageReader(size=(8, 8))

    def same_pixels(a, b):
        return np.array_equal(reader.read_whole(str(paths[a])), reader.read_whole(str(paths[b])))

    assert set(found(hashed(paths), same_pixels)) == {(5, 6)}


def test_many_blank_images_make_few_pairs():
    count = 3_000
    thumbs = np.full((count, THUMB, THUMB, 3), 7, np.uint8)
    thumbs[::3, 0, 0] = 8
    hashes = hash_images(lambda row: thumbs[row], [[str(photos(1)[0])]] * count)
    hashes.files[:] = [str(row) for row in range(count)]
    pairs = find_duplicates(hashes, lambda a, b: True)
    assert len(pairs) == count - 2 and len(set(components(count, pairs))) == 2


def test_a_channel_without_anything_in_it_is_no_evidence(tmp_path):
    rng = np.random.default_rng(0)
    planes = [cv2.resize(rng.integers(0, 256, (9, 9), np.uint8), (80, 80), interpolation=cv2.INTER_CUBIC) for _ in "ab"]
    for number, (faint, plane) in enumerate(((0, 0), (1, 0), (0, 1))):
        noise = rng.integers(0, 2, (80, 80), np.uint8) * faint  # a dark channel after another camera's offset
        Image.fromarray(np.dstack([noise, planes[plane], planes[plane]])).save(tmp_path / f"{number}.png")
    assert set(found(hashed(sorted(tmp_path.iterdir()), each_channel=True))) == {(0, 1)}


def test_each_channel_has_to_be_near(tmp_path):
    rng = np.random.default_rng(0)
    planes = [
        cv2.resize(rng.integers(0, 256, (9, 9), np.uint8), (80, 80), interpolation=cv2.INTER_CUBIC) for _ in range(5)
    ]
    Image.fromarray(np.dstack(planes[:3])).save(tmp_path / "0.png")
    Image.fromarray(np.dstack([planes[0], planes[1], planes[3]])).save(tmp_path / "1.png")
    Image.fromarray(np.dstack(planes[:3])).resize((70, 70)).save(tmp_path / "2.png")
    hashes = hashed(sorted(tmp_path.iterdir()), each_channel=True)
    assert hashes.perceptual.shape == (3, 3)
    pairs, _ = near_pairs(hashes.perceptual, hashes.perceptual, 12)
    assert pairs.tolist() == [[0, 2]]


def test_the_second_look_is_0_for_itself_and_1_for_what_cannot_be_laid_over():
    thumb = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8), (THUMB, THUMB))
    assert second_look(thumb, thumb) < 0.01
    assert second_look(thumb, 255 - thumb) > 0.9
    assert second_look(np.zeros_like(thumb), thumb) > 0.9


def pair(a, b, residual=0.0):
    return Pair(a, b, "near", 3, False, residual)


def test_components_and_merged_groups_are_those_of_networkx():
    rng = np.random.default_rng(0)
    pairs = [pair(*sorted(rng.choice(60, 2, replace=False).tolist()), rng.choice([0.1, 0.9])) for _ in range(40)]
    parts = components(60, pairs)
    graph = nx.Graph([(pair.first, pair.second) for pair in pairs if pair.residual < 0.5])
    graph.add_nodes_from(range(60))
    theirs = {frozenset(nodes) for nodes in nx.connected_components(graph)}
    assert {frozenset(np.flatnonzero(parts == part).tolist()) for part in set(parts)} == theirs
    groups = rng.integers(0, 25, 60).astype(str)
    merged = merge_groups(groups, parts)
    for name in set(groups):
        nx.add_path(graph, np.flatnonzero(groups == name).tolist())
    theirs = {frozenset(nodes) for nodes in nx.connected_components(graph)}
    assert {frozenset(np.flatnonzero(merged == part).tolist()) for part in set(merged)} == theirs
    alone = merge_groups(None, parts)
    assert len(set(zip(alone.tolist(), parts.tolist(), strict=True))) == len(set(parts.tolist()))


def test_all_but_the_first_of_a_component_are_dropped():
    parts = np.array([0, 1, 0, 2, 1, 0, 3])
    assert rows_to_drop(parts, np.array([0, 1, 2, 3, 4, 5])).tolist() == [2, 4, 5]
    assert rows_to_drop(parts, np.array([2, 5, 6])).tolist() == [5]


def test_answers_are_those_of_labelled_duplicates_unless_they_differ():
    parts = np.array([0, 0, 1, 1, 1, 2, 0, 1, 3])
    labels = np.array(["cat", "cat", "dog", "owl", "dog", "cow", "", "", ""])
    known = np.array([True] * 6 + [False] * 3)
    assert answers_of_duplicates(parts, labels, known) == ({6: "cat"}, 1)
