"""From weights to predictions: views, nearest images, re-ranking."""
