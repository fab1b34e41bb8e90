"""Typed overrides from the command line."""

import pytest

from imettk.config import Recipe, differences
from imettk.config.overrides import apply_overrides
from imettk.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--stages.0.num-epochs", "2"], "stages.0.num_epochs: 1.0 -> 2.0"),
        (["--stages.0.num_epochs=2.5"], "stages.0.num_epochs: 1.0 -> 2.5"),
        (["--stages.0.lr", "0.1"], "stages.0.lr: (0.001,) -> (0.1,)"),
        (["--images.image-size", "64", "96"], "images.image_size: (256, 256) -> (64, 96)"),
        (["--train.loss", "focal"], "train.loss: 'bce' -> 'focal'"),
        (["--train.ema-decay", "0.9"], "train.ema_decay: None -> 0.9"),
        (["--table.group-column", "patient"], "table.group_column: None -> 'patient'"),
    ],
)
def test_a_value_of_the_right_type_is_set(words, expected):
    assert differences(Recipe(), apply_overrides(Recipe(), words)) == [expected]


def test_fields_that_only_fit_together():
    words = ["--table.task", "multiclass", "--train.loss", "cross_entropy", "--rule.kind", "argmax"]
    assert apply_overrides(Recipe(), words).table.task == "multiclass"


def test_none_as_a_value_and_no_options():
    assert apply_overrides(Recipe(), []) == Recipe()
    set_once = apply_overrides(Recipe(), ["--stages.0.clip-norm", "1"])
    for spelling in ("None", "none"):
        assert apply_overrides(set_once, ["--stages.0.clip-norm", spelling]) == Recipe()
    weighted = apply_overrides(Recipe(), ["--model.weights", "w.pth", "--images.mean", "0.5", "0.5", "0.5"])
    assert apply_overrides(weighted, ["--model.weights", "none", "--images.mean", "none"]) == Recipe()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train.los", "bce"], "`train.los` is not a field of the recipe; did you mean `train.loss`?"),
        (["--stages.4.lr", "1"], "did you mean `stages.0.lr`?"),
        (["--lr", "1"], "did you mean `stages.0.lr`?"),
        (["--train.seed", "x"], "--train.seed must be int, got 'x'"),
        (["--train.loss", "hinge"], "`loss` of TrainConfig must be one of bce, focal, "),
        (["--images.image-size", "64"], "--images.image-size must be 2 values of type int, got '64'"),
        (["--stages.0.batch-size", "0"], "`batch_size` of StageConfig must be at least 1, got 0"),
        (["--train.loss", "cross_entropy"], "`train.loss` cross_entropy does not take them (use bce, "),
        (["--train.deterministic", "perhaps"], "must be true or false"),
        (["stray"], "'stray' is not an option"),
    ],
)
def test_a_bad_override_is_one_clear_line(words, message, capsys):
    with pytest.raises(ConfigError) as caught:
        apply_overrides(Recipe(), words)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words, value", [(["false"], False), (["False"], False), (["true"], True), ([], True)])
def test_a_field_that_is_true_or_false_takes_both(words, value):
    assert apply_overrides(Recipe(), ["--session.tensorboard", *words]).session.tensorboard is value


def test_any_other_value_than_true_or_false_is_refused():
    with pytest.raises(ConfigError, match=r"--session\.tensorboard must be true or false, got 'perhaps'"):
        apply_overrides(Recipe(), ["--session.tensorboard", "perhaps"])


def test_a_label_may_be_called_true():
    stage = apply_overrides(Recipe(), ["--stages.0.label-weights", "true", "2", "cat", "3"]).stages[0]
    assert stage.label_weights == {"true": 2.0, "cat": 3.0}
