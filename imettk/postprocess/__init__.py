"""From predictions to answers: rules, thresholds, cut-points, rankings, blends."""
