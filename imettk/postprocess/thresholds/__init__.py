"""The best thresholds for a score: exact if labels are independent, by coordinate ascent if not."""
