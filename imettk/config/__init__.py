"""The sections of a recipe, each with its own ranges; JSON in and out, overrides, and a fingerprint."""

from typing import Any

from imettk.config.answers import PredictConfig, RankConfig, RuleConfig, ScoreConfig
from imettk.config.data import CacheConfig, FoldConfig, ImageFormat
from imettk.config.earlier import renamed_class
from imettk.config.fingerprints import (
    ANSWER_SECTIONS,
    PREPARE_SECTIONS,
    SCORE_SECTIONS,
    WEIGHT_SECTIONS,
    differences,
    fingerprint,
)
from imettk.config.model import EmbeddingConfig, ModelConfig
from imettk.config.recipe import Recipe, from_json, read_recipe, to_json
from imettk.config.session import EXIT_OUT_OF_MEMORY, HINTS, SESSION_START, SPLIT, SessionConfig, duration
from imettk.config.stage import StageConfig
from imettk.config.staging import probe_then_tune, progressive_stages
from imettk.config.table import ExtraTable, TableFormat
from imettk.config.training import TrainConfig

__all__ = [
    "ANSWER_SECTIONS",
    "EXIT_OUT_OF_MEMORY",
    "HINTS",
    "PREPARE_SECTIONS",
    "SCORE_SECTIONS",
    "SESSION_START",
    "SPLIT",
    "WEIGHT_SECTIONS",
    "CacheConfig",
    "EmbeddingConfig",
    "ExtraTable",
    "FoldConfig",
    "ImageFormat",
    "ModelConfig",
    "PredictConfig",
    "RankConfig",
    "Recipe",
    "RuleConfig",
    "ScoreConfig",
    "SessionConfig",
    "StageConfig",
    "TableFormat",
    "TrainConfig",
    "differences",
    "duration",
    "fingerprint",
    "from_json",
    "probe_then_tune",
    "progressive_stages",
    "read_recipe",
    "to_json",
]


def __getattr__(name: str) -> Any:
    """Return a section's class by its name in earlier versions, which users' recipes of that time import."""
    if (renamed := renamed_class(name)) is not None:
        return globals()[renamed]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
