"""A changed file is noticed by its hash."""

import numpy as np
import pytest

from imettk.data.stamps import hash_files, stat_files


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
