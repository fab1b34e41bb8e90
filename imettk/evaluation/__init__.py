"""Answers judged and shown: fitted rules, honest scores, rankings, and the evidence for the report."""
