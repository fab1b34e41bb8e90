"""The commands of an experiment, one a module: the one place where everything meets.

Commands meet through the files of the run folder: each reads what earlier ones wrote, there or in the `--inputs`, and
writes into the run folder alone.
"""
