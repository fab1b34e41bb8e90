"""Parse `images.white`, the values that become black and white in images of more than 8 bits."""

from __future__ import annotations

import re
from typing import NamedTuple

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_BITS = re.compile(r"(\d+) ?bits?")
_WINDOW = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_PERCENTILES = re.compile(rf"({_NUMBER})%\.\.({_NUMBER})%")
WHITE_RULE = "none, a number above 0, `12 bits`, a window such as `-160..240`, or percentiles such as `1%..99.5%`"


class White(NamedTuple):
    """The values that become black and white.

    Attributes:
        of_set: both are percentiles of all values of the training images, in [0, 100].
    """

    black: float
    white: float
    of_set: bool = False


def parse_white(value: float | str) -> White | None:
    """Return the values that `images.white` gives; None if it has another form.

    Examples: 4095, "12 bits" (the same), "-160..240" (a window), "1%..99.5%" (percentiles of the training images).
    """
    if not isinstance(value, str):
        return White(0.0, float(value)) if value > 0 else None
    text = value.strip()
    if match := _BITS.fullmatch(text):
        bits = int(match[1])
        return White(0.0, float(2**bits - 1)) if 1 <= bits <= 32 else None
    if re.fullmatch(_NUMBER, text):  # an option of the command line gives numbers as text
        return parse_white(float(text))
    of_set = (match := _PERCENTILES.fullmatch(text)) is not None
    match = match or _WINDOW.fullmatch(text)
    if match is None:
        return None
    low, high = float(match[1]), float(match[2])
    if not low < high or (of_set and not (low >= 0 and high <= 100)):
        return None
    return White(low, high, of_set)
