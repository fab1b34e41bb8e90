"""One run's files in memory: what `prepare` left, predictions, where a fold goes on."""
