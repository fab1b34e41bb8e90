"""The record of a run: its folder and journal, the report, the log of all runs, messages."""
