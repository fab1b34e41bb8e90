"""A lower white is suggested if all deep images are dark."""

import pytest

from imettk.data.file_facts import FileFacts, describe_facts, join_facts, suggest_white


@pytest.mark.parametrize(
    ("brightest", "file", "white", "suggestion"),
    [
        (3599, 65535, None, 4095),
        (4095, 65535, None, 4095),
        (4096, 65535, None, 8191),
        (60, 65535, None, 511),
        (0, 65535, None, None),
        (16384, 65535, None, None),
        (3599, 4095, None, None),
        (700, 4095, None, 1023),
        (3599, 40000, 40000, 4095),
        (5000, 4095, 4095, None),
    ],
)
def test_what_is_suggested(brightest, file, white, suggestion):
    bright, dull = FileFacts(), FileFacts()
    bright.note_brightness(brightest, (0, file))
    dull.note_brightness(brightest / 2, (0, file))
    facts = join_facts([dull, bright, FileFacts()])
    assert facts.images == 2 and suggest_white(facts) == suggestion
    lines = describe_facts(facts, white)
    assert any(f"try --images.white {suggestion}" in line for line in lines) == (suggestion is not None)
    assert any("all values above it become white" in line for line in lines) == (brightest == 5000)


def test_white_may_be_0_or_a_fraction():
    facts = FileFacts()
    facts.note_brightness(-20.0, (-80.0, 0.0))
    assert facts.share == 0.75
    assert describe_facts(facts, "-80..0") == []
    facts = FileFacts()
    facts.note_brightness(0.2, (0.0, 1.0))
    (line,) = describe_facts(facts, 1.0)
    assert line.endswith("the images will look dark; try another value")
