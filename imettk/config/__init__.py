"""What a recipe says: its sections, each with its own ranges, JSON in and out, and a fingerprint."""

from imettk.config.answers import PredictPlan, RankPlan, RulePlan, ScorePlan
from imettk.config.data import CachePlan, ExtraTable, FoldPlan, ImageFormat, TableFormat
from imettk.config.model import MetricPlan, ModelPlan
from imettk.config.recipe import (
    MEMORY_SHORT_CODE,
    PREPARE_SECTIONS,
    SESSION_START,
    SPLIT,
    WEIGHT_SECTIONS,
    Recipe,
    differences,
    fingerprint,
    from_json,
    read_recipe,
    to_json,
)
from imettk.config.training import SessionPlan, StagePlan, TrainPlan

__all__ = [
    "MEMORY_SHORT_CODE",
    "PREPARE_SECTIONS",
    "SESSION_START",
    "SPLIT",
    "WEIGHT_SECTIONS",
    "CachePlan",
    "ExtraTable",
    "FoldPlan",
    "ImageFormat",
    "MetricPlan",
    "ModelPlan",
    "PredictPlan",
    "RankPlan",
    "Recipe",
    "RulePlan",
    "ScorePlan",
    "SessionPlan",
    "StagePlan",
    "TableFormat",
    "TrainPlan",
    "differences",
    "fingerprint",
    "from_json",
    "read_recipe",
    "to_json",
]
