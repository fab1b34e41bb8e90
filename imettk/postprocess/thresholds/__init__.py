"""The thresholds that are best for a score: exact where labels are independent, by ascent where they are not."""
