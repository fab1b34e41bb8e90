"""Every command knows its own options from fields of the recipe and from those of other commands."""

import re

import pytest
from tiny import code_of

from imettk.cli.main import STAGE_RUNNERS
from imettk.cli.options import STAGES, make_parser, split_overrides
from imettk.kaggle.kernel import STAGES as KERNEL_STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_every_option_in_the_help_of_a_stage_can_be_given(stage, capsys):
    """None of them is taken for a field of the recipe, whose names all have a dot in them."""
    assert code_of(stage, "--help") == 0
    options = set(re.findall(r"(?<![\w.`-])--[a-z][a-z-]*", capsys.readouterr().out))
    assert {"--data", "--help", "--fields"} <= options and not any("--" + name in options for name in ("stages", "x"))
    for option in options:
        assert split_overrides([stage, option, "1", "--train.seed", "2"]) == (
            [stage, option, "1"],
            ["--train.seed", "2"],
        )
        assert split_overrides([stage, f"{option}=1"])[1] == []


def test_every_stage_has_a_parser_a_runner_and_kernels_of_some():
    assert set(STAGES) == set(STAGE_RUNNERS) and set(KERNEL_STAGES) < set(STAGES)
    for stage in STAGES:
        needed = {"ensemble": ["--members", "a"], "neighbours": ["--classifier", "a", "--features", "b"]}
        assert make_parser().parse_args([stage, *needed.get(stage, [])]).command == stage


def test_pairs_that_embeddings_find_can_be_asked_to_be_nearer(tmp_path, capsys):
    assert code_of("duplicates", "digits", "--data", str(tmp_path / "none"), "--similarity", "0.95") == 2
    assert "train.csv is missing" in capsys.readouterr().err


def test_an_option_of_another_stage_is_named_as_that(capsys):
    assert code_of("train", "digits", "--similarity", "0.95") == 2
    assert capsys.readouterr().err == "imettk: --similarity belongs to duplicates: `imettk train` has no such option\n"
