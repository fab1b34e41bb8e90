"""Names: a kernel can be asked for by the name under which it was pushed."""

from __future__ import annotations

import pytest

from imettk.errors import UserError
from imettk.kaggle.kernel import Kernel
from imettk.kaggle.names import MAX_SLUG, check_name, check_reference, name_of, next_slug, slug_of


def kernel(reference: str) -> Kernel:
    return Kernel(reference=reference, command="train", recipe="digits", competition="cells")


@pytest.mark.parametrize("name", ["a", "my-run", "f0", "x" * 30, "1-2-3"])
def test_a_name_that_the_platform_keeps_is_accepted(name):
    assert check_name(name) == name
    assert slug_of(kernel(f"me/imettk-{name}-train-f0").title) == f"imettk-{name}-train-f0"


@pytest.mark.parametrize(
    "name", ["", "my--run", "-run", "run-", "-", "my_run", "My-run", "my run", "a/b", "x" * 31, "é", "²", "1.5"]
)
def test_a_name_that_the_platform_would_respell_is_refused_in_one_line(name):
    with pytest.raises(UserError, match="lower-case") as error:
        check_name(name)
    assert "\n" not in str(error.value) and repr(name) in str(error.value)
    suggested = str(error.value).rpartition("--name ")[2]
    assert check_name(suggested) == suggested


@pytest.mark.parametrize(
    ("recipe", "name"),
    [("digits", "digits"), ("my__x", "my-x"), ("My recipe", "my-recipe"), ("_a_", "a"), ("Größe 5", "groe-5"),
     ("é.v2", "e-v2"), ("日本", "unnamed"), ("", "unnamed")],
)  # fmt: skip
def test_every_recipe_has_a_valid_name(recipe, name):
    assert check_name(name_of(recipe)) == name


def test_long_names_that_differ_at_their_end_stay_different():
    names = [name_of(f"an-experiment-with-a-learning-rate-of-0.00{digit}") for digit in range(10)]
    assert len(set(names)) == 10 and all(check_name(name).startswith("an-experiment-with-a-lear") for name in names)


@pytest.mark.parametrize("slug", ["imettk-my--run", "-imettk", "imettk-", "imet", "x" * 51, "Imettk", "imettk_run", ""])
def test_a_slug_that_its_title_does_not_lead_to_is_refused(slug):
    for made in (check_reference, kernel):
        with pytest.raises(UserError, match="does not name a kernel: write OWNER/SLUG"):
            made(f"me/{slug}")


def test_the_next_kernel_has_another_slug_of_any_length():
    slugs = {f"imettk-{'a' * (20 + extra)}{end}-train-f0" for extra in range(10) for end in "bc"}
    next_slugs = {next_slug(slug) for slug in slugs}
    assert len(next_slugs) == len(slugs) and not next_slugs & slugs
    assert all(check_reference(f"me/{slug}") and len(slug) <= MAX_SLUG for slug in next_slugs)
    assert next_slug("imettk-digits-train-f0") == "imettk-digits-train-f0-next"
