"""Image competitions on free Kaggle sessions: training that continues exactly where the last session stopped."""

__version__ = "0.2.0"
