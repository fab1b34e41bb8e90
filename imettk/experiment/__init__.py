"""The files of one run in memory: prepared data, predictions, and where a fold continues."""
