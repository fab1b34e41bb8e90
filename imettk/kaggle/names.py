"""Names that the platform keeps unchanged: it derives a kernel's slug from its title, and respells many words."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from imettk.errors import UserError

MIN_SLUG, MAX_SLUG = 5, 50  # the platform's limits
MAX_NAME = 30  # leaves room for `imettk-` and tails such as `-validate-s12`
NEXT = "-next"
_DIGEST = 4  # letters of the hash that distinguishes shortened names


def slug_of(title: str) -> str:
    """Return the slug that the platform derives from a title: each run of other characters becomes one hyphen."""
    letters = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-")


def fit(head: str, tail: str = "", *, most: int = MAX_SLUG) -> str:
    """Join `head` and `tail` in at most `most` letters; a shortened head ends in a hash of the whole head."""
    if len(head) + len(tail) <= most:
        return head + tail
    digest = hashlib.sha256(head.encode()).hexdigest()[:_DIGEST]
    return f"{head[: most - len(tail) - _DIGEST - 1].rstrip('-')}-{digest}{tail}"


def check_name(name: str) -> str:
    """Return the `--name` of a chain or a kernel, which becomes a part of slugs, if it is valid.

    Raises:
        UserError: it is too long, or the platform would respell it.
    """
    if name and name == slug_of(name) and len(name) <= MAX_NAME:
        return name
    rule = f"at most {MAX_NAME} lower-case letters and digits, with single hyphens between them"
    raise UserError(f"--name: {name!r} must have {rule}, as in --name {name_of(name)}")


def name_of(recipe_name: str) -> str:
    """Return a valid name for the kernels and datasets of a recipe: `my-recipe` for `My__recipe`."""
    return fit(slug_of(recipe_name), most=MAX_NAME) or "unnamed"


def check_reference(reference: str) -> str:
    """Return a kernel's `owner/slug`, if the platform will derive this very slug from its title.

    Raises:
        UserError: it will not, so the kernel would run unnoticed under another name.
    """
    owner, _, slug = reference.partition("/")
    if not owner or slug != slug_of(slug) or not MIN_SLUG <= len(slug) <= MAX_SLUG:
        rule = f"{MIN_SLUG} to {MAX_SLUG} lower-case letters and digits, with single hyphens between them"
        raise UserError(f"{reference!r} does not name a kernel: write OWNER/SLUG, where the slug has {rule}")
    return reference


def next_slug(slug: str) -> str:
    """Return the slug of a kernel that continues from the output of this one."""
    return fit(slug, NEXT)
