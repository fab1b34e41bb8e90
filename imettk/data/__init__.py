"""From csv and image files to batches."""
