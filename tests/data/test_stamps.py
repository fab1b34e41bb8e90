"""The hash reveals a changed file."""

import os

import numpy as np
import pytest

from imettk.data import stamps
from imettk.data.stamps import hash_files, stamp_files, stat_files


@pytest.mark.parametrize("place", ["head", "middle", "tail", "length"])
def test_the_hash_sees_head_middle_tail_and_length(tmp_path, place):
    path = tmp_path / "a_red.png"
    content = bytearray(np.random.default_rng(0).integers(0, 256, 100_000, np.uint8).tobytes())
    path.write_bytes(content)
    (tmp_path / "a_green.png").write_bytes(b"green")
    paths, files = np.array([str(tmp_path / "a_*.png")]), ("red", "green")
    before = hash_files(paths, files)
    assert stat_files(paths, files)[0].tolist() == [100_005]
    if place == "length":
        content += b"x"
    else:
        content[{"head": 17, "middle": 50_000, "tail": -17}[place]] ^= 1
    path.write_bytes(content)
    assert hash_files(paths, files) != before
    path.unlink()
    assert hash_files(paths, files).tolist() == [0] and stat_files(paths, files)[0].tolist() == [-1]


def test_images_of_a_container_have_its_size_and_time_and_a_hash_of_their_own(tmp_path, monkeypatch):
    path = tmp_path / "train.h5"
    content = bytearray(np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes())
    path.write_bytes(content)
    paths = np.array([f"{path}/{name}" for name in ("a", "b/c", "d")] + [str(path), str(tmp_path / "none" / "a")])
    opened, whole = [], stamps._hash_whole
    monkeypatch.setattr(stamps, "_hash_whole", lambda file: opened.append(file) or whole(file))
    before = stamp_files(paths, ())
    assert before.sizes.tolist() == [3_000_000] * 4 + [-1] and len(set(before.times[:4].tolist())) == 1
    assert len(set(before.hashes.tolist())) == 5 and before.hashes[4] == 0
    assert (hash_files(paths, ()) == before.hashes).all() and opened == [str(path)]  # once for all looks at all images
    content[1_240_000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    after = hash_files(paths, ())
    assert (after[:3] != before.hashes[:3]).all()
    os.utime(path, ns=(2, 2))
    assert (stamp_files(paths, (), known=before).hashes == after).all() and (hash_files(paths, ()) == after).all()
