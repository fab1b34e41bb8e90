"""Affine maps of the plane as six plain numbers.

`(a, b, c, d, e, f)` takes (x, y) to (a x + b y + c, d x + e y + f). x points right and y down. No numpy: its overhead
on a 3 x 3 matrix is larger than the cost of a small warp.
"""

from __future__ import annotations

import math

Affine = tuple[float, float, float, float, float, float]
IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def rotate(degrees: float) -> Affine:
    """Return a counter-clockwise rotation about the origin (as displayed); exact at right angles."""
    if degrees % 90 == 0:
        cosine, sine = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(degrees // 90) % 4]
    else:
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return cosine, sine, 0.0, -sine, cosine, 0.0


def scale(x: float, y: float) -> Affine:
    """Return a scaling about the origin; negative values mirror."""
    return x, 0.0, 0.0, 0.0, y, 0.0


def shear(degrees: float) -> Affine:
    """Return a shear that moves x with y."""
    return 1.0, math.tan(math.radians(degrees)), 0.0, 0.0, 1.0, 0.0


def shift(x: float, y: float) -> Affine:
    """Return a translation by x and y."""
    return 1.0, 0.0, x, 0.0, 1.0, y


def join(*maps: Affine) -> Affine:
    """Compose maps; the last one is applied first, as in a product of matrices."""
    a, b, c, d, e, f = maps[-1]
    for g, h, i, j, k, m in reversed(maps[:-1]):
        a, b, c, d, e, f = (
            g * a + h * d, g * b + h * e, g * c + h * f + i,
            j * a + k * d, j * b + k * e, j * c + k * f + m,
        )  # fmt: skip
    return a, b, c, d, e, f


def invert(affine: Affine) -> Affine:
    """Return the inverse map; raise `ZeroDivisionError` if there is none."""
    a, b, c, d, e, f = affine
    area = a * e - b * d
    return e / area, -b / area, (b * f - c * e) / area, -d / area, a / area, (c * d - a * f) / area


def shrinking(affine: Affine) -> float:
    """Return the largest linear reduction: 1 / the smaller singular value of the linear part, in closed form."""
    a, b, _, d, e, _ = affine
    total, area = a * a + b * b + d * d + e * e, a * e - b * d
    smaller = (total - math.sqrt(max(0.0, total * total - 4 * area * area))) / 2
    return 1 / math.sqrt(max(smaller, 1e-12))


def _odd(degrees: float) -> Affine:
    """Return a rotation by an odd multiple of 45 degrees, enlarged until no corner is visible: a central crop."""
    return join(rotate(degrees), scale(math.sqrt(2), math.sqrt(2)))


# The maps of the views about the centre of a square, shared by test-time augmentation and the draws of `dihedral`.
VIEW_MAPS: dict[str, Affine] = {
    "plain": IDENTITY,
    "hflip": scale(-1, 1),
    "vflip": scale(1, -1),
    "rot90": rotate(90),
    "rot180": rotate(180),
    "rot270": rotate(270),
    "transpose": (0.0, 1.0, 0.0, 1.0, 0.0, 0.0),
    "transverse": (0.0, -1.0, 0.0, -1.0, 0.0, 0.0),
    "rot45": _odd(45),
    "rot135": _odd(135),
    "rot225": _odd(225),
    "rot315": _odd(315),
}
