"""Folders that tests look at, independent of a test's own place."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SHARED = PROJECT.parent / "shared"  # real data and weights, which a checkout may lack
KERNELS = PROJECT / "kernels"
