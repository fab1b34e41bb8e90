"""The commands of an experiment, one per module: the place where all other wings meet.

Commands meet through the files of the run folder: each reads what earlier ones wrote, there or in the `--inputs`, and
writes to the run folder only.
"""
