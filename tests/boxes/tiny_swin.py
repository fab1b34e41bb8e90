"""A Swin transformer of timm with few parameters: timm has none for tests."""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, is_model, register_model
from timm.models.swin_transformer import SwinTransformer, checkpoint_filter_fn

NAME = "imettk_tiny_swin"  # at 64 x 64 pixels: windows of 4 x 4, on maps of 16 x 16 and 8 x 8


def register_tiny_swin() -> str:
    """Register it once in this process; return its name."""
    if not is_model(NAME):
        register_model(_make)
    return NAME


def _make(pretrained: bool = False, **settings: Any) -> Any:
    settings.pop("pretrained_cfg", None)
    sizes = {"img_size": 64, "window_size": 4, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4)}
    return build_model_with_cfg(
        SwinTransformer,
        NAME,
        pretrained,
        pretrained_cfg={"input_size": (3, 64, 64), "fixed_input_size": True, "first_conv": "patch_embed.proj"},
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": (0, 1), "flatten_sequential": True},
        **(sizes | settings),
    )


_make.__name__ = NAME
