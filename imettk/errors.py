"""What a user can get wrong. Each error is one clear line: what, where, and what to do next.

The command line prints the message and exits with code 2, without a traceback. A `PlatformError` is printed the same
way, with code 1. Anything else that is raised is a bug.
"""


class UserError(Exception):
    """Something outside the program has to change before it can go on; the message says what."""


class ConfigError(UserError):
    """A recipe, or an option that overrides one of its fields, is not valid.

    Not a ValueError: pydantic and tyro would catch that and wrap our one line in many of their own.
    """


class DataError(UserError):
    """A competition's table or images are not what the recipe says they are."""


class MissingFileError(UserError):
    """A file that another stage writes is not there; the message names the stage."""


class MismatchError(UserError):
    """Two things that must belong to the same experiment do not: checkpoint and recipe, folds and table."""


class CheckpointError(UserError):
    """No checkpoint can be used although there are some."""


class DeviceError(UserError):
    """The wanted device cannot run what is asked of it."""


class MemoryShortError(DeviceError):
    """One of several processes ran out of memory: all have to start again, with smaller micro-batches."""


class TrainingError(UserError):
    """Training as the recipe asks for it does not work: the loss is not finite, whatever is tried."""


class BusyError(UserError):
    """Another process works in the same folder."""


class PlatformError(Exception):
    """The platform failed, or said no; one line as well, but the exit code is 1: nobody's input was wrong."""
