"""What a recipe says: its sections, each with its own ranges, JSON in and out, and a fingerprint."""

from typing import Any

from imettk.config.answers import PredictPlan, RankPlan, RulePlan, ScorePlan
from imettk.config.data import CachePlan, FoldPlan, ImageFormat
from imettk.config.model import EmbeddingPlan, ModelPlan
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
from imettk.config.table import ExtraTable, TableFormat
from imettk.config.training import SessionPlan, StagePlan, TrainPlan

__all__ = [
    "MEMORY_SHORT_CODE",
    "PREPARE_SECTIONS",
    "SESSION_START",
    "SPLIT",
    "WEIGHT_SECTIONS",
    "CachePlan",
    "EmbeddingPlan",
    "ExtraTable",
    "FoldPlan",
    "ImageFormat",
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


def __getattr__(name: str) -> Any:
    """Return EmbeddingPlan under its first name too, which recipes of earlier versions import."""
    if name == "MetricPlan":
        return EmbeddingPlan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
