"""From weights to predictions."""
