"""Values of `images.white`: numbers, bits, windows, percentiles, and everything that is refused."""

import pytest

from imettk.config import ImageFormat
from imettk.config.white import White, parse_white
from imettk.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "white"),
    [
        (4095, White(0, 4095)),
        (0.5, White(0, 0.5)),
        ("4095", White(0, 4095)),
        ("12 bits", White(0, 4095)),
        ("1bit", White(0, 1)),
        ("-160..240", White(-160, 240)),
        ("0.5..1e3", White(0.5, 1000)),
        ("1%..99.5%", White(1, 99.5, of_set=True)),
    ],
)
def test_values_become_black_and_white(value, white):
    assert parse_white(value) == white
    assert ImageFormat(white=value).white == value


@pytest.mark.parametrize(
    "value", [0, -3, "0", "", "bright", "240..-160", "5..5", "-1%..99%", "1%..101%", "1%..99", "0 bits", "99 bits"]
)
def test_anything_else_is_refused(value):
    with pytest.raises(ConfigError, match="`white` of ImageFormat must be none, a number above 0, `12 bits`, a window"):
        ImageFormat(white=value)
