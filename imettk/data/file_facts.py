"""What is noticed of image files while they are read once: how bright deep ones are, and which profiles are broken."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

DARK = 0.25  # of white: a file of more than 8 bits whose pixels all lie below may count another value as white
LEAST_BITS, MOST_BITS = 9, 16


@dataclass(slots=True)
class FileFacts:
    """What is noticed of one image, or of many.

    Attributes:
        images: of more than 8 bits a channel.
        brightest: the largest value in them.
        share: the largest share of the way from what counts as black to white, 1 or above where some of it is.
        broken_profiles: images with a colour profile that cannot be one.
    """

    images: int = 0
    brightest: float = 0.0
    share: float = 0.0
    broken_profiles: int = 0

    def note_brightness(self, brightest: float, span: tuple[float, float]) -> None:
        """Count an image of more than 8 bits by its largest value, and the values that count as black and white."""
        self.images, (black, white) = 1, span
        self.brightest = max(self.brightest, brightest)
        self.share = max(self.share, (brightest - black) / (white - black))


def join_facts(facts: Iterable[FileFacts]) -> FileFacts:
    """The facts of many images as those of one."""
    joined = FileFacts()
    for item in facts:
        joined.images += item.images
        joined.brightest, joined.share = max(joined.brightest, item.brightest), max(joined.share, item.share)
        joined.broken_profiles += item.broken_profiles
    return joined


def suggest_white(facts: FileFacts) -> int | None:
    """The value of so many bits that the brightest pixel fits in, where all of them are dark; None where not."""
    if not facts.images or not 0 < facts.share < DARK:
        return None
    bits = math.ceil(math.log2(facts.brightest + 1))
    return 2 ** min(MOST_BITS, max(LEAST_BITS, bits)) - 1


def describe_brightness(facts: FileFacts, white: float | str | None = None) -> str:
    """How bright deep images are, in words; `white` is `images.white`."""
    images = f"{facts.images} image{'s' if facts.images != 1 else ''} of more than 8 bits"
    what = "what their files count as white" if white is None else f"`images.white` {white}"
    return f"the brightest pixel of {images} is {facts.brightest:g}, {facts.share:.1%} of {what}"


def tell_facts(facts: FileFacts, white: float | str | None) -> Sequence[str]:
    """One line for each thing that a person should know.

    Args:
        white: `images.white`.
    """
    lines = []
    if (guess := suggest_white(facts)) is not None:
        what_to_do = f"try --images.white {guess}" if white is None or isinstance(white, int) else "take another one"
        lines.append(f"{describe_brightness(facts, white)}: they are seen as dark; {what_to_do}")
    if isinstance(white, int | float) and facts.share > 1:
        lines.append(f"{describe_brightness(facts, white)}: all above that is seen as white")
    if number := facts.broken_profiles:
        lines.append(f"{number} image{'s have' if number > 1 else ' has'} a broken colour profile, which is ignored")
    return lines


def facts_as_json(facts: FileFacts) -> dict[str, float]:
    """What `facts_from_json` reads."""
    return asdict(facts)


def facts_from_json(values: dict[str, float] | None) -> FileFacts:
    """No facts where a part of a cache, of an earlier version, has none."""
    return FileFacts(**values) if values else FileFacts()  # type: ignore[arg-type]
