"""ArcFace and CosFace compute in float32, each sample on its own."""

import pytest
import torch
from class_centres import cosines_of
from torch.nn.functional import cross_entropy

from imettk.losses.arcface import arcface
from imettk.losses.cosface import cosface

LOSSES = {"arcface": arcface, "cosface": cosface}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_also_under_autocast(name, dtype):
    cosine, targets = cosines_of()
    cosine = cosine.to(dtype)
    expected = LOSSES[name](cosine.float(), targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = LOSSES[name](cosine, targets)
    for loss in (LOSSES[name](cosine, targets), under_autocast):
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_each_sample_counts_for_itself_and_no_margin_is_plain_cross_entropy(name):
    cosine, targets = cosines_of()
    whole = LOSSES[name](cosine, targets)
    for row in range(8):
        torch.testing.assert_close(LOSSES[name](cosine[row : row + 1], targets[row : row + 1])[0], whole[row])
    plain = cross_entropy(30 * cosine, targets, reduction="none")
    torch.testing.assert_close(LOSSES[name](cosine, targets, margin=0.0), plain, rtol=1e-4, atol=1e-5)
    assert (whole > plain).all()
