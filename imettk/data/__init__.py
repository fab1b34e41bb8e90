"""From tables and image files to batches, and from answers to a submission."""
