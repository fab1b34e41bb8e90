"""Everything that a recipe can choose by name: one row a choice, grouped by subject.

A row refers to its implementation as "module:name", so reading a recipe loads no torch; `load` imports it. A row from
outside the package may hold the object itself. Tasks and metrics have their rows in their own wings.
"""

from collections.abc import Mapping

from imettk.config.choices.choice import CLASSES, GRADES, LABELS, QUESTIONS, VALUES, VOTES, Choice, load
from imettk.config.choices.images import AUGMENTATIONS, READERS, SAMPLERS, TRANSFORMS, VIEWS, SamplerChoice, ViewChoice
from imettk.config.choices.losses import LOSSES, Loss
from imettk.config.choices.networks import BACKBONES, HEADS, POOLS, BackboneChoice, HeadChoice
from imettk.config.choices.rules import RULES, UNIT_POOLS, RuleChoice, UnitPoolChoice

__all__ = [
    "AUGMENTATIONS",
    "BACKBONES",
    "CHOSEN",
    "CLASSES",
    "GRADES",
    "HEADS",
    "LABELS",
    "LOSSES",
    "POOLS",
    "QUESTIONS",
    "READERS",
    "RULES",
    "SAMPLERS",
    "TRANSFORMS",
    "UNIT_POOLS",
    "VALUES",
    "VIEWS",
    "VOTES",
    "BackboneChoice",
    "Choice",
    "HeadChoice",
    "Loss",
    "RuleChoice",
    "SamplerChoice",
    "UnitPoolChoice",
    "ViewChoice",
    "load",
]

# Rows by the field that names one. Two more fields take names from elsewhere: `table.task`, one of TASKS, and
# `score.metric`, one of METRICS. `stages.transforms` calls rows of TRANSFORMS, and albumentations' transforms.
CHOSEN: dict[str, Mapping[str, Choice]] = {
    "images.reader": READERS,
    "model.head": HEADS,
    "model.pool": POOLS,
    "train.loss": LOSSES,
    "stages.loss": LOSSES,
    "stages.augmentation": AUGMENTATIONS,
    "stages.sampler": SAMPLERS,
    "predict.views": VIEWS,
    "rule.kind": RULES,
}
