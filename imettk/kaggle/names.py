"""Names that the platform takes as they are: it makes a kernel's slug of its title, and spells many words otherwise."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from imettk.errors import UserError

MIN_SLUG, MAX_SLUG = 5, 50
MAX_NAME = 30
NEXT = "-next"
_DIGEST = 4  # letters that tell shortened names apart


def slug_of(title: str) -> str:
    """The slug that the platform makes of a title: each run of anything but letters and digits is one hyphen."""
    letters = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-")


def fit(head: str, tail: str = "", *, most: int = MAX_SLUG) -> str:
    """`head` + `tail` in at most so many letters; a shortened head ends in a hash of the whole, and stays unique."""
    if len(head) + len(tail) <= most:
        return head + tail
    digest = hashlib.sha256(head.encode()).hexdigest()[:_DIGEST]
    return f"{head[: most - len(tail) - _DIGEST - 1].rstrip('-')}-{digest}{tail}"


def check_name(name: str) -> str:
    """The `--name` of a chain or a kernel, which becomes a part of slugs.

    Raises:
        UserError: it is too long, or the platform would spell it otherwise.
    """
    if name and name == slug_of(name) and len(name) <= MAX_NAME:
        return name
    rule = f"at most {MAX_NAME} lower-case letters and digits, with single hyphens between them"
    raise UserError(f"--name: {name!r} must have {rule}, as in --name {name_of(name)}")


def name_of(recipe_name: str) -> str:
    """A valid name for what is made of a recipe: `my-recipe` for `My__recipe`."""
    return fit(slug_of(recipe_name), most=MAX_NAME) or "unnamed"


def check_reference(reference: str) -> str:
    """A kernel's `owner/slug`, whose title leads to this slug and no other.

    Raises:
        UserError: it does not.
    """
    owner, _, slug = reference.partition("/")
    if not owner or slug != slug_of(slug) or not MIN_SLUG <= len(slug) <= MAX_SLUG:
        rule = f"{MIN_SLUG} to {MAX_SLUG} lower-case letters and digits, with single hyphens between them"
        raise UserError(f"{reference!r} is no kernel: it is written OWNER/SLUG, and the slug must have {rule}")
    return reference


def next_slug(slug: str) -> str:
    """The slug of a kernel that takes up the output of this one."""
    return fit(slug, NEXT)
