"""Image competitions on free Kaggle sessions: training that continues exactly where the last session stopped."""
