"""Answers judged and shown: rules fitted and applied, scores, rankings, what the report shows beside them."""
