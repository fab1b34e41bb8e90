"""From batches to weights, resumable at any step with the same bits."""
