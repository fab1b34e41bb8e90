"""A user's own code is tried when the recipe is made: each fault is one line with field, name and requirement."""

import subprocess
import sys
import textwrap

import pytest

from imettk.config import Recipe, RuleConfig, ScoreConfig, TableFormat, TrainConfig
from imettk.config.overrides import apply_overrides
from imettk.config.own import register_source
from imettk.config.own_checks import check_own, describe_own, own_names
from imettk.errors import ConfigError
from imettk.recipes import load_recipe

RECIPE = """
from imettk.config import *
from imettk.recipes.digits import digits
from dataclasses import replace

{code}

def recipe():
    base = digits()
    {changes}
    return base
"""

FIELDS = {
    "loss": ("train.loss", "base = replace(base, train=replace(base.train, loss='recipe:mine'))"),
    "augmentation": (
        "stages.0.augmentation",
        "base = replace(base, stages=(replace(base.stages[0], augmentation='recipe:mine'),))",
    ),
    "head": ("model.head", "base = replace(base, model=replace(base.model, head='recipe:mine'))"),
    "backbone": ("model.backbone", "base = replace(base, model=replace(base.model, backbone='recipe:mine'))"),
    "reader": ("images.reader", "base = replace(base, images=replace(base.images, reader='recipe:mine'))"),
    "metric": ("score.metric", "base = replace(base, score=ScoreConfig(metric='recipe:mine'))"),
    "rule": ("rule.kind", "base = replace(base, rule=RuleConfig(kind='recipe:mine'))"),
}

GOOD = {
    "loss": "def mine(logits, targets):\n    return (logits.float() - targets.float()).abs().mean(1)",
    "augmentation": """
import albumentations as A
def mine(size, channels):
    return [A.HorizontalFlip(), A.OneOf([A.MotionBlur(), A.Sharpen()])]""",
    "head": """
from torch import nn
class Mine(nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.last = nn.Linear(sum(features), outputs)
    def forward(self, maps):
        return self.last(maps[-1].mean((2, 3)))
mine = Mine""",
    "backbone": "from torch import nn\ndef mine(channels):\n    return nn.Conv2d(channels, 6, 3)",
    "reader": "import numpy as np\ndef mine(path):\n    return np.load(path)",
    "metric": "def mine(answers, targets):\n    return float((answers == targets).mean())",
    "rule": """
import dataclasses
@dataclasses.dataclass(frozen=True)
class mine:
    cut: float = 0.5
    @classmethod
    def fit(cls, probs, targets, context):
        return cls(float(probs.mean()))
    def apply(self, probs):
        return probs >= self.cut
    def to_json(self):
        return dataclasses.asdict(self)
    @classmethod
    def from_json(cls, content):
        return cls(**content)""",
}


def write(tmp_path, kind, code):
    path = tmp_path / "mine.py"
    path.write_text(RECIPE.format(code=textwrap.dedent(code), changes=FIELDS[kind][1]))
    return str(path)


@pytest.mark.parametrize("kind", FIELDS)
def test_correct_code_is_accepted_and_described(tmp_path, kind):
    recipe = load_recipe(write(tmp_path, kind, GOOD[kind]))
    assert own_names(recipe) == [(FIELDS[kind][0], "recipe:mine")]
    name = {"reader": "image reader"}.get(kind, kind)
    assert describe_own(recipe) == f"{name} recipe:mine (mine.py)"
    again = apply_overrides(recipe, ["--train.seed", "7"])
    assert again.train.seed == 7 and own_names(again) == own_names(recipe)


BAD = [
    ("loss", "mine = 3", "must be a function (logits, targets), got int"),
    ("loss", "def mine(logits):\n    return logits", "must take (logits, targets), got mine(logits)"),
    ("loss", "def mine(a, b):\n    return a.mean()", "must return the loss of each sample, float (4,), got float32 ()"),
    ("loss", "def mine(a, b):\n    return 1.0", "float (4,), got float"),
    ("loss", "def mine(a, b):\n    return a.mean(1).log()", "must be finite for logits from -2 to 2, got [nan"),
    ("loss", "def mine(a, b):\n    return a.detach().mean(1)", "must have a gradient"),
    ("loss", "def mine(a, b):\n    c = a / 2\n    raise KeyError('x')", "mine.py, line 8: KeyError: 'x'"),
    (
        "augmentation",
        "import albumentations as A\ndef mine(size, channels):\n    return A.Compose([])",
        "must return a list of albumentations transforms, got Compose",
    ),
    (
        "augmentation",
        "def mine(size, channels):\n    return [abs]",
        "transforms, got one with builtin_function_or_method",
    ),
    ("augmentation", "def mine(size):\n    return []", "must take (size, channels), got mine(size)"),
    (
        "augmentation",
        "import albumentations as A\ndef mine(size, channels):\n    return [A.ToRGB(p=1.0)]",
        "must return images of uint8 (H, W, 1), got uint8 (48, 48, 3)",
    ),
    ("head", "def mine(features, outputs):\n    return 3", "must return a torch module, got int"),
    (
        "head",
        "from torch import nn\ndef mine(features, outputs):\n    return nn.Identity()",
        "must turn a list of maps (2, 16, 4, 4) into logits (2, 3), got list",
    ),
    ("backbone", "def mine():\n    return 3", "must take (channels), got mine()"),
    (
        "backbone",
        "from torch import nn\ndef mine(channels):\n    return nn.Flatten()",
        "must turn an image (1, 1, H, W) into maps (1, F, h, w), got float32 (1, 2304)",
    ),
    (
        "backbone",
        "from torch import nn\ndef mine(channels):\n    return nn.Conv2d(3, 4, 3)",
        "expected input[1, 1, 48, 48]",
    ),
    ("reader", "def mine():\n    return 3", "must take (path), got mine()"),
    (
        "metric",
        "def mine(answers, targets):\n    return answers == targets",
        "must return a finite number, got bool (4, 3)",
    ),
    ("metric", "def mine(answers, targets):\n    return float('nan')", "must return a finite number, got nan"),
    ("rule", "mine = 3", "must be a class with `fit`"),
    (
        "rule",
        GOOD["rule"].replace("probs >= self.cut", "probs.argmax(1)"),
        "apply() must return answers in the shape of the targets, (16, 3), got int64 (16,)",
    ),
    (
        "rule",
        GOOD["rule"].replace("dataclasses.asdict(self)", "{'cut': 2.0}"),
        "answers differ after to_json() and from_json()",
    ),
    ("rule", GOOD["rule"].replace("dataclasses.asdict(self)", "{'cut': self}"), "not JSON serializable"),
]


@pytest.mark.parametrize(("kind", "code", "message"), BAD, ids=[f"{kind}-{text[:40]}" for kind, _, text in BAD])
def test_each_fault_is_one_line(tmp_path, kind, code, message):
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, kind, code))
    text = str(caught.value)
    assert f"`{FIELDS[kind][0]}` recipe:mine: " in text and message in text and "\n" not in text


def test_an_override_is_tried_too(tmp_path):
    path = write(tmp_path, "loss", GOOD["loss"] + "\ndef other(a):\n    return a")
    with pytest.raises(
        ConfigError, match=r"`stages\.0\.loss` recipe:other: must take \(logits, targets\), got other\(a\)"
    ):
        apply_overrides(load_recipe(path), ["--stages.0.loss", "recipe:other"])
    with pytest.raises(ConfigError, match="recipe:absent: the recipe's file does not define absent"):
        apply_overrides(load_recipe(path), ["--stages.0.loss", "recipe:absent"])


def test_soft_targets_are_tried_where_images_are_mixed(tmp_path):
    code = "def mine(logits, targets):\n    assert not targets.is_floating_point()\n    return logits.mean(1)"
    recipe = load_recipe(write(tmp_path, "loss", code))
    with pytest.raises(ConfigError, match=r"mine\.py, line 7: AssertionError"):
        apply_overrides(recipe, ["--stages.0.mixup", "0.4"])


def test_nothing_heavy_is_loaded_without_a_users_own(tmp_path):
    (tmp_path / "plain.py").write_text("from imettk.recipes.digits import digits as recipe\n")
    code = "import sys; from imettk.recipes import load_recipe; load_recipe(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "plain.py"], capture_output=True, text=True, check=True
    )
    assert not {"torch", "albumentations", "timm"} & set(done.stdout.split())


OWN_PARAMETERS = """
from dataclasses import replace
from torch.nn.functional import binary_cross_entropy_with_logits
from imettk.config import ScoreConfig
from imettk.recipes.digits import digits

def power_bce(logits, targets, *, power: float):
    return binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none").mean(1) ** power

def hits(answers, targets, *, least: int = 1):
    return float(((answers & (targets > 0)).sum(1) >= least).mean())

def recipe():
    base = digits()
    train = replace(base.train, loss="recipe:power_bce", loss_params={"power": 1.5})
    return replace(base, train=train, score=ScoreConfig(metric="recipe:hits", params={"least": 2}))
"""


def test_a_loss_and_a_metric_are_tried_with_their_parameters(tmp_path):
    (tmp_path / "mine.py").write_text(OWN_PARAMETERS)
    recipe = load_recipe(str(tmp_path / "mine.py"))
    assert recipe.loss_row()[1] == {"power": 1.5} and dict(recipe.scorer.params) == {"least": 2}
    with pytest.raises(ConfigError, match=r"`score\.params` holds most, but the metric recipe:hits has least"):
        apply_overrides(recipe, ["--score.params", "most", "1"])
    (tmp_path / "mine.py").write_text(OWN_PARAMETERS.replace("** power", "** power / 0"))
    with pytest.raises(ConfigError, match=r"`train\.loss` recipe:power_bce: must be finite for logits from -2 to 2"):
        load_recipe(str(tmp_path / "mine.py"))


def test_a_function_judges_the_one_column_that_is_submitted():
    seen = []

    def mine(probs, targets):
        seen.append((probs.shape, targets.shape, sorted(set(targets.ravel().tolist()))))
        return 0.5

    register_source("e" * 64, {"mine": mine})
    recipe = Recipe(
        table=TableFormat(task="multiclass", label_column="label"),
        train=TrainConfig(loss="cross_entropy"),
        rule=RuleConfig(kind="probability", positive="a"),
        score=ScoreConfig(metric="recipe:mine"),
        source_sha256="e" * 64,
    )
    check_own(recipe)
    assert seen == [((4, 1), (4, 1), [0, 1])]
