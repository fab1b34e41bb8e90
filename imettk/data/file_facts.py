"""Facts noted while image files are read: brightness of deep images, and broken colour profiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

DARK = 0.25  # fraction of white: if all pixels of deep files lie below, the file's white is probably another value
LEAST_BITS, MOST_BITS = 9, 16


@dataclass(slots=True)
class FileFacts:
    """Facts about one image, or about many.

    Attributes:
        images: number of images with more than 8 bits per channel.
        brightest: largest value in them.
        share: the same as a fraction of the range from black to white; 1 or above if white is reached.
        broken_profiles: number of images with an invalid colour profile.
    """

    images: int = 0
    brightest: float = 0.0
    share: float = 0.0
    broken_profiles: int = 0

    def note_brightness(self, brightest: float, span: tuple[float, float]) -> None:
        """Count an image of more than 8 bits, given its largest value and its (black, white)."""
        self.images, (black, white) = 1, span
        self.brightest = max(self.brightest, brightest)
        self.share = max(self.share, (brightest - black) / (white - black))


def join_facts(facts: Iterable[FileFacts]) -> FileFacts:
    """Combine the facts of many images."""
    joined = FileFacts()
    for item in facts:
        joined.images += item.images
        joined.brightest, joined.share = max(joined.brightest, item.brightest), max(joined.share, item.share)
        joined.broken_profiles += item.broken_profiles
    return joined


def suggest_white(facts: FileFacts) -> int | None:
    """Return the largest value of the fewest bits that hold the brightest pixel, if all images are dark; else None."""
    if not facts.images or not 0 < facts.share < DARK:
        return None
    bits = math.ceil(math.log2(facts.brightest + 1))
    return 2 ** min(MOST_BITS, max(LEAST_BITS, bits)) - 1


def describe_brightness(facts: FileFacts, white: float | str | None = None) -> str:
    """Describe how bright deep images are; `white` is `images.white`."""
    images = f"{facts.images} image{'s' if facts.images != 1 else ''} of more than 8 bits"
    reference = "what their files define as white" if white is None else f"`images.white` {white}"
    return f"the brightest pixel of {images} is {facts.brightest:g}, {facts.share:.1%} of {reference}"


def describe_facts(facts: FileFacts, white: float | str | None) -> Sequence[str]:
    """Return one warning for each fact that a person should know.

    Args:
        white: `images.white`.
    """
    lines = []
    if (guess := suggest_white(facts)) is not None:
        advice = f"try --images.white {guess}" if white is None or isinstance(white, int) else "try another value"
        lines.append(f"{describe_brightness(facts, white)}: the images will look dark; {advice}")
    if isinstance(white, int | float) and facts.share > 1:
        lines.append(f"{describe_brightness(facts, white)}: all values above it become white")
    if number := facts.broken_profiles:
        lines.append(f"{number} image{'s have' if number > 1 else ' has'} a broken colour profile, which is ignored")
    return lines


def facts_as_json(facts: FileFacts) -> dict[str, float]:
    """Return what `facts_from_json` reads."""
    return asdict(facts)


def facts_from_json(values: dict[str, float] | None) -> FileFacts:
    """Read facts; parts of a cache from earlier versions have none."""
    return FileFacts(**values) if values else FileFacts()  # type: ignore[arg-type]
