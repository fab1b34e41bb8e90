"""A push of a recipe as typed."""

from __future__ import annotations

PUSH = ["push", "train", "digits", "--competition", "cells"]
OWN = """
from dataclasses import replace
from imettk.recipes.digits import digits

def recipe():
    return replace(digits(), name="My__recipe", model=replace(digits().model, weights={weights!r}))
"""
MODEL = "timm/resnet/pyTorch/resnet18/1"
